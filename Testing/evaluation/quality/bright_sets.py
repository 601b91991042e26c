"""Datasets that a test makes: bright objects that ``ThresholdBackbone`` finds, but not just as the truth has them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
import yaml
from PIL import Image

from AutoPromptSAMLib.backbones import Backbone, Features

from ...threshold_backbone import BRIGHT, DARK, ThresholdBackbone, rod

SHAPE = (60, 80)
COUNT = 4
# Column, row and radius of the truth, and by how much the bright disc in it is smaller.
LEFT, RIGHT = (22, 30, 14), (58, 28, 10)


def discs(number: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(truth, bright) (rows, cols) of the two objects on image ``number``."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]

    def disc(col: int, row: int, radius: float) -> np.ndarray:
        return (cols - col) ** 2 + (rows - row) ** 2 <= radius**2

    return {
        name: (disc(col, row + number, radius), disc(col, row + number, radius - 1 - number))
        for name, (col, row, radius) in (("left", LEFT), ("right", RIGHT))
    }


def make_pictures(folder: Path) -> Path:
    """A dataset of PNG files: two objects a picture, two pictures a group; the last pair's mask has another size."""
    folder.mkdir(parents=True)
    pairs = []
    for number in range(COUNT):
        found = discs(number)
        labels = np.where(found["left"][0], 1, np.where(found["right"][0], 2, 0)).astype(np.uint8)
        bright = found["left"][1] | found["right"][1]
        Image.fromarray(np.where(bright, BRIGHT, DARK).astype(np.uint8)).save(folder / f"image{number}.png")
        Image.fromarray(labels).save(folder / f"mask{number}.png")
        pairs.append({"image": f"image{number}.png", "mask": f"mask{number}.png", "group": f"patient{number // 2}"})
    Image.fromarray(np.full(SHAPE, DARK, np.uint8)).save(folder / "odd.png")
    Image.fromarray(np.ones((9, 9), np.uint8)).save(folder / "odd_mask.png")
    pairs.append({"image": "odd.png", "mask": "odd_mask.png", "group": "odd"})
    return describe(folder, "pictures", "photograph", 2, {"left": [1], "right": [2]}, pairs)


def make_volumes(folder: Path) -> Path:
    """A dataset of two NIfTI volumes with a bright rod in each, whose truth is a slice longer at one end."""
    folder.mkdir(parents=True)
    pairs = []
    for number in range(2):
        volume, truth = rod(range(2, 9 + number), size=48)
        longer = truth.copy()
        longer[1] = truth[2]
        for name, array in (("image", volume.array), ("mask", longer.astype(np.uint8))):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((0.8, 0.8, 3.0))
            sitk.WriteImage(image, str(folder / f"{name}{number}.nii.gz"))
        pairs.append({"image": f"image{number}.nii.gz", "mask": f"mask{number}.nii.gz", "group": f"p{number}"})
    return describe(folder, "volumes", "MR", 3, {"rod": [1]}, pairs)


def describe(folder: Path, name: str, modality: str, dimensions: int, objects: object, pairs: object) -> Path:
    """Write the dataset.yaml; returns the folder."""
    content = {"name": name, "modality": modality, "dimensions": dimensions, "objects": objects, "pairs": pairs}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder


def load_threshold(model: str, device: str) -> Backbone:
    """The network that is none, for a runner of benchmarks."""
    return ThresholdBackbone()


class SlowBackbone(ThresholdBackbone):
    """It takes its time, so that a test can kill it."""

    def encode(self, images: list[np.ndarray]) -> Features:  # type: ignore[override]
        time.sleep(0.5)
        return super().encode(images)


def load_slow(model: str, device: str) -> Backbone:
    """The same, slow."""
    return SlowBackbone()

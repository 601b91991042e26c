"""Sets of labelled images on disk, with the pictures of the prompters' tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from AutoPromptSAMLib.datasets import Dataset, read_dataset

from ..prompters.scenes import scene


def picture_set(folder: Path, count: int, use: str = "train", name: str = "pictures") -> Dataset:
    """``count`` pictures with a disc and a square each, one a patient."""
    folder.mkdir(parents=True)
    pairs = []
    for seed in range(count):
        image, masks = scene(seed)
        Image.fromarray(image).save(folder / f"{seed}.png")
        Image.fromarray((masks["disc"] + 2 * masks["square"]).astype(np.uint8)).save(folder / f"{seed}_label.png")
        pairs.append({"image": f"{seed}.png", "mask": f"{seed}_label.png", "group": f"patient {seed}"})
    about = {
        "name": name,
        "modality": "photo",
        "dimensions": 2,
        "objects": {"disc": [1], "square": [2]},
        "licence": "CC0-1.0",
        "use": use,
        "pairs": pairs,
    }
    (folder / "dataset.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    return read_dataset(folder)

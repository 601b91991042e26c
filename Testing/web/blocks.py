"""Images with a bright block in them for the tests in a browser, and what these tests do again and again."""

from __future__ import annotations

import itertools
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
from playwright.sync_api import expect

from AutoPromptSAMLib.images import load_segmentation

from .served import Desk, save

SEEDS = itertools.count()
LOWER, UPPER = np.array([30, 30, 5]), np.array([59, 59, 14])  # first and last voxel (i, j, k) of the bright block
Masks = dict[str, np.ndarray]


def grey(shape: tuple[int, int, int] = (20, 96, 96)) -> np.ndarray:
    """Dark noise (k, j, i) with a bright block in it; no two are equal, for work on an equal image would come back."""
    voxels = np.random.default_rng(next(SEEDS)).normal(-50, 10, shape).astype(np.int16)
    voxels[block(shape)] = 200
    return voxels


def block(shape: tuple[int, int, int] = (20, 96, 96)) -> np.ndarray:
    """The mask of the block."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b + 1) for a, b in zip(LOWER[::-1], UPPER[::-1], strict=True))] = True
    return mask


def write(path: Path, voxels: np.ndarray, oblique: bool = False) -> Path:
    """An image file of voxels (k, j, i); right-handed as its file says it, in LPS."""
    image = sitk.GetImageFromArray(voxels)
    if oblique:
        a, b = radians(18), radians(-11)
        turn = np.array([[cos(a), -sin(a), 0], [sin(a), cos(a), 0], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, cos(b), -sin(b)], [0, sin(b), cos(b)]])
        image.SetDirection((turn @ tilt).ravel().tolist())
        image.SetSpacing((0.8, 1.1, 2.5))
        image.SetOrigin((12, -34, 56))
    sitk.WriteImage(image, str(path))
    return path


def open_image(desk: Desk, path: Path) -> str:
    """Bring an image, whose name is not that of the open one, and say that it is one when asked; its name."""
    name = path.name.split(".")[0]
    shown, asked = desk.get("image-name"), desk.get("open-as-image")
    expect(shown.filter(has_text=name)).to_have_count(0)
    desk.bring(path)
    desk.page.wait_for_function(
        "(name) => document.querySelector('[data-testid=image-name]')?.textContent === name || "
        "document.querySelector('[data-testid=open-as-image]')?.checkVisibility()",
        arg=name,
    )
    if asked.is_visible():
        asked.click()
    expect(shown).to_have_text(name)
    expect(desk.get("open-dialog")).to_be_hidden()
    desk.wait_image()
    desk.forget()
    return name


def with_segment(desk: Desk, folder: Path, mask: np.ndarray | None = None, voxels: np.ndarray | None = None) -> str:
    """Open a bright block, with its mask as a segment; the name of the image."""
    number = next(SEEDS)
    name = open_image(desk, write(folder / f"block-{number}.nii.gz", grey() if voxels is None else voxels))
    labels = write(folder / f"labels-{number}.nii.gz", (block() if mask is None else mask).astype(np.uint8))
    desk.bring(labels)
    desk.get("open-as-segments").click()
    desk.told("1 segments of", labels.name)
    expect(desk.get("open-dialog")).to_be_hidden()
    expect(desk.get("segment-row")).to_have_count(1)
    return name


def masks(desk: Desk, folder: Path) -> Masks:
    """The voxels (k, j, i) of all segments, by name."""
    return load_segmentation(save(desk, folder, "seg-nrrd"))[0]


def wait_step(desk: Desk, name: str) -> str:
    """Until undo would take back a step whose name starts so; the whole name."""
    desk.page.wait_for_function(
        "(name) => document.querySelector('[data-testid=undo]').ariaLabel.startsWith('Undo: ' + name)", arg=name
    )
    return str(desk.get("undo").get_attribute("aria-label")).removeprefix("Undo: ")

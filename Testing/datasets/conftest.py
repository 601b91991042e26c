"""Small datasets on disk, as a person would make them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml
from PIL import Image

Content = dict[str, Any]


def labels_2d(rows: int = 40, cols: int = 60) -> np.ndarray:
    """Two objects, 1 and 2, that differ in size."""
    labels = np.zeros((rows, cols), dtype=np.uint8)
    labels[5:15, 10:30] = 1
    labels[20:26, 40:50] = 2
    return labels


def save_png(path: Path, array: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def save_nifti(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (0.7, 0.7, 3.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def photos(tmp_path: Path) -> Content:
    """The description of a folder of three photographs and their label maps; the files are in ``tmp_path``."""
    rng = np.random.default_rng(0)
    for name in "abc":
        save_png(tmp_path / "images" / f"{name}.png", rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
        save_png(tmp_path / "masks" / f"{name}.png", labels_2d())
    return {
        "name": "photos",
        "modality": "endoscopy",
        "dimensions": 2,
        "objects": {"polyp": [1], "tool": [2], "all": [1, 2]},
        "pairs": [{"image": f"images/{name}.png", "mask": f"masks/{name}.png", "group": f"p{name}"} for name in "abc"],
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a description, with changes, as ``dataset.yaml`` and returns its folder."""

    def written(content: Content, **changes: Any) -> Path:
        kept = {key: value for key, value in (content | changes).items() if value is not ...}
        (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
        return tmp_path

    return written

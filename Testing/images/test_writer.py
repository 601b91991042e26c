"""Voxels with their geometry on disk, read back by what wrote nothing of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.errors import GeometryError, StorageError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.images import load_volume
from AutoPromptSAMLib.images.writer import write_voxels


def oblique(shear: float = 0.0) -> VolumeGeometry:
    rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * [0.7, 0.9, 2.5]
    affine[:3, 0] += shear * affine[:3, 1]
    affine[:3, 3] = [31.5, -12.25, 300.0]
    return VolumeGeometry((4, 5, 6), affine)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii"])
def test_values_and_place_survive(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    path = tmp_path / f"values{suffix}"
    write_voxels(path, values, oblique())
    volume = load_volume(path)
    assert np.array_equal(volume.array, values)
    assert volume.geometry.close_to(oblique())
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_nibabel_reads_the_same_place(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    values = np.zeros((4, 5, 6), np.float32)
    values[1, 2, 3] = 0.5
    write_voxels(tmp_path / "values.nii.gz", values, oblique())
    image = nibabel.load(tmp_path / "values.nii.gz")
    assert image.get_fdata()[3, 2, 1] == 0.5
    assert np.allclose(image.affine, oblique().ijk_to_ras, atol=1e-4)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 6), np.float32)
    with pytest.raises(StorageError, match="no known file type"):
        write_voxels(tmp_path / "values.txt", values, oblique())
    with pytest.raises(StorageError):
        write_voxels(tmp_path / "nowhere" / "values.nrrd", values, oblique())
    with pytest.raises(GeometryError, match="sheared"):
        write_voxels(tmp_path / "values.nii.gz", values, oblique(1e-3))
    assert list(tmp_path.iterdir()) == []

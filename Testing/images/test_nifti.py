"""NIfTI files, most of them written by nibabel."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.images import load_volume

CT = VolumeGeometry((5, 8, 10), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))


def random_array(geometry: VolumeGeometry, dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, geometry.shape).astype(dtype)


def test_nifti_of_other_software_comes_in_at_its_place(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = random_array(CT)
    nibabel.save(nibabel.Nifti1Image(array.T, CT.ijk_to_ras), tmp_path / "other.nii.gz")  # RAS, array (i, j, k)
    volume = load_volume(tmp_path / "other.nii.gz")
    np.testing.assert_array_equal(volume.array, array)
    assert volume.geometry.close_to(CT, tolerance=0.001)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "f4", "f8"])
def test_nifti_types_and_byte_orders(tmp_path: Path, order: str, dtype: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = random_array(CT, "float64").astype(order + dtype)
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(array.dtype)
    for suffix in ("nii.gz", "nii"):
        nibabel.Nifti1Image(array.T, CT.ijk_to_ras, header).to_filename(tmp_path / f"a.{suffix}")
        volume = load_volume(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(volume.array, array)
        assert volume.array.dtype == np.dtype(dtype)
        assert volume.geometry.close_to(CT)


def test_nifti_with_scaling_and_colour(tmp_path: Path, itk_image) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = random_array(CT)
    image = nibabel.Nifti1Image(array.T, CT.ijk_to_ras)
    image.header.set_slope_inter(2, -1024)
    image.to_filename(tmp_path / "scaled.nii.gz")
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "scaled.nii.gz")))
    assert abs(expected.mean() - (array.mean() * 2 - 1024)) < 1
    np.testing.assert_allclose(load_volume(tmp_path / "scaled.nii.gz").array, expected)
    colour = np.random.default_rng(7).integers(0, 256, (*CT.shape, 3), dtype=np.uint8)
    sitk.WriteImage(itk_image(colour, CT, is_vector=True), str(tmp_path / "vector.nii.gz"))  # five dimensions
    pixels = np.ascontiguousarray(colour.transpose(2, 1, 0, 3)).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(pixels, CT.ijk_to_ras), tmp_path / "rgb.nii.gz")
    for name in ("vector.nii.gz", "rgb.nii.gz"):
        np.testing.assert_array_equal(load_volume(tmp_path / name).array, colour)


def test_nifti_beside_its_unpacked_namesake(tmp_path: Path, itk_image) -> None:
    for value, name in ((1, "ct.nii"), (2, "ct.nii.gz")):
        sitk.WriteImage(itk_image(np.full(CT.shape, value, np.int16), CT), str(tmp_path / name))
    assert (load_volume(tmp_path / "ct.nii").array == 1).all()
    assert (load_volume(tmp_path / "ct.nii.gz").array == 2).all()


def test_nifti_of_several_gzip_members_is_whole(tmp_path: Path) -> None:
    array = np.random.default_rng(4).random((20, 30, 40)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "one.nii"))
    content = (tmp_path / "one.nii").read_bytes()
    (tmp_path / "several.nii.gz").write_bytes(gzip.compress(content[:50_000]) + gzip.compress(content[50_000:]))
    np.testing.assert_array_equal(load_volume(tmp_path / "several.nii.gz").array, array)


def test_nifti_that_claims_more_than_there_is(tmp_path: Path, one_sentence) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16)), str(tmp_path / "ct.nii"))
    content = bytearray((tmp_path / "ct.nii").read_bytes())
    content[42:48] = struct.pack("<3h", 32000, 32000, 32000)  # 64 TiB
    (tmp_path / "ct.nii").write_bytes(content)
    with one_sentence(ImageError, "ct.nii is damaged or cut short"):
        load_volume(tmp_path / "ct.nii")
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(content))
    with one_sentence(ImageError, "32000 x 32000 x 32000 voxels, more than fit into memory"):
        load_volume(tmp_path / "ct.nii.gz")

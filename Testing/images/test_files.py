"""Images and label maps on disk, written by other software where there is any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, ImageError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.images import load_labels, load_volume

GEOMETRIES = st.from_type(VolumeGeometry)
CT = VolumeGeometry((5, 8, 10), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))
PER_EXAMPLE = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_array(geometry: VolumeGeometry, dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, geometry.shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
@given(geometry=GEOMETRIES)
@PER_EXAMPLE
def test_volumes_come_in_at_their_place(tmp_path: Path, suffix: str, geometry: VolumeGeometry, itk_image) -> None:
    path = tmp_path / f"case{suffix}"
    array = random_array(geometry)
    sitk.WriteImage(itk_image(array, geometry), str(path))
    volume = load_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.geometry.close_to(geometry, tolerance=0.01)
    assert volume.name == "case"
    assert volume.modality is None


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_photographs(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(1)
    grey, colour = rng.integers(0, 256, (6, 7), dtype=np.uint8), rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(grey), str(tmp_path / f"grey{suffix}"))
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(tmp_path / f"colour{suffix}"))
    one = load_volume(tmp_path / f"grey{suffix}")
    np.testing.assert_array_equal(one.array, grey[None])
    assert one.geometry.shape == (1, 6, 7)
    other = load_volume(tmp_path / f"colour{suffix}")
    assert other.is_colour
    np.testing.assert_array_equal(other.array, colour[None])
    # As any viewer shows it: columns to the patient's left, rows to the back.
    assert other.geometry.ras_from_ijk([1, 0, 0])[0] < other.geometry.ras_from_ijk([0, 0, 0])[0]


def test_transparency_is_dropped_and_jpeg_read(tmp_path: Path) -> None:
    array = np.full((6, 7, 4), 80, np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "a.png"))
    assert load_volume(tmp_path / "a.png").array.shape == (1, 6, 7, 3)
    sitk.WriteImage(sitk.GetImageFromArray(array[..., :3], isVector=True), str(tmp_path / "a.jpg"))
    np.testing.assert_allclose(load_volume(tmp_path / "a.jpg").array, 80, atol=2)


def test_colour_volumes_and_stacks(tmp_path: Path, itk_image) -> None:
    colour = np.random.default_rng(2).integers(0, 256, (*CT.shape, 3), dtype=np.uint8)
    sitk.WriteImage(itk_image(colour, CT, is_vector=True), str(tmp_path / "c.nrrd"))
    volume = load_volume(tmp_path / "c.nrrd")
    np.testing.assert_array_equal(volume.array, colour)
    assert volume.geometry.close_to(CT)
    sitk.WriteImage(sitk.GetImageFromArray(colour[..., 0]), str(tmp_path / "stack.tif"))
    np.testing.assert_array_equal(load_volume(tmp_path / "stack.tif").array, colour[..., 0])


def test_4d_with_one_frame_is_3d(tmp_path: Path, itk_image) -> None:
    image = sitk.JoinSeries([itk_image(random_array(CT), CT)])
    sitk.WriteImage(image, str(tmp_path / "one.nrrd"))
    volume = load_volume(tmp_path / "one.nrrd")
    np.testing.assert_array_equal(volume.array, random_array(CT))
    assert volume.geometry.close_to(CT)


def write_nan(path: Path) -> None:
    array = random_array(CT, "float32")
    array[1, 2, 3] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def write_4d(path: Path) -> None:
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(random_array(CT))] * 7), str(path))


def write_vectors(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((*CT.shape, 6), np.float32), isVector=True), str(path))


def write_deep_colour(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4, 3), np.uint16), isVector=True), str(path))


def write_complex(path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)), path)


def write_bit_flip(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(3).random((100, 60, 60))), str(path))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum: the voxels can be unpacked all the same
    path.write_bytes(content)


def write_nifti2(path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti2Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), path)


def write_grey_alpha(path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    pil.fromarray(np.zeros((4, 4, 2), np.uint8), "LA").save(path)


def write_truncated(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(3).random((20, 30, 40))), str(path))
    path.write_bytes(path.read_bytes()[:90_000])


def write_header_only(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(random_array(CT)), str(path))
    path.write_bytes(path.read_bytes()[:40])


def write_sheared(path: Path) -> None:
    text = "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\n"
    text += "space directions: (1,0,0) (0.3,1,0) (0,0,1)\nencoding: raw\nspace origin: (0,0,0)\n\n"
    path.write_bytes(text.encode() + bytes(8))


def write_sheared_nifti(path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.eye(4)
    affine[0, 1] = 0.3
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), affine)
    image.set_qform(None, 0)
    nibabel.save(image, path)


@pytest.mark.parametrize(
    ("name", "write", "error", "sentence"),
    [
        ("none.nii.gz", lambda path: None, ImageError, "does not exist; check the path"),
        ("empty.nii.gz", lambda path: path.touch(), ImageError, "is an empty file"),
        ("folder", lambda path: path.mkdir(), ImageError, "contains no DICOM images"),
        ("notes.txt", lambda path: path.write_text("hello"), ImageError, "cannot be read as an image; give a NIfTI"),
        ("nan.nii.gz", write_nan, ImageError, "has 1 of 400 voxels that are NaN"),
        ("cine.nii.gz", write_4d, ImageError, "has 7 time points .* extract one frame"),
        ("cine.nrrd", write_4d, ImageError, "has 7 time points .* extract one frame"),
        ("tensor.nrrd", write_vectors, ImageError, "6 values of type float32 a voxel"),
        ("deep.png", write_deep_colour, ImageError, "3 values of type uint16 a voxel"),
        ("cut.nii.gz", write_truncated, ImageError, "is damaged or cut short"),
        ("cut.nii", write_truncated, ImageError, "is damaged or cut short"),
        ("flip.nii.gz", write_bit_flip, ImageError, "is damaged or cut short"),
        ("complex.nii", write_complex, ImageError, "convert it to whole or real numbers"),
        ("two.nii", write_nifti2, ImageError, "is damaged and cannot be read"),
        ("pair.hdr", write_header_only, ImageError, r"one of a pair of files, .* convert it to \.nii\.gz"),
        ("alpha.png", write_grey_alpha, ImageError, "neither grey nor RGB; convert"),
        ("cut.nrrd", write_truncated, ImageError, "is damaged and cannot be read"),
        ("cut.mha", write_truncated, ImageError, "is damaged and cannot be read"),
        ("header.nii.gz", write_header_only, ImageError, "is damaged"),
        ("header.nrrd", write_header_only, ImageError, "is damaged and cannot be read"),
        ("sheared.nrrd", write_sheared, GeometryError, "is sheared .* resample"),
        ("sheared.nii", write_sheared_nifti, GeometryError, "is sheared .* resample"),
    ],
)
def test_unusable_files_are_refused_with_one_sentence(
    tmp_path: Path, name: str, write, error: type[AutoPromptSAMError], sentence: str
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(error, match=sentence) as caught:
        load_volume(path)
    message = str(caught.value)
    assert path.name.split(".")[0] in message
    assert message.endswith(".")
    assert "\n" not in message
    assert "ITK" not in message
    assert message.count(". ") == 0


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_labels_on_the_image(tmp_path: Path, dtype: str, itk_image) -> None:
    labels = (random_array(CT) % 5).astype(dtype)
    sitk.WriteImage(itk_image(labels, CT), str(tmp_path / "labels.nii.gz"))
    read = load_labels(tmp_path / "labels.nii.gz", CT)
    assert read.dtype.kind in "iu"
    np.testing.assert_array_equal(read, labels)


@pytest.mark.parametrize(
    ("array", "moved", "error", "sentence"),
    [
        (
            np.zeros((5, 8, 9), np.uint8),
            0,
            GeometryError,
            r"another geometry \(9 x 8 x 5 voxels .*\(10 x 8 x 5 voxels",
        ),
        (np.zeros((5, 8, 10), np.uint8), 1, GeometryError, r"at RAS \(91.00, .*at RAS \(90.00, "),
        (np.full((5, 8, 10), 0.5, np.float32), 0, ImageError, "not whole numbers"),
        (np.full((5, 8, 10), np.nan, np.float32), 0, ImageError, "not whole numbers"),
        (np.zeros((5, 8, 10, 3), np.uint8), 0, ImageError, "colour .* grey label map is needed"),
    ],
)
def test_labels_elsewhere_or_of_other_kinds_are_refused(
    tmp_path: Path, array: np.ndarray, moved: float, error: type[AutoPromptSAMError], sentence: str, itk_image
) -> None:
    affine = np.array(CT.ijk_to_ras)
    affine[0, 3] += moved
    image = itk_image(array, VolumeGeometry(array.shape[:3], affine), is_vector=array.ndim == 4)
    sitk.WriteImage(image, str(tmp_path / "labels.nrrd"))
    with pytest.raises(error, match=sentence):
        load_labels(tmp_path / "labels.nrrd", CT)

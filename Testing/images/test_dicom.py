"""Folders of DICOM files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import GeometryError, ImageError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.images import load_volume

GEOMETRIES = st.from_type(VolumeGeometry)
CT = VolumeGeometry((5, 8, 10), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))
PER_EXAMPLE = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_array(geometry: VolumeGeometry, dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, geometry.shape).astype(dtype)


@pytest.fixture(scope="session")
def write_dicom(itk_image) -> Callable[..., None]:
    """Writes each slice of an array (k, j, i) to a file of its own, as one CT series."""

    def write(
        folder: Path,
        array: np.ndarray,
        geometry: VolumeGeometry,
        uid: str = "1.2.3",
        description: str = "abdomen",
        order: list[int] | None = None,
        **tags: str,
    ) -> None:
        folder.mkdir(exist_ok=True)
        image = itk_image(array, geometry)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        direction = np.array(image.GetDirection()).reshape(3, 3)
        for n, k in enumerate(order or range(len(array))):
            piece = image[:, :, k]
            position = image.TransformIndexToPhysicalPoint((0, 0, k))
            values = {
                "0008|0060": "CT",
                "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
                "0008|0018": f"{uid}.{n}",
                "0020|000d": "1.2",
                "0020|000e": uid,
                "0008|103e": description,
                "0020|0013": str(n),
                "0020|0032": "\\".join(f"{x:.9g}" for x in position),
                "0020|0037": "\\".join(f"{x:.9g}" for x in direction[:, :2].T.ravel()),
                **tags,
            }
            for tag, value in values.items():
                piece.SetMetaData(tag, value)
            writer.SetFileName(str(folder / f"{uid}_{n}.dcm"))
            writer.Execute(piece)

    return write


@given(GEOMETRIES, st.randoms(use_true_random=False))
@PER_EXAMPLE
def test_dicom_series_come_in_at_their_place(
    tmp_path_factory: pytest.TempPathFactory, write_dicom, geometry: VolumeGeometry, random
) -> None:
    folder = tmp_path_factory.mktemp("series")
    array = random_array(geometry)
    order = list(range(len(array)))
    random.shuffle(order)
    write_dicom(folder, array, geometry, order=order)
    volume = load_volume(folder)
    assert volume.modality == "CT"
    # Slices may come in the other direction, so compare at world positions.
    k, j, i = np.indices(volume.geometry.shape)
    ijk = geometry.ijk_from_ras(volume.geometry.ras_from_ijk(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1)))
    index = np.rint(ijk).astype(int)
    np.testing.assert_allclose(ijk, index, atol=1e-3)
    np.testing.assert_array_equal(volume.array.ravel(), array[index[:, 2], index[:, 1], index[:, 0]])


def test_several_series_are_named_and_can_be_chosen(tmp_path: Path, write_dicom) -> None:
    array = random_array(CT)
    write_dicom(tmp_path, array, CT, "1.2.3", "portal venous")
    write_dicom(tmp_path, array[:2] + 1, CT, "1.2.4", "scout")
    with pytest.raises(ImageError, match="contains 2 DICOM series") as caught:
        load_volume(tmp_path)
    assert '"portal venous" with 5 files, UID 1.2.3' in str(caught.value)
    assert '"scout" with 2 files, UID 1.2.4' in str(caught.value)
    np.testing.assert_array_equal(load_volume(tmp_path, series="1.2.4").array, array[:2] + 1)
    with pytest.raises(ImageError, match=r"no DICOM series with UID 9; it has 1\.2\.[34], 1\.2\.[34]\."):
        load_volume(tmp_path, series="9")


def test_a_single_dicom_file(tmp_path: Path, write_dicom) -> None:
    array = random_array(CT)
    write_dicom(tmp_path, array, CT, order=[3])
    expected = CT.cropped((3, 0, 0), (1, 8, 10))
    for path in (tmp_path, tmp_path / "1.2.3_0.dcm"):
        volume = load_volume(path)
        np.testing.assert_array_equal(volume.array, array[3:4])
        np.testing.assert_allclose(
            volume.geometry.ras_from_ijk([5, 3, 0]), expected.ras_from_ijk([5, 3, 0]), atol=1e-4
        )
        assert volume.modality == "CT"


def test_series_that_would_come_out_displaced_are_refused(tmp_path: Path, write_dicom) -> None:
    array = random_array(CT)
    write_dicom(tmp_path / "gap", array, CT, order=[0, 1, 3, 4])
    with pytest.raises(GeometryError, match=r"2\.50 to 5\.00 mm apart, so some are missing"):
        load_volume(tmp_path / "gap")
    write_dicom(tmp_path / "times", array, CT, order=[0, 1, 2])
    for file in list((tmp_path / "times").iterdir()):
        image = sitk.ReadImage(str(file))
        image.SetMetaData("0008|0018", image.GetMetaData("0008|0018") + ".7")
        image.SetMetaData("0020|000e", "1.2.3")
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(file.with_name("again_" + file.name)))
        writer.Execute(image)
    with pytest.raises(ImageError, match="several images at the same position"):
        load_volume(tmp_path / "times")
    tilted = np.array(CT.ijk_to_ras)
    for k in range(5):
        tilted[:3, 3] = CT.ijk_to_ras[:3, 3] + [0, 0.8 * k, 2.5 * k]  # each slice shifted back: gantry tilt
        write_dicom(
            tmp_path / "tilt", array[k : k + 1], VolumeGeometry((1, 8, 10), tilted), **{"0008|0018": f"1.2.3.{k}"}
        )
        os.rename(tmp_path / "tilt" / "1.2.3_0.dcm", tmp_path / "tilt" / f"{k}.dcm")
    with pytest.raises(GeometryError, match=r"sheared .* gantry tilt"):
        load_volume(tmp_path / "tilt")
    zoomed = np.array(CT.ijk_to_ras)
    for k in range(5):
        zoomed[:3, 3] = CT.ijk_to_ras[:3, 3] + [0, 0, 2.5 * k]
        zoomed[0, 0] = -0.7 if k < 3 else -0.9  # another field of view from here on
        write_dicom(
            tmp_path / "zoom", array[k : k + 1], VolumeGeometry((1, 8, 10), zoomed), **{"0008|0018": f"1.2.4.{k}"}
        )
        os.rename(tmp_path / "zoom" / "1.2.3_0.dcm", tmp_path / "zoom" / f"{k}.dcm")
    with pytest.raises(GeometryError, match="different sizes, pixel sizes or directions"):
        load_volume(tmp_path / "zoom")


def test_ultrasound_cine_is_refused(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((6, 8, 8), np.uint8))
    image.SetMetaData("0008|0060", "US")
    sitk.WriteImage(image, str(tmp_path / "cine.dcm"))
    with pytest.raises(ImageError, match=r"has 6 time points .* extract one frame"):
        load_volume(tmp_path / "cine.dcm")

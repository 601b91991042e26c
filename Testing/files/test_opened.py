"""What files are opened as, and names that somebody sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.files.folders import AllowedFolders
from AutoPromptSAMLib.files.opened import list_series, safe_name
from AutoPromptSAMLib.images import load_volume


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("ct.nii.gz", "ct.nii.gz"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\autoexec.bat", "autoexec.bat"),
        ("C:\\images\\ct.nii", "ct.nii"),
        ("series 1/IM0001", "IM0001"),
        ("a\0b\n.nii", "a_b_.nii"),
        ("..", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("CON.nii", "_CON.nii"),
        ("a" * 500 + ".seg.nrrd", "a" * 111 + ".seg.nrrd"),
    ],
)
def test_names_that_are_sent_are_made_harmless(given: str, name: str) -> None:
    assert safe_name(given) == name


def test_long_names_stay_names() -> None:
    name = safe_name("ß漢" * 200 + ".nii.gz")
    assert name.endswith(".nii.gz")
    assert len(name.encode()) <= 120


def test_series_of_a_folder_can_be_chosen(tmp_path: Path) -> None:
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for uid, description, count in (("1.2.3", "portal venous", 4), ("1.2.4", "scout", 2)):
        for n in range(count):
            image = sitk.GetImageFromArray(np.full((5, 6), n, np.int16))
            tags = {"0008|0060": "CT", "0008|0016": "1.2.840.10008.5.1.4.1.1.2", "0020|000d": "1.2"}
            tags |= {"0020|000e": uid, "0008|0018": f"{uid}.{n}", "0008|103e": description}
            tags |= {"0020|0032": f"0\\0\\{n * 2}", "0020|0037": "1\\0\\0\\0\\1\\0"}
            for tag, value in tags.items():
                image.SetMetaData(tag, value)
            writer.SetFileName(str(tmp_path / f"{uid}.{n}.dcm"))
            writer.Execute(image)
    series = list_series(tmp_path)
    assert [(one.uid, one.description, one.modality, one.slices) for one in series] == [
        ("1.2.3", "portal venous", "CT", 4),
        ("1.2.4", "scout", "CT", 2),
    ]
    with pytest.raises(ImageError, match="contains 2 DICOM series"):
        load_volume(tmp_path)
    assert load_volume(tmp_path, series[1].uid).array.shape == (2, 5, 6)
    assert AllowedFolders([tmp_path]).list().dicom


def test_folders_without_series(tmp_path: Path) -> None:
    assert list_series(tmp_path) == []
    (tmp_path / "notes.txt").write_text("hello")
    assert list_series(tmp_path) == []

"""Headers, archives and scenes that name other files are refused; honest ones pass."""

from __future__ import annotations

import io
import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.files.checks import check_references
from AutoPromptSAMLib.files.folders import NotAllowedError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.images import load_volume
from AutoPromptSAMLib.mrml.persistence import save_scene
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.volumes import volume_to_node

MHD = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = "
NHDR = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: "


@pytest.mark.parametrize(
    ("name", "header", "data_file"),
    [
        (name, header, data_file)
        for name, header in (("a.mhd", MHD), ("a.mha", MHD), ("a.nhdr", NHDR), ("a.nrrd", NHDR))
        for data_file in ("{outside}", "../secret.raw", "link.raw", "LIST\n../secret.raw")
    ],
)
def test_headers_cannot_fetch_other_files(
    tmp_path: Path, name: str, header: str, data_file: str, one_sentence
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(range(8)))
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    path = folder / name
    path.write_text(header + data_file.format(outside=tmp_path / "secret.raw") + "\n")
    with one_sentence(
        NotAllowedError, "takes its voxels from a file elsewhere", "secret.raw" if ".." in data_file else ""
    ):
        check_references(path)
    os.remove(folder / "link.raw")
    (folder / "own.raw").write_bytes(bytes(range(8)))
    path.write_text(header + "own.raw\n")
    check_references(path)
    if name in ("a.mhd", "a.nhdr"):
        assert load_volume(path).array.ravel().tolist() == list(range(8))


MHD_BEFORE, NHDR_BEFORE = MHD.rpartition("ElementDataFile")[0], NHDR.rpartition("data file")[0]
DECOYS = [
    ("a.nhdr", NHDR_BEFORE + "data file:=LOCAL\ndata file: {outside}\n"),
    ("a.nhdr", NHDR_BEFORE + "note:=1\rdata file: {outside}\n"),
    ("a.mhd", MHD_BEFORE + "elementdatafile = LOCAL\nElementDataFile = {outside}\n"),
    ("a.mhd", MHD_BEFORE + "DataFile: LOCAL\nElementDataFile = {outside}\n"),
    ("a.mhd", MHD_BEFORE + "ElementDataFile\t:\t{outside}\n"),
    ("a.mhd", "NRRD0004\nx = 1\n\n" + MHD_BEFORE + "ElementDataFile = {outside}\n"),
]


@pytest.mark.parametrize(("name", "header"), DECOYS)
def test_a_line_that_only_looks_like_the_one_that_counts_hides_nothing(
    tmp_path: Path, name: str, header: str, one_sentence
) -> None:
    """The reader does follow these to the file outside."""
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(range(8)))
    path = tmp_path / "images" / name
    path.parent.mkdir()
    path.write_text(header.format(outside=secret), newline="")
    assert load_volume(path).array.ravel().tolist() == list(range(8))
    with one_sentence(NotAllowedError, "takes its voxels from a file elsewhere", "secret.raw"):
        check_references(path)
    with ZipFile(tmp_path / "case.mrb", "w") as archive:
        archive.write(path, f"case/Data/{name}")
    with one_sentence(NotAllowedError, "takes its voxels from a file elsewhere", "secret.raw"):
        check_references(tmp_path / "case.mrb")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.nhdr", NHDR_BEFORE + "# {long}\ndata file: /etc/passwd\n"),
        ("a.nhdr", NHDR_BEFORE + "data file: LIST\n\n{long}\n/etc/passwd\n"),
        ("a.mhd", MHD_BEFORE + "elementdatafile = LOCAL\nComment = {long}\nElementDataFile = /etc/passwd\n"),
        ("a.mhd", MHD_BEFORE + "Comment = {long}\nElementDataFile = /etc/passwd\n"),
    ],
)
def test_header_that_hides_a_name_behind_a_long_comment(tmp_path: Path, name: str, header: str) -> None:
    path = tmp_path / name
    path.write_text(header.format(long="x" * (1 << 20)))
    with pytest.raises(NotAllowedError, match="a header without end"):
        check_references(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii.gz", "a.seg.nrrd"])
def test_honest_files_pass(tmp_path: Path, name: str) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 255, (60, 150, 150))), tmp_path / name)
    check_references(tmp_path / name)


def test_scenes_that_name_other_files_are_refused(tmp_path: Path, one_sentence) -> None:
    path = tmp_path / "case.mrb"
    with create_scene() as context:
        volume_to_node(
            Volume(np.zeros((3, 4, 5), np.int16), VolumeGeometry((3, 4, 5), np.eye(4)), name="CT ß ../1"),
            context.scene,
        )
        save_scene(context.scene, path)
    check_references(path)
    with ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    (scene,) = (name for name in contents if name.endswith(".mrml"))
    before = b'fileName="Data/'
    assert contents[scene].count(before) == 1
    for other in (
        b'fileName="/etc/',
        b'fileName="..%2f..%2fetc/',
        b'uri="https://example.org/',
        b'fileName="C:\\a\\',
        b'fileName="&#47;etc/',
    ):
        with ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content.replace(before, other))
        with one_sentence(NotAllowedError, "case.mrb takes its voxels from a file elsewhere"):
            check_references(path)
    for name, content in (("case/../../evil.nrrd", b"x"), ("case/Data/a.nhdr", (NHDR + "/etc/passwd\n").encode())):
        with ZipFile(path, "w") as archive:
            for known, original in contents.items():
                archive.writestr(known, original)
            archive.writestr(name, content)
        with pytest.raises(NotAllowedError, match=r"outside its folder|elsewhere \(/etc/passwd\)"):
            check_references(path)


def test_a_file_that_is_not_there_is_for_its_reader_to_judge(tmp_path: Path) -> None:
    for name in ("a.mrb", "nowhere.nrrd"):
        check_references(tmp_path / name)


def test_an_archive_that_cannot_be_looked_into_is_refused(tmp_path: Path, one_sentence) -> None:
    path, content = tmp_path / "a.mrb", io.BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED) as archive:
        archive.writestr("scene/a.mrml", "<MRML>" + "<Volume/>" * 500 + "</MRML>")
    whole = content.getvalue()
    flipped = bytearray(whole)
    flipped[60:64] = b"\xff" * 4  # in the packed scene: its reader would follow what was not looked at
    odd = bytearray(whole)
    for at in (8, whole.index(b"PK\x01\x02") + 10):
        odd[at] = 93  # packed by Zstandard, which others may know
    for bad in (b"not a zip", whole[:-30], bytes(flipped), bytes(odd)):
        path.write_bytes(bad)
        with one_sentence(ImageError, "a.mrb cannot be unpacked; pack the files again"):
            check_references(path)
    path.write_bytes(whole)
    check_references(path)


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mhd"
    path.write_text(MHD + "a\0b\n")
    with pytest.raises(NotAllowedError):
        check_references(path)

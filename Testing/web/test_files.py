"""What a browser may open: nothing outside of the chosen folders, by whatever name."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.images import load_volume
from AutoPromptSAMLib.mrml.persistence import save_scene
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.volumes import volume_to_node
from AutoPromptSAMLib.web.files import AllowedFolders, NotAllowedError, check_references, list_series, safe_name


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    """A folder with images, a sub-folder, hidden things and links; beside it what nobody may see."""
    folder = tmp_path / "images"
    (folder / "patient ß").mkdir(parents=True)
    for name in ("b.nii.gz", "A.NRRD", "notes.txt", ".hidden.nii", "patient ß/ct.mha"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "secret.nii").write_bytes(b"x")
    (tmp_path / "images2").mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "secret.nii").symlink_to(tmp_path / "secret.nii")
    (folder / "inside.nii").symlink_to(folder / "b.nii.gz")
    (folder / "loop").symlink_to(folder / "loop")
    return folder


def test_listing_shows_what_can_be_opened(chosen: Path) -> None:
    allowed = AllowedFolders([chosen])
    listing = allowed.list()
    assert [path.name for path in listing.files] == ["A.NRRD", "b.nii.gz", "inside.nii"]
    assert [path.name for path in listing.folders] == ["patient ß"]
    assert (listing.folder, listing.parent, listing.dicom) == (chosen, None, False)
    below = allowed.list("patient ß")
    assert (below.parent, [path.name for path in below.files]) == (chosen, ["ct.mha"])
    assert allowed.resolve("patient ß/ct.mha") == chosen / "patient ß" / "ct.mha"
    assert allowed.resolve(str(chosen / "b.nii.gz")) == chosen / "b.nii.gz"
    with pytest.raises(ImageError, match=r"b\.nii\.gz cannot be listed \(.*\); choose another folder\.$"):
        allowed.list("b.nii.gz")


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "../secret.nii",
        "patient ß/../../secret.nii",
        "/etc/passwd",
        "/",
        "..",
        "out",
        "out/secret.nii",
        "secret.nii",
        "../images2",
        "../nowhere",
    ],
)
def test_paths_outside_are_refused(chosen: Path, path: str, one_sentence) -> None:
    with one_sentence(NotAllowedError, "is outside the folders that this browser may open", str(chosen)):
        AllowedFolders([chosen]).resolve(path)


@pytest.mark.parametrize(
    "path", ["%2e%2e%2fsecret.nii", "..%2fsecret.nii", "..\\secret.nii", "nowhere.nii", "a\0b", "loop", "n" * 300]
)
def test_names_that_are_not_there(chosen: Path, path: str, one_sentence) -> None:
    with one_sentence(ImageError, "does not exist; check the path"):
        AllowedFolders([chosen]).resolve(path)


def test_without_folders_nothing_is_reachable(one_sentence) -> None:
    with one_sentence(NotAllowedError, "upload the file instead"):
        AllowedFolders([]).resolve("/etc/passwd")
    with pytest.raises(NotAllowedError):
        AllowedFolders([]).list()


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


def test_header_that_hides_a_name_behind_a_long_comment(tmp_path: Path) -> None:
    path = tmp_path / "a.nhdr"
    path.write_text(NHDR.replace("type", "# " + "x" * (1 << 20) + "\ntype") + "/etc/passwd\n")
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


def test_what_is_no_archive_is_for_its_reader_to_judge(tmp_path: Path) -> None:
    for name in ("a.mrb", "nowhere.nrrd"):
        check_references(tmp_path / name)
    (tmp_path / "a.mrb").write_bytes(b"not a zip")
    check_references(tmp_path / "a.mrb")
    with pytest.raises(AutoPromptSAMError):
        load_volume(tmp_path / "a.mrb")

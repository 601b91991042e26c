"""What may be looked into: nothing outside of the chosen folders, by whatever name."""

from __future__ import annotations

from pathlib import Path

import pytest

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.files.folders import AllowedFolders, NotAllowedError


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

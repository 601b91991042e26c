"""Files that are sent: harmless names, limits, archives, and the sentences of their readers."""

from __future__ import annotations

import io
import os
import shutil
import stat
import time
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from AutoPromptSAMLib.errors import GeometryError, ImageError, StorageError
from AutoPromptSAMLib.files.downloads import OLD_S
from AutoPromptSAMLib.files.folders import NotAllowedError
from AutoPromptSAMLib.files.uploads import Uploads
from AutoPromptSAMLib.images import load_volume

MIB = 1 << 20


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", 4 * MIB)


def send(uploads: Uploads, files: dict[str, bytes]) -> str:
    batch = uploads.begin()
    for name, content in files.items():
        for offset in range(0, max(len(content), 1), 1000):
            uploads.write(batch, name, content[offset : offset + 1000], offset)
    return batch


def image_bytes(tmp_path: Path, array: np.ndarray, name: str) -> bytes:
    path = tmp_path / f"written-{name}"
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(path))
    return path.read_bytes()


def dicom_files(tmp_path: Path, uid: str = "1.2.3", count: int = 4) -> dict[str, bytes]:
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = {}
    for n in range(count):
        image = sitk.GetImageFromArray(np.full((5, 6), n, np.int16))
        tags = {"0008|0060": "CT", "0008|0016": "1.2.840.10008.5.1.4.1.1.2", "0020|000d": "1.2", "0020|000e": uid}
        tags |= {"0008|0018": f"{uid}.{n}", "0020|0032": f"0\\0\\{n * 2}", "0020|0037": "1\\0\\0\\0\\1\\0"}
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(tmp_path / "slice.dcm"))
        writer.Execute(image)
        files[f"IM{n:04}"] = (tmp_path / "slice.dcm").read_bytes()
    return files


def zip_bytes(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def grow_old(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (0, time.time() - OLD_S - 60))


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha", "scan.tif"])
def test_one_image(uploads: Uploads, tmp_path: Path, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype(np.uint8)
    opened = uploads.finish(send(uploads, {name: image_bytes(tmp_path, array, name)}))
    assert (opened.kind, opened.path.name) == ("image", name)
    np.testing.assert_array_equal(load_volume(opened.path).array, array)


@pytest.mark.parametrize(
    ("name", "kind"), [("case.MRB", "scene"), ("organs.seg.nrrd", "segmentation"), ("p.json", "prompts")]
)
def test_what_is_no_image_is_told_apart(uploads: Uploads, name: str, kind: str) -> None:
    content = zip_bytes({"scene.mrml": b"<MRML/>"}) if kind == "scene" else b"x"
    assert uploads.finish(send(uploads, {name: content})).kind == kind


NAMES = {"": "DICOM", "study 7\\": "DICOM", "study 7/": "study 7"}


@pytest.mark.parametrize("prefix", ["", "study 7/", "study 7\\", "./", "../", "/"])
def test_files_dropped_at_once_are_a_dicom_folder(uploads: Uploads, tmp_path: Path, prefix: str) -> None:
    opened = uploads.finish(send(uploads, {prefix + name: data for name, data in dicom_files(tmp_path).items()}))
    assert (opened.kind, opened.path.name) == ("dicom", NAMES.get(prefix, "file"))
    assert load_volume(opened.path).array[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_archive_with_folders_of_two_series(uploads: Uploads, tmp_path: Path) -> None:
    files = {f"study/A/{name}": data for name, data in dicom_files(tmp_path).items()}
    files |= {f"study/B/{name}": data for name, data in dicom_files(tmp_path, "1.2.9", 2).items()}
    files |= {"study/DICOMDIR": b"x", "__MACOSX/study/A/IM0000": b"x", "study/.DS_Store": b"x", "readme.txt": b"hello"}
    opened = uploads.finish(send(uploads, {"study 7.zip": zip_bytes(files)}))
    assert (opened.kind, opened.path.name) == ("dicom", "study 7")
    with pytest.raises(ImageError, match="contains 2 DICOM series"):
        load_volume(opened.path)
    assert load_volume(opened.path, "1.2.9").array.shape == (2, 5, 6)
    assert len(all_files(opened.path)) == 7


def test_archive_of_one_image_and_one_with_its_data_file(uploads: Uploads, tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    nifti = image_bytes(tmp_path, array, "ct.nii.gz")
    for content in (zip_bytes({"ct.nii.gz": nifti}), zip_bytes({"a/ct.nii.gz": nifti, "a/readme.txt": b"hello"})):
        opened = uploads.finish(send(uploads, {"ct.zip": content}))
        np.testing.assert_array_equal(load_volume(opened.path).array, array)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "pair.mhd"))
    pair = {name: (tmp_path / name).read_bytes() for name in ("pair.mhd", "pair.raw")}
    for files in (pair, {"pair.zip": zip_bytes(pair)}):
        np.testing.assert_array_equal(load_volume(uploads.finish(send(uploads, files)).path).array, array)


def test_archive_that_is_a_scene(uploads: Uploads) -> None:
    opened = uploads.finish(send(uploads, {"case.zip": zip_bytes({"case/case.mrml": b"<MRML></MRML>"})}))
    assert (opened.kind, opened.path.name) == ("scene", "case.mrb")


def test_names_that_lead_elsewhere_stay_in_the_folder(uploads: Uploads, tmp_path: Path) -> None:
    names = ["../../../evil.nii", "/etc/evil.nii", "..\\evil.nii", "%2e%2e%2fevil.nii", "EVIL.nii"]
    send(uploads, dict.fromkeys(names, b"x"))
    paths = all_files(tmp_path)
    assert len(paths) == len(names)
    assert len({path.parent for path in paths}) == 1
    assert all(path.is_relative_to(uploads.folder) for path in paths)
    assert len({path.name.casefold() for path in paths}) == len(names)


@pytest.mark.parametrize(
    "name", ["../evil.dcm", "a/../../evil.dcm", "/etc/evil.dcm", "..\\evil.dcm", "C:\\evil.dcm", "\\evil.dcm"]
)
def test_archives_that_lead_elsewhere_are_refused(uploads: Uploads, tmp_path: Path, name: str, one_sentence) -> None:
    batch = send(uploads, {"ct.zip": zip_bytes({"IM0001": b"x", name: b"x"})})
    with one_sentence(NotAllowedError, "ct.zip contains a file that would land outside", "pack the files again"):
        uploads.finish(batch)
    assert all_files(tmp_path) == []


def test_archive_with_a_link_is_refused(uploads: Uploads, tmp_path: Path) -> None:
    stream = io.BytesIO()
    link = ZipInfo("ct.nii")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(NotAllowedError, match="outside its folder"):
        uploads.finish(send(uploads, {"ct.zip": stream.getvalue()}))
    assert all_files(tmp_path) == []


def test_archives_that_would_fill_the_disk_are_refused(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_sentence
) -> None:
    bomb = zip_bytes({"a": bytes(5 * MIB)})
    assert len(bomb) < 10_000
    with one_sentence(NotAllowedError, "bomb.zip is larger than"):
        uploads.finish(send(uploads, {"bomb.zip": bomb}))
    real = ZipFile.infolist

    def lying(archive: ZipFile) -> list[ZipInfo]:
        entries = real(archive)
        for entry in entries:
            entry.file_size = 10
        return entries

    monkeypatch.setattr(ZipFile, "infolist", lying)
    with one_sentence(ImageError, "bomb.zip cannot be unpacked"):
        uploads.finish(send(uploads, {"bomb.zip": bomb}))
    monkeypatch.undo()
    for where in ("checks", "uploads"):
        monkeypatch.setattr(f"AutoPromptSAMLib.files.{where}.MAX_FILES", 3)
    with one_sentence(NotAllowedError, "more than 3 files"):
        uploads.finish(send(uploads, {"many.zip": zip_bytes({str(n): b"" for n in range(4)})}))
    with one_sentence(NotAllowedError, "More than 3 files"):
        send(uploads, {str(n): b"x" for n in range(4)})
    shutil.rmtree(uploads.folder / next(iter(uploads._batches)))
    assert all_files(tmp_path) == []


def test_damaged_and_locked_archives(uploads: Uploads, one_sentence) -> None:
    whole = zip_bytes({"ct.nii": np.random.default_rng(0).bytes(5000)})
    flipped = bytearray(whole)
    flipped[1000] ^= 255
    locked = bytearray(whole)
    for at in (6, whole.index(b"PK\x01\x02") + 8):
        locked[at] |= 1
    for content in (b"not a zip", whole[:-30], bytes(flipped)):
        with one_sentence(ImageError, "ct.zip cannot be unpacked; pack the files again"):
            uploads.finish(send(uploads, {"ct.zip": content}))
    with one_sentence(ImageError, "because it has a password"):
        uploads.finish(send(uploads, {"ct.zip": bytes(locked)}))
    with one_sentence(ImageError, "ct contains no files"):
        uploads.finish(send(uploads, {"ct.zip": zip_bytes({})}))


def test_bad_images_keep_the_sentence_of_their_reader(uploads: Uploads, tmp_path: Path) -> None:
    time_points = image_bytes(tmp_path, np.zeros((2, 3, 4, 5), np.int16), "4d.nii.gz")
    nan = image_bytes(tmp_path, np.full((3, 4, 5), np.nan, np.float32), "nan.nii")
    for name, content, words in (
        ("empty.nii.gz", b"", "is an empty file (0 bytes)"),
        ("notes.doc", b"hello", "cannot be read as an image"),
        ("4d.nii.gz", time_points, "has 2 time points"),
        ("nan.nii", nan, "voxels that are NaN or infinite"),
        ("torn.nii", nan[:400], "is damaged"),
    ):
        opened = uploads.finish(send(uploads, {name: content}))
        with pytest.raises((ImageError, GeometryError)) as caught:
            load_volume(opened.path)
        assert words in str(caught.value)
        (tmp_path / name).write_bytes(content)
        with pytest.raises((ImageError, GeometryError)) as alone:
            load_volume(tmp_path / name)
        assert str(caught.value) == str(alone.value).replace(str(tmp_path / name), str(opened.path))


def test_batches_that_nothing_can_be_made_of(uploads: Uploads, one_sentence) -> None:
    with one_sentence(ImageError, "No file has arrived"):
        uploads.finish(uploads.begin())
    with one_sentence(ImageError, "has several images (a.nii, b.png); open one at a time"):
        uploads.finish(send(uploads, {"a.nii": b"x", "b.png": b"x"}))
    with one_sentence(NotAllowedError, "This upload is not known"):
        uploads.finish("../..")
    with one_sentence(NotAllowedError, "takes its voxels from a file elsewhere"):
        uploads.finish(send(uploads, {"a.mhd": b"NDims = 3\nElementDataFile = /etc/passwd\n"}))
    assert list(uploads.folder.iterdir()) == []


def test_pieces_and_limits(uploads: Uploads, one_sentence) -> None:
    batch = uploads.begin()
    with one_sentence(NotAllowedError, "A piece of a.nii is missing"):
        uploads.write(batch, "a.nii", b"x", 5)
    uploads.write(batch, "a.nii", bytes(3 * MIB))
    uploads.write(batch, "a.nii", b"tail", 3 * MIB)
    with one_sentence(NotAllowedError, "b.nii is larger than the 0.00419 GB"):
        uploads.write(batch, "b.nii", bytes(MIB))
    uploads.write(batch, "a.nii", b"anew")
    uploads.write(batch, "b.nii", bytes(MIB))
    assert sorted(path.stat().st_size for path in all_files(uploads.folder)) == [4, MIB]
    uploads.forget(batch, "b.nii")
    assert uploads.finish(batch).path.read_bytes() == b"anew"


def test_disk_full(tiny_disk: Path, one_sentence) -> None:
    uploads = Uploads(tiny_disk / "uploads", 4 * MIB)
    batch = uploads.begin()
    with one_sentence(StorageError, "the disk is full"):
        uploads.write(batch, "a.nii", bytes(100_000))
    assert all_files(tiny_disk) == []
    packed = zip_bytes({"a.nii": bytes(200_000)})
    batch = send(uploads, {"a.zip": packed})
    with one_sentence(StorageError, "the disk is full"):
        uploads.finish(batch)
    assert all_files(tiny_disk) == []


def test_what_unfinished_work_needs_stays(uploads: Uploads, tmp_path: Path) -> None:
    kept, dropped = (uploads.finish(send(uploads, {name: b"x"})) for name in ("a.nii", "b.nii"))
    arriving = send(uploads, {"c.nii": b"x"})
    grow_old(uploads.folder)
    opening = uploads.finish(send(uploads, {"d.nii": b"x"}))  # in no batch and by nobody kept yet
    theirs = Uploads(uploads.folder, 4 * MIB)  # of another program that runs at the same time
    other = theirs.finish(send(theirs, {"e.nii": b"x"}))
    uploads.remove_unused([kept.path, tmp_path / "elsewhere.nii"])
    assert not dropped.path.exists()
    theirs.remove_unused([other.path])
    for opened in (kept, opening, other, uploads.finish(arriving)):
        assert opened.path.exists()
    grow_old(uploads.folder)
    theirs.remove_unused([other.path])
    assert all_files(uploads.folder) == [other.path]
    Uploads(tmp_path / "nowhere", 1).remove_unused([])


def test_archive_of_this_machine(uploads: Uploads, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "study.zip").write_bytes(zip_bytes(dicom_files(tmp_path)))
    opened = uploads.open(folder / "study.zip")
    assert opened.path.is_relative_to(uploads.folder)
    assert load_volume(opened.path).array.shape == (4, 5, 6)
    assert [path.name for path in folder.iterdir()] == ["study.zip"]
    assert uploads.open(folder).kind == "dicom"


def test_sentences_name_files_as_they_were_sent(uploads: Uploads, tmp_path: Path) -> None:
    opened = uploads.finish(send(uploads, {"torn.nii": b"x"}))
    packed = uploads.finish(send(uploads, {"ct.zip": zip_bytes({"torn.nii": b"x"})}))
    for path in (opened.path, packed.path):
        named = uploads.named(f"{path} is damaged; {tmp_path / 'a.nii'} is not.")
        assert named.endswith(f"torn.nii is damaged; {tmp_path / 'a.nii'} is not.")
        assert str(uploads.folder) not in named

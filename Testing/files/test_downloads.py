"""Files that may be fetched once, for a while."""

from __future__ import annotations

import os
import time
from pathlib import Path

from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.files.downloads import OLD_S, Downloads


def everything(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def offered(downloads: Downloads, name: str = "a.nii") -> tuple[str, Path]:
    path = downloads.path_for(name)
    path.write_bytes(b"x")
    return downloads.offer(path), path


def test_a_file_can_be_taken_once(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path)
    (one, first), (other, second) = offered(downloads), offered(downloads)
    assert first != second
    assert downloads.take(one) == first
    assert downloads.take(one) is None
    assert downloads.take("../" + other) is None
    downloads.remove(first)
    assert everything(tmp_path) == [second.parent]


def test_downloads_expire(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path, seconds=0.05)
    id, path = offered(downloads, "../../a.nii")
    assert path.parent.parent == tmp_path
    time.sleep(0.1)
    assert downloads.take(id) is None
    assert everything(tmp_path) == []


def test_what_a_program_left_that_has_ended_goes_after_a_day(tmp_path: Path) -> None:
    (_, old), (_, new) = offered(Downloads(tmp_path)), offered(Downloads(tmp_path))
    os.utime(old.parent, (0, time.time() - OLD_S - 60))
    Downloads(tmp_path).remove_expired()
    assert everything(tmp_path) == [new.parent]


def test_no_place(tmp_path: Path, one_sentence) -> None:
    (tmp_path / "downloads").write_bytes(b"x")  # a file where the folder is to be
    with one_sentence(StorageError, "downloads"):
        Downloads(tmp_path / "downloads").path_for("a.nii")

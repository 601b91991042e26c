"""A set as one file: that it travels whole, and that what is not as it was saved is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from AutoPromptSAMLib.supports import SupportError, SupportLibrary, SupportSet

from ..conftest import SentenceCheck
from .kept import other_pixels, same


def test_a_set_travels_in_one_file(library: SupportLibrary, filled: SupportSet, tmp_path: Path) -> None:
    file = library.export(filled.id, tmp_path / "eyes")
    assert file.name == "eyes.apsupports"
    elsewhere = SupportLibrary(tmp_path / "elsewhere")
    taken = elsewhere.import_(file)
    same(taken, filled)
    assert taken.name == "eyes"
    assert taken.id != filled.id
    assert all(p.thumbnail is not None and p.thumbnail.is_file() for p in taken.pairs)
    assert elsewhere.import_(file).name == "eyes (2)"


def test_nothing_private_is_in_the_file(library: SupportLibrary, filled: SupportSet, tmp_path: Path) -> None:
    with zipfile.ZipFile(library.export(filled.id, tmp_path / "eyes")) as archive:
        names = {name.split("/")[0] for name in archive.namelist()}
        assert names == {"set.json", "pairs", "tasks"}
        said = json.loads(archive.read("set.json"))["set"]
        assert set(said) == {"name", "objects", "pairs", "tasks"}
        assert set(said["pairs"][0]) == {"id", "name", "objects", "spacing", "view", "source", "group"}


def rewritten(file: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of a zip file with other contents."""
    other = file.with_name("changed.apsupports")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return other


def renamed_object(name: str, content: bytes) -> bytes:
    return content.replace(b'"disc"', b'"vein"') if name == "set.json" else content


def newer(name: str, content: bytes) -> bytes:
    return content.replace(b'"version": 2', b'"version": 3') if name == "set.json" else content


def without_pairs(name: str, content: bytes) -> bytes | None:
    return None if name.startswith("pairs/") else content


def other_weights(name: str, content: bytes) -> bytes:
    return content[:-1] + b"?" if name.startswith("tasks/") else content


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (other_pixels, "pixels"),
        (renamed_object, "not what was saved"),
        (newer, "newer version"),
        (without_pairs, "it is damaged"),
        (other_weights, "task"),
        (lambda name, content: b"[]" if name == "set.json" else content, "cannot be read"),
        (lambda name, content: content[:100], "cannot be read"),
    ],
)
def test_a_changed_file_is_refused_as_a_whole(
    library: SupportLibrary,
    filled: SupportSet,
    tmp_path: Path,
    one_sentence: SentenceCheck,
    change: Callable[[str, bytes], bytes | None],
    word: str,
) -> None:
    file = library.export(filled.id, tmp_path / "eyes")
    elsewhere = SupportLibrary(tmp_path / "elsewhere")
    with one_sentence(SupportError, word, "export it again"):
        elsewhere.import_(rewritten(file, change))
    assert elsewhere.listing() == ([], [])
    assert not [path for path in (tmp_path / "elsewhere").glob("*") if path.is_dir()]


def test_what_is_no_such_file_is_one_sentence(
    library: SupportLibrary, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    with one_sentence(SupportError, "cannot be read"):
        library.import_(tmp_path / "nowhere.apsupports")
    text = tmp_path / "text.apsupports"
    text.write_text("hello")
    with one_sentence(SupportError, "export it again"):
        library.import_(text)


@pytest.mark.parametrize("packed_as", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_damage_of_any_kind_of_archive_is_one_sentence(
    library: SupportLibrary, filled: SupportSet, tmp_path: Path, packed_as: int, one_sentence: SentenceCheck
) -> None:
    with zipfile.ZipFile(library.export(filled.id, tmp_path / "eyes")) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    bad = tmp_path / "bad.apsupports"
    with zipfile.ZipFile(bad, "w", packed_as) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    whole = bad.read_bytes()
    with zipfile.ZipFile(bad) as archive:
        start = archive.getinfo("set.json").header_offset + 30 + len("set.json")
    bad.write_bytes(whole[: start + 9] + b"\xff" * 20 + whole[start + 29 :])
    with one_sentence(SupportError, "bad.apsupports cannot be imported, because it is damaged", "export it again"):
        library.import_(bad)
    end = whole.rindex(b"PK\x05\x06")
    bad.write_bytes(whole[: end + 12] + b"\xff\xff\xff\x7f" + whole[end + 16 :])  # the size of the list of contents
    with one_sentence(SupportError, "bad.apsupports cannot be imported, because it is damaged", "export it again"):
        library.import_(bad)

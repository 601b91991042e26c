"""Archives that would unpack to other places, headers and scenes that name other files: readers would follow them."""

from __future__ import annotations

import lzma
import re
import stat
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import unquote
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile, ZipInfo

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.files.folders import NotAllowedError

MAX_FILES = 20_000  # a choice: the largest DICOM studies have a few thousand files
HEADER_BYTES = 1 << 20  # more than any honest header of the formats below
# What zipfile raises for archives that are broken, locked, or packed in a way it does not know.
DAMAGED = (BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error, lzma.LZMAError)
WITH_DATA_FILES = (".mhd", ".mha", ".nhdr", ".nrrd")
_META_FILE = b"ElementDataFile"
# At the start of a line, which ends with a lone carriage return in NRRD. No system has a path of more letters.
_NAMES_DATA = re.compile(r"(?i)(?:\A|[^\S ]) *(?:ElementDataFile|data ?file)(?=[\s:=]*([^\n]{0,4096}))")


def damaged(archive: str, error: Exception) -> ImageError:
    """The error for an archive that was opened with one of ``DAMAGED``."""
    locked = " because it has a password" if "password" in str(error) else ""
    return ImageError(f"{archive} cannot be unpacked{locked}; pack the files again.")


def check_entries(archive: str, entries: Sequence[ZipInfo]) -> None:
    """NotAllowedError for an archive that would unpack to other places, or to very many files."""
    if len(entries) > MAX_FILES:
        raise NotAllowedError(f"{archive} contains more than {MAX_FILES} files; pack one series at a time.")
    for entry in entries:
        if _leads_away(entry.orig_filename) or stat.S_ISLNK(entry.external_attr >> 16):
            raise NotAllowedError(
                f"{archive} contains a file that would land outside its folder ({entry.filename:.80}); pack the "
                "files again without links and full paths."
            )


def check_references(path: Path) -> None:
    """NotAllowedError for an image or scene that names files beyond its own folder: readers would fetch them.

    ImageError for an archive that cannot be looked into: another reader might, and nobody would have looked. A file
    that is not there is left for its reader to judge.
    """
    name, outside = path.name.lower(), None
    if name.endswith((".mrb", ".zip")) and path.is_file():
        try:
            with ZipFile(path) as archive:
                check_entries(path.name, archive.infolist())
                outside = _scene_reference(archive)
        except (OSError, *DAMAGED) as error:
            raise damaged(path.name, error) from None
    elif name.endswith(WITH_DATA_FILES):
        with suppress(OSError), open(path, "rb") as stream:
            names = _data_files(name, stream)
            outside = next((n for n in names if _leads_away(n) or _links_away(path.parent, n)), None)
    if outside is not None:
        raise NotAllowedError(
            f"{path.name} takes its voxels from a file elsewhere ({outside:.80}); save it again as one file, such as "
            ".nrrd or .mrb."
        )


def _leads_away(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or (parts[0] == "" and len(parts) > 1) or bool(re.match("[A-Za-z]+:", name))


def _links_away(folder: Path, name: str) -> bool:
    """Whether a file of a folder is a link out of it, or a name that no file can have."""
    try:
        return not (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links, a name too long
        return True


def _data_files(name: str, stream: IO[bytes]) -> list[str]:
    """The files that a MetaImage or NRRD header may say its voxels are in; "LOCAL" is the same file.

    All that could be read so, whatever its case and sign: readers differ in which of two lines they follow.
    """
    head = stream.read(HEADER_BYTES)
    header = head.decode("latin-1")
    found = list(_NAMES_DATA.finditer(header))
    names = [each.group(1).strip() for each in found]
    first_list = next((each.end(1) for each in found if each.group(1).upper().startswith("LIST")), len(header))
    names = list(dict.fromkeys([*names, *(line.strip() for line in header[first_list:].splitlines())]))
    if len(head) == HEADER_BYTES and not _ends_within(name, head, stream):
        names.append("/a header without end")  # it might hide a name behind what was read
    return names


def _ends_within(name: str, head: bytes, rest: IO[bytes]) -> bool:
    """Whether a header surely ends within ``head``: a NRRD one with an empty line, a MetaImage one with its file."""
    if name.endswith((".nrrd", ".nhdr")):
        return re.search(rb"\n\r?\n", head) is not None and not re.search(rb"(?i)data ?file\s*:\s*LIST", head)
    before = head
    while piece := rest.read(HEADER_BYTES):
        if _META_FILE in before[1 - len(_META_FILE) :] + piece:
            return False
        before = piece
    return _META_FILE in head


def _scene_reference(archive: ZipFile) -> str | None:
    """A file or address outside of a .mrb that its scene, or a header in it, names."""
    for entry in archive.infolist():
        name = entry.filename.lower()
        if name.endswith(WITH_DATA_FILES):
            with archive.open(entry) as stream:
                names = _data_files(name, stream)
        elif name.endswith(".mrml"):
            if entry.file_size > 64 * HEADER_BYTES:
                return "its scene is larger than 64 MB"
            names = _named_in_scene(archive.read(entry))
        else:
            continue
        outside = next(filter(_leads_away, names), None)
        if outside is not None:
            return outside
    return None


def _named_in_scene(scene: bytes) -> list[str]:
    """The files and addresses that a .mrml names, as far as it can be read."""
    names: list[str] = []

    def element(_: str, attributes: dict[str, str]) -> None:
        for key, value in attributes.items():
            if re.fullmatch(r"fileName|fileListMember\d+|uri|uriListMember\d+", key):
                names.append(unquote(value))

    parser = expat.ParserCreate()
    parser.StartElementHandler = element
    with suppress(expat.ExpatError):
        parser.Parse(scene, True)
    return names

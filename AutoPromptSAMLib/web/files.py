"""What a browser may open: files in chosen folders, that lead to no others."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile, ZipInfo

import SimpleITK as sitk  # noqa: N813 - the name in its own manual

from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError
from AutoPromptSAMLib.images.reader import FORMATS, header_entries, read_header

Kind = Literal["image", "dicom", "scene", "segmentation", "prompts"]
KINDS: dict[str, Kind] = {".mrb": "scene", ".seg.nrrd": "segmentation", ".json": "prompts"}
READABLE = (*FORMATS, ".mrb", ".json", ".zip")
NAME_BYTES = 120  # of the 255 that file systems allow
MAX_FILES = 20_000  # a choice: the largest DICOM studies have a few thousand files
HEADER_BYTES = 1 << 20  # more than any honest header of the formats below
WITH_DATA_FILES = (".mhd", ".mha", ".nhdr", ".nrrd")


class NotAllowedError(AutoPromptSAMError):
    """A path outside the folders that were chosen, or an upload that may not be unpacked."""


@dataclass(frozen=True)
class Opened:
    """A file to open, or with kind "dicom" a folder of DICOM files, both for ``images.load_volume``."""

    path: Path
    kind: Kind


@dataclass(frozen=True)
class Series:
    """A DICOM series of a folder: ``uid`` for ``load_volume``, ``slices``: number of its files."""

    uid: str
    description: str
    modality: str
    slices: int


@dataclass(frozen=True)
class Listing:
    """A folder for a file picker. ``parent`` is None at the top; ``dicom``: the folder itself can be opened."""

    folder: Path
    parent: Path | None
    folders: Sequence[Path]
    files: Sequence[Path]
    dicom: bool


def list_series(folder: Path) -> list[Series]:
    """The DICOM series of a folder, most slices first; empty when it holds none."""
    found = []
    for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)) if any(folder.iterdir()) else ():
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        header = header_entries(read_header(Path(names[0])))
        found.append(Series(uid, header.get("0008|103e", ""), header.get("0008|0060", ""), len(names)))
    return sorted(found, key=lambda series: -series.slices)


def safe_name(name: str) -> str:
    """The last part of a file name that somebody sent, fit to be a file's name on any system."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = re.sub(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]', "_", name).strip(" .")
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name):  # devices on Windows
        name = f"_{name}"
    at = max(len(name) - 12, 0)  # the extensions stay
    while len(name.encode()) > NAME_BYTES:
        at, name = at - 1, name[: at - 1] + name[at:]
    return name or "file"


def kind_of(name: str) -> Kind:
    """What a file is by its name; all that is not known otherwise is for ``load_volume`` to judge."""
    return next((kind for suffix, kind in KINDS.items() if name.lower().endswith(suffix)), "image")


class AllowedFolders:
    """The folders on this machine that the browser may look into; with none, nothing is reachable."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]]) -> None:
        self.folders = tuple(dict.fromkeys(Path(folder).resolve() for folder in folders))

    def resolve(self, path: str | os.PathLike[str]) -> Path:
        """The real path of ``path``, which may be relative to the first folder; never outside of the folders.

        Raises NotAllowedError for one outside, whether it is there or not, ImageError for one that is not there.
        """
        if not self.folders:
            raise NotAllowedError("No folder of this machine was opened to the browser; upload the file instead.")
        try:
            real = (self.folders[0] / path).resolve()
            inside = any(real.is_relative_to(folder) for folder in self.folders)
            there = inside and real.exists()
        except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links, a name too long
            inside, there, real = True, False, Path(safe_name(str(path)))
        if not inside:
            raise NotAllowedError(
                f'"{os.fspath(path):.200}" is outside the folders that this browser may open '
                f"({', '.join(map(str, self.folders))}); choose a file in one of them."
            )
        if not there:
            raise ImageError(f"{real} does not exist; check the path.")
        return real

    def list(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """What is in a folder (default: the first): its folders, and the files that can be opened, by name.

        Hidden entries and links that lead outside are left out. Raises as ``resolve``, and ImageError for a file or a
        folder that may not be read.
        """
        folder = self.resolve("" if path is None else path)
        try:
            entries = sorted(folder.iterdir(), key=lambda entry: entry.name.lower())
        except OSError as error:
            raise ImageError(
                f"{folder} cannot be listed ({error.strerror or error}); choose another folder."
            ) from None
        shown = [entry for entry in entries if not entry.name.startswith(".") and self._inside(entry)]
        folders = [entry for entry in shown if entry.is_dir()]
        files = [entry for entry in shown if entry.is_file()]
        parent = None if folder in self.folders else folder.parent
        known = [entry for entry in files if entry.name.lower().endswith(READABLE)]
        return Listing(folder, parent, folders, known, any(is_dicom(entry) for entry in files[:20]))

    def _inside(self, entry: Path) -> bool:
        try:
            self.resolve(entry)
        except AutoPromptSAMError:
            return False
        return True


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


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

    What cannot be read is left for its reader to judge.
    """
    name, outside = path.name.lower(), None
    try:
        if name.endswith((".mrb", ".zip")):
            with ZipFile(path) as archive:
                check_entries(path.name, archive.infolist())
                outside = _scene_reference(archive)
        elif name.endswith(WITH_DATA_FILES):
            with open(path, "rb") as stream:
                names = _data_files(stream.read(HEADER_BYTES))
            inside = path.parent.resolve()
            links = (n for n in names if not (inside / n).resolve().is_relative_to(inside))
            outside = next(filter(_leads_away, names), None) or next(links, None)
    except (OSError, BadZipFile, NotImplementedError, RuntimeError, ValueError):
        return
    if outside is not None:
        raise NotAllowedError(
            f"{path.name} takes its voxels from a file elsewhere ({outside:.80}); save it again as one file, such as "
            ".nrrd or .mrb."
        )


def _leads_away(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or (parts[0] == "" and len(parts) > 1) or bool(re.match("[A-Za-z]+:", name))


def _data_files(head: bytes) -> list[str]:
    """The files that a MetaImage or NRRD header says its voxels are in; none when they are in the same file."""
    text = head.decode("latin-1")
    header = re.split(r"\n\r?\n", text, maxsplit=1)[0] if text.startswith("NRRD") else text
    found = re.search(r"(?im)^[ \t]*(?:ElementDataFile[ \t]*=|data ?file[ \t]*:=?)[ \t]*(.*)$", header)
    if found is None:
        # A NRRD header ends with an empty line; one without end might hide a name behind what was read.
        return ["/a header without end"] if len(header) >= HEADER_BYTES else []
    first = found.group(1).strip()
    if first.upper() == "LOCAL":
        return []
    listed = header[found.end() :].splitlines() if first.upper().startswith("LIST") else []
    return [first, *(line.strip() for line in listed)]


def _scene_reference(archive: ZipFile) -> str | None:
    """A file or address outside of a .mrb that its scene, or a header in it, names."""
    for entry in archive.infolist():
        name = entry.filename.lower()
        if name.endswith(WITH_DATA_FILES):
            with archive.open(entry) as stream:
                names = _data_files(stream.read(HEADER_BYTES))
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

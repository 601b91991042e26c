"""What a file or a folder is to be opened as, and names that are harmless on any system."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import SimpleITK as sitk  # noqa: N813 - the name in its own manual

from AutoPromptSAMLib.images.reader import FORMATS, header_entries, read_header

Kind = Literal["image", "dicom", "scene", "segmentation", "prompts"]
KINDS: dict[str, Kind] = {".mrb": "scene", ".seg.nrrd": "segmentation", ".json": "prompts"}
READABLE = (*FORMATS, ".mrb", ".json", ".zip")
NAME_BYTES = 120  # of the 255 that file systems allow


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


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False

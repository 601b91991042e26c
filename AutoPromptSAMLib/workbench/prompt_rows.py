"""Prompts and segments as rows of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.geometry.views import view_of as view_along
from AutoPromptSAMLib.prompts import Doodle, Point, Prompt
from AutoPromptSAMLib.session.seeds import natural_axis, seed_slices

__all__ = ["VIEWS", "PromptRow", "ml_text", "prompt_row", "view_along"]

VIEWS = ("axial", "coronal", "sagittal")
Sign = Literal["plus", "minus", "none"]
_MARKS: dict[Sign, str] = {"plus": " +", "minus": " −", "none": ""}


@dataclass(frozen=True)
class PromptRow:
    """A prompt in a list.

    ``kind``: the prompt's type. ``text``: what it is, as "Point +". ``view`` and ``slice``: where it is seen.
    ``person``: whether a person gave it; ``source`` names who did.
    """

    id: str
    kind: str
    sign: Sign
    text: str
    view: str
    slice: int
    person: bool
    source: str


def prompt_row(prompt: Prompt, geometry: VolumeGeometry) -> PromptRow:
    """The row of a prompt; of several slices that it lies on it names the middle one."""
    axis = natural_axis([prompt], geometry)
    slices = sorted(seed_slices([prompt], geometry, axis)) or [0]
    sign: Sign = "none"
    if isinstance(prompt, (Point, Doodle)):
        sign = "plus" if prompt.positive else "minus"
    return PromptRow(
        prompt.id,
        prompt.type,
        sign,
        prompt.type.capitalize() + _MARKS[sign],
        view_along(geometry, axis),
        slices[len(slices) // 2],
        prompt.source.kind == "person",
        prompt.source.name or prompt.source.kind,
    )


def ml_text(ml: float, has_size: bool = True) -> str:
    """A segment's volume as it stands in a list, or its pixels on a picture; a dash when the segment is empty."""
    if ml and not has_size:
        return f"{1000 * ml:.0f} px"  # of a millimetre each, as its geometry is made up
    return f"{ml:.0f} ml" if ml >= 10 else f"{ml:.1f} ml" if ml else "–"

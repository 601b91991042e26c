"""Segments as rows of a list, the active one, and what has to be said before a tool may change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.images.segmentation_file import TISSUE
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, SegmentInfo
from AutoPromptSAMLib.mrml.segment_list import hexadecimal
from AutoPromptSAMLib.workbench.prompt_rows import ml_text


@dataclass(frozen=True)
class SegmentRow:
    """A segment in a list; ``colour`` as "#rrggbb", its volume ``ml`` in words."""

    id: str
    name: str
    colour: str
    visible: bool
    locked: bool
    ml: str


def segment_rows(segmenter: InteractiveSegmenter) -> list[SegmentRow]:
    """The rows of all segments, in order."""
    has_size = segmenter.volume.has_size
    return [
        SegmentRow(
            info.id, info.name, hexadecimal(info.color).lower(), info.visible, info.locked, ml_text(info.ml, has_size)
        )
        for info in segmenter.segments
    ]


def active_segment(segmenter: InteractiveSegmenter | None) -> SegmentInfo | None:
    """The segment that prompts and tools go to; None when there is none."""
    if segmenter is None:
        return None
    return next((info for info in segmenter.segments if info.id == segmenter.active_segment), None)


def need_editable(segmenter: InteractiveSegmenter | None) -> SegmentInfo:
    """The active segment; PromptError when there is none, or it is locked."""
    active = active_segment(segmenter)
    if active is None:
        raise PromptError("There is no segment to work on; add one with the + above the list.")
    if active.locked:
        raise PromptError(f'"{active.name}" is locked; unlock it in the segment list first.')
    return active


def need_filled(segmenter: InteractiveSegmenter | None) -> SegmentInfo:
    """The active segment; PromptError when there is none, it is locked, or empty."""
    active = need_editable(segmenter)
    if not active.ml:
        raise PromptError(f'"{active.name}" is empty; give it a box, a click or a stroke of the brush first.')
    return active


def nothing_left_text(segmenter: InteractiveSegmenter | None) -> str:
    """What to say after an effect that left nothing of the active segment; "" when something is left."""
    left = active_segment(segmenter)
    if left is None or left.ml:
        return ""
    return f'Nothing is left of "{left.name}", which was too thin for it; undo, or work on less.'


def terminology(name: str, terms: Mapping[str, str]) -> str:
    """The terminology of a segment with this name, by ``terms`` (``mrml.terms.anatomy_terms``) in any case of letters.

    Tissue for names that are not among them.
    """
    wanted = name.strip().lower()
    return next((term for known, term in terms.items() if known.lower() == wanted), TISSUE)

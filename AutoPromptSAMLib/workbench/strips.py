"""The strip along the slices of a view: which were prompted, how the others went or how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.session.seeds import seed_slices

Kind = Literal["done", "weak", "sure", "seed"]
_TEXTS = {"done": "propagated", "weak": "worth a look", "seed": "prompted"}


@dataclass(frozen=True)
class Mark:
    """Slices ``first`` to ``last``, and what they are in words.

    ``level``: of ``mrml.reports.SURE_COLORS``, for those that are "sure".
    """

    first: int
    last: int
    kind: Kind
    text: str
    level: int = 0


def strip_marks(segmenter: InteractiveSegmenter, axis: int, reviewing: bool = False) -> list[Mark]:
    """What a view along array axis ``axis`` has to mark of the active segment; prompted slices come last.

    ``reviewing``: how sure the review found the slices, where there is one, in place of how the last run went.
    """
    found, what = segmenter.propagation(), "sure"
    if reviewing and (expected := segmenter.looks.expected_dice()) is not None:
        found, what = expected, "expected Dice"
    marks: list[Mark] = []
    if found is not None and found.axis == axis:
        if found.automatic:
            marks = [_sure(*span, what) for span in found.sure_spans]
        else:
            marks = [_mark(first, last, kind) for first, last, kind in found.spans]
    seeds: set[int] = set()
    if segmenter.active_segment:
        seeds = seed_slices(segmenter.prompts(), segmenter.volume.geometry, axis)
    return marks + [_mark(index, index, "seed") for index in sorted(seeds)]


def _mark(first: int, last: int, kind: Kind) -> Mark:
    return Mark(first, last, kind, f"{_where(first, last)}: {_TEXTS[kind]}")


def _sure(first: int, last: int, level: int, sure: float, what: str) -> Mark:
    least = "" if first == last else "at least "
    return Mark(first, last, "sure", f"{_where(first, last)}: {least}{100 * sure:.0f} % {what}", level)


def _where(first: int, last: int) -> str:
    return f"slice {first}" if first == last else f"slices {first}-{last}"

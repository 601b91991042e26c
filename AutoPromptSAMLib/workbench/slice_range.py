"""The range of slices that runs go through, and along which axis."""

from __future__ import annotations

from AutoPromptSAMLib.geometry.views import view_of
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.session.seeds import natural_axis


def moved_range(first: int, last: int, count: int, end: str, index: int) -> tuple[int, int]:
    """The range after its ``end``, "first" or "last", was moved to ``index`` of ``count`` slices.

    An end that meets the other one pushes it along.
    """
    index = min(max(index, 0), count - 1)
    return (index, max(index, last)) if end == "first" else (min(index, first), index)


def view_across_prompts(segmenter: InteractiveSegmenter) -> str | None:
    """The view whose slices the prompts of the active segment lie on; None without prompts."""
    if not segmenter.active_segment or not segmenter.prompts():
        return None
    geometry = segmenter.volume.geometry
    return view_of(geometry, natural_axis(segmenter.prompts(), geometry))

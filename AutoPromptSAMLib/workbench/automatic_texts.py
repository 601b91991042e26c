"""Through the volume by itself: which slices, and how the last run went in the words of a panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from AutoPromptSAMLib.workbench.language import tr as _

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk

LAST = -1  # stands for the last slice that there is, in what a scene keeps


@dataclass(frozen=True)
class RunTexts:
    """``result`` of the last run from prompts, the least sure slice of one from examples; "" where there is none."""

    result: str
    unsure: str


def range_within(first: int, last: int, count: int) -> tuple[int, int]:
    """The first and the last of ``count`` slices, of a range that may have been kept for another image."""
    end = count - 1
    return min(max(first, 0), end), end if last <= LAST else min(last, end)


def kept_range(first: float, last: float, count: int) -> tuple[int, int]:
    """A chosen range as a scene keeps it; an end at the last slice stays there on other images."""
    return round(first), LAST if round(last) == count - 1 else round(last)


def run_texts(segmenter: InteractiveSegmenter, examples: ExamplesDesk, axis: int) -> RunTexts:
    """How the last run of the active segment went, and where the examples are least sure along ``axis``."""
    from AutoPromptSAMLib.workbench.ranges import propagation_summary

    result, unsure = "", examples.summary(segmenter, axis).unsure
    about = propagation_summary(segmenter)
    if about is not None:
        result = about.about
        if about.weak:
            result += _(" Worth a look: {slices}.").format(slices=", ".join(map(str, about.weak)))
    if unsure is None:
        return RunTexts(result, "")
    text = _("Least sure: {name}, slice {index}, {percent} %")
    return RunTexts(result, text.format(name=unsure.name, index=unsure.slice, percent=unsure.sure))

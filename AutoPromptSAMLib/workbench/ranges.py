"""Going on to the other slices: how the last run went."""

from __future__ import annotations

from dataclasses import dataclass

from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter

WEAK_SLICES = 6  # that are named: a choice


@dataclass(frozen=True)
class PropagationSummary:
    """A run in words (``about``), and the slices that are worth a look (``weak``), in order."""

    about: str
    weak: tuple[int, ...]


def propagation_summary(segmenter: InteractiveSegmenter) -> PropagationSummary | None:
    """How the last run from the prompts of the active segment went; None when there was none."""
    found = segmenter.propagation() if segmenter.active_segment else None
    if found is None or not found.agreement or found.automatic:
        return None
    state = "" if found.complete else " so far"
    about = f"{len(found.agreement)} slices{state}, {min(found.agreement)} to {max(found.agreement)}."
    return PropagationSummary(about, tuple(sorted(found.weak[:WEAK_SLICES])))

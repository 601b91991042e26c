"""The review of the active segment: where to look, what to accept or take, the steps of a refined slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Volume
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.probe import slice_position
from AutoPromptSAMLib.mrml.reports import sure_level
from AutoPromptSAMLib.mrml.review_state import Reviewed
from AutoPromptSAMLib.prompts import Box, Point
from AutoPromptSAMLib.session import REACH, SliceReview

ROWS = 4  # of the list of least sure slices: a choice


@dataclass(frozen=True)
class ReviewRow:
    """An unsure slice: its expected Dice in ``percent``, as a ``level`` of ``mrml.reports.SURE_COLORS``, in ``text``.

    ``position`` on the patient's axis, as "S 24.0 mm", "" of a picture, which has no size. ``beside``: the segment
    ends next to this slice.
    """

    index: int
    position: str
    percent: int
    level: int
    text: str
    beside: bool


@dataclass(frozen=True)
class StepText:
    """Which step of its refinement is on slice ``index``: ``number`` from 0 of ``count``, in words, and why."""

    index: int
    number: int
    count: int
    title: str
    reason: str


@dataclass(frozen=True)
class ReviewSummary:
    """What is known of the active segment.

    ``rows``: the least sure slices. ``corrected``: slices that were not carried to their neighbours yet. ``changed``:
    how many slices changed since they were looked at. ``suggested`` and ``steps``: of one slice.
    """

    about: str
    rows: tuple[ReviewRow, ...]
    corrected: tuple[int, ...]
    changed: int
    suggested: str
    steps: StepText | None


class ReviewDesk:
    """Works on the active segment of one segmenter along the array axis that each method is given."""

    def __init__(self, segmenter: InteractiveSegmenter) -> None:
        self.segmenter = segmenter
        self._visited: set[int] = set()  # where the person was led since the last look

    def known(self, axis: int) -> Reviewed | None:
        """What is known of the active segment along ``axis``."""
        known = self.segmenter.looks.of()
        return None if known is None or known.axis != axis else known

    def forget(self) -> None:
        """Lead to all unsure slices again, from the least sure one on."""
        self._visited.clear()

    def run(self, first: int, last: int, axis: int) -> None:
        """Ask where the model is unsure on slices ``first`` to ``last``."""
        self.forget()
        self.segmenter.looks.look(first, last, axis)

    def refine(self, first: int, last: int, axis: int) -> None:
        """Let prompts mend themselves on slices ``first`` to ``last``."""
        self.segmenter.mending.refine(first, last, axis)

    def next_slice(self, axis: int, carry: bool) -> int | None:
        """The least sure slice that the person was not led to yet; with ``carry`` corrections go to neighbours first.

        None when all unsure slices are just being found anew; PromptError when none is unsure.
        """
        carried = self.segmenter.mending.carry() if carry and self.segmenter.looks.corrected_slices() else []
        rows = [] if self.known(axis) is None else [row.index for row in self.segmenter.looks.ranked_slices()]
        if not rows:
            raise PromptError('No slice is unsure; choose "Where is it unsure?" to look again.')
        elsewhere = [n for n in rows if all(abs(n - index) > REACH for index in carried)]
        if not elsewhere:
            return None
        if self._visited.issuperset(elsewhere):
            self.forget()
        index = next(n for n in elsewhere if n not in self._visited)
        self._visited.add(index)
        return index

    def accept(self, axis: int, index: int) -> None:
        """What is on a slice is right: it stays. PromptError when nobody looked along ``axis``."""
        self._need(axis).mending.accept(index)

    def take(self, axis: int, index: int) -> None:
        """Make the suggestions for a slice the person's prompts. PromptError when nobody looked along ``axis``."""
        self._need(axis).mending.take_suggestions(index)

    def step(self, axis: int, index: int, by: int) -> None:
        """Put the step after (1) or before (-1) the shown one on a slice; PromptError when it was not refined."""
        known = self.known(axis)
        steps = None if known is None else known.steps.get(index)
        if known is None or steps is None:
            raise PromptError(f"Slice {index} was not refined, so it has no steps to go through.")
        number = known.shown_step(index)
        self.segmenter.mending.choose_step(index, steps.chosen if number is None else number + by)

    def suggestions_text(self, index: int) -> str:
        """What is suggested for a slice in words, as "a box and 3 points"; "" when nothing is."""
        parts = []
        prompts = self.segmenter.looks.suggestions(index)
        for kind, one, many in ((Box, "a box", "boxes"), (Point, "a point", "points")):
            count = sum(isinstance(prompt, kind) for prompt in prompts)
            if count:
                parts.append(one if count == 1 else f"{count} {many}")
        return " and ".join(parts)

    def summary(self, axis: int, index: int) -> ReviewSummary | None:
        """What is known along ``axis``, and of slice ``index``; None when nobody looked along ``axis``."""
        known = self.known(axis)
        if known is None or not (known.looks or known.steps):
            return None
        segmenter, now = self.segmenter, known.now()
        corrected = segmenter.looks.corrected_slices()
        ranked = segmenter.looks.ranked_slices()[:ROWS]
        changed = [n for n in known.looks if n not in now and n not in corrected and known.shown_step(n) is None]
        return ReviewSummary(
            _about([look.review.expected_dice for look in now.values() if not look.review.is_empty]),
            tuple(_row(review, segmenter.volume, axis) for review in ranked),
            tuple(corrected),
            len(changed),
            self.suggestions_text(index),
            _step_text(known, index),
        )

    def _need(self, axis: int) -> InteractiveSegmenter:
        if self.known(axis) is None:
            raise PromptError('The segment was not looked at along these slices; choose "Where is it unsure?" first.')
        return self.segmenter


def _about(dice: Sequence[float]) -> str:
    if not dice:
        return ""
    count = f"{len(dice)} slice{'' if len(dice) == 1 else 's'}"
    return f"Expected Dice {round(100 * sum(dice) / len(dice))} % on average of {count}."


def _row(review: SliceReview, volume: Volume, axis: int) -> ReviewRow:
    percent = round(100 * review.expected_dice)
    text = f"Expected Dice {percent} %"
    if review.is_empty:
        text = "The segment ends beside this slice; the object may go on here"
    position = slice_position(volume.geometry, axis, review.index) if volume.has_size else ""
    return ReviewRow(review.index, position, percent, sure_level(review.expected_dice), text, review.is_empty)


def _step_text(known: Reviewed, index: int) -> StepText | None:
    steps, number = known.steps.get(index), known.shown_step(index)
    if steps is None:
        return None
    count = len(steps.masks)
    if number is None:
        reason = "Step back to what it was refined to."
        return StepText(index, count - 1, count, "changed since it was refined", reason)
    step = steps.steps[number]
    title = "as it was" if number == 0 else f"step {number} of {count - 1}"
    if number:
        reason = f"{'Accepted' if step.accepted else 'Refused'}: {step.reason.rstrip('.')}."
    elif any(later.accepted for later in steps.steps[1:]):
        reason = "Before it was refined."
    else:
        reason = "Nothing surer was found, so it stays."
    return StepText(index, number, count, title, f"{reason} Mean uncertainty {step.score:.3f} bits.")

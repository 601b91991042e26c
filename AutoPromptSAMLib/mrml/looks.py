"""Where the model is unsure of a segment: looks at its slices, what it expects of them, what it would try next.

How sure the model is is no undo step: it is remembered by what is on a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from AutoPromptSAMLib.errors import AutoPromptSAMError, PromptError
from AutoPromptSAMLib.geometry import Plane
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.mrml.kept_segments import crop_slice
from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.mrml.review_state import Reviewed, spans
from AutoPromptSAMLib.mrml.uncertainty_display import UncertaintyDisplay
from AutoPromptSAMLib.mrml.volume_runs import Task, VolumeRuns
from AutoPromptSAMLib.prompts import Prompt
from AutoPromptSAMLib.session.protocol import Review, SliceReview


class Looks:
    """What the model says of the segments of a segmenter; ``Mending`` acts on it. ``changed`` says "review"."""

    def __init__(self, segmenter: VolumeRuns) -> None:
        self.segmenter = segmenter
        self.display = UncertaintyDisplay(segmenter)
        self._reviews: dict[str, Reviewed] = {}
        self._seen: dict[int, int] = {}  # the slice that the person looked at last, by array axis
        self._live: Job[Review] | None = None  # a look at a slice that a person just corrected
        segmenter.changed.connect(self._follow)

    def close(self) -> None:
        """Ask no more, and show nothing of it any more."""
        if self._live is not None:
            self._live.cancel()
        self.segmenter.changed.disconnect(self._follow)
        self.display.close()

    def look(self, first: int = 0, last: int | None = None, axis: int | None = None) -> None:
        """Ask how sure the model is of the active segment on slices ``first`` to ``last`` along array axis ``axis``.

        ``axis`` None is the one of the segment's last run or of its prompts. Nothing is changed.
        """
        segmenter = self.segmenter
        if not segmenter.is_free():
            return
        segmenter.take_edits()
        with segmenter.saying():
            segment_id, along = self.chosen(axis)
            text = f"Looking where {segmenter.name_of(segment_id)} is unsure"
            segmenter.start(text, partial(self._look, segment_id, along, first, last))

    def of(self, segment_id: str | None = None) -> Reviewed | None:
        """What is known of a segment, default the active one."""
        return self._reviews.get(segment_id or self.segmenter.active_segment or "")

    def expected_dice(self, segment_id: str | None = None) -> Propagation | None:
        """The expected Dice by slice, as far as it is known of what is there now, to be shown as other runs are."""
        known = self.of(segment_id)
        if known is None:
            return None
        dice = {index: look.review.expected_dice for index, look in known.now().items()}
        return Propagation(known.axis, dice, (), known.complete, True)

    def ranked_slices(self, segment_id: str | None = None) -> list[SliceReview]:
        """The slices that are worth a look, the least sure first; not those that a person corrected or accepted."""
        segment_id, known = segment_id or self.segmenter.active_segment or "", self.of(segment_id)
        if known is None:
            return []
        exact = self.segmenter.exact(segment_id, known.axis)
        looks = [look for index, look in known.now().items() if index not in exact and not look.by_person]
        return sorted((look.review for look in looks), key=lambda review: (review.expected_dice, review.index))

    def corrected_slices(self) -> list[int]:
        """Slices of the active segment that a person changed since they were looked at, and that were not carried."""
        known, segment_id = self.of(), self.segmenter.active_segment or ""
        if known is None:
            return []
        vouched = self.segmenter.vouched(segment_id, known.axis)
        return [n for n in sorted(known.looks) if n in vouched and known.is_own(n) and not known.was_carried(n)]

    def suggestions(self, index: int | None = None) -> tuple[Prompt, ...]:
        """What the model would try next on a slice of the active segment, default the one that the person looks at."""
        known = self.of()
        if known is None:
            return ()
        look = known.look(self._seen.get(known.axis, -1) if index is None else index)
        return () if look is None else look.suggestions

    def change_suggestion(self, prompt: Prompt) -> None:
        """Put ``prompt`` in the place of the suggestion with its id: a handle was dragged."""
        known = self.of()
        for look in () if known is None else known.now().values():
            if prompt.id in [each.id for each in look.suggestions]:
                look.suggestions = tuple(prompt if each.id == prompt.id else each for each in look.suggestions)
                self.segmenter.changed("review")

    # -- for the segmenter and its other parts ------------------------------------------------------------------------

    def seen(self, plane: Plane) -> None:
        """The person looks there: suggestions are shown for it."""
        if plane.axis is not None and plane.index is not None:
            self._seen[plane.axis] = plane.index
            if self._reviews:
                self.segmenter.changed("review")

    def chosen(self, axis: int | None) -> tuple[str, int]:
        """The active segment and the axis to work along; PromptError when there is nothing to work on."""
        segmenter, segment_id = self.segmenter, self.segmenter.active_segment
        if segment_id is None:
            raise PromptError("There is no segment to review; draw a box around the object first.")
        if segmenter.kept.known[segment_id].is_empty:
            raise PromptError(f'"{segmenter.name_of(segment_id)}" is empty; draw a box around the object first.')
        run = segmenter.runs.get(segment_id)
        if axis is None:
            axis = run.axis if run is not None else segmenter.present_masks.natural_axis(segment_id)
        return segment_id, axis

    def need(self) -> Reviewed:
        """What is known of the active segment; PromptError when that is nothing."""
        known = self.of()
        if known is None:
            raise PromptError('The segment was not looked at yet; choose "Where is it unsure?" first.')
        return known

    def along(self, segment_id: str, axis: int) -> Reviewed:
        """What is known of a segment along an axis, and is noted there; another axis starts anew."""
        known = self._reviews.get(segment_id)
        if known is None or known.axis != axis:
            self.forget(segment_id)
            known = Reviewed(axis, lambda index: self.segmenter.kept.slice_of(segment_id, axis, index))
            self._reviews[segment_id] = known
        return known

    def forget(self, segment_id: str) -> None:
        """Know nothing of a segment any more."""
        if self._reviews.pop(segment_id, None) is not None:
            self.display.forget(segment_id)
            self.segmenter.changed("review")

    def at(self, segment_id: str, axis: int, indices: Collection[int]) -> list[Task]:
        """Looks at some slices; not at those beside which the segment is no more."""
        mask = self.segmenter.kept.known[segment_id]
        there = [n for n in indices if any(not crop_slice(mask, axis, n + by).is_empty for by in (-1, 0, 1))]
        return [partial(self._look, segment_id, axis, first, last) for first, last in spans(there)]

    def draw(self, segment_id: str, index: int | None = None) -> None:
        """Show what is known of a slice of a segment now, default all of them."""
        known = self._reviews.get(segment_id)
        if known is not None:
            self.display.draw(segment_id, known, index)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _look(self, segment_id: str, axis: int, first: int, last: int | None) -> Job[Review]:
        """Ask for the uncertainty of what is there now."""
        known = self.along(segment_id, axis)

        def done(job: Job[Review]) -> bool:
            known.complete = self.segmenter.is_whole(job, "Cancelled before a slice was looked at.")
            return known.complete

        return self._ask(segment_id, axis, first, last, False, lambda job: self.segmenter.ended(job, done))

    def _ask(
        self,
        segment_id: str,
        axis: int,
        first: int,
        last: int | None,
        by_person: bool,
        done: Callable[[Job[Review]], None],
    ) -> Job[Review]:
        segmenter, mask = self.segmenter, self.segmenter.kept.known[segment_id]

        def looked(review: SliceReview) -> None:
            known = self._reviews.get(segment_id)
            if known is not None and known.axis == axis:
                known.add(crop_slice(mask, axis, review.index), review, by_person)
                self.draw(segment_id, review.index)
                segmenter.changed("review")

        progress = None if by_person else segmenter.later(segmenter.on_progress)
        return segmenter.session.review(
            segment_id, mask, axis, first, last, segmenter.later(looked), progress, segmenter.later(done)
        )

    def _look_live(self) -> None:
        """Look at a slice that a person has just corrected, beside what else goes on."""
        segmenter, known = self.segmenter, self.of()
        segment_id = segmenter.active_segment or ""
        if self._live is not None or known is None or segmenter.is_closed:
            return
        unknown = [index for index in self.corrected_slices() if known.look(index) is None]
        if not unknown or segmenter.kept.known[segment_id].is_empty:
            return

        def done(job: Job[Review]) -> None:
            self._live = None
            if job.error is None and segmenter.job is None:
                self._look_live()

        try:
            index = unknown[0]
            self._live = self._ask(segment_id, known.axis, index, index, True, done)
        except AutoPromptSAMError:  # it was not asked for: the next run says what is wrong
            self._live = None

    def _follow(self, what: str) -> None:
        """Another segment is the active one, or somebody changed one."""
        active = self.segmenter.active_segment
        if what == "active":
            self.display.update()
        elif what in ("segments", "propagation") and self.segmenter.job is None and active in self._reviews:
            self.draw(active)
            self._look_live()

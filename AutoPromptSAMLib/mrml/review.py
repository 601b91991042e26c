"""Reviewing a segment: suggestions to take, prompts that mend themselves, corrections carried to neighbours.

The session does the work; what a run wrote is one undo step.
"""

from __future__ import annotations

from dataclasses import replace

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Crop, slice_plane
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.mrml.kept_segments import crop_slice
from AutoPromptSAMLib.mrml.looking import Looking, Task
from AutoPromptSAMLib.mrml.reports import Message
from AutoPromptSAMLib.mrml.review_state import SliceSteps, kept
from AutoPromptSAMLib.mrml.segments import slice_region
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.prompts import PERSON, Box, MaskPrompt
from AutoPromptSAMLib.prompts.types import new_id
from AutoPromptSAMLib.session.protocol import (
    REACH,
    PropagationResult,
    RefinedSlice,
    RefineResult,
)
from AutoPromptSAMLib.session.seeds import seed_slices


class Reviewing(Looking):
    """Acts on what the model is unsure of; ``InteractiveSegmenter`` adds propagation and files."""

    def accept_reviewed(self, index: int) -> None:
        """Vouch for what the active segment has on a slice: runs keep it exactly."""
        with self._saying():
            known, segment_id = self._known(), self._active or ""
            content = self.kept.slice_of(segment_id, known.axis, index)
            if content.is_empty:
                raise PromptError(f'"{self._name(segment_id)}" is not on slice {index}; go to a slice where it is.')
            if index not in self._exact(segment_id, known.axis) and not self._is_locked(segment_id):
                self.session.add_prompt(segment_id, MaskPrompt(content, self.volume.geometry))
                self._push(Step(f"Accept slice {index}", self._travel, prompt_steps=1))
                for what in ("prompts", "review"):
                    self.changed(what)

    def take_suggestions(self, index: int) -> None:
        """Make the suggestions for a slice the person's own prompts, as one step; a box replaces the boxes there."""
        segment_id = self._active or ""
        with self._saying():
            known = self._known()
            wanted = self.suggestions(index)
            if not wanted:
                raise PromptError(f"Nothing is suggested for slice {index}; go to a slice that is unsure.")
            if self._is_locked(segment_id):
                return
            plane = slice_plane(self.volume.geometry, known.axis, index)
            step = Step(f"Take suggestion on slice {index}", self._travel, by_hand=dict(self.kept.by_hand))
            with self._taken_back(step):
                if any(isinstance(prompt, Box) for prompt in wanted):
                    for prompt in self.prompts(segment_id):
                        here = seed_slices([prompt], self.volume.geometry, known.axis) == {index}
                        if isinstance(prompt, Box) and here:
                            self.session.remove_prompt(segment_id, prompt.id)
                            step.prompt_steps += 1
                for prompt in sorted(wanted, key=lambda prompt: not isinstance(prompt, Box)):
                    step.prompt_steps += self._masks.take_for(segment_id, prompt, plane)
                    self.session.add_prompt(segment_id, replace(prompt, source=PERSON, id=new_id()))
                    step.prompt_steps += 1
            self._push(step)
            self._prompted("", segment_id, plane, 0, step)
            self.changed("prompts")
            self.changed("review")

    def refine(self, first: int = 0, last: int | None = None, axis: int | None = None) -> None:
        """Let the prompts of the active segment mend themselves on slices ``first`` to ``last``, as one step.

        Slices that a person painted or accepted stay. Then the slices that changed are looked at anew.
        """
        if not self._is_free():
            return
        self._take_edits()
        with self._saying():
            segment_id, along = self._chosen(axis)
            if self._is_locked(segment_id):
                return
            step = Step(f"Refine {self._name(segment_id)}", self._travel, by_hand=dict(self.kept.by_hand))
            mended: list[int] = []
            tried: list[int] = []

            def slice_done(refined: RefinedSlice) -> None:
                tried.append(refined.index)
                if self._mend(segment_id, along, refined, step):
                    mended.append(refined.index)

            def done(job: Job[RefineResult]) -> bool:
                if not mended:
                    self._drop_step(step)
                if not self._is_whole(job, "Cancelled before a slice was finished; nothing was changed."):
                    return False
                self._tasks += self._looks(segment_id, along, mended)
                self.said(Message(_mended(len(mended), len(tried))))
                return True

            with self._taken_back(step):
                step.prompt_steps = self._masks.take_painted(segment_id, along)
                mask = self.kept.known[segment_id]
                self._since_run.clear()
                self._start(
                    f"Refining {self._name(segment_id)}",
                    lambda: self.session.refine(
                        segment_id,
                        mask,
                        along,
                        first,
                        last,
                        self._later(slice_done),
                        self._later(self._on_progress),
                        self._later(lambda job: self._ended(job, done)),
                    ),
                )
            self._push(step)
            if step.prompt_steps:
                self.changed("prompts")

    def choose_step(self, index: int, number: int) -> None:
        """Put the mask of a step of a refined slice there, as an undo step."""
        segment_id, known = self._active or "", self.reviewed()
        steps = None if known is None else known.steps.get(index)
        if known is None or steps is None or not self._is_free() or self._is_locked(segment_id):
            return
        self._take_edits()
        number = min(max(number, 0), len(steps.masks) - 1)
        steps.chosen = number
        if known.shown_step(index) != number:
            step = Step(f"Step {number} of slice {index}", self._travel, by_hand=dict(self.kept.by_hand))
            self.kept.take_up(segment_id, known.axis, index)
            region = slice_region(self.volume.geometry, known.axis, index)
            self._record(self.kept.write(segment_id, steps.masks[number], region), step)
            self._push(step)
        self._draw(segment_id)
        self.changed("review")

    def carry_corrections(self, reach: int = REACH) -> list[int]:
        """Find the neighbours of the corrected slices anew, as one step, and look at them again; returns the slices.

        A correction beside which the segment is on neither slice has nothing to be carried to.
        """
        segment_id, known = self._active or "", self.reviewed()
        self._take_edits()
        corrected = self.corrected_slices()
        if known is None or not corrected or not self._is_free() or self._is_locked(segment_id):
            return []
        axis, mask = known.axis, self.kept.known[segment_id]
        alone = [n for n in corrected if all(crop_slice(mask, axis, m).is_empty for m in (n - 1, n + 1))]
        for index in corrected:
            known.carried[index] = kept(known.present(index))
        wanted = [index for index in corrected if index not in alone]
        if not wanted:
            return []
        what = f"slice {wanted[0]}" if len(wanted) == 1 else f"{len(wanted)} slices"
        step = Step(f"Carry {what} to the neighbours", self._travel, by_hand=dict(self.kept.by_hand))
        touched: set[int] = set()

        def done(job: Job[PropagationResult]) -> bool:
            whole = self._is_whole(job, "Cancelled before a slice was finished; nothing was changed.")
            if not self._tasks or not whole:
                self._drop_step(step)
            if whole and not self._tasks:
                self._tasks += self._looks(segment_id, axis, touched & set(known.looks) - set(corrected))
            return whole

        def carry(index: int) -> Task:
            def show(found: int, crop: Crop) -> None:
                touched.add(found)
                self._show_slice(segment_id, axis, found, crop, step)

            return lambda: self.session.carry(
                segment_id,
                self.kept.known[segment_id],
                index,
                axis,
                reach,
                lambda found, crop: self._call(lambda: show(found, crop)),
                self._later(self._on_progress),
                self._later(lambda job: self._ended(job, done)),
            )

        with self._saying(), self._taken_back(step):
            step.prompt_steps = self._masks.take_painted(segment_id, axis)
            self._since_run.clear()
            self._start(f"Carrying {what} to the neighbours", *map(carry, wanted))
            self._push(step)
            self.changed("prompts")
        return wanted

    def _mend(self, segment_id: str, axis: int, refined: RefinedSlice, step: Step) -> bool:
        """Note the steps of a slice and write the best, unless a person was there meanwhile; whether it is better."""
        if refined.index in self._own_slices(segment_id, axis) or segment_id not in self.kept.known:
            return False
        before = self.kept.slice_of(segment_id, axis, refined.index)
        self._report(segment_id, axis).steps[refined.index] = SliceSteps.of(refined, before)
        if refined.improved:
            self._show_slice(segment_id, axis, refined.index, refined.best.mask, step)
        self._draw(segment_id, refined.index)
        self.changed("review")
        return refined.improved


def _mended(mended: int, tried: int) -> str:
    if not tried:
        return "There was nothing to refine on these slices: a person accepted or painted all of them."
    if not mended:
        return "No slice became surer; all of them stay as they are."
    return f"{mended} of {tried} slice{'s' if tried > 1 else ''} became surer; each can be taken back step by step."

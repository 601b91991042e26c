"""Mending a segment: suggestions to take, prompts that mend themselves, corrections carried to neighbours.

The session does the work; what a run wrote is one undo step.
"""

from __future__ import annotations

from dataclasses import replace

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Crop, slice_plane
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.mrml.kept_segments import crop_slice
from AutoPromptSAMLib.mrml.looks import Looks
from AutoPromptSAMLib.mrml.reports import Message
from AutoPromptSAMLib.mrml.review_state import SliceSteps, kept
from AutoPromptSAMLib.mrml.segments import slice_region
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.mrml.volume_runs import NOTHING, Task, VolumeRuns
from AutoPromptSAMLib.prompts import PERSON, Box, MaskPrompt
from AutoPromptSAMLib.prompts.types import new_id
from AutoPromptSAMLib.session.protocol import REACH, PropagationResult, RefinedSlice, RefineResult
from AutoPromptSAMLib.session.seeds import seed_slices


class Mending:
    """Acts on what the model is unsure of in a segmenter."""

    def __init__(self, segmenter: VolumeRuns, looks: Looks) -> None:
        self.segmenter, self.looks = segmenter, looks

    def accept(self, index: int) -> None:
        """Vouch for what the active segment has on a slice: runs keep it exactly."""
        segmenter = self.segmenter
        with segmenter.saying():
            known, segment_id = self.looks.need(), segmenter.active_segment or ""
            content = segmenter.kept.slice_of(segment_id, known.axis, index)
            if content.is_empty:
                name = segmenter.name_of(segment_id)
                raise PromptError(f'"{name}" is not on slice {index}; go to a slice where it is.')
            if index not in segmenter.exact(segment_id, known.axis) and not segmenter.is_locked(segment_id):
                segmenter.session.add_prompt(segment_id, MaskPrompt(content, segmenter.volume.geometry))
                segmenter.push(segmenter.new_step(f"Accept slice {index}", prompt_steps=1))
                for what in ("prompts", "review"):
                    segmenter.changed(what)

    def take_suggestions(self, index: int) -> None:
        """Make the suggestions for a slice the person's own prompts, as one step; a box replaces the boxes there."""
        segmenter, segment_id = self.segmenter, self.segmenter.active_segment or ""
        with segmenter.saying():
            known = self.looks.need()
            wanted = self.looks.suggestions(index)
            if not wanted:
                raise PromptError(f"Nothing is suggested for slice {index}; go to a slice that is unsure.")
            if segmenter.is_locked(segment_id):
                return
            plane = slice_plane(segmenter.volume.geometry, known.axis, index)
            step = segmenter.new_step(f"Take suggestion on slice {index}")
            with segmenter.taken_back(step):
                if any(isinstance(prompt, Box) for prompt in wanted):
                    for prompt in segmenter.prompts(segment_id):
                        here = seed_slices([prompt], segmenter.volume.geometry, known.axis) == {index}
                        if isinstance(prompt, Box) and here:
                            segmenter.session.remove_prompt(segment_id, prompt.id)
                            step.prompt_steps += 1
                for prompt in sorted(wanted, key=lambda prompt: not isinstance(prompt, Box)):
                    step.prompt_steps += segmenter.present_masks.take_for(segment_id, prompt, plane)
                    segmenter.session.add_prompt(segment_id, replace(prompt, source=PERSON, id=new_id()))
                    step.prompt_steps += 1
            segmenter.push(step)
            segmenter.prompted("", segment_id, plane, 0, step)
            segmenter.changed("prompts")
            segmenter.changed("review")

    def refine(self, first: int = 0, last: int | None = None, axis: int | None = None) -> None:
        """Let the prompts of the active segment mend themselves on slices ``first`` to ``last``, as one step.

        Slices that a person painted or accepted stay. Then the slices that changed are looked at anew.
        """
        segmenter = self.segmenter
        if not segmenter.is_free():
            return
        segmenter.take_edits()
        with segmenter.saying():
            segment_id, along = self.looks.chosen(axis)
            if segmenter.is_locked(segment_id):
                return
            step = segmenter.new_step(f"Refine {segmenter.name_of(segment_id)}")
            mended: list[int] = []
            tried: list[int] = []

            def slice_done(refined: RefinedSlice) -> None:
                tried.append(refined.index)
                if self._mend(segment_id, along, refined, step):
                    mended.append(refined.index)

            def done(job: Job[RefineResult]) -> bool:
                if not mended:
                    segmenter.drop_step(step)
                if not segmenter.is_whole(job, NOTHING):
                    return False
                segmenter.tasks += self.looks.at(segment_id, along, mended)
                segmenter.said(Message(_mended(len(mended), len(tried))))
                return True

            with segmenter.taken_back(step):
                step.prompt_steps = segmenter.present_masks.take_painted(segment_id, along)
                mask = segmenter.kept.known[segment_id]
                segmenter.start(
                    f"Refining {segmenter.name_of(segment_id)}",
                    lambda: segmenter.session.refine(
                        segment_id,
                        mask,
                        along,
                        first,
                        last,
                        segmenter.later(slice_done),
                        segmenter.later(segmenter.on_progress),
                        segmenter.later(lambda job: segmenter.ended(job, done)),
                    ),
                )
            segmenter.push(step)
            if step.prompt_steps:
                segmenter.changed("prompts")

    def choose_step(self, index: int, number: int) -> None:
        """Put the mask of a step of a refined slice there, as an undo step."""
        segmenter, known = self.segmenter, self.looks.of()
        segment_id = segmenter.active_segment or ""
        steps = None if known is None else known.steps.get(index)
        if known is None or steps is None or not segmenter.is_free() or segmenter.is_locked(segment_id):
            return
        segmenter.take_edits()
        number = min(max(number, 0), len(steps.masks) - 1)
        steps.chosen = number
        if known.shown_step(index) != number:
            step = segmenter.new_step(f"Step {number} of slice {index}")
            segmenter.kept.take_up(segment_id, known.axis, index)
            region = slice_region(segmenter.volume.geometry, known.axis, index)
            segmenter.record(segmenter.kept.write(segment_id, steps.masks[number], region), step)
            segmenter.push(step)
        self.looks.draw(segment_id)
        segmenter.changed("review")

    def carry(self, reach: int = REACH) -> list[int]:
        """Find the neighbours of the corrected slices anew, as one step, and look at them again; returns the slices.

        A correction beside which the segment is on neither slice has nothing to be carried to.
        """
        segmenter, known = self.segmenter, self.looks.of()
        segment_id = segmenter.active_segment or ""
        segmenter.take_edits()
        corrected = self.looks.corrected_slices()
        if known is None or not corrected or not segmenter.is_free() or segmenter.is_locked(segment_id):
            return []
        axis, mask = known.axis, segmenter.kept.known[segment_id]
        alone = [n for n in corrected if all(crop_slice(mask, axis, m).is_empty for m in (n - 1, n + 1))]
        for index in corrected:
            known.carried[index] = kept(known.present(index))
        wanted = [index for index in corrected if index not in alone]
        if not wanted:
            return []
        what = f"slice {wanted[0]}" if len(wanted) == 1 else f"{len(wanted)} slices"
        step = segmenter.new_step(f"Carry {what} to the neighbours")
        touched: set[int] = set()

        def done(job: Job[PropagationResult]) -> bool:
            whole = segmenter.is_whole(job, NOTHING)
            if not segmenter.tasks or not whole:
                segmenter.drop_step(step)
            if whole and not segmenter.tasks:
                segmenter.tasks += self.looks.at(segment_id, axis, touched & set(known.looks) - set(corrected))
            return whole

        def carry(index: int) -> Task:
            def show(found: int, crop: Crop) -> None:
                touched.add(found)
                segmenter.show_slice(segment_id, axis, found, crop, step)

            return lambda: segmenter.session.carry(
                segment_id,
                segmenter.kept.known[segment_id],
                index,
                axis,
                reach,
                lambda found, crop: segmenter.call(lambda: show(found, crop)),
                segmenter.later(segmenter.on_progress),
                segmenter.later(lambda job: segmenter.ended(job, done)),
            )

        with segmenter.saying(), segmenter.taken_back(step):
            step.prompt_steps = segmenter.present_masks.take_painted(segment_id, axis)
            segmenter.start(f"Carrying {what} to the neighbours", *map(carry, wanted))
            segmenter.push(step)
            segmenter.changed("prompts")
        return wanted

    def _mend(self, segment_id: str, axis: int, refined: RefinedSlice, step: Step) -> bool:
        """Note the steps of a slice and write the best, unless a person was there meanwhile; whether it is better."""
        segmenter = self.segmenter
        if refined.index in segmenter.own_slices(segment_id, axis) or segment_id not in segmenter.kept.known:
            return False
        before = segmenter.kept.slice_of(segment_id, axis, refined.index)
        self.looks.along(segment_id, axis).steps[refined.index] = SliceSteps.of(refined, before)
        if refined.improved:
            segmenter.show_slice(segment_id, axis, refined.index, refined.best.mask, step)
        self.looks.draw(segment_id, refined.index)
        segmenter.changed("review")
        return refined.improved


def _mended(mended: int, tried: int) -> str:
    if not tried:
        return "There was nothing to refine on these slices: a person accepted or painted all of them."
    if not mended:
        return "No slice became surer; all of them stay as they are."
    return f"{mended} of {tried} slice{'s' if tried > 1 else ''} became surer; each can be taken back step by step."

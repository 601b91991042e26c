"""Review of a mask in a session: how sure the model is, prompts that mend themselves, corrections that are carried."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from AutoPromptSAMLib.errors import GeometryError, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume, sample_plane
from AutoPromptSAMLib.geometry.grid import BoolArray, FloatArray
from AutoPromptSAMLib.loops import review as loop
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.tracking import SliceMask
from AutoPromptSAMLib.prompts import Box, MaskPrompt, PixelPrompts, Point, Prompt, Source
from AutoPromptSAMLib.refiners import Refinement
from AutoPromptSAMLib.refiners.uncertainty import prompt_boxes
from AutoPromptSAMLib.session.grey import paste_grey
from AutoPromptSAMLib.session.image import united
from AutoPromptSAMLib.session.propagation import SliceStack
from AutoPromptSAMLib.session.protocol import (
    PropagationResult,
    RefinedSlice,
    RefinedStep,
    RefineResult,
    Review,
    SliceReview,
)
from AutoPromptSAMLib.session.seeds import seed_slices

UGPA = Source("prompter", "UGPA")  # who suggests prompts
THIN = 0.5  # pixels that a box gets on both sides where it is a single row or column; one without width is none


@dataclass(frozen=True, eq=False)
class Target:
    """A mask on a stack of slices, and the ``prompts`` of the object.

    Raises PromptError for an empty mask, GeometryError for one that sticks out of the image.
    """

    name: str
    stack: SliceStack
    mask: Crop
    prompts: Sequence[Prompt] = ()

    def __post_init__(self) -> None:
        shape = self.stack.geometry.shape
        if self.mask.is_empty:
            raise PromptError(f'"{self.name}" has no mask to look at; segment it first.')
        if any(upper > count for upper, count in zip(self.mask.upper, shape, strict=True)):
            raise GeometryError(
                f"The mask reaches voxel {self.mask.upper} of an image of {shape} voxels (k, j, i); give a mask of "
                "this image."
            )

    @cached_property
    def present(self) -> list[int]:
        """The slices that the mask is on."""
        axis = self.stack.axis
        others = tuple(a for a in range(3) if a != axis)
        return (np.flatnonzero(self.mask.mask.any(axis=others)) + self.mask.lower[axis]).tolist()

    @cached_property
    def _block(self) -> Volume:
        crop = self.mask
        return Volume(crop.mask, self.stack.geometry.cropped(crop.lower, crop.mask.shape))

    def on(self, index: int) -> BoolArray:
        """The mask (rows, cols) on a slice, empty beyond the image."""
        plane = self.stack.planes[min(max(index, 0), len(self.stack) - 1)]
        if plane.index != index or index not in self.present:
            return np.zeros(plane.shape, dtype=bool)
        return sample_plane(self._block, plane, order=0, fill=0)

    def to_review(self, first: int, last: int | None) -> list[int]:
        """The slices of a range that the mask is on or ends beside; errors as ``_within``."""
        return self._within(loop.reviewed_slices(self.present, 0, len(self.stack) - 1), first, last)

    def to_refine(self, first: int, last: int | None) -> list[int]:
        """The slices of a range that the mask is on and nobody vouched for; errors as ``_within``."""
        return [index for index in self._within(self.present, first, last) if not self.is_vouched_for(index)]

    def check_carry(self, index: int, reach: int) -> None:
        """Raise GeometryError for a slice that there is not, PromptError for a reach below 1."""
        if not 0 <= index < len(self.stack):
            raise GeometryError(f"Slice {index} is outside the volume, which has 0 to {len(self.stack) - 1}.")
        if reach < 1:
            raise PromptError(f"A correction must reach at least 1 slice, not {reach}.")

    def _within(self, slices: Sequence[int], first: int, last: int | None) -> list[int]:
        """Those of ``slices`` from ``first`` to ``last``; errors for a range that is not there or without any."""
        end = len(self.stack) - 1
        lower, upper = max(first, 0), end if last is None else min(last, end)
        if lower > upper:
            raise GeometryError(f"The slices {first} to {last} are outside the volume, which has 0 to {end}.")
        chosen = [index for index in slices if lower <= index <= upper]
        if not chosen:
            raise PromptError(f'"{self.name}" is not on slices {lower} to {upper}; choose slices where it is.')
        return chosen

    @cached_property
    def by_slice(self) -> dict[int, list[Prompt]]:
        """The prompts by the slices that they were made for."""
        found: dict[int, list[Prompt]] = {}
        for prompt in self.prompts:
            for index in seed_slices([prompt], self.stack.geometry, self.stack.axis):
                found.setdefault(index, []).append(prompt)
        return found

    def is_vouched_for(self, index: int) -> bool:
        """Whether a person accepted or painted a slice."""
        there = self.by_slice.get(index, ())
        return any(isinstance(prompt, MaskPrompt) and prompt.source.kind == "person" for prompt in there)

    def own_prompts(self, index: int) -> tuple[Prompt, ...]:
        """The points, doodles and boxes on a slice."""
        return tuple(p for p in self.by_slice.get(index, ()) if not isinstance(p, MaskPrompt))


def review(
    target: Target, wanted: Sequence[int], control: Control, on_slice: Callable[[SliceReview], None] | None
) -> Review:
    """Ask about the slices ``wanted``; on the session's thread."""
    started = time.perf_counter()
    stack = target.stack
    known: dict[int, SliceReview] = {}

    def show(found: loop.ReviewedSlice) -> None:
        plane = stack.planes[found.index]
        known[found.index] = SliceReview(
            found.index,
            found.expected_dice,
            paste_grey(found.estimate.uncertainty, plane, stack.geometry),
            () if found.suggestion is None else _suggested(stack, found.index, found.suggestion),
            found.expected_error,
            found.is_empty,
        )
        if on_slice is not None:
            on_slice(known[found.index])

    complete = loop.review(stack.backbone, stack.features, target.on, wanted, control, show)
    return Review(target.name, stack.axis, known, complete, time.perf_counter() - started)


def refine(
    target: Target, wanted: Sequence[int], control: Control, on_slice: Callable[[RefinedSlice], None] | None
) -> RefineResult:
    """Let the prompts of the slices ``wanted`` mend themselves; on the session's thread."""
    started = time.perf_counter()
    known: dict[int, RefinedSlice] = {}

    def show(index: int, refinement: Refinement) -> None:
        known[index] = _refined(target, index, refinement)
        if on_slice is not None:
            on_slice(known[index])

    def given(index: int) -> PixelPrompts:
        own = target.stack.prompts(target.own_prompts(index), index)
        if len(own.boxes):
            return own
        return PixelPrompts(own.points, own.labels, mask=target.on(index))

    stack = target.stack
    complete = loop.refine_slices(stack.backbone, stack.features, target.on, given, wanted, control, show)
    return RefineResult(target.name, stack.axis, known, complete, time.perf_counter() - started)


def carry(
    target: Target,
    index: int,
    reach: int,
    memory: SliceMemory,
    control: Control,
    on_slice: Callable[[int, Crop], None] | None,
    before: PropagationResult | None,
) -> PropagationResult:
    """Carry a correction on slice ``index`` to its neighbours; on the session's thread.

    ``before``: how the object was found, if it was carried over slices at all.
    """
    stack = target.stack
    agreement = before.agreement if before is not None and before.axis == stack.axis else {}

    def show(at: int, answer: SliceMask) -> None:
        if on_slice is not None:
            on_slice(at, stack.paste(at, answer.mask))

    found = loop.around(
        stack.backbone, stack.slices(), target.on, index, reach, target.by_slice.keys(), memory, control, show
    )
    new = {at: stack.paste(at, answer.mask) for at, answer in found.slices.items()}
    known = {at: sure for at, sure in agreement.items() if at in target.present and at not in found.slices}
    known |= {at: 1.0 for at in found.seeds if at in target.present}
    known |= {at: answer.agreement for at, answer in found.slices.items() if not answer.is_empty}
    seeds = tuple(sorted({*found.seeds, *target.by_slice}))
    mask = exchanged(target.mask, stack.axis, new)
    return PropagationResult(
        target.name, mask, stack.axis, dict(sorted(known.items())), seeds, found.decoded, found.complete
    )


def exchanged(mask: Crop, axis: int, slices: Mapping[int, Crop]) -> Crop:
    """A whole mask with some of its slices along array axis ``axis`` exchanged for crops of the volume."""
    rest = mask.mask.copy()
    for index in slices:
        local = index - mask.lower[axis]
        if 0 <= local < rest.shape[axis]:
            rest[(slice(None),) * axis + (local,)] = False
    return united([Crop(rest, mask.lower), *slices.values()]).tight()


def _refined(target: Target, index: int, refinement: Refinement) -> RefinedSlice:
    """All steps in the volume; the first has the mask that was there, whatever its prompts make of it now."""
    stack = target.stack
    own = target.own_prompts(index)
    kept = tuple(prompt for prompt in own if not isinstance(prompt, Box))
    start = refinement.steps[0].prompts
    steps = []
    for number, step in enumerate(refinement.steps):
        tried = step.prompts
        if tried is not start or not len(start.boxes):
            machine = PixelPrompts(
                tried.points[len(start.points) :], tried.labels[len(start.points) :], boxes=prompt_boxes(tried)
            )
            prompts = (*kept, *_suggested(stack, index, machine))
        else:
            prompts = own
        steps.append(
            RefinedStep(
                stack.paste(index, step.estimate.mask if number else target.on(index)),
                paste_grey(step.estimate.uncertainty, stack.planes[index], stack.geometry),
                step.estimate.score,
                prompts,
                step.accepted,
                step.reason,
            )
        )
    return RefinedSlice(index, tuple(steps), refinement.chosen, refinement.improved)


def _suggested(stack: SliceStack, index: int, prompts: PixelPrompts) -> tuple[Prompt, ...]:
    """Boxes and points of a slice in RAS."""
    plane = stack.planes[index]
    boxes = [Box.on_plane(plane, _wide(box), source=UGPA) for box in prompts.boxes]
    points = [
        Point(plane.ras_from_pixels(at[None])[0], bool(label), source=UGPA)
        for at, label in zip(prompts.points, prompts.labels, strict=True)
    ]
    return (*boxes, *points)


def _wide(box: FloatArray) -> FloatArray:
    thin = box[2:] <= box[:2]
    return box + THIN * np.concatenate([-thin.astype(float), thin.astype(float)])

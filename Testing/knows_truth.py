"""A session that knows which voxels are right: how sure it is, what it suggests and mends is all by them.

For tests of what hosts do with such answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from AutoPromptSAMLib.errors import Cancelled, PromptError
from AutoPromptSAMLib.geometry import Crop, slice_plane
from AutoPromptSAMLib.loops.job import Control, Job
from AutoPromptSAMLib.prompts import Box, MaskPrompt, Prompt, Source
from AutoPromptSAMLib.session.grey import GreyCrop
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.protocol import (
    PropagationResult,
    RefinedSlice,
    RefinedStep,
    RefineResult,
    Review,
    SliceReview,
)
from AutoPromptSAMLib.session.seeds import seed_slices

from .threshold_backbone import BRIGHT, ThresholdBackbone

UGPA = Source("prompter", "UGPA")


class KnowsTruth(LocalSession):
    """What is bright is right. A pixel that is wrong is uncertain by 1 bit, all others are certain."""

    def __init__(self, *_: Any) -> None:
        super().__init__(ThresholdBackbone())
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.pause = threading.Event()  # each slice but the first waits for it
        self.pause.set()

    def review(
        self,
        name: str,
        mask: Crop,
        axis: int | None = None,
        first: int = 0,
        last: int | None = None,
        on_slice: Callable[[SliceReview], None] | None = None,
        on_progress: Any = None,
        on_done: Any = None,
    ) -> Job[Review]:
        assert axis is not None
        assert on_slice is not None
        self.asked.append(("review", axis, first, last))

        def run(control: Control) -> Review:
            found = {}
            for index in self._each(control, mask, axis, first, last, beside=1):
                found[index] = self._review(mask, axis, index)
                on_slice(found[index])
            if not found and control.cancelled:
                raise Cancelled("Cancelled.")
            return Review(name, axis, found, not control.cancelled, 0.0)

        return self._worker.submit(run, on_progress, on_done, background=True)

    def refine(
        self,
        name: str,
        mask: Crop,
        axis: int | None = None,
        first: int = 0,
        last: int | None = None,
        on_slice: Callable[[RefinedSlice], None] | None = None,
        on_progress: Any = None,
        on_done: Any = None,
    ) -> Job[RefineResult]:
        assert axis is not None
        assert on_slice is not None
        self.asked.append(("refine", axis, first, last))
        given = () if name not in self.objects else self.objects[name].prompts
        kept = seed_slices([p for p in given if isinstance(p, MaskPrompt)], self.volume.geometry, axis)

        def run(control: Control) -> RefineResult:
            if self.error is not None:
                raise self.error
            found = {}
            for index in self._each(control, mask, axis, first, last):
                if index in kept:
                    continue
                present, truth = (_on_slice(each, axis, index) for each in (mask.to_full(self._shape), self._truth))
                steps = [
                    self._step(present, True, "the prompts as they were"),
                    self._step(truth, True, "uncertainty fell"),
                    self._step(np.zeros_like(truth), False, "nothing was left"),
                ]
                improved = not np.array_equal(present, truth)
                found[index] = RefinedSlice(index, tuple(steps), int(improved), improved)
                on_slice(found[index])
            if not found and control.cancelled:
                raise Cancelled("Cancelled.")
            return RefineResult(name, axis, found, not control.cancelled, 0.0)

        return self._worker.submit(run, on_progress, on_done, background=True)

    def carry(
        self,
        name: str,
        mask: Crop,
        index: int,
        axis: int | None = None,
        reach: int = 5,
        on_slice: Callable[[int, Crop], None] | None = None,
        on_progress: Any = None,
        on_done: Any = None,
    ) -> Job[PropagationResult]:
        assert axis is not None
        assert on_slice is not None
        self.asked.append(("carry", axis, index))

        def run(control: Control) -> PropagationResult:
            done = {}
            for n in self._each(control, mask, axis, index - reach, index + reach):
                if n != index:
                    done[n] = 1.0
                    on_slice(n, Crop.from_full(_on_slice(self._truth, axis, n)))
            return PropagationResult(name, mask, axis, done, (index,), len(done), not control.cancelled)

        return self._worker.submit(run, on_progress, on_done, background=True)

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _truth(self) -> np.ndarray:
        return np.asarray(self.volume.array) == BRIGHT

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.volume.geometry.shape

    def _each(
        self, control: Control, mask: Crop, axis: int, first: int, last: int | None, beside: int = 0
    ) -> list[int] | Any:
        if mask.is_empty:
            raise PromptError("The mask is empty; draw a box first.")
        tight = mask.tight()
        low, high = tight.lower[axis] - beside, tight.upper[axis] - 1 + beside
        end = self._shape[axis] - 1 if last is None else last
        indices = range(max(first, low, 0), min(end, high, self._shape[axis] - 1) + 1)
        for number, index in enumerate(indices):
            if number:
                self.pause.wait(20)
            if control.cancelled:
                return
            control.report(number, len(indices), f"Slice {index}")
            yield index

    def _review(self, mask: Crop, axis: int, index: int) -> SliceReview:
        present, truth = (_on_slice(each, axis, index) for each in (mask.to_full(self._shape), self._truth))
        total = int(present.sum() + truth.sum())
        dice = 2 * int((present & truth).sum()) / total if total else 1.0
        suggestions: tuple[Prompt, ...] = ()
        if truth.any():
            rows, cols = np.nonzero(np.moveaxis(truth, axis, 0)[index])
            plane = slice_plane(self.volume.geometry, axis, index, square_pixels=False)
            suggestions = (Box.on_plane(plane, (cols.min(), rows.min(), cols.max(), rows.max()), source=UGPA),)
        error = float((present ^ truth).sum())
        return SliceReview(index, dice, grey(present ^ truth), suggestions, error, not present.any())

    def _step(self, mask: np.ndarray, accepted: bool, reason: str) -> RefinedStep:
        off = Crop.from_full(mask)
        return RefinedStep(off, grey(mask ^ mask), 0.01 if accepted else 0.5, (), accepted, reason)


def grey(mask: np.ndarray) -> GreyCrop:
    """A mask as 1 bit of uncertainty."""
    crop = Crop.from_full(mask)
    return GreyCrop(crop.mask.astype(np.uint8) * 255, crop.lower)


def _on_slice(mask: np.ndarray, axis: int, index: int) -> np.ndarray:
    here = np.zeros_like(mask)
    at = (slice(None),) * axis + (index,)
    here[at] = mask[at]
    return here

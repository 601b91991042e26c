"""What is known of how sure the model is of a segment: by slice, and by what was on the slice when it was looked at.

Keeping the mask beside each look makes undo free: whatever mask is on a slice again is known as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.prompts import Prompt
from AutoPromptSAMLib.session.grey import GreyCrop
from AutoPromptSAMLib.session.protocol import RefinedSlice, RefinedStep, SliceReview

NOTHING = GreyCrop.empty()
LOOKS = 4  # of a slice that are remembered: a choice


def same_mask(one: Crop, other: Crop) -> bool:
    """Whether two tight crops are the same voxels."""
    if one.is_empty or other.is_empty:
        return one.is_empty and other.is_empty
    return one.lower == other.lower and np.array_equal(one.mask, other.mask)


def kept(crop: Crop) -> Crop:
    """The crop with memory of its own: the slice of a mask would keep the whole mask."""
    return Crop(crop.mask.copy(), crop.lower)


@dataclass(eq=False)
class Look:
    """One look at a slice: the ``mask`` on it, what the model said, and its suggestions as the person has them now."""

    mask: Crop
    review: SliceReview
    suggestions: tuple[Prompt, ...]
    by_person: bool = False  # the person corrected the slice to this mask


@dataclass(eq=False)
class SliceSteps:
    """The steps of a refined slice. ``masks``: of each step; the first is what was there before."""

    steps: tuple[RefinedStep, ...]
    masks: tuple[Crop, ...]
    chosen: int

    @staticmethod
    def of(refined: RefinedSlice, before: Crop) -> SliceSteps:
        """``before``: the mask that the slice had, for the model may not find just that again."""
        later = [step.mask.tight() for step in refined.steps[1:]]
        return SliceSteps(refined.steps, (kept(before), *later), refined.chosen)

    def shown(self, present: Crop) -> int | None:
        """The step that is on the slice; None when it was changed otherwise since."""
        order = (self.chosen, *range(len(self.masks)))
        return next((n for n in order if same_mask(self.masks[n], present)), None)


@dataclass(eq=False)
class Reviewed:
    """The looks at the slices of a segment along array axis ``axis``; ``complete``: False after a cancel.

    ``present`` gives what is on a slice now, as a tight crop.
    """

    axis: int
    present: Callable[[int], Crop]
    looks: dict[int, list[Look]] = field(default_factory=dict)
    steps: dict[int, SliceSteps] = field(default_factory=dict)
    carried: dict[int, Crop] = field(default_factory=dict)  # the corrections that neighbours were found anew from
    complete: bool = True

    def add(self, mask: Crop, review: SliceReview, by_person: bool = False) -> None:
        """Note a look at a slice with this mask."""
        looks = [look for look in self.looks.get(review.index, ()) if not same_mask(look.mask, mask)]
        self.looks[review.index] = [*looks, Look(kept(mask), review, review.suggestions, by_person)][-LOOKS:]

    def look(self, index: int) -> Look | None:
        """The look at what is on a slice now; None when the slice was not looked at or has changed since."""
        looks = self.looks.get(index)
        if looks is None:
            return None
        mask = self.present(index)
        return next((look for look in reversed(looks) if same_mask(look.mask, mask)), None)

    def now(self) -> dict[int, Look]:
        """The looks that hold, by slice."""
        found = {index: self.look(index) for index in self.looks}
        return {index: look for index, look in sorted(found.items()) if look is not None}

    def is_own(self, index: int) -> bool:
        """Whether what is on a slice that was looked at is none of the model's: it was changed since."""
        look = self.look(index)
        return self.shown_step(index) is None and (look is None or look.by_person)

    def was_carried(self, index: int) -> bool:
        """Whether what is on a slice was carried to its neighbours."""
        return index in self.carried and same_mask(self.carried[index], self.present(index))

    def uncertainty(self, index: int) -> GreyCrop:
        """That of what is on a slice now, by a look at it or by its step; empty when neither is known."""
        look, step = self.look(index), self.shown_step(index)
        if look is not None:
            return look.review.uncertainty
        return NOTHING if step is None else self.steps[index].steps[step].uncertainty

    def shown_step(self, index: int) -> int | None:
        """Which step of its refinement is on a slice."""
        steps = self.steps.get(index)
        return None if steps is None else steps.shown(self.present(index))


def spans(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring slices together: first and last of each row of them."""
    found: list[tuple[int, int]] = []
    for index in sorted(set(indices)):
        if found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found

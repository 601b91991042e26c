"""Review loop: which slices of a mask are worth a look, prompts that mend themselves, corrections that are carried on.

``review`` asks the model about the mask of each slice as if its boxes had been drawn (``refiners``): where jittered
boxes agree with the mask, the mask is what the model would say; where they do not, one of both is wrong. An object may
go on beside the ends of its mask, so the slices there are asked about with the end's boxes.

``around`` re-runs the slices within reach of a corrected one. What lies beyond keeps it in place: the slices just
outside are starting slices too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.regions import Mask
from AutoPromptSAMLib.loops.slice import CERTAIN
from AutoPromptSAMLib.loops.tracking import SliceMask
from AutoPromptSAMLib.loops.volume import Slices, propagate
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners import Estimate, Refinement, Settings, Step, estimate, expected_dice, refine
from AutoPromptSAMLib.refiners.adaptation import GIVEN, instead_of, proposed
from AutoPromptSAMLib.refiners.expected import wrong_probability

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features


@dataclass(frozen=True, eq=False)
class ReviewedSlice:
    """How sure the model is of one slice.

    ``expected_dice`` of the present mask, 0 to 1. ``expected_error``: pixels that are expected to be wrong.
    ``suggestion``: what the model would try next, None when it is at its end. ``is_empty``: the mask is not here.
    """

    index: int
    estimate: Estimate
    expected_dice: float
    expected_error: float
    suggestion: PixelPrompts | None
    is_empty: bool


def reviewed_slices(present: Collection[int], first: int, last: int) -> list[int]:
    """The slices from ``first`` to ``last`` that a mask on ``present`` is on or ends beside, in their order."""
    beside = {index + step for index in present for step in (-1, 0, 1)}
    return sorted(index for index in beside if first <= index <= last)


def review(
    backbone: Backbone,
    features: Callable[[int], Features],
    mask: Callable[[int], Mask],
    wanted: Sequence[int],
    control: Control,
    on_slice: Callable[[ReviewedSlice], None],
    settings: Settings | None = None,
) -> bool:
    """Ask about the slices ``wanted`` (of ``reviewed_slices``); False after a cancel.

    ``mask(index)`` is the present mask (rows, cols) bool of a slice, of neighbours of the wanted ones too (empty
    beyond the volume). ``on_slice`` gets each slice as soon as it is known.
    """
    settings = settings or Settings()

    def look(index: int) -> None:
        on_slice(_reviewed(backbone, features(index), mask, index, settings))

    return _each(wanted, control, look)


def _reviewed(
    backbone: Backbone, features: Features, mask: Callable[[int], Mask], index: int, settings: Settings
) -> ReviewedSlice:
    own = mask(index)
    is_empty = not own.any()
    # The larger neighbour says what may go on here.
    asked = max((mask(index - 1), mask(index + 1)), key=lambda other: int(other.sum())) if is_empty else own
    given = PixelPrompts(mask=asked)
    found = estimate(backbone, features, given, settings)
    error = float(wrong_probability(own, found.probability).sum(dtype=np.float64))
    # On an empty slice a box always finds something, so that alone says little; how much of the neighbour goes on says
    # more. On the sample CT an organ went on in the four slices with the largest part of the neighbour's area (.80,
    # .55, .49, .25), and had ended in the one with .21.
    sure = max(0.0, 1 - error / int(asked.sum())) if is_empty else expected_dice(own, found.probability)
    step = Step(given, found, True, GIVEN)
    suggestion = proposed(step, given, settings, points=backbone.capabilities.points)
    return ReviewedSlice(index, found, sure, error, suggestion, is_empty)


def refine_slices(
    backbone: Backbone,
    features: Callable[[int], Features],
    mask: Callable[[int], Mask],
    given: Callable[[int], PixelPrompts],
    wanted: Sequence[int],
    control: Control,
    on_slice: Callable[[int, Refinement], None],
    settings: Settings | None = None,
) -> bool:
    """Let the prompts ``given(index)`` of each slice ``wanted`` mend themselves; False after a cancel.

    Steps are accepted only where the present ``mask(index)`` is then expected to be clearly worse than the new one;
    the first one stands for it.
    """

    def mend(index: int) -> None:
        refinement = refine(backbone, features(index), given(index), settings)
        on_slice(index, instead_of(mask(index), refinement))

    return _each(wanted, control, mend)


def _each(wanted: Sequence[int], control: Control, work: Callable[[int], None]) -> bool:
    """Work on slices one after the other; False when a cancel came between, Cancelled when before the first."""
    for done, index in enumerate(wanted):
        try:
            control.check()
        except Cancelled:
            if not done:
                raise
            return False
        control.report(done, len(wanted), f"Slice {index}")
        work(index)
    control.report(len(wanted), len(wanted), "Done")
    return True


@dataclass
class Carried:
    """The slices that were found anew, by index, empty ones too; ``decoded`` as in ``volume.VolumeResult``."""

    slices: dict[int, SliceMask] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    decoded: int = 0
    complete: bool = True


def around(
    backbone: Backbone,
    stack: Slices,
    mask: Callable[[int], Mask],
    index: int,
    reach: int,
    fixed: Collection[int],
    memory: SliceMemory,
    control: Control,
    on_slice: Callable[[int, SliceMask], None] | None = None,
) -> Carried:
    """Find the slices within ``reach`` of the corrected slice ``index`` anew.

    ``mask(index)`` is the present mask (rows, cols) bool of any slice, the correction included. The slices ``fixed``
    (a person decided them) and the first ones beyond the reach stay as they are and are starting slices like the
    corrected one. Where none of them on a side shows the object, that side stays as it is. After a cancel the slices
    that were reached are anew and the result is not ``complete``.
    """
    first, last = max(0, index - reach), min(stack.count - 1, index + reach)
    kept = {n for n in fixed if first <= n <= last} | {index}
    outside = [n for n in (first - 1, last + 1) if 0 <= n < stack.count and mask(n).any()]
    seeds = {n: _seed(mask(n)) for n in sorted({*kept, *outside})}
    result = Carried(seeds=tuple(sorted(kept)))

    def show(at: int, answer: SliceMask) -> None:
        result.slices[at] = answer
        if on_slice is not None:
            on_slice(at, answer)

    # An end of the object that a person took away says nothing about the slices before it.
    alive = [n for n in seeds if not seeds[n].is_empty]
    low = first if any(n <= index for n in alive) else index
    high = last if any(n >= index for n in alive) else index
    start, end = min([low, *outside]), max([high, *outside])
    found = propagate(backbone, stack, seeds, memory, control, start, end, show)
    result.decoded, result.complete = found.decoded, found.complete
    if found.complete:
        nothing = SliceMask(np.zeros((0, 0), np.float32), (0, 0), mask(index).shape, 0.0)
        for at in sorted(set(range(low, high + 1)) - set(seeds) - set(found.slices)):
            if at not in result.slices and mask(at).any():
                show(at, nothing)
    return result


def _seed(mask: Mask) -> SliceMask:
    return SliceMask.from_logits(np.where(mask, CERTAIN, -CERTAIN).astype(np.float32))

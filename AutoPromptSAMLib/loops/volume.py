"""Volume loop: from an object on one or more slices to the object on all of them.

From every slice that a person prompted (a seed) a run goes up and a run goes down, slice by slice (``tracking``), to
the next seed or until the object ends. Between two seeds the runs from both meet: each slice takes the mean of their
probabilities, weighted by how little each mask grew on its way. Slices alone do not say how far a run has come: from
the tip of an organ it has to find all of the organ, towards the tip it only has to let go. A run depends on its seed
alone, so a corrected slice costs its own two runs, as far as the neighbouring seeds; all others come from the memory
of done slices.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.tracking import SliceMask, Tracker

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features

UP, DOWN = 1, -1
# Where one of two runs is sure and the other never came by, the logit of the mean would be infinite.
SURE = 1e-6
# What a slice adds to a run's way, besides the part of its mask that is new on it: where nothing grows, the nearer
# seed counts more. A choice.
STEP_COST = 0.01


@dataclass(frozen=True, eq=False)
class Slices:
    """A stack of ``count`` slices of one shape: what the loop needs to know about an image.

    ``features(index)`` gives a slice encoded (cached by the caller), ``appearance(index)`` gives it from
    ``appearance.smooth``. ``identity`` names the image, its mapping, axis and model; runs are remembered under it.
    """

    count: int
    features: Callable[[int], Features]
    appearance: Callable[[int], NDArray[np.float32]]
    identity: str


@dataclass
class VolumeResult:
    """The object on the slices where it is, by slice index.

    ``seeds``: the slices it was carried from. ``decoded``: how many slices had to be decoded, each run counted; all
    others were remembered. ``complete`` is False after a cancel.
    """

    slices: dict[int, SliceMask] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    decoded: int = 0
    complete: bool = True


def work(seeds: Sequence[int], first: int, last: int) -> int:
    """Steps to ``last`` and ``first`` from ``seeds`` (sorted, at least one): a seed each, two for a slice between two.

    It is the total of the progress that ``propagate`` reports; the seeds themselves are done when it starts.
    """
    between = sum(above - below - 1 for below, above in itertools.pairwise(seeds))
    return len(seeds) + 2 * between + seeds[0] - first + last - seeds[-1]


def propagate(
    backbone: Backbone,
    stack: Slices,
    seeds: Mapping[int, SliceMask],
    memory: SliceMemory,
    control: Control,
    first: int = 0,
    last: int | None = None,
    on_slice: Callable[[int, SliceMask], None] | None = None,
) -> VolumeResult:
    """Find the object on slices ``first`` to ``last`` (inclusive, default all) from at least one seed within.

    An empty seed says that the object is not there: runs stop at it. ``on_slice`` gets every slice as soon as it is
    known, and again when a run from the other side changes it (it may be empty then), on the calling thread.
    Cancelling keeps the slices that are done: the result then is not ``complete``, and the next call goes on from
    there. Raises ValueError without a seed in the range, and what decoding raises.
    """
    last = stack.count - 1 if last is None else last
    indices = sorted(index for index in seeds if first <= index <= last)
    if not indices:
        raise ValueError(f"there is no seed between slices {first} and {last}")
    found: dict[tuple[int, int], SliceMask] = {}
    ways: dict[tuple[int, int], float] = {}
    result = VolumeResult({index: seeds[index] for index in indices if not seeds[index].is_empty}, tuple(indices))
    total, done = work(indices, first, last), len(indices)
    try:
        for index, below, above in zip(indices, [first - 1, *indices], [*indices[1:], last + 1], strict=False):
            for step, limit in ((UP, above), (DOWN, below)):
                left = abs(limit - index) - 1
                if seeds[index].is_empty:
                    done += left
                    continue
                run = _Run(backbone, stack, index, seeds[index], step, memory)
                before, way = seeds[index], 0.0
                for at in range(index + step, limit, step):
                    control.check()
                    control.report(done, total, f"Slice {at}")
                    answer = run.slice(at)
                    result.decoded += run.was_decoded
                    done, left = done + 1, left - 1
                    found[at, step] = answer
                    way += STEP_COST + _new_part(answer, before)
                    before, ways[at, step] = answer, way
                    if answer.is_empty:
                        done += left
                        ways |= {(n, step): way + STEP_COST * abs(n - at) for n in range(at, limit, step)}
                        break
                    result.slices[at] = _meet(found, ways, seeds, indices, at)
                    if on_slice is not None:
                        on_slice(at, result.slices[at])
    except Cancelled:
        result.complete = False
        result.slices = {at: shown for at, shown in result.slices.items() if not shown.is_empty}
        return result
    # Where only one of two runs came by, its answer counts by its share: decide again now that all are known.
    for at in sorted(result.slices.keys() - set(indices)):
        known, shown = result.slices[at], _meet(found, ways, seeds, indices, at, final=True)
        result.slices[at] = shown
        if on_slice is not None and not np.array_equal(shown.mask, known.mask):
            on_slice(at, shown)
        if shown.is_empty:
            del result.slices[at]
    control.report(total, total, "Done")
    return result


class _Run:
    """The slices in one direction from one seed, remembered or computed one after the other."""

    def __init__(
        self, backbone: Backbone, stack: Slices, index: int, seed: SliceMask, step: int, memory: SliceMemory
    ) -> None:
        self._stack = stack
        self._memory = memory
        place = f"{seed.lower}\n{seed.logits.shape}\n{seed.shape}"
        digest = hashlib.sha256(f"{stack.identity}\n{index}\n{step}\n{place}".encode())
        digest.update(np.packbits(seed.logits > 0).tobytes())
        self._key = digest.hexdigest()
        self._tracker: Tracker | None = None
        self._backbone = backbone
        self._start = (index, seed)
        self._pending: list[tuple[int, SliceMask]] = []
        self.was_decoded = False  # the last slice, in contrast to remembered

    def slice(self, index: int) -> SliceMask:
        """The next slice; must be asked for in order, away from the seed."""
        answer = self._memory.get(self._key, index)
        self.was_decoded = answer is None
        if answer is None:
            tracker = self._current_tracker()
            image = self._stack.appearance(index)
            answer = tracker.step(self._stack.features(index), image)
            self._memory.put(self._key, index, answer)
            tracker.accept(image, answer)
        else:
            self._pending.append((index, answer))
        return answer

    def _current_tracker(self) -> Tracker:
        """The tracker after all slices so far; remembered ones are replayed only when one must be computed."""
        if self._tracker is None:
            index, seed = self._start
            self._tracker = Tracker(self._backbone, self._stack.appearance(index), seed.mask)
        for index, answer in self._pending:
            self._tracker.accept(self._stack.appearance(index), answer)
        self._pending.clear()
        return self._tracker


def _new_part(answer: SliceMask, before: SliceMask) -> float:
    """The part of a mask, 0 to 1, that is not on the mask of the slice before."""
    mask = answer.mask
    return float((mask & ~before.mask).sum() / max(1, mask.sum()))


def _meet(
    found: Mapping[tuple[int, int], SliceMask],
    ways: Mapping[tuple[int, int], float],
    seeds: Mapping[int, SliceMask],
    indices: list[int],
    at: int,
    final: bool = False,
) -> SliceMask:
    """The slice at ``at`` from the runs that reached it."""
    up, down = found.get((at, UP)), found.get((at, DOWN))
    below = max((index for index in indices if index < at), default=None)
    above = min((index for index in indices if index > at), default=None)
    one = up if down is None else down
    assert one is not None
    if below is None or above is None or seeds[below].is_empty or seeds[above].is_empty:
        return one  # no run comes from the other side
    if not final and (up is None or down is None):
        return one
    share = ways[at, DOWN] / (ways[at, UP] + ways[at, DOWN])
    probability = np.zeros(one.shape, dtype=np.float32)
    agreement = 0.0
    for answer, weight in ((up, share), (down, 1 - share)):
        if answer is not None:
            probability += np.float32(weight) * expit(answer.full_logits)
            agreement += weight * answer.agreement
    return SliceMask.from_logits(logit(np.clip(probability, SURE, 1 - SURE)), agreement)

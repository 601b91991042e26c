"""Volume loop: from an object on one or more slices to the object on all of them.

From every slice that a person prompted (a seed) a run goes up and a run goes down, slice by slice (``tracking``), to
the next seed or until the object ends. Between two seeds the runs from both meet: each slice takes the mean of their
probabilities, weighted by nearness. A run depends on its seed alone, so a corrected slice costs its own two runs, as
far as the neighbouring seeds; all others come from the memory of done slices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.tracking import SliceMask, Tracker

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features

UP, DOWN = 1, -1


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
    """The object on the slices where it is, by slice index; ``complete`` is False after a cancel."""

    slices: dict[int, SliceMask] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    decoded: int = 0
    complete: bool = True


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
    known, on the calling thread. Cancelling keeps the slices that are done: the result then is not ``complete``, and
    the next call goes on from there. Raises ValueError without a seed in the range, and what decoding raises.
    """
    last = stack.count - 1 if last is None else last
    indices = sorted(index for index in seeds if first <= index <= last)
    if not indices:
        raise ValueError(f"there is no seed between slices {first} and {last}")
    result = VolumeResult(seeds=tuple(indices))
    for index in indices:
        if not seeds[index].is_empty:
            result.slices[index] = seeds[index]
    # From the seeds outwards first: between two seeds, the slice next to a correction is seen soonest.
    runs = [
        (index, step, limit)
        for index, below, above in zip(indices, [first - 1, *indices], [*indices[1:], last + 1], strict=False)
        for step, limit in ((UP, above), (DOWN, below))
        if not seeds[index].is_empty
    ]
    total = sum(abs(limit - index) - 1 for index, _, limit in runs)
    done = 0
    found: dict[tuple[int, int], SliceMask] = {}
    try:
        for index, step, limit in runs:
            run = _Run(backbone, stack, index, seeds[index], step, memory)
            for at in range(index + step, limit, step):
                control.check()
                control.report(done, total, f"Slice {at}")
                answer = run.slice(at)
                done += 1
                found[at, step] = answer
                if answer.is_empty:
                    done += abs(limit - at) - 1
                    break
                shown = _meet(found, seeds, indices, at)
                result.slices[at] = shown
                if on_slice is not None:
                    on_slice(at, shown)
            result.decoded += run.decoded
    except Cancelled:
        result.complete = False
        return result
    # Where only one of two runs came by, its answer counts by its share: decide again now that all are known.
    for at in {index for index, _ in found}:
        shown = _meet(found, seeds, indices, at, final=True)
        before = result.slices.get(at)
        if shown.is_empty:
            result.slices.pop(at, None)
        else:
            result.slices[at] = shown
        if on_slice is not None and before is not None and shown is not before:
            on_slice(at, shown)
    control.report(total, total, "Done")
    return result


class _Run:
    """The slices in one direction from one seed, remembered or computed one after the other."""

    def __init__(
        self, backbone: Backbone, stack: Slices, index: int, seed: SliceMask, step: int, memory: SliceMemory
    ) -> None:
        self._stack = stack
        self._memory = memory
        digest = hashlib.sha256(f"{stack.identity}\n{index}\n{step}\n{seed.lower}\n{seed.logits.shape}".encode())
        digest.update(np.packbits(seed.logits > 0).tobytes())
        self._key = digest.hexdigest()
        self._tracker: Tracker | None = None
        self._backbone = backbone
        self._start = (index, seed)
        self._pending: list[tuple[int, SliceMask]] = []
        self.decoded = 0

    def slice(self, index: int) -> SliceMask:
        """The next slice; must be asked for in order, away from the seed."""
        answer = self._memory.get(self._key, index)
        if answer is None:
            tracker = self._current_tracker()
            image = self._stack.appearance(index)
            answer = tracker.step(self._stack.features(index), image)
            self.decoded += 1
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


def _meet(
    found: Mapping[tuple[int, int], SliceMask],
    seeds: Mapping[int, SliceMask],
    indices: list[int],
    at: int,
    final: bool = False,
) -> SliceMask:
    """The slice at ``at`` from the runs that reached it."""
    below = max((index for index in indices if index < at and not seeds[index].is_empty), default=None)
    above = min((index for index in indices if index > at and not seeds[index].is_empty), default=None)
    up, down = found.get((at, UP)), found.get((at, DOWN))
    nearest_above = min((index for index in indices if index > at), default=None)
    nearest_below = max((index for index in indices if index < at), default=None)
    between = below is not None and above is not None and (nearest_below, nearest_above) == (below, above)
    only = up if down is None else down
    if not between or (not final and (up is None or down is None)):
        assert only is not None
        return only
    assert below is not None
    assert above is not None
    weight = (at - below) / (above - below)
    probability = np.zeros((up or down).shape, dtype=np.float32)  # type: ignore[union-attr]
    agreement = 0.0
    for answer, share in ((up, 1 - weight), (down, weight)):
        if answer is not None:
            probability += share / (1 + np.exp(-answer.full_logits))
            agreement += share * answer.agreement
    probability = np.clip(probability, 1e-6, 1 - 1e-6)
    return SliceMask.from_logits(np.log(probability / (1 - probability)), agreement)

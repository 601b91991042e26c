"""What outlives a segmenter beside the voxels: prompts, what was painted, and how sure its runs were."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.geometry.lattice import placement
from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.prompts.types import check_keys

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptRun:
    """The last run of a segment. ``voxels``: how many the segment had on each slice of it when it was kept.

    They tell slices that were changed since by somebody who knows nothing of runs: what is known of those is dropped.
    """

    run: Propagation
    voxels: Mapping[int, int]

    @staticmethod
    def of(run: Propagation, mask: Crop) -> KeptRun:
        """``mask``: what is in the segment."""
        counts = _counts(mask, run.axis)
        there = {index: sure for index, sure in run.agreement.items() if counts.get(index)}  # else it was undone
        return KeptRun(replace(run, agreement=there), {index: counts[index] for index in there})

    def on(self, mask: Crop, before: VolumeGeometry | None, now: VolumeGeometry) -> Propagation | None:
        """The run on the ``mask`` that is there now, on an image of the same voxels, in whatever order; else None."""
        axis, sign, shift = self.run.axis, 1, 0
        if before is not None and not before.close_to(now):
            place = placement(before.shape, now.ras_to_ijk @ before.ijk_to_ras)
            if place is None:
                return None
            axis = place.axes.index(self.run.axis)
            sign, shift = place.signs[axis], place.shift[axis]
        counts = _counts(mask, axis)
        moved = {sign * index + shift: index for index in self.run.agreement}
        same = {at: self.run.agreement[n] for at, n in sorted(moved.items()) if counts.get(at) == self.voxels[n]}
        seeds = sorted(sign * index + shift for index in self.run.seeds)
        return Propagation(axis, same, seeds, self.run.complete, self.run.automatic)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object; each of its slices is its index, its confidence and its voxels."""
        run = self.run
        slices = [[index, sure, self.voxels[index]] for index, sure in run.agreement.items()]
        return {
            "axis": run.axis, "automatic": run.automatic, "complete": run.complete,
            "seeds": list(run.seeds), "slices": slices,
        }  # fmt: skip

    @staticmethod
    def from_json(data: Any) -> KeptRun:
        """Inverse of ``to_json``; PromptError when it is malformed."""
        check_keys(data, {"axis", "automatic", "complete", "seeds", "slices"}, "a run")
        seeds, slices = data["seeds"], data["slices"]
        if not isinstance(seeds, list) or any(type(index) is not int for index in seeds):
            raise PromptError('The "seeds" of a run must be slices.')
        if not isinstance(slices, list) or not all(map(_is_slice, slices)):
            raise PromptError('The "slices" of a run must have a number, a confidence from 0 to 1 and voxels each.')
        if data["axis"] not in (0, 1, 2):
            raise PromptError('The "axis" of a run must be 0, 1 or 2.')
        sure = {index: value for index, value, _ in slices}
        run = Propagation(int(data["axis"]), sure, seeds, bool(data["complete"]), bool(data["automatic"]))
        return KeptRun(run, {index: count for index, _, count in slices})

    @staticmethod
    def read(data: Any) -> KeptRun | None:
        """``from_json``, or None: what cannot be read costs nothing but itself."""
        try:
            return None if data is None else KeptRun.from_json(data)
        except PromptError as error:
            log.warning("How sure a run was of its slices cannot be read: %s", error)
            return None


@dataclass
class Remembered:
    """By segment id: ``prompts``, which say on which grid all this is; ``painted``, the voxels that others changed and
    that no run or prompt took up yet; ``runs``, the last one of each segment.
    """

    prompts: PromptFile = field(default_factory=lambda: PromptFile({}))
    painted: PromptFile | None = None
    runs: Mapping[str, KeptRun] = field(default_factory=dict)


def _is_slice(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != 3 or type(row[0]) is not int or type(row[2]) is not int:
        return False
    return isinstance(row[1], int | float) and 0 <= row[1] <= 1


def _counts(mask: Crop, axis: int) -> dict[int, int]:
    """Voxels by slice along an array axis."""
    slices = np.moveaxis(mask.mask, axis, 0)
    return {index: int(np.count_nonzero(part)) for index, part in enumerate(slices, mask.lower[axis])}

"""One object in a volume: a box on one slice, propagation, then simulated corrections where it is worst."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from AutoPromptSAMLib.evaluation.metrics import AUC_CLICKS, dice
from AutoPromptSAMLib.evaluation.quality.records import Mask
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry, sample_plane, slice_plane
from AutoPromptSAMLib.prompts import Box, Point
from AutoPromptSAMLib.prompts.simulators import tight_box, volume_box, volume_correction

if TYPE_CHECKING:
    from AutoPromptSAMLib.loops.job import Job
    from AutoPromptSAMLib.session.local import LocalSession
    from AutoPromptSAMLib.session.protocol import PropagationResult

# One box on one slice and propagation; and corrections of the worst slice after it.
VOLUME_BOX, VOLUME_USER = "volume-box", "volume-user"
VOLUMES = (VOLUME_BOX, VOLUME_USER)
CORRECTIONS = AUC_CLICKS  # clicks after the first propagation
PATIENCE = 0.2  # seconds between two looks at whether to stop


@dataclass
class VolumeAnswer:
    """What a session found: mask (k, j, i), and after each propagation Dice, seconds, first and last slice.

    ``clicks`` are the corrections in the order in which they were made.
    """

    mask: Mask
    trace: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    slices: list[tuple[int, int]] = field(default_factory=list)
    clicks: list[Point] = field(default_factory=list)


def largest_slice(mask: Mask, axis: int) -> int:
    """Index of the slice of largest area along an array axis; the first of several."""
    return int(mask.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())


def box_on_largest_slice(truth: Mask, geometry: VolumeGeometry, axis: int) -> Box:
    """The tight box of an object (k, j, i) on its slice of largest area: all that propagation is given."""
    plane = slice_plane(geometry, axis, volume_box(truth, axis)[0])
    seen = sample_plane(Volume(truth, geometry), plane, order=0, fill=0)
    x0, y0, x1, y1 = (float(value) for value in tight_box(seen))
    return Box.on_plane(plane, (x0, y0, x1, y1))


def correcting_click(found: Mask, truth: Mask, geometry: VolumeGeometry, axis: int) -> Point | None:
    """The click that a person would correct ``found`` with: None when there is nothing to correct.

    On the slice with the largest wrong area along ``axis``, in the middle of its largest wrong region (connected
    voxels that are all missing, or all too much).
    """
    index = largest_slice(found ^ truth, axis)
    spacing = [geometry.spacing[2 - a] for a in range(3) if a != axis]
    click = volume_correction(np.take(truth, index, axis), np.take(found, index, axis), spacing)
    if click is None:
        return None
    voxel = [float(at) for at in click[0]]
    voxel.insert(axis, float(index))
    return Point(geometry.ras_from_ijk([voxel[::-1]])[0], positive=click[1])


def segment_volume(
    session: LocalSession,
    name: str,
    truth: Mask,
    axis: int,
    clicks: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> VolumeAnswer:
    """One box on the slice of largest area, then up to ``clicks`` corrections, each with a propagation along ``axis``.

    ``truth`` (k, j, i) is on the grid of the session's image. ``stop`` is asked now and then whether to give up; then
    Cancelled is raised.
    """
    geometry = session.volume.geometry
    session.clear_prompts(name)
    session.add_prompt(name, box_on_largest_slice(truth, geometry, axis))
    answer = VolumeAnswer(np.zeros_like(truth))
    while True:
        started = time.perf_counter()
        result = _wait(session.propagate(name, axis), stop)
        answer.mask = result.mask.to_full(truth.shape)
        answer.seconds.append(time.perf_counter() - started)
        answer.trace.append(dice(answer.mask, truth))
        answer.slices.append((min(result.agreement, default=-1), max(result.agreement, default=-1)))
        if len(answer.clicks) == clicks:
            return answer
        click = correcting_click(answer.mask, truth, geometry, axis)
        if click is None:
            return answer
        answer.clicks.append(click)
        session.add_prompt(name, click)


def _wait(job: Job[PropagationResult], stop: Callable[[], bool]) -> PropagationResult:
    from AutoPromptSAMLib.errors import Cancelled

    try:
        while not job.done:
            if stop():
                job.cancel()
            try:
                result = job.result(PATIENCE)
            except TimeoutError:
                continue
    except KeyboardInterrupt:
        job.cancel()
        raise
    result = job.result()
    if not result.complete:
        raise Cancelled("Cancelled; what was finished before is kept.")
    return result

"""An object in a volume: whether the least sure slices are those that are wrong, and what a reviewer saves by them.

Both go along the volume's own slices and use the session as a host does: ``review`` ranks the slices, ``carry`` takes
a correction to its neighbours. They begin with a tight box on the slice of largest area, propagated, which is the best
that there is; a review also with what a poor finder would give (``ROUGH``): every slice from a box of its own, whose
IoU with the tight one is random.

The simulated reviewer knows the truth. They look at one slice after the other: at the least sure one that they have
not seen (``ranked``, with ranks that follow every correction), or at the first one (``in order``). A slice with a Dice
of ``GOOD`` they accept as it is; any other one they correct to the truth, which is carried to its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.evaluation.metrics import dice
from AutoPromptSAMLib.evaluation.quality.runner import case_rng
from AutoPromptSAMLib.evaluation.quality.volumes import PATIENCE, box_on_largest_slice
from AutoPromptSAMLib.evaluation.uncertainty.images import TIGHT
from AutoPromptSAMLib.geometry import Crop, Volume, sample_plane, slice_plane
from AutoPromptSAMLib.loops.review import reviewed_slices
from AutoPromptSAMLib.prompts import Box, MaskPrompt
from AutoPromptSAMLib.prompts.simulators import box_at_iou
from AutoPromptSAMLib.session import REACH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from AutoPromptSAMLib.datasets import Case
    from AutoPromptSAMLib.loops.job import Job
    from AutoPromptSAMLib.session.protocol import Review, Session

    Mask = NDArray[np.bool_]

Result = TypeVar("Result")

PART = 0.2  # of the reviewed slices that are to hold most of the error
PARTS = tuple(float(value) for value in np.round(np.arange(0, 1.001, 0.05), 2))
GOALS = (0.90, 0.95)  # 3D Dice
GOOD = 0.95  # Dice of a slice that nobody corrects; a choice
ORDERS = ("ranked", "in order")
ROUGH = "rough"
STARTS = (TIGHT, ROUGH)  # what a review begins with
ROUGH_IOU = (0.4, 1.0)  # of a rough start's boxes; a choice


def begun(session: Session, case: Case, name: str, axis: int, start: str, seed: int) -> Mask:
    """The mask (k, j, i) that a start gives; the session's object ``name`` has the tight box as prompt, or none."""
    session.clear_prompts(name)
    truth, geometry = case.masks[name], case.volume.geometry
    if start == TIGHT:
        session.add_prompt(name, box_on_largest_slice(truth, geometry, axis))
        return finished(session.propagate(name, axis)).mask.to_full(geometry.shape)
    found = np.zeros(geometry.shape, dtype=bool)
    rng = case_rng(seed, case.dataset, case.pair.id, name, start)
    for index in present(truth, axis):
        plane = slice_plane(geometry, axis, index)
        seen = sample_plane(Volume(truth, geometry), plane, order=0, fill=0)
        if seen.any():
            x0, y0, x1, y1 = box_at_iou(seen, float(rng.uniform(*ROUGH_IOU)), rng).tolist()
            session.add_prompt(name, Box.on_plane(plane, (x0, y0, x1, y1)))
            crop = finished(session.segment(name, plane)).mask
            found[crop.slices] |= crop.mask
            session.clear_prompts(name)
    return found


def present(mask: Mask, axis: int) -> list[int]:
    """The slices that a mask is on."""
    there: list[int] = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))).tolist()
    return there


def slices(session: Session, case: Case, name: str, axis: int) -> tuple[dict[str, float | None], Any]:
    """(figures, tables) of the error by slice after propagation from a tight box.

    Figures: ``dice`` in 3D; the share of all wrong voxels that is on the ``PART`` of the reviewed slices that are
    least sure (``share``, as ``review`` ranks them), that are expected to have most wrong voxels (``share/error``),
    and that do have most (``share/best``); ``slices`` that were reviewed. Tables: the share by the part that is looked
    at (``PARTS``) for the first and last of these, with their count ``images``; to be added up over objects.
    """
    truth = case.masks[name]
    found = begun(session, case, name, axis, TIGHT, seed=0)
    figures: dict[str, float | None] = {"dice": dice(found, truth)}
    if not found.any():
        return figures, {}
    review = finished(session.review(name, Crop.from_full(found), axis))
    wrong = (found ^ truth).sum(axis=tuple(other for other in range(3) if other != axis))
    figures["slices"] = float(len(review.slices))
    if not wrong.any():
        return figures, {}
    by_error = sorted(review.slices, key=lambda index: -review.slices[index].expected_error)
    best = sorted(review.slices, key=lambda index: -wrong[index])
    curves = {}
    for key, order in (("share", review.ranked), ("share/error", by_error), ("share/best", best)):
        curves[key] = shares(wrong, order)
        figures[key] = float(np.interp(PART, PARTS, curves[key]))
    tables = {"ranked": curves["share"], "best": curves["share/best"], "images": np.ones(1)}
    return figures, tables


def shares(wrong: NDArray[np.integer], order: Sequence[int]) -> NDArray[np.float64]:
    """The share of all ``wrong`` voxels (by slice) that is on the first slices of ``order``, for each of ``PARTS``."""
    counts = [math.floor(part * len(order) + 0.5) for part in PARTS]
    held = np.concatenate([[0], np.cumsum(wrong[list(order)])])
    found: NDArray[np.float64] = held[counts] / wrong.sum()
    return found


@dataclass
class Reviewed:
    """How a review went: how many slices were looked at and corrected, and when each goal was reached."""

    dice: float
    looked: int = 0
    corrected: int = 0
    reached: dict[float, tuple[int, int]] = field(default_factory=dict)

    def note(self, value: float) -> None:
        """The 3D Dice after what was done last."""
        self.dice = value
        for goal in GOALS:
            if value >= goal and goal not in self.reached:
                self.reached[goal] = (self.looked, self.corrected)


def human(session: Session, case: Case, name: str, axis: int, start: str, seed: int) -> dict[str, float | None]:
    """Review one object in both ``ORDERS``, from the mask that ``start`` gives.

    Figures: ``START/dice`` before the review, and for each order and goal ``START/ORDER/corrected/GOAL`` and
    ``START/ORDER/looked/GOAL``, slices until the goal is reached, None when it never is.
    """
    figures: dict[str, float | None] = {}
    for order in ORDERS:
        found = begun(session, case, name, axis, start, seed)
        figures[f"{start}/dice"] = dice(found, case.masks[name])
        outcome = reviewed(session, case, name, axis, found, order)
        for goal in GOALS:
            looked, corrected = outcome.reached.get(goal, (None, None))
            figures[f"{start}/{order}/looked/{goal:.2f}"] = looked
            figures[f"{start}/{order}/corrected/{goal:.2f}"] = corrected
    return figures


def reviewed(session: Session, case: Case, name: str, axis: int, found: Mask, order: str) -> Reviewed:
    """Look at slices of ``found`` in ``order`` until all goals are reached or there is no slice left to look at."""
    truth = case.masks[name]
    outcome = Reviewed(0.0)
    outcome.note(dice(found, truth))
    seen: set[int] = set()
    known: Review | None = None
    changed: tuple[int, int] | None = (0, truth.shape[axis] - 1)
    while len(outcome.reached) < len(GOALS) and found.any():
        if order == "ranked" and changed is not None:
            known = _updated(session, name, axis, found, known, changed)
        in_order = reviewed_slices(present(found, axis), 0, found.shape[axis] - 1)
        candidates = in_order if known is None else known.ranked
        index = next((n for n in candidates if n not in seen), None)
        if index is None:
            break
        seen.add(index)
        outcome.looked += 1
        found, changed = _visited(session, case, name, axis, found, index, outcome)
        outcome.note(dice(found, truth))
    return outcome


def _updated(
    session: Session, name: str, axis: int, found: Mask, before: Review | None, changed: tuple[int, int]
) -> Review:
    """The review of all slices, those from ``changed[0]`` to ``changed[1]`` looked at anew."""
    first, last = max(0, changed[0]), min(found.shape[axis] - 1, changed[1])
    if before is None:
        return finished(session.review(name, Crop.from_full(found), axis, first, last))
    slices = {index: one for index, one in before.slices.items() if not first <= index <= last}
    if reviewed_slices(present(found, axis), first, last):
        slices |= finished(session.review(name, Crop.from_full(found), axis, first, last)).slices
    return replace(before, slices=slices)


def _visited(
    session: Session, case: Case, name: str, axis: int, found: Mask, index: int, outcome: Reviewed
) -> tuple[Mask, tuple[int, int] | None]:
    """Accept or correct a slice: (the mask after it, the slices that may be other ones now)."""
    place = tuple(index if a == axis else slice(None) for a in range(3))
    truth = case.masks[name][place]
    here = found[place]
    is_right = not (truth.any() or here.any()) or dice(here, truth) >= GOOD
    if not is_right:
        outcome.corrected += 1
        found = found.copy()
        found[place] = truth
    if found[place].any():
        alone = np.zeros_like(found)
        alone[place] = found[place]
        session.add_prompt(name, MaskPrompt(Crop.from_full(alone), case.volume.geometry))
    if is_right:
        return found, None
    if found.any():
        carried = finished(session.carry(name, Crop.from_full(found), index, axis, REACH))
        found = carried.mask.to_full(found.shape)
    return found, (index - REACH - 1, index + REACH + 1)


def finished(job: Job[Result]) -> Result:
    """The result of a job, which ends with Ctrl-C. Raises Cancelled, and what the job raises."""
    try:
        while not job.done:
            try:
                job.result(PATIENCE)
            except TimeoutError:
                continue
    except KeyboardInterrupt:
        job.cancel()
        raise
    result = job.result()
    if not getattr(result, "complete", True):
        raise Cancelled("Cancelled; what was finished before is kept.")
    return result

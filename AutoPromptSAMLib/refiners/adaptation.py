"""Prompts that mend themselves where the answer to them is unsure (UGPA of MedSAM-U)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.geometry.grid import FloatArray
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners.expected import expected_dice
from AutoPromptSAMLib.refiners.pieces import peaks, refined_boxes
from AutoPromptSAMLib.refiners.settings import Settings
from AutoPromptSAMLib.refiners.uncertainty import Estimate, estimate

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features

# The area may change by these factors, all rounds together: a mask that has all but vanished is trivially sure, and
# one that is three times as large is another object. A choice.
LEAST_AREA, MOST_AREA = 0.5, 3.0
# How much better, in expected Dice, a refined mask must be than the one that is there: the model finds its own answer
# a little better than any other, also where the other is right (a well segmented kidney of the sample CT lost 3 points
# of 3D Dice without this). A choice.
LEAST_GAIN = 0.05
APART = 8.0  # pixels of an image of 256 between the points of a round; closer ones say the same. A choice.
POINTS = 3  # that a round adds for models that take points, unless the settings say otherwise; the paper has 3 to 10
GIVEN = "what was given"
AGAIN = "the same prompts, asked again"


@dataclass(frozen=True, eq=False)
class Step:
    """Prompts, what the model makes of them, and in plain words (``reason``) why they were ``accepted`` or not."""

    prompts: PixelPrompts
    estimate: Estimate
    accepted: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Refinement:
    """The steps in their order; the first is what was given, and always accepted."""

    steps: tuple[Step, ...]

    @property
    def chosen(self) -> int:
        """Number of the last accepted step."""
        return max(number for number, step in enumerate(self.steps) if step.accepted)

    @property
    def best(self) -> Step:
        """The last accepted step."""
        return self.steps[self.chosen]

    @property
    def improved(self) -> bool:
        """Whether any round was accepted."""
        return self.chosen > 0


def refine(
    backbone: Backbone,
    features: Features,
    prompts: PixelPrompts,
    settings: Settings | None = None,
    *,
    keep: bool = False,
    first: Estimate | None = None,
) -> Refinement:
    """Mend ``prompts`` in up to ``settings.rounds`` rounds, each one batched decode of ``settings.boxes`` copies.

    A round (``proposed``) starts from the last accepted step and is accepted as ``settings`` say; the first one that
    is not, or that has nothing new to try, is the last. The points in ``prompts`` always stay, and no mask is accepted
    that contradicts one of them, whether the model takes points or not. With ``keep`` the boxes stay too (a person
    drew them) and only points are added. ``first`` is the estimate of ``prompts``, where it is known. Raises
    PromptError for prompts without a box and a mask.
    """
    settings = settings or Settings()
    start = Step(prompts, first or estimate(backbone, features, prompts, settings), True, GIVEN)
    steps = [start]
    for _ in range(settings.rounds):
        last = steps[-1]
        if not last.accepted:
            break
        tried = proposed(last, prompts, settings, points=backbone.capabilities.points, keep=keep)
        if tried is None:
            break
        found = estimate(backbone, features, tried, settings)
        rule = settings.acceptance == "uncertainty"
        reason = _objection(found, last.estimate, start.estimate, prompts) if rule else ""
        steps.append(Step(tried, found, not reason, reason or _praise(found, last.estimate)))
    return Refinement(tuple(steps))


def instead_of(present: NDArray[np.bool_], refinement: Refinement) -> Refinement:
    """The refinement as steps away from ``present`` (rows, cols), the mask that is there, whoever made it.

    Step 0 now stands for that mask, and step 1 is what the model makes of the prompts as they were given. None is
    accepted unless the best of them is expected to be clearly better than ``present`` (``gains``), and obeys the
    clicks that ``present`` obeys.
    """
    first, *rounds = refinement.steps
    steps = [replace(first, reason=AGAIN), *rounds]
    best, reason = refinement.best.estimate, ""
    if contradicted(best.mask, first.prompts) and not contradicted(present, first.prompts):
        reason = "it contradicts a click"
    elif not gains(best, present):
        there = expected_dice(present, best.probability)
        reason = f"what is there is about as good (expected Dice {100 * there:.0f} %)"
    if reason:
        steps = [replace(step, accepted=False, reason=reason) if step.accepted else step for step in steps]
    return Refinement((first, *steps))


def gains(found: Estimate, present: NDArray[np.bool_]) -> bool:
    """Whether the mask of ``found`` is expected to be better than ``present`` (rows, cols) by ``LEAST_GAIN`` of Dice.

    An empty ``present`` gives way to anything.
    """
    if not present.any():
        return bool(found.mask.any())
    best, there = (expected_dice(mask, found.probability) for mask in (found.mask, present))
    return best - there >= LEAST_GAIN


def proposed(
    step: Step, given: PixelPrompts, settings: Settings | None = None, *, points: bool, keep: bool = False
) -> PixelPrompts | None:
    """What to try after ``step``, None when there is nothing else to try.

    The boxes go around the pieces of the mask with what is unsure about them, and as many points as the settings say
    are added where the uncertainty is largest, if the model takes ``points``. ``given`` are the prompts that all
    started from: their points stay, and with ``keep`` their boxes.
    """
    settings = settings or Settings()
    found = step.estimate
    if not found.mask.any():
        return None
    boxes: FloatArray = refined_boxes(found.mask, found.uncertainty, settings.threshold)
    if keep and len(given.boxes):
        boxes = given.boxes
    at, labels = given.points, given.labels
    count = POINTS if settings.points is None else settings.points
    if points and count and settings.labels != "none":
        apart = APART * max(found.mask.shape) / 256
        new = peaks(found.uncertainty, count, apart, given.points)
        cols, rows = new.astype(int).T
        inside = found.mask[rows, cols] if settings.labels == "sign" else np.ones(len(new), dtype=bool)
        at, labels = np.concatenate([at, new]), np.concatenate([labels, inside.astype(np.int8)])
    tried = PixelPrompts(at, labels, boxes=boxes)
    return None if _same(tried, step.prompts) else tried


def _same(one: PixelPrompts, other: PixelPrompts) -> bool:
    pairs = ((one.boxes, other.boxes), (one.points, other.points), (one.labels, other.labels))
    return all(np.array_equal(a, b) for a, b in pairs)


def _objection(found: Estimate, before: Estimate, first: Estimate, given: PixelPrompts) -> str:
    """Why a round is not accepted, "" when it is."""
    area, known = int(found.mask.sum()), int(first.mask.sum())
    if not area:
        return "nothing was found"
    if contradicted(found.mask, given):
        return "it contradicts a click"
    if area < LEAST_AREA * known:
        return "too much of the mask was lost"
    if area > MOST_AREA * known:
        return "the mask grew too much"
    if not found.score < before.score:
        return f"not surer than before ({_change(found, before)})"
    return ""


def _praise(found: Estimate, before: Estimate) -> str:
    return f"{'surer' if found.score < before.score else 'not surer'} than before ({_change(found, before)})"


def _change(found: Estimate, before: Estimate) -> str:
    if not before.score:
        return "which had no doubt at all"
    return f"{100 * (found.score / before.score - 1):+.0f} % uncertainty"


def contradicted(mask: NDArray[np.bool_], given: PixelPrompts) -> bool:
    """Whether a mask (rows, cols) leaves out a positive click of ``given`` or takes in a negative one."""
    last = np.array(mask.shape[::-1]) - 1
    cols, rows = np.clip(np.rint(given.points), 0, last).astype(int).T
    return bool((mask[rows, cols] != given.labels.astype(bool)).any())

"""One object on one slice: segmented from a simulated prompt, as a user of this software would get it, and scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.evaluation.metrics import AUC_CLICKS, clicks_to_reach, dice, dice_auc
from AutoPromptSAMLib.evaluation.quality.records import Mask
from AutoPromptSAMLib.loops.slice import segment_slice
from AutoPromptSAMLib.loops.tracking import OUTSIDE, decode_prompts
from AutoPromptSAMLib.prompts import PixelPrompts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from AutoPromptSAMLib.backbones import Backbone, Features
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache

# "interactive" is what a user gets (``loops.slice``: clicks become boxes for models that know boxes only, and correct
# the mask that is there). "plain" is one decode of the bare model, as papers report it.
METHODS = ("interactive", "plain")

MOST_CLICKS = 20  # after which a user gives up: the usual number in studies of interactive segmentation
GOALS = (0.85, 0.90)

Correction = tuple["NDArray[np.float64]", bool]  # (column, row), whether it belongs to the object
NextClick = Callable[[Mask], "Correction | None"]


@dataclass(frozen=True, eq=False)
class Answer:
    """A mask (rows, cols), the prompts that led to it, the seconds that decoding took, further figures."""

    mask: Mask
    prompts: PixelPrompts
    seconds: float
    trace: tuple[float, ...] = ()
    figures: dict[str, float] | None = None


def encode(backbone: Backbone, cache: EmbeddingCache, image: NDArray[np.uint8]) -> tuple[Features, float | None]:
    """Features of an image (rows, cols, 3), and the seconds when they were not in the cache, else None."""
    from AutoPromptSAMLib.backbones.cache import feature_key

    known = cache.get(feature_key(backbone.features_fingerprint, image)) is not None
    started = time.perf_counter()
    features = cache.get_or_encode(backbone, image)
    return features, None if known else time.perf_counter() - started


def check_fits(backbone: Backbone, method: str, prompts: PixelPrompts) -> None:
    """Raise PromptError when the bare model cannot take such prompts."""
    if method == "plain" and len(prompts.points) and not backbone.capabilities.points:
        raise PromptError(f"{backbone.card.name} takes no points; measure clicks with the method interactive.")


def segment_once(backbone: Backbone, features: Features, prompts: PixelPrompts, method: str) -> Answer:
    """The answer to one prompt. Raises PromptError when the bare model cannot take it."""
    check_fits(backbone, method, prompts)
    started = time.perf_counter()
    if method == "plain":
        logits = decode_prompts(backbone, features, [prompts])[0]
    else:
        logits = segment_slice(backbone, features, prompts)
    return Answer(logits > 0, prompts, time.perf_counter() - started)


def segment_with_corrections(
    backbone: Backbone,
    features: Features,
    first: PixelPrompts,
    truth: Mask,
    next_click: NextClick,
    method: str,
) -> Answer:
    """A user who starts with ``first`` (maybe with nothing) and corrects the answer, click by click.

    ``next_click`` gives the click for a mask, None when there is nothing left to correct. They go on until both
    ``GOALS`` are reached and ``AUC_CLICKS`` are done, or until ``MOST_CLICKS``. The mask is that after ``AUC_CLICKS``,
    which is when users are compared; ``figures`` are clicks_to_0.85, clicks_to_0.90 (``MOST_CLICKS`` when never
    reached) and dice_auc5; ``trace`` is the Dice before the first click and after each. Raises PromptError when the
    bare model cannot take such prompts.
    """
    check_fits(backbone, method, _with_click(first, (np.zeros(2), True)))
    started = time.perf_counter()
    prompts, logits = first, _logits(backbone, features, first, method, None)
    trace = [dice(logits > 0, truth)]
    kept = logits > 0, prompts
    for clicks in range(1, MOST_CLICKS + 1):
        if clicks > AUC_CLICKS and max(trace) >= max(GOALS):
            break
        click = next_click(logits > 0)
        if click is None:
            break
        prompts = _with_click(prompts, click)
        logits = _logits(backbone, features, prompts, method, logits)
        trace.append(dice(logits > 0, truth))
        if clicks <= AUC_CLICKS:
            kept = logits > 0, prompts
    figures = {f"clicks_to_{goal:.2f}": clicks_to(goal, trace) for goal in GOALS}
    figures[f"dice_auc{AUC_CLICKS}"] = dice_auc(trace[1:] or trace, AUC_CLICKS)
    return Answer(kept[0], kept[1], time.perf_counter() - started, tuple(trace), figures)


def clicks_to(goal: float, trace: Sequence[float]) -> float:
    """Clicks until the Dice is ``goal``: 0 when ``trace[0]``, before any click, is; ``MOST_CLICKS`` when none is."""
    if trace[0] >= goal:
        return 0.0
    reached = clicks_to_reach(trace[1:], goal)
    return float(MOST_CLICKS if reached is None else reached)


def prompts_to_json(prompts: PixelPrompts) -> dict[str, Any]:
    """Points, labels and boxes in pixels, for the record."""
    return {
        "points": np.round(prompts.points, 2).tolist(),
        "labels": prompts.labels.tolist(),
        "boxes": np.round(prompts.boxes, 2).tolist(),
    }


def _logits(
    backbone: Backbone,
    features: Features,
    prompts: PixelPrompts,
    method: str,
    before: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    if prompts.is_empty:
        return np.full((features.frame.rows, features.frame.cols), OUTSIDE, dtype=np.float32)
    if method == "plain":
        return decode_prompts(backbone, features, [prompts])[0]
    # A click changes the answer to those before it, and only models that take points look at all of them anew: for the
    # others going on from the last answer gives the same mask in a tenth of the time.
    base = None if backbone.capabilities.points else before
    return segment_slice(backbone, features, prompts, base)


def _with_click(prompts: PixelPrompts, click: Correction) -> PixelPrompts:
    at, positive = click
    return PixelPrompts(
        np.concatenate([prompts.points, [at]]),
        np.concatenate([prompts.labels, [int(positive)]]).astype(np.int8),
        boxes=prompts.boxes,
        mask=prompts.mask,
    )

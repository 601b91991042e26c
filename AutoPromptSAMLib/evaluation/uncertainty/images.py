"""One object on one image: what boxes, points and a click give, with and without the refiner.

| part | figures |
|---|---|
| ``boxes`` | ``START/WAY``: Dice from a start box (``STARTS``) in each of ``WAYS``; ``START/iou``, ``START/rounds`` |
| ``points`` | ``START/+N``: Dice of one decode of the bare model with the box and N random points inside the truth |
| ``click`` | ``raw``: Dice of one decode of the bare model with one click; ``interactive``: by ``loops.slice`` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from AutoPromptSAMLib.evaluation.metrics import dice
from AutoPromptSAMLib.evaluation.quality.runner import case_rng
from AutoPromptSAMLib.loops.slice import segment_slice
from AutoPromptSAMLib.loops.tracking import decode_prompts
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.prompts.simulators import box_at_iou, box_iou, click_at_centre, random_clicks, tight_box
from AutoPromptSAMLib.refiners import Settings, refine
from AutoPromptSAMLib.refiners.adaptation import gains

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from AutoPromptSAMLib.backbones import Backbone, Features
    from AutoPromptSAMLib.datasets import SliceSample

    Figures = dict[str, float | None]

TIGHT = "tight"
STARTS = (TIGHT, "0.75", "0.5")  # IoU of the start box with the tight one
TOLERANCE = 0.03  # by which a start box may miss its IoU
# One decode; the mean over jittered boxes (UGMP); refined while uncertainty falls (UGPA), and by its first round at
# most; every round taken; refined as the application does it: the plain model's single mask stays unless the refined
# one is expected to be clearly better.
WAYS = ("single", "ugmp", "ugpa-1", "ugpa", "always", "guarded")
POINTS = (0, 3, 10)


def start_box(sample: SliceSample, start: str, seed: int) -> NDArray[np.float64] | None:
    """The box that a run begins with, the same for all models; None where the object allows no such box."""
    tight = tight_box(sample.truth)
    if start == TIGHT:
        return tight
    wanted = float(start)
    box = box_at_iou(sample.truth, wanted, case_rng(seed, sample.dataset, sample.id, f"box {start}"))
    return box if abs(box_iou(tight, box) - wanted) <= TOLERANCE else None


def draw_seed(sample: SliceSample, seed: int) -> int:
    """The seed of the jitter, the same for all models and ways."""
    return int(case_rng(seed, sample.dataset, sample.id, "jitter").integers(2**31))


def boxes(backbone: Backbone, features: Features, sample: SliceSample, seed: int) -> Figures:
    """The part ``boxes``; see the module."""
    found: Figures = {}
    jitter = draw_seed(sample, seed)
    plain = getattr(backbone, "plain", backbone)
    for start in STARTS:
        box = start_box(sample, start, seed)
        if box is None:
            continue
        prompts = PixelPrompts(box=box)
        refined = refine(backbone, features, prompts, Settings(seed=jitter))
        given = refined.steps[0].estimate
        always = refine(backbone, features, prompts, Settings(seed=jitter, acceptance="always"), first=given)
        drawn = decode_prompts(plain, features, [prompts])[0] > 0
        best = refined.best.estimate
        masks = {
            "single": decode_prompts(backbone, features, [prompts])[0] > 0,
            "ugmp": given.mask,
            "ugpa-1": refined.steps[min(1, refined.chosen)].estimate.mask,
            "ugpa": best.mask,
            "always": always.best.estimate.mask,
            "guarded": best.mask if gains(best, drawn) else drawn,
        }
        found |= {f"{start}/{way}": dice(mask, sample.truth) for way, mask in masks.items()}
        found[f"{start}/iou"] = box_iou(tight_box(sample.truth), box)
        found[f"{start}/rounds"] = float(refined.chosen)
    return found


def points(backbone: Backbone, features: Features, sample: SliceSample, seed: int) -> Figures:
    """The part ``points``; see the module. The points of a smaller number are among those of a larger one."""
    found: Figures = {}
    drawn = random_clicks(sample.truth, max(POINTS), case_rng(seed, sample.dataset, sample.id, "points"))
    for start in STARTS[1:]:
        box = start_box(sample, start, seed)
        if box is None:
            continue
        for count in POINTS:
            given = PixelPrompts(drawn[:count], np.ones(len(drawn[:count]), np.int8), box)
            # Numbers of points differ, so they could not share a batch anyway.
            found[f"{start}/+{count}"] = dice(decode_prompts(backbone, features, [given])[0] > 0, sample.truth)
    return found


def click(backbone: Backbone, features: Features, sample: SliceSample, seed: int) -> Figures:
    """The part ``click``; see the module. The click is at the innermost pixel, so the seed changes only the object."""
    prompts = PixelPrompts(click_at_centre(sample.truth)[None], np.ones(1, np.int8))
    return {
        "raw": dice(decode_prompts(backbone, features, [prompts])[0] > 0, sample.truth),
        "interactive": dice(segment_slice(backbone, features, prompts) > 0, sample.truth),
    }


PARTS = {"boxes": boxes, "points": points, "click": click}

"""Whether the uncertainty finds errors, and whether the mean probability is as right as it says.

Only pixels in the region of interest count, or the background, where everything is sure and right, would decide: the
box around the mask and all pixels of more than ``UNSURE`` bits, with sides a fifth longer, inside the image.

Two masks are judged: the mean map's own (``mean``), for which uncertainty and the probability of being wrong order
pixels alike, and the one that a single decode of the box shows (``single``), by the probability that it is wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata

from AutoPromptSAMLib.evaluation.quality.runner import case_rng
from AutoPromptSAMLib.evaluation.uncertainty.images import STARTS, draw_seed, start_box
from AutoPromptSAMLib.loops.regions import bounding_box
from AutoPromptSAMLib.loops.tracking import decode_prompts
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners import Estimate, Settings, estimate, wrong_probability
from AutoPromptSAMLib.refiners.pieces import jittered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from AutoPromptSAMLib.backbones import Backbone, Features
    from AutoPromptSAMLib.datasets import SliceSample

    Mask = NDArray[np.bool_]
    Map = NDArray[np.floating]

UNSURE = 0.05  # bits
ENLARGED = 0.2  # of each side of the region of interest
BINS = 15
COVERAGES = tuple(float(value) for value in np.round(np.arange(0.05, 1.001, 0.05), 2))
PIXELS = 2000  # of an image's region that a temperature is fitted on


def region(mask: Mask, uncertainty: Map) -> tuple[slice, slice] | None:
    """Rows and columns of the region of interest; None where there is neither a mask nor a doubt."""
    shown = mask | (uncertainty > UNSURE)
    if not shown.any():
        return None
    x0, y0, x1, y1 = bounding_box(shown)
    wider, higher = ((x1 - x0 + 1) * ENLARGED / 2, (y1 - y0 + 1) * ENLARGED / 2)
    rows, cols = mask.shape
    return (
        slice(max(0, int(np.floor(y0 - higher))), min(rows, int(np.ceil(y1 + higher)) + 1)),
        slice(max(0, int(np.floor(x0 - wider))), min(cols, int(np.ceil(x1 + wider)) + 1)),
    )


def auroc(doubt: Map, wrong: Mask) -> float | None:
    """Chance that a wrong pixel has more doubt than a right one, ties half; None without both kinds (Mann-Whitney)."""
    positive = int(np.count_nonzero(wrong))
    negative = wrong.size - positive
    if not positive or not negative:
        return None
    ranks = rankdata(doubt.ravel())
    return float((ranks[wrong.ravel()].sum() - positive * (positive + 1) / 2) / (positive * negative))


def risks(doubt: Map, wrong: Mask) -> NDArray[np.float64]:
    """The part of pixels that is wrong among the surest ones, for each of ``COVERAGES``."""
    ordered = wrong.ravel()[np.argsort(doubt.ravel(), kind="stable")]
    counts = np.maximum(np.rint(np.array(COVERAGES) * ordered.size).astype(int), 1)
    found: NDArray[np.float64] = np.cumsum(ordered)[counts - 1] / counts
    return found


def reliability(probability: Map, truth: Mask) -> NDArray[np.float64]:
    """(3, BINS): the part of all pixels in each bin of probability, and its shares of mean probability and truth."""
    bins = np.minimum((probability.ravel() * BINS).astype(int), BINS - 1)
    weights = (None, probability.ravel().astype(np.float64), truth.ravel().astype(np.float64))
    return np.stack([np.bincount(bins, each, BINS) for each in weights]) / bins.size


def calibration_error(table: Sequence[float]) -> float:
    """Expected calibration error of a sum of ``reliability`` tables, flat or not."""
    parts, probabilities, truths = np.reshape(table, (3, BINS))
    return float(np.abs(probabilities - truths).sum() / parts.sum())


def tempered(backbone: Backbone, temperature: float) -> Backbone:
    """The same model with another temperature on its card."""
    other = copy.copy(backbone)
    other.card = replace(backbone.card, temperature=temperature)
    return other


def measure(
    backbone: Backbone,
    features: Features,
    sample: SliceSample,
    seed: int,
    temperatures: Mapping[str, float],
) -> tuple[dict[str, float | None], dict[str, NDArray[np.float64]]]:
    """(figures, tables) of one object, for every start box that it allows.

    Figures: ``START/auroc/MASK``, ``START/wrong/MASK`` (the part of the region that is wrong). Tables: ``START/risk``
    over ``COVERAGES`` with its count ``START/images``, and ``START/reliability/NAME`` for each of ``temperatures``.
    Tables are to be added up over images, each image counting alike.
    """
    figures: dict[str, float | None] = {}
    tables: dict[str, NDArray[np.float64]] = {}
    for start in STARTS:
        box = start_box(sample, start, seed)
        if box is None:
            continue
        prompts = PixelPrompts(box=box)
        found = _estimate(backbone, features, prompts, sample, seed)
        place = region(found.mask, found.uncertainty)
        if place is None:
            continue
        truth = sample.truth[place]
        single = decode_prompts(backbone, features, [prompts])[0] > 0
        for name, mask in (("mean", found.mask), ("single", single)):
            wrong, doubt = mask[place] != truth, wrong_probability(mask, found.probability)[place]
            figures[f"{start}/auroc/{name}"] = auroc(doubt, wrong)
            figures[f"{start}/wrong/{name}"] = float(wrong.mean())
            if name == "mean":
                tables[f"{start}/risk"] = risks(doubt, wrong)
        tables[f"{start}/images"] = np.ones(1)
        for name, temperature in temperatures.items():
            other = found
            if temperature != backbone.card.temperature:
                other = _estimate(tempered(backbone, temperature), features, prompts, sample, seed)
            tables[f"{start}/reliability/{name}"] = reliability(other.probability[place], truth).ravel()
    return figures, tables


def fitting_pixels(
    backbone: Backbone, features: Features, sample: SliceSample, seed: int
) -> list[tuple[NDArray[np.float32], Mask]]:
    """For every start box at most ``PIXELS`` random pixels of the region: (logits of each copy (N, n), truth (n,))."""
    found = []
    for start in STARTS:
        box = start_box(sample, start, seed)
        if box is None:
            continue
        settings = Settings(seed=draw_seed(sample, seed))
        copies = jittered(box[None], settings.boxes, settings.sigma, sample.truth.shape, settings.seed)
        logits = decode_prompts(backbone, features, [PixelPrompts(box=copy[0]) for copy in copies])
        mean = Estimate.of(expit(logits / backbone.card.temperature).mean(axis=0))
        place = region(mean.mask, mean.uncertainty)
        if place is None:
            continue
        inside, truth = logits[:, place[0], place[1]].reshape(len(logits), -1), sample.truth[place].ravel()
        rng = case_rng(seed, sample.dataset, sample.id, f"pixels {start}")
        chosen = rng.choice(truth.size, min(PIXELS, truth.size), replace=False)
        found.append((inside[:, chosen], truth[chosen]))
    return found


def _estimate(
    backbone: Backbone, features: Features, prompts: PixelPrompts, sample: SliceSample, seed: int
) -> Estimate:
    return estimate(backbone, features, prompts, Settings(seed=draw_seed(sample, seed)))

"""Whether probabilities mean what they say: one temperature that makes them, and by how much they are off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import expit

from AutoPromptSAMLib.errors import PromptError

RANGE = (0.05, 50.0)  # temperatures that are looked at; beyond, all is certain or nothing is


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """The temperature T for which sigmoid(``logits`` / T) is the likeliest to have produced ``truth``.

    One number for a whole model (Guo et al. 2017, "On Calibration of Modern Neural Networks"). ``truth`` bool of any
    shape; ``logits`` of the same shape or with the answers to jittered copies as a further first axis, over which the
    probabilities are averaged as ``estimate`` does. Raises PromptError for other shapes, for no pixel and for NaN.
    """
    if logits.shape != truth.shape and logits.shape[1:] != truth.shape:
        raise PromptError(f"There are logits of shape {logits.shape} for a truth of {truth.shape}; give them alike.")
    values = np.asarray(logits, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        raise PromptError("A temperature needs at least one pixel, and logits that are finite numbers.")
    copies = values[None] if values.shape == truth.shape else values
    inside = truth.astype(bool)

    def surprise(log_temperature: float) -> float:
        p = expit(copies / np.exp(log_temperature)).mean(axis=0)
        return float(-np.log(np.maximum(np.where(inside, p, 1 - p), 1e-12)).mean())

    found = optimize.minimize_scalar(surprise, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def expected_calibration_error(p: NDArray[np.floating], truth: NDArray[np.bool_], bins: int = 15) -> float:
    """How far probabilities ``p`` are from what is true of ``truth`` (same shape, bool), on average: 0 is perfect.

    The pixels are put into ``bins`` equal intervals of p; |mean p - part that is true| is averaged over the intervals
    by their number of pixels. Raises PromptError for other shapes and for no pixel.
    """
    if p.shape != truth.shape or not p.size:
        raise PromptError(f"There are {p.shape} probabilities for a truth of {truth.shape}; give as many of both.")
    at = np.clip((p.ravel() * bins).astype(np.intp), 0, bins - 1)
    said = np.bincount(at, p.ravel().astype(np.float64), minlength=bins)
    true = np.bincount(at, truth.ravel().astype(np.float64), minlength=bins)
    return float(np.abs(said - true).sum() / p.size)

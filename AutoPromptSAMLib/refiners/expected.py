"""How wrong a mask is expected to be, by a probability for each of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def wrong_probability(mask: NDArray[np.bool_], probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Probability (rows, cols) that each pixel of ``mask`` (rows, cols) is wrong."""
    return np.where(mask, 1 - probability, probability).astype(np.float32)


def expected_dice(mask: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    """The Dice, from 0 to 1, that ``mask`` (rows, cols) has by a ``probability`` for each pixel.

    2 * sum of probability in the mask / (sum of probability + area), which is what the Dice tends to with many pixels.
    An empty mask is right if there is nothing, which is as probable as the pixel that is most probably something is
    not.
    """
    area = int(np.count_nonzero(mask))
    if not area:
        return float(np.clip(1 - probability.max(initial=0.0), 0, 1))
    inside = float(probability[mask].sum(dtype=np.float64))
    return float(np.clip(2 * inside / (float(probability.sum(dtype=np.float64)) + area), 0, 1))

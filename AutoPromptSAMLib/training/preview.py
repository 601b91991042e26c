"""What a person sees while a task is learned; importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TRUTH, _FOUND = (255, 255, 255), (255, 140, 0)  # white and orange: apart for colour-blind people, too


@dataclass(frozen=True, eq=False)
class Preview:
    """A held-back image as the network sees it after ``step`` of ``steps``, and what it makes of it.

    Where nothing is held back it is one that is learned from, and ``dice`` is NaN.

    ``image`` (S, S, 3) uint8, ``truth`` and ``mask`` (N, h, w) bool in the order of the objects; ``dice`` is the mean
    over all held-back images.
    """

    step: int
    steps: int
    dice: float
    name: str
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    def picture(self) -> NDArray[np.uint8]:
        """The image (S, S, 3) uint8 with the outlines of the truth in white and of what was found in orange."""
        from scipy import ndimage

        picture = np.array(self.image)
        rows, cols = picture.shape[:2]
        for masks, colour in ((self.truth, _TRUTH), (self.mask, _FOUND)):
            for mask in masks:
                row, col = np.arange(rows) * mask.shape[0] // rows, np.arange(cols) * mask.shape[1] // cols
                there = mask[row[:, None], col]
                picture[there & ~ndimage.binary_erosion(there)] = colour
        return picture

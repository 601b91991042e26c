"""Images with known objects that a box-prompted network segments well, for tests with real weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from AutoPromptSAMLib.backbones import Backbone, Features
from AutoPromptSAMLib.loops.appearance import smooth

SIZE = 256


def ellipse(col: float, row: float, across: float, down: float) -> np.ndarray:
    """Pixels (SIZE, SIZE) of an ellipse with these half axes."""
    rows, cols = np.mgrid[:SIZE, :SIZE]
    return ((cols - col) / across) ** 2 + ((rows - row) / down) ** 2 <= 1


@dataclass(frozen=True, eq=False)
class Picture:
    """Bright organs with a dark core or none in a grey body, noisy, and the features of a model on it."""

    image: np.ndarray
    features: Features

    @property
    def appearance(self) -> np.ndarray:
        return smooth(self.image)


def picture(backbone: Backbone, bright: np.ndarray, seed: int = 0) -> Picture:
    """``bright`` (SIZE, SIZE) bool at 190 in a body of 90 on black, with noise of 6."""
    grey = np.where(bright, 190.0, np.where(ellipse(128, 128, 115, 95), 90.0, 0.0))
    grey += np.random.default_rng(seed).normal(0, 6, grey.shape)
    image = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return Picture(image, backbone.encode([image]))

"""A network double that can be told about points and temperature, and says what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from AutoPromptSAMLib.backbones import Decoded, Features, Frame, PromptEmbedding
from AutoPromptSAMLib.prompts import PixelPrompts

from ..threshold_backbone import BRIGHT, DARK, ThresholdBackbone

SHAPE = (96, 80)


class SoftBackbone(ThresholdBackbone):
    """Remembers its prompts and how many objects each decode had; points change nothing."""

    def __init__(self, points: bool = False, temperature: float = 1.0) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, points=points)
        self.card = replace(self.card, temperature=temperature)
        self.prompts: list[PixelPrompts] = []
        self.batches: list[int] = []

    def embed_prompts(
        self, frame: Frame, prompts: Sequence[PixelPrompts], low_res: Sequence[Any] | None = None
    ) -> PromptEmbedding:
        self.prompts += prompts
        return super().embed_prompts(frame, prompts, low_res)

    def decode(self, features: Features, embedding: PromptEmbedding, *rest: Any, **more: Any) -> Decoded:
        self.batches.append(len(embedding))
        return super().decode(features, embedding, *rest, **more)


def encoded(backbone: ThresholdBackbone, bright: np.ndarray) -> Features:
    """The features of an image that is bright where ``bright`` (rows, cols) says."""
    grey = np.where(bright, BRIGHT, DARK).astype(np.uint8)
    return backbone.encode([np.repeat(grey[..., None], 3, axis=2)])


def everywhere() -> np.ndarray:
    """All is bright: whatever box is drawn is the answer."""
    return np.ones(SHAPE, dtype=bool)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """Bright from column ``x0`` to ``x1`` and row ``y0`` to ``y1``, both included."""
    bright = np.zeros(SHAPE, dtype=bool)
    bright[y0 : y1 + 1, x0 : x1 + 1] = True
    return bright

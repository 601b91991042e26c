"""A prompter that is no network: it prompts with a box around what the supports show. And pictures for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from AutoPromptSAMLib.backbones import Decoded, Features, PromptEmbedding
from AutoPromptSAMLib.prompters import Prompted, Support
from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportEncoding, SupportMemory
from AutoPromptSAMLib.prompts import PixelPrompts

from ..threshold_backbone import ThresholdBackbone

PAD = 3


class ContrastBackbone(ThresholdBackbone):
    """With features of several channels, so that images can be compared by them."""

    def encode(self, images: Sequence[np.ndarray]) -> Features:
        features = super().encode(images)
        grey = features.embedding / 255
        return replace(features, embedding=torch.cat([grey, 1 - grey, grey * 0], dim=1))

    def decode(self, features: Features, embedding: PromptEmbedding, *args: Any, **kwargs: Any) -> Decoded:
        return super().decode(replace(features, embedding=features.embedding[:, :1] * 255), embedding, *args, **kwargs)


class CopyPrompter:
    """The interface of ``ProxyPrompter`` for supports of one size; keeps what it was asked for in ``asked``."""

    def __init__(self, backbone: Any) -> None:
        self.backbone = backbone
        self.encoded: list[str] = []
        self.asked: list[tuple[tuple[str, ...], int, dict[str, PixelPrompts]]] = []

    def encode_supports(self, supports: Sequence[Support], objects: tuple[str, ...]) -> SupportMemory:
        encodings = []
        for support in supports:
            self.encoded.append(support.name)
            empty = np.zeros(support.image.shape[:2], dtype=bool)
            masks = torch.as_tensor(np.stack([support.masks.get(name, empty) for name in objects]))
            encodings.append(SupportEncoding(masks, masks))
        return SupportMemory(objects, tuple(encodings))

    def prompt(
        self,
        features: Features,
        memory: SupportMemory,
        prompts: Mapping[str, PixelPrompts] | None = None,
        *,
        image: np.ndarray | None = None,
    ) -> Prompted:
        assert image is not None
        assert image.shape == (features.frame.rows, features.frame.cols, 3)
        self.asked.append((memory.objects, len(memory), dict(prompts or {})))
        boxes = []
        for number, name in enumerate(memory.objects):
            shown = torch.stack([support.values[number] for support in memory.supports]).any(0).numpy()
            given = (prompts or {}).get(name, PixelPrompts())
            rows, cols = np.nonzero(shown)
            box = [cols.min() - PAD, rows.min() - PAD, cols.max() + PAD, rows.max() + PAD]
            boxes.append(PixelPrompts(box=np.array(box, dtype=float) if given.box is None else given.box))
        embedding = self.backbone.embed_prompts(features.frame, boxes)
        return Prompted(memory.objects, embedding, {"confidence": torch.full((len(boxes),), 0.9)})


def blob_picture(row: int, col: int, size: int = 64, radius: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture (size, size, 3) with a bright disc, and the disc."""
    rows, cols = np.mgrid[:size, :size]
    disc = (rows - row) ** 2 + (cols - col) ** 2 <= radius**2
    grey = np.where(disc, 200, 50).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2), disc

"""A network that is none: it finds what is bright inside a box. For tests of the order of things, not of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from AutoPromptSAMLib.backbones import Decoded, Features, Frame, PromptEmbedding
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import get_card
from AutoPromptSAMLib.zoo.card import Capabilities

BRIGHT, DARK = 200, 50


class ThresholdBackbone:
    """The ``Backbone`` protocol for box prompts; counts what it is asked for."""

    def __init__(self) -> None:
        self.card = get_card("lite-medsam")
        self.device = torch.device("cpu")
        self.capabilities = Capabilities(points=False, boxes=True, masks=False, multimask=False, memory=False)
        self.fingerprint = self.features_fingerprint = "threshold"
        self.engine = "a threshold"
        self.encoded = 0
        self.decoded = 0

    def encode(self, images: Sequence[np.ndarray]) -> Features:
        self.encoded += len(images)
        rows, cols = images[0].shape[:2]
        grey = torch.as_tensor(np.stack(images)[..., 0], dtype=torch.float32)[:, None]
        return Features(grey, Frame.longest_side(rows, cols, 256))

    def embed_prompts(
        self, frame: Frame, prompts: Sequence[PixelPrompts], low_res: Sequence[Any] | None = None
    ) -> PromptEmbedding:
        return PromptEmbedding(torch.as_tensor(np.stack([prompt.box for prompt in prompts]))[:, None])

    def decode(
        self,
        features: Features,
        embedding: PromptEmbedding,
        image_index: Sequence[int] | None = None,
        multimask: bool = False,
    ) -> Decoded:
        self.decoded += 1
        x0, y0, x1, y1 = embedding.sparse[:, 0, :, None, None].unbind(1)
        row, col = (torch.arange(n) for n in features.embedding.shape[2:])
        inside = (col >= x0 - 0.5) & (col <= x1 + 0.5)  # pixels that the box touches
        inside = inside & (row[:, None] >= y0 - 0.5) & (row[:, None] <= y1 + 0.5)
        bright = features.embedding[0] > (BRIGHT + DARK) / 2
        return Decoded(torch.where(inside & bright, 10.0, -10.0)[:, None], torch.ones(len(embedding), 1))

    def upscale(self, low_res: torch.Tensor, frame: Frame) -> torch.Tensor:
        return low_res

    def mask_to_low_res(self, mask: np.ndarray, frame: Frame) -> np.ndarray:
        raise NotImplementedError("it knows boxes only")

    def dense_pe(self) -> torch.Tensor:
        raise NotImplementedError("it has no positional code")


def rod(slices: Sequence[int], count: int = 12, size: int = 48, axis: int = 0) -> tuple[Volume, np.ndarray]:
    """A grey image of ``count`` slices along array axis ``axis`` and the bright rod in it: volume and truth (k, j, i).

    The rod drifts by a third of a pixel a slice, so that no two slices are alike, and is on ``slices`` only.
    """
    row, col = np.mgrid[:size, :size]
    truth = np.zeros((count, size, size), dtype=bool)
    for index in slices:
        truth[index] = (row - 20 - index // 3) ** 2 + (col - 22) ** 2 <= 81
    array = np.where(truth, BRIGHT, DARK).astype(np.uint8)
    array, truth = np.moveaxis(array, 0, axis), np.moveaxis(truth, 0, axis)
    affine = np.diag([0.8, 0.8, 0.8, 1.0])
    affine[2 - axis, 2 - axis] = 3.0
    affine[:3, 3] = [-20, 30, 500]
    return Volume(array, VolumeGeometry(array.shape, affine), name="rod"), truth

"""The cells of an embedding: which lie on the image, where their centres are, how much of each a mask covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.backbones import Features, Frame
    from AutoPromptSAMLib.prompters.base import Support

Mask = NDArray[np.bool_]


def directions(features: Features) -> torch.Tensor:
    """Features of every cell of one image at length 1, (h·w, C): products of two are cosines."""
    from AutoPromptSAMLib.prompters.proxy_prompt import label_copy

    return label_copy.directions(features.embedding[0])


def on_image(frame: Frame, rows: int, cols: int) -> Mask:
    """Which of the (rows, cols) cells have their centre on the image; the others see padding."""
    from AutoPromptSAMLib.prompters.proxy_prompt import label_copy

    found: Mask = label_copy.on_image(frame, rows, cols).numpy()
    return found


def centres(frame: Frame, cells: Sequence[tuple[int, int]], rows: int, cols: int) -> NDArray[np.float64]:
    """Centres (P, 2) of ``cells`` (row, col), as (col, row) in pixels of the image, no further out than its border."""
    scale_x, scale_y = frame.scale
    row, col = np.asarray(cells, dtype=np.float64).reshape(-1, 2).T
    # Models of the SAM family multiply a pixel's position by the scale, and add half a pixel afterwards.
    x = ((col + 0.5) * frame.input_size / cols - 0.5) / scale_x
    y = ((row + 0.5) * frame.input_size / rows - 0.5) / scale_y
    return np.stack([x.clip(0, frame.cols - 1), y.clip(0, frame.rows - 1)], axis=1)


def coverage(support: Support, objects: Sequence[str]) -> torch.Tensor:
    """How much of each cell the masks of a support cover, (N, h, w) in 0..1; 0 for objects that are not in it."""
    from AutoPromptSAMLib.prompters.proxy_prompt.canvas import mask_canvas

    nothing = np.zeros(support.image.shape[:2], dtype=bool)
    masks = [support.masks.get(name, nothing) for name in objects]
    return mask_canvas(masks, support.features.frame, support.features.embedding.shape[-1])


def best_pieces(region: Mask, part: float) -> Mask:
    """``region`` without the connected pieces that are smaller than ``part`` of its largest one."""
    from AutoPromptSAMLib.loops.regions import components

    pieces = components(region)
    largest = max((int(piece.sum()) for piece in pieces), default=0)
    kept = [piece for piece in pieces if piece.sum() >= part * largest]
    return np.logical_or.reduce(kept) if kept else region


def by_object(objects: Sequence[str], masks: torch.Tensor) -> Mapping[str, Mask]:
    """Bool masks (N, rows, cols) on any device as arrays by name."""
    return dict(zip(objects, masks.cpu().numpy(), strict=True))

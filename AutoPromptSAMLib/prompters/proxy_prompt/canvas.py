"""Images and masks on the square that a backbone sees, at the contextual encoder's size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from AutoPromptSAMLib.backbones.base import Frame


def image_canvas(image: np.ndarray, frame: Frame, size: int) -> torch.Tensor:
    """An image (rows, cols, 3) uint8 as (3, size, size) in 0..1, black beside the image."""
    return _placed(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255, frame, size)


def mask_canvas(masks: Sequence[np.ndarray], frame: Frame, size: int) -> torch.Tensor:
    """Masks (rows, cols) bool as (N, size, size): which fraction of every pixel is covered, 0 beside the image."""
    return _placed(torch.from_numpy(np.stack(masks)).float(), frame, size)


def _placed(channels: torch.Tensor, frame: Frame, size: int) -> torch.Tensor:
    """Resized as the backbone resizes, with antialiasing, so that thin objects fade instead of breaking up."""
    rows = max(1, round(frame.resized_rows * size / frame.input_size))
    cols = max(1, round(frame.resized_cols * size / frame.input_size))
    resized = F.interpolate(channels[None], (rows, cols), mode="bilinear", align_corners=False, antialias=True)[0]
    return F.pad(resized.clamp(0, 1), (0, size - cols, 0, size - rows))

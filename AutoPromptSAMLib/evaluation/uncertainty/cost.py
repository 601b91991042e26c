"""What a round of the refiner costs, beside single decodes, the image being encoded.

It depends little on what the image shows, so a made-up one is used, with one bright disc in noise.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib.loops.tracking import decode_prompts
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners import Settings, estimate, refine

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone

SIDES = (512, 1024)  # pixels of the image; the first is what the verdict is about
REPEATS = 15
# One decode of a box; the mean over jittered boxes; that and one round after it; the round alone.
WORK = ("single", "ugmp", "ugmp + round", "round")


def measure(backbone: Backbone, repeats: int = REPEATS) -> dict[str, float | None]:
    """Seconds as ``SIDE/WORK``: the median of ``repeats``, taken in turn, so that all meet the same machine."""
    figures: dict[str, float | None] = {}
    settings = Settings(rounds=1, acceptance="always")
    for side in SIDES:
        image, box = picture(side)
        features = backbone.encode([image])
        prompts = PixelPrompts(box=box)
        first = estimate(backbone, features, prompts, settings)

        def single(features: Any = features, prompts: PixelPrompts = prompts) -> object:
            return decode_prompts(backbone, features, [prompts])

        def ugmp(features: Any = features, prompts: PixelPrompts = prompts) -> object:
            return estimate(backbone, features, prompts, settings)

        def both(features: Any = features, prompts: PixelPrompts = prompts) -> object:
            return refine(backbone, features, prompts, settings)

        def one_round(features: Any = features, prompts: PixelPrompts = prompts, first: Any = first) -> object:
            return refine(backbone, features, prompts, settings, first=first)

        work: dict[str, Callable[[], object]] = dict(zip(WORK, (single, ugmp, both, one_round), strict=True))
        seconds: dict[str, list[float]] = {name: [] for name in WORK}
        for number in range(repeats + 1):
            for name, do in work.items():
                _wait(backbone)
                started = time.perf_counter()
                do()
                _wait(backbone)
                if number:  # the first time around does not count
                    seconds[name].append(time.perf_counter() - started)
        figures |= {f"{side}/{name}": statistics.median(values) for name, values in seconds.items()}
    return figures


def picture(side: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (side, side, 3) uint8 with a disc, and a loose box (x0, y0, x1, y1) around it."""
    row, col = np.mgrid[:side, :side] - side // 2
    disc = row**2 + col**2 < (side // 5) ** 2
    noise = np.random.default_rng(0).integers(0, 40, (side, side))
    image = np.where(disc, 180, 60) + noise
    margin = side // 4
    box = np.array([side // 2 - margin, side // 2 - margin, side // 2 + margin, side // 2 + margin], dtype=np.float64)
    return np.repeat(image[..., None], 3, axis=2).astype(np.uint8), box


def _wait(backbone: Backbone) -> None:
    if backbone.device.type == "cuda":
        import torch

        torch.cuda.synchronize(backbone.device)

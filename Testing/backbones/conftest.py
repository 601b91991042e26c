from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.prompts import PixelPrompts

from ..conftest import SentenceCheck, borrowed_home

__all__ = ["SentenceCheck"]

ROWS, COLS = 150, 200


@pytest.fixture(scope="session")
def engine_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return borrowed_home(tmp_path_factory.mktemp("home"), "weights", "models")


@pytest.fixture(scope="module", autouse=True)
def _own_engines(engine_home: Path) -> Iterator[None]:
    """Networks with made-up weights are exported, too; a person's cache is no place for them."""
    before = os.environ.get("AUTOPROMPTSAM_HOME")
    os.environ["AUTOPROMPTSAM_HOME"] = str(engine_home)
    yield
    del os.environ["AUTOPROMPTSAM_HOME"]
    if before is not None:
        os.environ["AUTOPROMPTSAM_HOME"] = before


def picture(rows: int = ROWS, cols: int = COLS, seed: int = 0) -> np.ndarray:
    """A colour image (rows, cols, 3) uint8 with bright ellipses on a noisy ramp."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    grey = 60.0 * col / cols + rng.normal(0, 6, (rows, cols))
    for _ in range(3):
        centre, radius = rng.uniform(0.2, 0.8, 2), rng.uniform(0.08, 0.2, 2)
        inside = ((row / rows - centre[0]) / radius[0]) ** 2 + ((col / cols - centre[1]) / radius[1]) ** 2 < 1
        grey[inside] += 120
    colours = grey[..., None] * rng.uniform(0.7, 1.0, 3)
    return np.clip(colours, 0, 255).astype(np.uint8)


POINTS = PixelPrompts(points=[[61.0, 40.0], [150.0, 31.5], [20.0, 120.0]], labels=[1, 0, 1])
BOX = PixelPrompts(box=[32.0, 21.0, 118.5, 97.0])
BOTH = PixelPrompts(points=[[70.0, 50.0], [100.0, 90.0]], labels=[1, 0], box=[30.0, 20.0, 120.0, 100.0])
PROMPTS = {"points": POINTS, "box": BOX, "points and box": BOTH}


def low_res_mask(size: int = 256, seed: int = 5) -> np.ndarray:
    """Smooth logits (size, size) float32, as a decoder gives them."""
    row, col = np.mgrid[:size, :size] / size
    phase = np.random.default_rng(seed).uniform(0, 6, 2)
    return (8 * np.sin(7 * row + phase[0]) * np.cos(9 * col + phase[1])).astype(np.float32)


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """The model in eval mode with noise on every parameter, so that none of those that start at 0 goes untested."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def assert_same_logits(actual: torch.Tensor, expected: torch.Tensor | np.ndarray) -> None:
    """Equal to 1e-4, or to 1e-5 of the largest logit where that is more.

    Float32 has no more to give: the reference MobileSAM on 1 and on 2 threads differs from itself in float64 by 0.7e-4
    and 1.0e-4 (largest logit 27).
    """
    expected = torch.as_tensor(expected)
    torch.testing.assert_close(actual, expected, atol=max(1e-4, 1e-5 * float(expected.abs().max())), rtol=0)

"""Masks in the image's pixels and in the decoder's low-resolution cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.backbones import Backbone, Frame
from AutoPromptSAMLib.prompts import PixelPrompts

sides = st.integers(1, 700)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.booleans(), st.sampled_from([256, 1024]), st.integers(0, 2**31))
def test_area_is_kept(lite: Backbone, rows: int, cols: int, stretched: bool, size: int, seed: int) -> None:
    """Each cell holds 20·(its covered fraction) − 10, so the fractions sum to the mask's area."""
    frame = (Frame.stretched if stretched else Frame.longest_side)(rows, cols, size)
    mask = np.random.default_rng(seed).random((rows, cols)) < 0.3
    low_res = lite.mask_to_low_res(mask, frame)
    assert low_res.shape == (256, 256)
    assert low_res.dtype == np.float32
    fraction = (low_res.astype(np.float64) + 10) / 20
    assert fraction.min() > -1e-6
    assert fraction.max() < 1 + 1e-6
    cells_per_pixel = frame.scale[0] * frame.scale[1] * (256 / size) ** 2
    assert fraction.sum() == pytest.approx(mask.sum() * cells_per_pixel, rel=1e-4, abs=1e-3)


def test_padding_is_background(lite: Backbone) -> None:
    low_res = lite.mask_to_low_res(np.ones((150, 200), bool), Frame.longest_side(150, 200, 1024))
    np.testing.assert_allclose(low_res[:192], 10, atol=1e-5)
    assert (low_res[192:] == -10).all()


@pytest.mark.parametrize("size", [256, 1024])
@pytest.mark.parametrize("shape", [(300, 512), (512, 300), (90, 64), (256, 256)])
def test_a_mask_comes_back_in_its_place(lite: Backbone, shape: tuple[int, int], size: int) -> None:
    rows, cols = shape
    row, col = np.mgrid[:rows, :cols]
    mask = ((row / rows - 0.3) / 0.17) ** 2 + ((col / cols - 0.6) / 0.21) ** 2 < 1
    frame = Frame.longest_side(rows, cols, size)
    back = lite.upscale(torch.from_numpy(lite.mask_to_low_res(mask, frame)), frame).numpy() > 0
    assert back.shape == shape
    assert (mask & back).sum() / (mask | back).sum() > 0.97
    for a, b in zip(np.nonzero(mask), np.nonzero(back), strict=True):
        assert abs(a.mean() - b.mean()) < 0.3


def test_logits_on_the_cells_own_grid_are_untouched(lite: Backbone) -> None:
    logits = np.random.default_rng(0).normal(0, 5, (256, 256)).astype(np.float32)
    np.testing.assert_allclose(lite.mask_to_low_res(logits, Frame.longest_side(256, 256, 256)), logits, atol=1e-5)


def test_a_mask_prompt_equals_its_low_res_logits(lite: Backbone) -> None:
    frame = Frame.longest_side(150, 200, 256)
    mask = np.zeros((150, 200), bool)
    mask[30:90, 50:120] = True
    by_mask = lite.embed_prompts(frame, [PixelPrompts(mask=mask), PixelPrompts(box=[1, 2, 30, 40])])
    by_logits = lite.embed_prompts(frame, [PixelPrompts()] * 2, [lite.mask_to_low_res(mask, frame), None])
    assert by_mask.dense is not None
    assert by_logits.dense is not None
    torch.testing.assert_close(by_mask.dense, by_logits.dense, atol=0, rtol=0)
    assert by_mask.token_counts == (0, 2)


def test_upscaling_keeps_leading_axes(lite: Backbone) -> None:
    frame = Frame.longest_side(30, 40, 256)
    stack = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    upscaled = lite.upscale(stack, frame)
    assert upscaled.shape == (2, 3, 30, 40)
    torch.testing.assert_close(lite.upscale(stack[1, 2], frame), upscaled[1, 2])

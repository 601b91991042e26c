"""Intensities of an object against those of its surroundings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.loops.appearance import CLIP, Appearance, smooth


def scene(inside: float = 180.0, outside: float = 60.0, noise: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    row, col = np.mgrid[:64, :80]
    mask = np.hypot(row - 30, col - 40) < 14
    image = np.where(mask, inside, outside) + np.random.default_rng(3).normal(0, noise, mask.shape)
    return image.astype(np.float32), mask


def test_object_and_surroundings_get_opposite_signs() -> None:
    image, mask = scene()
    ratio = Appearance(image, mask).log_ratio(image)
    assert ratio.shape == image.shape
    assert ratio.dtype == np.float32
    assert (ratio[mask] > 0).mean() > 0.95
    assert (ratio[~mask] < 0).mean() > 0.95
    assert np.abs(ratio).max() <= CLIP


def test_what_looks_alike_says_little() -> None:
    image, mask = scene(inside=60)
    assert np.abs(Appearance(image, mask).log_ratio(image)).max() < 1


@given(st.floats(0.01, 1000), st.floats(-1000, 1000))
def test_units_do_not_matter(gain: float, offset: float) -> None:
    image, mask = scene()
    other = (image * np.float32(gain) + np.float32(offset)).astype(np.float32)
    expected = Appearance(image, mask).log_ratio(image)
    actual = Appearance(other, mask).log_ratio(other)
    # Rounding moves single pixels into the next bin.
    assert (np.abs(actual - expected) < 0.05).mean() > 0.97


def test_the_histograms_follow_the_slices() -> None:
    image, mask = scene()
    darker, _ = scene(inside=150)
    still, moving = Appearance(image, mask), Appearance(image, mask)
    for _ in range(30):
        moving.update(darker, mask, 0.1)
    assert moving.log_ratio(darker)[mask].mean() > still.log_ratio(darker)[mask].mean() + 0.5


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (np.zeros((20, 20)), np.eye(20, dtype=bool)),
        (np.full((20, 20), 1e6), np.eye(20, dtype=bool)),
        (np.random.default_rng(0).normal(size=(20, 20)), np.ones((20, 20), bool)),
        (np.random.default_rng(0).normal(size=(20, 20)), np.indices((20, 20)).sum(axis=0) == 0),
        (np.where(np.eye(20) > 0, 3e38, 0), np.tri(20, dtype=bool)),
        (np.where(np.eye(20) > 0, 3e38, 0), ~np.eye(20, dtype=bool)),
        (np.eye(20) > 0, np.tri(20, dtype=bool)),
    ],
    ids=["black", "one value", "whole image", "one pixel", "metal inside", "metal outside", "bool"],
)
def test_odd_images_give_finite_ratios(image: np.ndarray, mask: np.ndarray) -> None:
    image = image.astype(np.float32)
    appearance = Appearance(image, mask)
    appearance.update(image, mask, 0.1)
    ratio = appearance.log_ratio(image)
    assert np.isfinite(ratio).all()
    assert np.abs(ratio).max() <= CLIP


def test_smooth_is_the_blurred_brightness() -> None:
    grey = np.random.default_rng(1).integers(0, 255, (30, 40)).astype(np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_allclose(smooth(colour), smooth(grey), rtol=1e-5)
    assert smooth(grey).dtype == np.float32
    assert smooth(grey).std() < 0.5 * grey.std()
    assert smooth(grey).mean() == pytest.approx(grey.mean(), rel=0.02)

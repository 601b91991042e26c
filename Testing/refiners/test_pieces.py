"""Boxes of masks, jittered boxes and points: what must hold of them whatever the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage

from AutoPromptSAMLib.refiners.pieces import MOST_PIECES, SPECK, jittered, peaks, piece_boxes, refined_boxes

SHAPE = (40, 56)


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    count = draw(st.integers(1, 4))
    cols = [sorted(draw(st.tuples(*[st.floats(0, SHAPE[1] - 1)] * 2))) for _ in range(count)]
    rows = [sorted(draw(st.tuples(*[st.floats(0, SHAPE[0] - 1)] * 2))) for _ in range(count)]
    return np.array([(x0, y0, x1, y1) for (x0, x1), (y0, y1) in zip(cols, rows, strict=True)])


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """One to four rectangles, at random places, with or without specks."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    mask = rng.random(SHAPE) < draw(st.sampled_from([0, 0, 0.002]))
    for _ in range(draw(st.integers(1, 4))):
        row, col = rng.integers(0, SHAPE[0] - 1), rng.integers(0, SHAPE[1] - 1)
        mask[row : row + rng.integers(1, 15), col : col + rng.integers(1, 15)] = True
    return mask


def inside(boxes: np.ndarray) -> np.ndarray:
    """Pixels in any of the boxes."""
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x0, y0, x1, y1 = boxes.T[:, :, None, None]
    return ((col >= x0) & (col <= x1) & (row >= y0) & (row <= y1)).any(axis=0)


def large_pieces(mask: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    return mask & (sizes[labels] >= SPECK * mask.sum())


@given(boxes(), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))
def test_jittered_boxes_stay_boxes_inside_the_image(given: np.ndarray, copies: int, sigma: float, seed: int) -> None:
    moved = jittered(given, copies, sigma, SHAPE, seed)
    assert moved.shape == (copies, len(given), 4)
    assert (moved[..., 0] <= moved[..., 2]).all()
    assert (moved[..., 1] <= moved[..., 3]).all()
    assert moved.min() >= 0
    assert (moved[..., 2] <= SHAPE[1] - 1).all()
    assert (moved[..., 3] <= SHAPE[0] - 1).all()
    np.testing.assert_array_equal(moved, jittered(given, copies, sigma, SHAPE, seed))


@given(boxes(), st.integers(1, 9), st.integers(0, 99))
def test_without_jitter_every_copy_is_the_box(given: np.ndarray, copies: int, seed: int) -> None:
    np.testing.assert_array_equal(jittered(given, copies, 0, SHAPE, seed), np.stack([given] * copies))


def test_the_jitter_has_the_spread_that_was_asked_for() -> None:
    wide, high = 20.0, 10.0
    moved = jittered(np.array([[20.0, 15.0, 20 + wide, 15 + high]]), 4000, 0.05, SHAPE, 0)[:, 0]
    np.testing.assert_allclose(moved.std(axis=0), [0.05 * wide, 0.05 * high] * 2, rtol=0.1)
    np.testing.assert_allclose(moved.mean(axis=0), [20, 15, 40, 25], atol=0.1)


def test_other_seeds_draw_otherwise_and_further_boxes_change_nothing() -> None:
    box, other = np.array([10.0, 10, 30, 30]), np.array([35.0, 5, 50, 20])
    alone = jittered(box[None], 3, 0.05, SHAPE, 1)
    assert not np.array_equal(alone, jittered(box[None], 3, 0.05, SHAPE, 2))
    np.testing.assert_array_equal(jittered(np.stack([box, other]), 3, 0.05, SHAPE, 1)[:, :1], alone)


@given(masks())
def test_piece_boxes_hold_all_pieces_but_specks(mask: np.ndarray) -> None:
    found, large = piece_boxes(mask), large_pieces(mask)
    count = ndimage.label(large)[1]
    assert len(found) == min(max(count, 1), MOST_PIECES)  # of specks alone the largest
    if count <= MOST_PIECES:
        assert not (large & ~inside(found)).any()


def test_piece_boxes_are_tight_and_leave_specks_out() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5:20, 8:30] = True
    mask[30:38, 40:50] = True
    mask[2, 50] = True
    np.testing.assert_array_equal(piece_boxes(mask), [[8, 5, 29, 19], [40, 30, 49, 37]])
    assert piece_boxes(np.zeros(SHAPE, dtype=bool)).shape == (0, 4)


def test_a_mask_of_specks_alone_still_has_a_box() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[::2, ::2] = True
    assert len(piece_boxes(mask)) == 1
    assert len(refined_boxes(mask, np.zeros(SHAPE, np.float32), 0.4)) == 1


@given(masks(), st.floats(0.05, 1), st.integers(0, 999))
def test_refined_boxes_hold_the_mask_and_the_unsure_pixels_at_it(
    mask: np.ndarray, threshold: float, seed: int
) -> None:
    uncertainty = ndimage.gaussian_filter(np.random.default_rng(seed).random(SHAPE), 2).astype(np.float32)
    assume(ndimage.label(large_pieces(mask))[1] <= MOST_PIECES)
    found = refined_boxes(mask, uncertainty, threshold)
    place = inside(found)
    assert not (large_pieces(mask) & ~place).any()
    unsure = (uncertainty > threshold * uncertainty.max()) & ndimage.binary_dilation(large_pieces(mask))
    assert not (unsure & ~place).any()


def test_unsure_pixels_away_from_the_mask_do_not_count() -> None:
    mask, uncertainty = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=np.float32)
    mask[10:20, 10:20] = True
    uncertainty[10:20, 20:26] = 0.6  # at the mask
    uncertainty[10:20, 26:30] = 0.3  # further, and too sure
    uncertainty[30:38, 40:50] = 1.0  # far away
    np.testing.assert_array_equal(refined_boxes(mask, uncertainty, 0.4), [[10, 10, 25, 19]])
    assert refined_boxes(np.zeros_like(mask), uncertainty, 0.4).shape == (0, 4)


@given(st.integers(0, 12), st.floats(1, 20), st.integers(0, 999))
def test_peaks_are_apart_and_start_with_the_largest(count: int, apart: float, seed: int) -> None:
    uncertainty = np.random.default_rng(seed).random(SHAPE).astype(np.float32)
    taken = np.array([[12.0, 9.0]])
    found = peaks(uncertainty, count, apart, taken)
    assert len(found) <= count
    everything = np.concatenate([taken, found])
    distance = np.linalg.norm(everything[:, None] - everything, axis=2) + 1e9 * np.eye(len(everything))
    assert distance.min(initial=1e9) >= apart
    values = uncertainty[found[:, 1].astype(int), found[:, 0].astype(int)]
    assert (np.diff(values) <= 0).all()
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    free = np.hypot(col - 12, row - 9) >= apart
    if count:
        assert values[0] == pytest.approx(uncertainty[free].max())


def test_there_are_no_peaks_where_all_is_sure() -> None:
    assert peaks(np.zeros(SHAPE, np.float32), 3, 8, np.zeros((0, 2))).shape == (0, 2)

"""Masks cut, boxed and compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from AutoPromptSAMLib.loops.regions import bounding_box, components, dice, scaled, split, window

MASKS = npst.arrays(bool, npst.array_shapes(min_dims=2, max_dims=2, max_side=12))
FILLED = MASKS.filter(np.any)


@given(FILLED, st.integers(0, 4))
def test_the_window_is_the_smallest_around_the_mask_plus_the_pad(mask: np.ndarray, pad: int) -> None:
    around = np.zeros_like(mask)
    around[window(mask, pad)] = True
    rows, cols = np.nonzero(mask)
    row, col = np.indices(mask.shape)
    expected = (row >= rows.min() - pad) & (row <= rows.max() + pad)
    expected &= (col >= cols.min() - pad) & (col <= cols.max() + pad)
    np.testing.assert_array_equal(around, expected)


@given(FILLED, st.integers(0, 4))
def test_the_box_names_the_outermost_pixel_centres(mask: np.ndarray, pad: int) -> None:
    x0, y0, x1, y1 = bounding_box(mask, pad)
    rows, cols = np.nonzero(mask)
    height, width = mask.shape
    assert (x0, y0) == (max(cols.min() - pad, 0), max(rows.min() - pad, 0))
    assert (x1, y1) == (min(cols.max() + pad, width - 1), min(rows.max() + pad, height - 1))


@given(MASKS, st.integers(1, 5))
def test_components_are_the_connected_pieces_largest_first(mask: np.ndarray, smallest: int) -> None:
    pieces = components(mask, smallest)
    sizes = [int(piece.sum()) for piece in pieces]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size >= smallest for size in sizes)
    assert all(ndimage.label(piece)[1] == 1 for piece in pieces)
    left = mask & ~np.any([np.zeros_like(mask), *pieces], axis=0)
    assert sum(sizes) + left.sum() == mask.sum()
    labels, count = ndimage.label(left)
    assert all((labels == n).sum() < smallest for n in range(1, count + 1))


@given(FILLED, st.integers(1, 4))
def test_split_cuts_without_losing_a_pixel(mask: np.ndarray, parts: int) -> None:
    pieces = split(mask, parts)
    assert 1 <= len(pieces) <= parts
    assert all(piece.any() for piece in pieces)
    np.testing.assert_array_equal(np.sum(pieces, axis=0), mask.astype(int))


@pytest.mark.parametrize("turn", range(4))
def test_split_parts_two_vessels_in_reading_order(turn: int) -> None:
    mask = np.zeros((40, 60), dtype=bool)
    row, col = np.indices(mask.shape)
    one, two = (np.hypot(row - 20, col - at) < 9 for at in (15, 40))
    mask[20, 15:40] = True  # an arch that is about to part
    turned = [np.rot90(part, turn) for part in (mask | one | two, one, two)]
    first, second = sorted(turned[1:], key=lambda part: window(part)[turn % 2 == 0].start)
    pieces = split(turned[0])
    assert dice(pieces[0], first) > 0.9
    assert dice(pieces[1], second) > 0.9


@given(MASKS)
def test_dice_of_a_mask_with_itself_and_its_complement(mask: np.ndarray) -> None:
    assert dice(mask, mask) == (1.0 if mask.any() else 0.0)
    assert dice(mask, ~mask) == 0.0


def test_dice_is_twice_the_overlap_over_the_sum() -> None:
    assert dice(np.array([[1, 1, 1, 0]], bool), np.array([[0, 1, 1, 1]], bool)) == pytest.approx(4 / 6)


def test_lengths_scale_with_the_image_and_never_vanish() -> None:
    assert [scaled(12, shape) for shape in ((512, 512), (256, 100), (1024, 10), (8, 8))] == [12, 6, 24, 1]

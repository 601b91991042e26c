"""Grey values of slices as crops of a volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry import VolumeGeometry, paste_mask, slice_plane
from AutoPromptSAMLib.session.grey import GreyCrop, paste_grey, united_grey

from ..conftest import SEEDS, SentenceCheck


@given(st.from_type(VolumeGeometry), st.integers(0, 2), SEEDS)
def test_grey_values_are_pasted_where_a_mask_is(geometry: VolumeGeometry, axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = int(rng.integers(geometry.shape[axis]))
    plane = slice_plane(geometry, axis, index)
    mask = rng.random(plane.shape) < 0.5
    found = paste_grey(mask.astype(np.float32), plane, geometry)
    expected = paste_mask(mask, plane, geometry)
    full = expected.to_full(geometry.shape)
    np.testing.assert_array_equal(found.to_full(geometry.shape), 255 * full.astype(np.uint8))
    assert found.is_empty == expected.is_empty
    if not found.is_empty:
        assert (found.lower, found.upper) == (expected.lower, expected.upper)


def test_values_keep_their_place_and_their_size() -> None:
    geometry = VolumeGeometry((4, 5, 6), np.diag([0.7, 0.7, 3, 1]))
    image = np.zeros((5, 6))
    image[2, 3], image[3, 4], image[1, 1] = 1.0, 0.5, 0.001
    found = paste_grey(image, slice_plane(geometry, 0, 2), geometry)
    assert found.lower == (2, 2, 3)
    assert found.values.dtype == np.uint8
    np.testing.assert_array_equal(found.values, [[[255, 0], [0, 128]]])


def test_several_come_together() -> None:
    one = GreyCrop(np.full((1, 2, 2), 10, np.uint8), (0, 0, 0))
    other = GreyCrop(np.full((1, 2, 2), 20, np.uint8), (2, 1, 1))
    over = GreyCrop(np.array([[[5, 30]]], np.uint8), (0, 1, 0))
    both = united_grey([one, GreyCrop.empty(), other, over])
    assert (both.lower, both.upper) == ((0, 0, 0), (3, 3, 3))
    full = both.to_full((4, 4, 4))
    assert full[0].tolist() == [[10, 10, 0, 0], [10, 30, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert full[2, 1, 1] == 20
    assert not full[1].any()
    assert united_grey([]).is_empty


def test_what_does_not_fit_is_refused(one_sentence: SentenceCheck) -> None:
    with one_sentence(GeometryError, "fit"):
        GreyCrop(np.ones((1, 2, 2), np.uint8), (0, 3, 0)).to_full((4, 4, 4))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_crop_does_not_keep_the_slice_in_memory(axis: int) -> None:
    geometry = VolumeGeometry((30, 30, 30), np.eye(4))
    image = np.zeros((30, 30))
    image[4, 5] = 1
    found = paste_grey(image, slice_plane(geometry, axis, 3), geometry)
    assert found.values.size == 1
    assert found.values.base is None

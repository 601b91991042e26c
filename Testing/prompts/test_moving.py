"""Prompts that go with their image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry, slab_thickness, slice_plane
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point, on_plane
from AutoPromptSAMLib.prompts.moving import moved

SHAPE = (6, 20, 24)
GEOMETRY = VolumeGeometry(SHAPE, np.array([[-0.8, 0, 0, 30], [0, -0.8, 0, 20], [0, 0, 2.5, -7], [0, 0, 0, 1.0]]))
PLANE = slice_plane(GEOMETRY, 0, 3)
PROMPTS = (
    Point(GEOMETRY.ras_from_ijk([[5, 6, 3]])[0]),
    Box.on_plane(PLANE, (3, 4, 12, 15)),
    Doodle(GEOMETRY.ras_from_ijk([[5, 6, 3], [9, 9, 3], [14, 7, 3]]), False, 2.0),
)


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


@given(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-200, 200)] * 3))
def test_moved_prompts_are_on_the_same_voxels(angles: tuple[float, ...], shift: tuple[float, ...]) -> None:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(angles), shift
    geometry = VolumeGeometry(SHAPE, matrix @ GEOMETRY.ijk_to_ras)
    plane = slice_plane(geometry, 0, 3)
    for prompt in PROMPTS:
        there = moved(prompt, matrix, geometry)
        before = on_plane([prompt], PLANE, slab_thickness(PLANE, GEOMETRY))
        after = on_plane([there], plane, slab_thickness(plane, geometry))
        assert there.id == prompt.id
        assert after.points == pytest.approx(before.points, abs=1e-6)
        assert (after.box is None) == (before.box is None)
        if before.box is not None:
            assert after.box == pytest.approx(before.box, abs=1e-6)


def test_a_mask_stays_on_its_voxels() -> None:
    crop = Crop(np.ones((1, 3, 4), bool), (3, 5, 6))
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    geometry = VolumeGeometry(SHAPE, matrix @ GEOMETRY.ijk_to_ras)
    there = moved(MaskPrompt(crop, GEOMETRY), matrix, geometry)
    assert isinstance(there, MaskPrompt)
    assert np.array_equal(there.crop.mask, crop.mask)
    assert there.crop.lower == crop.lower
    assert there.geometry is geometry


def test_a_box_is_not_sheared() -> None:
    matrix = np.eye(4)
    matrix[0, 1] = 0.5
    with pytest.raises(PromptError, match="sheared"):
        moved(PROMPTS[1], matrix, GEOMETRY)

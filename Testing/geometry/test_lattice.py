"""The same voxels in another order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.geometry.lattice import crop_on, same_voxels


@st.composite
def turned(draw: st.DrawFn) -> tuple[VolumeGeometry, VolumeGeometry, tuple[int, ...], tuple[int, ...]]:
    """A grid, the same with its array axes exchanged and reversed, and how."""
    geometry = draw(st.from_type(VolumeGeometry))
    axes = tuple(draw(st.permutations(range(3))))
    signs = tuple(draw(st.tuples(*[st.sampled_from([1, -1])] * 3)))
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, (axis, sign) in enumerate(zip(axes, signs, strict=True)):  # index new there = sign * index axis here
        matrix[2 - axis, 2 - new] = sign
        matrix[2 - axis, 3] += 0 if sign > 0 else geometry.shape[axis] - 1
    shape = tuple(geometry.shape[axis] for axis in axes)
    return geometry, VolumeGeometry(shape, geometry.ijk_to_ras @ matrix), axes, signs


@given(turned(), st.integers(0, 2**32 - 1))
def test_a_turned_grid_has_the_same_voxels_and_a_crop_finds_its_own(case, seed: int) -> None:
    geometry, other, axes, signs = case
    mask = np.random.default_rng(seed).random(geometry.shape) < 0.3
    assert same_voxels(geometry, other)
    found = crop_on(Crop.from_full(mask), geometry, other)
    assert found is not None
    expected = mask.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    assert np.array_equal(found.to_full(other.shape), expected)


@given(st.from_type(VolumeGeometry), st.sampled_from(["shifted", "larger", "turned a little"]))
def test_another_grid_is_another_grid(geometry: VolumeGeometry, how: str) -> None:
    matrix, shape = np.eye(4), list(geometry.shape)
    if how == "shifted":
        matrix[:3, 3] = geometry.ijk_to_ras[:3, :3] @ [0.4, 0, 0]
    elif how == "larger":
        shape[1] += 1
    else:
        angle = 0.4
        matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        shape = [n + 1 for n in shape]
    assert not same_voxels(geometry, VolumeGeometry(tuple(shape), matrix @ geometry.ijk_to_ras))


def test_a_crop_that_sticks_out_of_the_other_grid_is_on_none() -> None:
    large = VolumeGeometry((8, 8, 8), np.eye(4))
    small = large.cropped((2, 2, 2), (4, 4, 4))
    mask = np.zeros(large.shape, dtype=bool)
    mask[3:5, 3:5, 3:5] = True
    assert crop_on(Crop.from_full(mask), large, small).lower == (1, 1, 1)
    mask[0, 0, 0] = True
    assert crop_on(Crop.from_full(mask), large, small) is None

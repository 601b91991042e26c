"""Slices in the radiological orientation, whatever the order of voxels in the file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.geometry import VolumeGeometry, paste_mask
from AutoPromptSAMLib.geometry.views import radiological_plane, view_of
from AutoPromptSAMLib.supports.from_volume import mask_on

from ..conftest import SEEDS


def test_left_is_right_and_front_is_up() -> None:
    affine = np.diag([0.8, 0.8, 3.0, 1.0])  # columns to the right of the patient, rows to the front
    geometry = VolumeGeometry((5, 20, 30), affine)
    plane = radiological_plane(geometry, 0, 2)
    left, right = plane.ras_from_pixels([[29, 0], [0, 0]])
    assert left[0] < right[0]
    front, back = plane.ras_from_pixels([[0, 0], [0, 19]])
    assert front[1] > back[1]
    coronal = radiological_plane(geometry, 1, 3)
    assert view_of(geometry, 1) == "coronal"
    assert np.diff(coronal.ras_from_pixels([[0, 0], [0, 5]])[:, 2]) < 0
    sagittal = radiological_plane(geometry, 2, 3)
    front, back = sagittal.ras_from_pixels([[0, 0], [9, 0]])
    assert front[1] > back[1]


@given(st.from_type(VolumeGeometry), SEEDS)
def test_a_mask_cut_out_and_pasted_is_where_it_was(geometry: VolumeGeometry, seed: int) -> None:
    from AutoPromptSAMLib.geometry import Crop

    rng = np.random.default_rng(seed)
    axis = int(rng.integers(3))
    index = int(rng.integers(geometry.shape[axis]))
    full = np.zeros(geometry.shape, dtype=bool)
    part: list[slice | int] = [slice(None)] * 3
    part[axis] = index
    full[tuple(part)] = rng.random(full[tuple(part)].shape) < 0.4
    plane = radiological_plane(geometry, axis, index)
    assert (plane.axis, plane.index) == (axis, index)
    cut = mask_on(Crop.from_full(full), plane, geometry)
    assert cut.shape == plane.shape
    np.testing.assert_array_equal(paste_mask(cut, plane, geometry).to_full(geometry.shape), full)


@given(SEEDS)
def test_the_same_body_in_another_order_of_voxels_gives_the_same_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 6, 8)
    array = rng.integers(0, 255, shape).astype(np.uint8)
    affine = np.diag([0.7, 0.7, 0.7, 1.0])
    affine[:3, 3] = rng.uniform(-50, 50, 3)
    order = rng.permutation(3)
    signs = rng.choice([1, -1], 3)
    turned = array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    # Index (of k, j, i) of the turned volume to that of the first.
    to_first = np.zeros((4, 4))
    to_first[3, 3] = 1
    for new, old in enumerate(order):
        to_first[2 - old, 2 - new] = signs[new]
        to_first[2 - old, 3] = 0 if signs[new] > 0 else shape[old] - 1
    one, other = VolumeGeometry(shape, affine), VolumeGeometry(turned.shape, affine @ to_first)
    for view in ("axial", "coronal", "sagittal"):
        images = []
        for volume, geometry in ((array, one), (turned, other)):
            axis = geometry.array_axis(view)
            planes = [radiological_plane(geometry, axis, n) for n in range(geometry.shape[axis])]
            at = sorted(planes, key=lambda plane: float(plane.ras_from_pixels([[0, 0]])[0] @ [1, 1, 1]))
            images.append([_shown(volume, geometry, plane) for plane in at])
        np.testing.assert_array_equal(images[0], images[1])


def _shown(array: np.ndarray, geometry: VolumeGeometry, plane) -> np.ndarray:  # type: ignore[no-untyped-def]
    from AutoPromptSAMLib.geometry import Volume, sample_plane

    return sample_plane(Volume(array, geometry), plane, order=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_has_a_view(axis: int) -> None:
    geometry = VolumeGeometry((3, 4, 5), np.diag([1.0, 1.0, 1.0, 1.0]))
    assert view_of(geometry, axis) == ["axial", "coronal", "sagittal"][axis]

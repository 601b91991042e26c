"""Which slices prompts speak about: the same ones on which they become pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.geometry import Crop, VolumeGeometry, oblique_plane, slab_thickness, slice_plane
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point, Prompt, on_plane
from AutoPromptSAMLib.session.seeds import check_inside, natural_axis, seed_slices, slice_range

AXES = st.integers(0, 2)
UNIT = st.floats(0, 1)
GEOMETRY = VolumeGeometry((12, 30, 40), np.diag([0.8, 0.8, 3.0, 1.0]))


def slices_with_pixels(prompt: Prompt, geometry: VolumeGeometry, axis: int) -> set[int]:
    planes = [slice_plane(geometry, axis, index) for index in range(geometry.shape[axis])]
    slab = slab_thickness(planes[0], geometry)
    return {n for n, plane in enumerate(planes) if not on_plane([prompt], plane, slab).is_empty}


def place(geometry: VolumeGeometry, at: tuple[float, float, float]) -> np.ndarray:
    """A position inside, 0 to 1 from the first to the last face but a hair."""
    size = np.array(geometry.shape[::-1])
    return geometry.ras_from_ijk(np.clip(np.array(at), 1e-3, 1 - 1e-3) * size - 0.5)


@given(st.from_type(VolumeGeometry), AXES, st.tuples(UNIT, UNIT, UNIT))
def test_a_point_is_on_exactly_the_slice_that_shows_it(
    geometry: VolumeGeometry, axis: int, at: tuple[float, float, float]
) -> None:
    point = Point(place(geometry, at))
    found = seed_slices([point], geometry, axis)
    assert len(found) == 1
    assert found == slices_with_pixels(point, geometry, axis)


def test_so_it_is_on_a_grid_that_is_slightly_off_square() -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[2, 0] = 0.0009
    geometry = VolumeGeometry((6, 8, 500), affine)
    for i in (0, 250, 499):
        for k in (0.3, 2.2, 4.4):
            point = Point(geometry.ras_from_ijk([[i, 3, k]])[0])
            assert seed_slices([point], geometry, 0) == slices_with_pixels(point, geometry, 0)


@pytest.mark.parametrize("off_mm", [-2e-6, -3e-7, 0, 3e-7, 2e-6])
def test_rounding_on_the_face_between_two_slices_sends_no_click_to_nobody(off_mm: float) -> None:
    point = Point(GEOMETRY.ras_from_ijk([[10, 10, 3.5 + off_mm / 3]])[0])
    found = seed_slices([point], GEOMETRY, 0)
    assert found == slices_with_pixels(point, GEOMETRY, 0)
    assert found == ({4} if off_mm > 1e-6 else {3})


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_click_on_the_very_face_of_the_volume_is_on_its_outer_slice(axis: int) -> None:
    last = GEOMETRY.shape[axis] - 1
    for position, expected in ((-0.5, 0), (last + 0.5, last)):
        ijk = np.array([[5.0, 5.0, 5.0]])
        ijk[0, 2 - axis] = position
        point = Point(GEOMETRY.ras_from_ijk(ijk)[0])
        check_inside(point, GEOMETRY)
        assert seed_slices([point], GEOMETRY, axis) == {expected} == slices_with_pixels(point, GEOMETRY, axis)


@given(st.from_type(VolumeGeometry), AXES, st.integers(0, 8))
def test_a_flat_box_is_on_its_slice_and_names_its_axis(geometry: VolumeGeometry, axis: int, index: int) -> None:
    index %= geometry.shape[axis]
    plane = slice_plane(geometry, axis, index)
    box = Box.on_plane(plane, (-0.25, -0.25, 0.25, 0.25))
    assert seed_slices([box], geometry, axis) == {index} == slices_with_pixels(box, geometry, axis)
    assert natural_axis([box], geometry) == axis
    for other in {0, 1, 2} - {axis}:
        assert seed_slices([box], geometry, other) == set()


@given(st.from_type(VolumeGeometry), AXES, st.lists(st.tuples(UNIT, UNIT, UNIT), min_size=1, max_size=4))
def test_a_doodle_is_on_all_slices_that_show_it(
    geometry: VolumeGeometry, axis: int, line: list[tuple[float, float, float]]
) -> None:
    doodle = Doodle([place(geometry, at) for at in line])
    found, shown = seed_slices([doodle], geometry, axis), slices_with_pixels(doodle, geometry, axis)
    assert found == set(range(min(found), max(found) + 1))
    assert len(found ^ shown) <= len(line), "but where a vertex lies on the very face of a slice"


@given(st.from_type(VolumeGeometry), AXES, st.integers(0, 2**32 - 1))
def test_a_mask_is_on_the_slices_of_its_voxels(geometry: VolumeGeometry, axis: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random(geometry.shape) < 0.2
    mask[-1, 0, 0] = True
    prompt = MaskPrompt(Crop.from_full(mask), geometry)
    expected = set(np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))))
    expected = expected if axis in prompt.axes else set()
    assert seed_slices([prompt], geometry, axis) == expected == slices_with_pixels(prompt, geometry, axis)


def solid(low: float, high: float, axis: int = 0) -> Box:
    """A box from position ``low`` to ``high`` along the slices of ``axis``."""
    center, size = np.array([15.0, 15.0, 5.0]), np.array([10.0, 10.0, 4.0])
    center[2 - axis], size[2 - axis] = (low + high) / 2, high - low
    return Box(GEOMETRY.ras_from_ijk(center[None])[0], np.eye(3), size * GEOMETRY.spacing)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("low", "high", "expected", "seed"),
    [
        (3, 7, (3, 7), 5),  # from slice middle to slice middle
        (2.5, 7.5, (3, 7), 5),  # from face to face
        (2.7, 7.3, (3, 7), 5),
        (3.2, 6.8, (4, 6), 5),
        (5.1, 5.3, (5, 5), 5),  # thinner than a slice
        (-9, 3, (0, 3), 1),
        (-9, 99, (0, None), None),
    ],
)
def test_solid_boxes_limit_the_slices(
    axis: int, low: float, high: float, expected: tuple[int, int | None], seed: int | None
) -> None:
    last = GEOMETRY.shape[axis] - 1
    first, end = expected
    assert slice_range([solid(low, high, axis)], GEOMETRY, axis) == (first, last if end is None else end)
    found = seed_slices([solid(low, high, axis)], GEOMETRY, axis)
    assert found == ({last // 2} if seed is None else {seed})


def test_the_range_of_a_solid_box_is_that_of_the_slices_that_show_it() -> None:
    for low, high in ((3, 7), (2.5, 7.5), (3.2, 6.8), (-4, 5.4)):
        box = solid(low, high)
        first, last = slice_range([box], GEOMETRY, 0)
        assert slices_with_pixels(box, GEOMETRY, 0) == set(range(first, last + 1))


def test_several_solid_boxes_count_together() -> None:
    flat = Box.on_plane(slice_plane(GEOMETRY, 0, 9), (3, 3, 9, 9))
    assert slice_range([solid(2, 4), flat, solid(6, 7)], GEOMETRY, 0) == (2, 7)
    assert slice_range([flat, Point((10, 10, 10))], GEOMETRY, 0) == (0, 11)


def test_a_box_that_only_touches_the_last_face_is_on_the_last_slice() -> None:
    assert seed_slices([solid(11.5, 20)], GEOMETRY, 0) == {11}
    assert slice_range([solid(11.5, 20)], GEOMETRY, 0) == (11, 11)


def test_the_axis_that_prompts_lie_across() -> None:
    along_k = Doodle(GEOMETRY.ras_from_ijk([[10, 12, 4], [30, 12, 4]]))
    sagittal = Doodle(GEOMETRY.ras_from_ijk([[10, 12, 4], [10, 25, 9]]))
    oblique = Box.on_plane(
        oblique_plane(GEOMETRY, GEOMETRY.ras_from_ijk([[20, 15, 6]])[0], (1, 0, 0), (0, 1, 1)), (2, 2, 9, 9)
    )
    assert natural_axis([Point((3, 3, 3))], GEOMETRY) == 0
    assert natural_axis([solid(3, 7, 2)], GEOMETRY) == 0
    assert natural_axis([along_k], GEOMETRY) == 0
    assert natural_axis([sagittal], GEOMETRY) == 2
    assert natural_axis([oblique], GEOMETRY) == 0
    turned = VolumeGeometry((30, 12, 40), np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 3, 0, 0], [0, 0, 0, 1.0]]))
    assert natural_axis([Point((3, 3, 3))], turned) == 1, "most volumes are read in axial slices"

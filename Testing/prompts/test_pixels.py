"""What prompts say about a plane, in its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import (
    Crop,
    Plane,
    VolumeGeometry,
    oblique_plane,
    paste_mask,
    slab_thickness,
    slice_plane,
)
from AutoPromptSAMLib.prompts import (
    Box,
    Doodle,
    MaskPrompt,
    PixelPrompts,
    Point,
    Prompt,
    Source,
    doodle_mask,
    on_plane,
)

SEEDS = st.integers(0, 2**32 - 1)
GEOMETRIES = st.from_type(VolumeGeometry)
CT = VolumeGeometry((20, 64, 80), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))
AXIAL = slice_plane(CT, 0, 7)
SLAB = slab_thickness(AXIAL, CT)


def rotation(rng: np.random.Generator) -> np.ndarray:
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix


def at(col: float, row: float, plane: Plane = AXIAL, depth: float = 0) -> np.ndarray:
    return plane.ras_from_pixels([[col, row]])[0] + depth * plane.normal


@given(GEOMETRIES, st.sampled_from([0, 1, 2]), st.booleans(), SEEDS)
def test_a_click_belongs_to_exactly_one_slice_and_pixel(
    geometry: VolumeGeometry, axis: int, positive: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    size = np.array(geometry.shape[::-1])
    ijk = rng.uniform(-0.5, size - 0.5)
    if rng.random() < 0.3:  # on the face between two slices
        ijk[2 - axis] = rng.integers(size[2 - axis]) - 0.5
    click = Point(geometry.ras_from_ijk(ijk), positive)
    hits = []
    for index in range(geometry.shape[axis]):
        plane = slice_plane(geometry, axis, index)
        seen = on_plane([click], plane, slab_thickness(plane, geometry))
        if not seen.is_empty:
            hits.append(index)
            assert seen.labels.tolist() == [int(positive)]
            row_axis, col_axis = (a for a in range(3) if a != axis)
            # Same place by voxels as by pixels: both grids share their outer edges.
            for pixel, a, pixels in zip(seen.points[0], (col_axis, row_axis), plane.shape[::-1], strict=True):
                voxels = geometry.shape[a]
                assert (pixel + 0.5) / pixels == pytest.approx((ijk[2 - a] + 0.5) / voxels, abs=1e-6)
    assert hits == [max(0, int(np.ceil(ijk[2 - axis] - 0.5 - 1e-9)))]


@given(GEOMETRIES, st.sampled_from([0, 1, 2]), st.sampled_from([-1e-3, 0, 1e-3]), st.booleans(), SEEDS)
def test_a_click_on_the_outer_face_is_in_the_volume_and_on_its_outer_slice(
    geometry: VolumeGeometry, axis: int, beyond: float, top: bool, seed: int
) -> None:
    size = np.array(geometry.shape[::-1])
    ijk = np.random.default_rng(seed).uniform(-0.4, size - 0.6)
    ijk[2 - axis] = size[2 - axis] - 0.5 + beyond if top else -0.5 - beyond
    click = Point(geometry.ras_from_ijk(ijk[None])[0])
    planes = [slice_plane(geometry, axis, index) for index in range(geometry.shape[axis])]
    hits = [n for n, p in enumerate(planes) if not on_plane([click], p, slab_thickness(p, geometry)).is_empty]
    assert bool(geometry.contains(click.ras[None])[0]) == (beyond <= 0)
    assert hits == ([geometry.shape[axis] - 1 if top else 0] if beyond <= 0 else [])


def test_a_click_on_a_face_is_on_the_slice_that_a_plane_there_is_pasted_onto() -> None:
    matrix = np.array(AXIAL.pixel_to_ras)
    matrix[2, 3] += SLAB / 2
    face = Plane(matrix, AXIAL.shape)
    pasted = paste_mask(np.ones(face.shape, bool), face, CT).lower[0]
    click = Point(face.ras_from_pixels([[20, 20]])[0])
    assert [n for n in range(20) if not on_plane([click], slice_plane(CT, 0, n), SLAB).is_empty] == [pasted]


@given(GEOMETRIES, st.sampled_from([0, 1, 2]), SEEDS)
def test_a_box_drawn_on_a_slice_comes_back_there_and_nowhere_else(
    geometry: VolumeGeometry, axis: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    index = int(rng.integers(geometry.shape[axis]))
    plane = slice_plane(geometry, axis, index)
    last = np.array(plane.shape[::-1]) - 1
    assume(last.min() > 0)
    low = rng.uniform(0, last * 0.9)
    high = rng.uniform(low + 0.05, last)
    box = Box.on_plane(plane, (*low, *high), source=Source("prompter", "autosam"))
    assert box.is_flat
    np.testing.assert_allclose(np.abs(box.normal @ plane.normal), 1)
    for other_axis in range(3):
        for other in range(geometry.shape[other_axis]):
            there = slice_plane(geometry, other_axis, other)
            seen = on_plane([box], there, slab_thickness(there, geometry))
            if (other_axis, other) == (axis, index):
                np.testing.assert_allclose(seen.box, [*low, *high], atol=1e-6)
            else:
                assert seen.is_empty


@given(GEOMETRIES, SEEDS)
def test_a_solid_box_is_the_rectangle_around_its_cut(geometry: VolumeGeometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside = geometry.ras_from_ijk(rng.uniform(0, np.array(geometry.shape[::-1]) - 1))
    extent = np.array(geometry.shape[::-1]) * geometry.spacing
    box = Box(inside, rotation(rng), rng.uniform(0.5, 1, 3) * extent.max())
    axis = int(rng.integers(3))
    plane = slice_plane(geometry, axis, int(rng.integers(geometry.shape[axis])))
    slab = slab_thickness(plane, geometry)
    assume(np.ptp(plane.pixels_from_ras(box.corners)[:, 2]) > slab)
    seen = on_plane([box], plane, slab)
    # By linear programming: the extremes of col and row over the points of the box at depth 0.
    matrix = plane.ras_to_pixel[:3, :3] @ box.axes.T
    offset = plane.pixels_from_ras(box.center_ras)
    extremes = [
        linprog(
            sign * matrix[row],
            A_eq=matrix[2:],
            b_eq=-offset[2:],
            bounds=[(-half, half) for half in box.size_mm / 2],
        )
        for sign in (1, -1)
        for row in (0, 1)
    ]
    rows, cols = plane.shape
    if not extremes[0].success:  # the plane does not cut the box
        assert seen.is_empty
        return
    x0, y0, x1, y1 = (
        sign * result.fun + offset[row]
        for result, (sign, row) in zip(extremes, [(1, 0), (1, 1), (-1, 0), (-1, 1)], strict=True)
    )
    if x1 < -0.5 or y1 < -0.5 or x0 > cols - 0.5 or y0 > rows - 0.5:
        assert seen.is_empty
    else:
        last = np.array([cols - 1, rows - 1] * 2)
        np.testing.assert_allclose(seen.box, np.clip([x0, y0, x1, y1], 0, last), atol=1e-6)


def test_an_axis_aligned_roi_is_exact_and_clipped() -> None:
    low, high = CT.ras_from_ijk([[10, 20, 3], [30, 90, 9]])
    roi = Box((low + high) / 2, np.eye(3), np.abs(high - low))
    for index in range(20):
        seen = on_plane([roi], slice_plane(CT, 0, index), SLAB).box
        if 3 < index < 9:
            np.testing.assert_allclose(seen, [10, 20, 30, 63], atol=1e-9)  # row 90 is beyond the last, 63
        elif index not in (3, 9):  # on its very faces either answer is right
            assert seen is None


def test_several_boxes_stay_several() -> None:
    corners = [(5, 10, 20, 30), (40, 8, 50, 12)]
    seen = on_plane([Box.on_plane(AXIAL, box) for box in corners], AXIAL, SLAB)
    np.testing.assert_allclose(seen.boxes, corners)
    np.testing.assert_allclose(seen.box, [5, 8, 50, 30])  # around all, for networks that take one
    one = on_plane([Box.on_plane(AXIAL, corners[0])], AXIAL, SLAB)
    np.testing.assert_allclose(one.boxes, [one.box])
    none = on_plane([Point(at(5, 5))], AXIAL, SLAB)
    assert none.box is None
    assert none.boxes.shape == (0, 4)


def test_boxes_in_pixels_are_checked() -> None:
    assert not PixelPrompts(boxes=[[1, 2, 3, 4]]).is_empty
    with pytest.raises(PromptError, match="either one box or several"):
        PixelPrompts(box=[1, 2, 3, 4], boxes=[[1, 2, 3, 4]])
    for boxes in ([[1, 2, 3, 4], [5, 5, 4, 9]], [1, 2, 3, 4], [[1, 2, 3, np.nan]]):
        with pytest.raises(PromptError, match="order x0, y0, x1, y1"):
            PixelPrompts(boxes=boxes)


def test_a_thin_box_between_two_slices_is_on_one_of_them() -> None:
    center = at(20, 20, depth=0.9)
    roi = Box(center, np.eye(3), [7, 7, 1])  # 1 mm high, slices 2.5 mm apart: cuts no slice at all
    found = [n for n in range(20) if not on_plane([roi], slice_plane(CT, 0, n), SLAB).is_empty]
    assert found == [7]


@pytest.mark.parametrize(
    "prompt",
    [
        Point(at(-0.6, 10)),
        Point(at(10, 63.6)),
        Box.on_plane(AXIAL, (90, 10, 95, 20)),
        Box.on_plane(AXIAL, (10, -20, 20, -5)),
        Doodle([at(10, 10), at(85, 10)]),
    ],
)
def test_prompts_outside_the_image_are_refused(prompt: Prompt) -> None:
    with pytest.raises(PromptError, match=r"outside the image of 80 columns and 64 rows; move it into the image\.$"):
        on_plane([prompt], AXIAL, SLAB)
    # On other slices they say nothing, so the rest of the volume can still be segmented.
    assert on_plane([prompt], slice_plane(CT, 0, 8), SLAB).is_empty


def test_edges_of_the_image_are_inside() -> None:
    seen = on_plane([Point(at(-0.5, -0.5)), Point(at(79.5, 63.5))], AXIAL, SLAB)
    np.testing.assert_allclose(seen.points, [[-0.5, -0.5], [79.5, 63.5]])


def test_a_solid_box_outside_the_image_says_nothing() -> None:
    roi = Box(at(200, 200), np.eye(3), [10, 10, 10])
    assert on_plane([roi], AXIAL, SLAB).is_empty


@given(st.lists(st.tuples(st.floats(0, 79), st.floats(0, 63)), min_size=1, max_size=12), st.booleans())
def test_doodles_become_few_points_on_the_line(vertices: list[tuple[float, float]], positive: bool) -> None:
    line = np.array(vertices)
    seen = on_plane([Doodle(AXIAL.ras_from_pixels(line), positive)], AXIAL, SLAB)
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    assert 1 <= len(seen.points) <= 16
    assert len(seen.points) >= min(16, length / 2) - 1
    assert (seen.labels == positive).all()
    ends = line[1:] if len(line) > 1 else line
    for point in seen.points:  # each on some segment
        away = []
        for start, end in zip(line, ends, strict=False):
            t = np.clip((point - start) @ (end - start) / max((end - start) @ (end - start), 1e-12), 0, 1)
            away.append(np.linalg.norm(point - start - t * (end - start)))
        assert min(away) < 1e-5


def test_straight_doodles_are_spaced_evenly_at_two_pixels_or_more() -> None:
    short = on_plane([Doodle([at(10, 10), at(20, 10)])], AXIAL, SLAB).points
    np.testing.assert_allclose(short, [[11, 10], [13, 10], [15, 10], [17, 10], [19, 10]])
    dot = on_plane([Doodle([at(10, 10), at(11, 10)])], AXIAL, SLAB).points
    np.testing.assert_allclose(dot, [[10.5, 10]])
    long = on_plane([Doodle([at(5, 10), at(69, 10)])], AXIAL, SLAB).points
    np.testing.assert_allclose(long, [[7 + 4 * n, 10] for n in range(16)])
    single = on_plane([Doodle([at(10, 10)])], AXIAL, SLAB).points
    np.testing.assert_allclose(single, [[10, 10]])


def test_many_doodles_share_the_points_of_their_sign() -> None:
    strokes = [Doodle([at(5, row), at(75, row)], row % 2 == 0) for row in range(2, 60, 2)]
    strokes += [Doodle([at(5, row), at(6, row)], False) for row in range(1, 60, 2)]
    seen = on_plane(strokes, AXIAL, SLAB)
    assert (seen.labels == 1).sum() <= 16
    assert (seen.labels == 0).sum() == 16
    assert np.ptp(seen.points[seen.labels == 0][:, 1]) > 50  # spread over all of them, not the first 16


def test_only_the_part_of_a_doodle_in_the_slab_counts() -> None:
    # Through the slab at 45 degrees: 2.5 mm deep, so 2.5 mm = 3.57 columns long, around column 40.
    stroke = Doodle([at(40 - 20 / 0.7, 10, depth=-20), at(40 + 20 / 0.7, 10, depth=20)])
    seen = on_plane([stroke], AXIAL, SLAB)
    np.testing.assert_allclose(seen.points, [[40, 10]])
    columns = np.flatnonzero(doodle_mask(stroke, AXIAL, SLAB).any(axis=0))
    assert (columns.min(), columns.max()) == (38, 42)
    back_and_forth = Doodle([at(10, 10), at(10, 20, depth=5), at(20, 20, depth=5), at(20, 10)])
    parts = on_plane([back_and_forth], AXIAL, SLAB).points
    np.testing.assert_allclose(parts, [[10, 11.25], [20, 11.25]])  # the first quarter of 10 rows, either side


def test_doodle_mask_is_the_brush() -> None:
    disc = doodle_mask(Doodle([at(30, 30)], width_mm=14.01), AXIAL, SLAB)  # radius 10 pixels
    rows, cols = np.indices(AXIAL.shape)
    np.testing.assert_array_equal(disc, np.hypot(rows - 30, cols - 30) <= 10)
    line = doodle_mask(Doodle([at(5, 5), at(60, 40)]), AXIAL, SLAB)
    assert line.any(axis=0)[5:61].all()  # no gaps
    assert 55 < line.sum() < 150
    at_border = doodle_mask(Doodle([at(0, 0), at(79, 0)], width_mm=2.8), AXIAL, SLAB)
    assert at_border[:3].all()
    assert not at_border[3:].any()
    assert not doodle_mask(Doodle([at(5, 5, depth=4)]), AXIAL, SLAB).any()


@given(st.from_type(MaskPrompt), st.sampled_from([0, 1, 2]), SEEDS)
def test_mask_prompts_are_seen_where_they_are(prompt: MaskPrompt, axis: int, seed: int) -> None:
    geometry = prompt.geometry
    index = int(np.random.default_rng(seed).integers(geometry.shape[axis]))
    plane = slice_plane(geometry, axis, index)
    seen = on_plane([prompt], plane, slab_thickness(plane, geometry))
    full = prompt.crop.to_full(geometry.shape)
    expected = np.zeros_like(full)
    here = tuple(index if a == axis else slice(None) for a in range(3))
    expected[here] = full[here]
    if axis not in prompt.axes:
        assert seen.mask is None, "a mask of one slice would be a line on those across it"
    elif seen.mask is None:
        assert not expected.any()
    else:
        np.testing.assert_array_equal(paste_mask(seen.mask, plane, geometry).to_full(geometry.shape), expected)


def test_masks_of_other_grids_and_several_masks_are_joined() -> None:
    fine = VolumeGeometry((40, 128, 160), CT.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1]))
    one = np.zeros(fine.shape, bool)
    one[13:16, 20:40, 20:60] = True
    other = np.zeros(CT.shape, bool)
    other[7, 50:60, 2:9] = True
    prompts = [MaskPrompt(Crop.from_full(one), fine), MaskPrompt(Crop.from_full(other), CT)]
    seen = on_plane(prompts, AXIAL, SLAB).mask
    expected = np.zeros(AXIAL.shape, bool)
    expected[10:20, 10:30] = True
    expected[50:60, 2:9] = True
    np.testing.assert_array_equal(seen, expected)
    assert on_plane(prompts, slice_plane(CT, 0, 9), SLAB).is_empty


def test_everything_works_on_oblique_planes() -> None:
    plane = oblique_plane(CT, CT.ras_from_ijk([40, 32, 10]), [1, 0.2, 0.3], [0, 1, -0.5])
    slab = slab_thickness(plane, CT)
    prompts = [
        Point(at(20, 20, plane)),
        Point(at(22, 20, plane, depth=slab), False),
        Box.on_plane(plane, (10, 12, 30, 40)),
        Doodle([at(10, 10, plane), at(18, 10, plane)], False),
    ]
    seen = on_plane(prompts, plane, slab)
    np.testing.assert_allclose(seen.points, [[20, 20], [11, 10], [13, 10], [15, 10], [17, 10]], atol=1e-9)
    assert seen.labels.tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_allclose(seen.box, [10, 12, 30, 40])

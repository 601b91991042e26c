"""Planes, sampling and pasting on random oblique, anisotropic, left-handed volumes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry import (
    Plane,
    Volume,
    VolumeGeometry,
    cut_box,
    oblique_plane,
    paste_mask,
    sample_plane,
    slab_thickness,
    slice_plane,
)

SEEDS = st.integers(0, 2**32 - 1)
GEOMETRIES = st.from_type(VolumeGeometry)


def rotation(rng: np.random.Generator) -> np.ndarray:
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix  # proper or improper: left-handed grids too


def random_plane(geometry: VolumeGeometry, rng: np.random.Generator) -> Plane:
    """A plane of any direction and spacing through a random voxel."""
    axes = rotation(rng)
    inside = geometry.ras_from_ijk(rng.uniform(0, np.array(geometry.shape[::-1]) - 1))
    return oblique_plane(geometry, inside, axes[0], axes[1], min(geometry.spacing) * rng.uniform(0.5, 2))


def grid_points(shape: tuple[int, int]) -> np.ndarray:
    rows, cols = np.indices(shape)
    return np.stack([cols.ravel(), rows.ravel()], axis=1)


CT = VolumeGeometry((5, 8, 10), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))


@given(GEOMETRIES, st.sampled_from([0, 1, 2]), st.booleans(), SEEDS)
def test_labelled_voxels_land_back_on_themselves(geometry: VolumeGeometry, axis: int, square: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = int(rng.integers(geometry.shape[axis]))
    plane = slice_plane(geometry, axis, index, square)
    assume(max(plane.shape) < 5000)
    labels = rng.random(geometry.shape) < rng.choice([0.05, 0.5])
    seen = sample_plane(Volume(labels, geometry), plane, order=0)
    crop = paste_mask(seen, plane, geometry)
    expected = np.zeros_like(labels)
    here = tuple(index if a == axis else slice(None) for a in range(3))
    expected[here] = labels[here]
    np.testing.assert_array_equal(crop.to_full(geometry.shape), expected)
    assert crop.is_empty or crop.mask.shape[axis] == 1


@given(GEOMETRIES, st.sampled_from([0, 1, 2]), SEEDS)
def test_square_pixels_keep_the_field_of_view(geometry: VolumeGeometry, axis: int, seed: int) -> None:
    index = int(np.random.default_rng(seed).integers(geometry.shape[axis]))
    plain, square = (slice_plane(geometry, axis, index, flag) for flag in (False, True))
    assert plain.shape == tuple(n for a, n in enumerate(geometry.shape) if a != axis)
    for corner in itertools.product((0, 1), repeat=2):
        edges = [
            plane.ras_from_pixels([[c * n - 0.5 for c, n in zip(corner, plane.shape[::-1], strict=True)]])
            for plane in (plain, square)
        ]
        np.testing.assert_allclose(edges[0], edges[1], atol=1e-6)
    finest = min(plain.spacing)
    for pixel, voxel, count in zip(square.spacing, plain.spacing, plain.shape[::-1], strict=True):
        # Rounding to whole pixels moves the spacing by at most half a pixel over the field of view.
        pixels = count * voxel / finest
        assert abs(pixel / finest - 1) <= max(0.5 / (pixels - 0.5), 0.011)


def test_sagittal_ct_is_shown_in_proportion() -> None:
    plane = slice_plane(CT, CT.array_axis("sagittal"), 3)
    assert plane.shape == (18, 8)  # 5 slices of 2.5 mm as pixels of 0.694 mm
    assert plane.spacing == pytest.approx((0.7, 12.5 / 18))
    assert (plane.axis, plane.index) == (2, 3)


@given(GEOMETRIES, st.sampled_from([0, 1, 2]), SEEDS)
def test_index_slices_are_views(geometry: VolumeGeometry, axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = int(rng.integers(geometry.shape[axis]))
    array = rng.integers(-1000, 1000, geometry.shape, dtype=np.int16)
    image = sample_plane(Volume(array, geometry), slice_plane(geometry, axis, index, square_pixels=False))
    np.testing.assert_array_equal(image, array.take(index, axis=axis))
    assert np.shares_memory(image, array)


@given(GEOMETRIES, SEEDS)
def test_flipped_and_transposed_slices_are_views_too(geometry: VolumeGeometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(geometry.shape[0]))
    array = rng.random(geometry.shape)
    rows, cols = geometry.shape[1:]
    plane = slice_plane(geometry, 0, k, square_pixels=False)
    turned = np.array(plane.pixel_to_ras)  # columns along -j, rows along +i
    turned[:3, 0], turned[:3, 1] = -plane.pixel_to_ras[:3, 1], plane.pixel_to_ras[:3, 0]
    turned[:3, 3] = plane.ras_from_pixels([[0, rows - 1]])[0]
    turned_plane = Plane(turned, (cols, rows))
    image = sample_plane(Volume(array, geometry), turned_plane)
    np.testing.assert_array_equal(image, array[k].T[:, ::-1])
    assert np.shares_memory(image, array)
    crop = paste_mask(image > 0.5, turned_plane, geometry)
    np.testing.assert_array_equal(crop.to_full(geometry.shape)[k], array[k] > 0.5)


@given(GEOMETRIES, SEEDS)
def test_pixels_show_what_is_at_their_world_position(geometry: VolumeGeometry, seed: int) -> None:
    """A volume whose values are a linear function of RAS must show that function on any plane."""
    rng = np.random.default_rng(seed)
    slope = rng.normal(size=3) / np.array(geometry.spacing).max()
    k, j, i = np.indices(geometry.shape)
    center = geometry.ras_from_ijk((np.array(geometry.shape[::-1]) - 1) / 2)
    voxels = geometry.ras_from_ijk(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    volume = Volume(((voxels - center) @ slope).reshape(geometry.shape), geometry)
    axis = int(rng.integers(3))
    planes = [
        random_plane(geometry, rng),
        slice_plane(geometry, axis, int(rng.integers(geometry.shape[axis]))),
    ]
    for plane in planes:
        assume(plane.shape[0] * plane.shape[1] < 60_000)
        points = plane.ras_from_pixels(grid_points(plane.shape))
        ijk = geometry.ijk_from_ras(points)
        between_centres = ((ijk >= 0) & (ijk <= np.array(geometry.shape[::-1]) - 1)).all(axis=1)
        outside = ~geometry.contains(points)
        image = sample_plane(volume, plane, fill=-7).ravel()
        np.testing.assert_allclose(image[between_centres], ((points - center) @ slope)[between_centres], atol=1e-3)
        assert (image[outside] == -7).all()
        nearest = sample_plane(volume, plane, order=0).ravel()
        assert (nearest[outside] == volume.minimum).all()
        away = np.abs(ijk - np.floor(ijk) - 0.5).min(axis=1) > 1e-6  # not halfway between two voxels
        at = np.clip(np.rint(ijk), 0, np.array(geometry.shape[::-1]) - 1).astype(int)[away & ~outside]
        np.testing.assert_array_equal(nearest[away & ~outside], volume.array[at[:, 2], at[:, 1], at[:, 0]])


@given(GEOMETRIES, SEEDS)
def test_oblique_paste_takes_the_voxels_that_the_plane_cuts(geometry: VolumeGeometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = random_plane(geometry, rng)
    assume(plane.shape[0] * plane.shape[1] < 60_000)
    mask = np.zeros(plane.shape, dtype=bool)
    top, left = rng.integers(plane.shape[0]), rng.integers(plane.shape[1])
    mask[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
    mask &= rng.random(plane.shape) < 0.8
    k, j, i = np.indices(geometry.shape)
    col, row, depth = plane.pixels_from_ras(
        geometry.ras_from_ijk(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    ).T
    col, row = np.floor(col + 0.5).astype(int), np.floor(row + 0.5).astype(int)
    cut = np.abs(depth) < slab_thickness(plane, geometry) / 2
    cut &= (col >= 0) & (col < plane.shape[1]) & (row >= 0) & (row < plane.shape[0])
    cut[cut] = mask[row[cut], col[cut]]
    crop = paste_mask(mask, plane, geometry)
    np.testing.assert_array_equal(crop.to_full(geometry.shape).ravel(), cut)


@given(GEOMETRIES, SEEDS)
def test_oblique_plane_covers_the_volume_and_no_more(geometry: VolumeGeometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = random_plane(geometry, rng)
    assert plane.spacing[0] == pytest.approx(plane.spacing[1])
    extent = np.array(plane.shape[::-1])
    colrow = rng.uniform(-0.5 * extent, 1.5 * extent, (300, 2))
    in_volume = geometry.contains(plane.ras_from_pixels(colrow))
    assert plane.contains(colrow)[in_volume].all()
    # Each outer row and column of pixels is at most half a voxel beyond the volume.
    corners = plane.pixels_from_ras(geometry.corners)
    cut = cut_box(corners)
    reach = np.abs(plane.ras_to_pixel[:2, :3] @ geometry.ijk_to_ras[:3, :3]).sum(axis=1) / 2
    assert (cut.min(axis=0) - reach <= 0.5 + 1e-6).all()
    assert (cut.max(axis=0) + reach >= extent - 1.5 - 1e-6).all()


@given(GEOMETRIES, SEEDS)
def test_a_mask_all_over_an_oblique_plane_labels_every_voxel_that_it_cuts(geometry: VolumeGeometry, seed: int) -> None:
    plane = random_plane(geometry, np.random.default_rng(seed))
    assume(plane.shape[0] * plane.shape[1] < 60_000)
    k, j, i = np.indices(geometry.shape)
    centres = geometry.ras_from_ijk(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    cut = np.abs(plane.pixels_from_ras(centres)[:, 2]) < slab_thickness(plane, geometry) / 2 - 1e-6
    labelled = paste_mask(np.ones(plane.shape, dtype=bool), plane, geometry).to_full(geometry.shape).ravel()
    assert labelled[cut].all()


def test_oblique_plane_through_a_pixel_centre_and_along_the_grid() -> None:
    center = CT.ras_from_ijk([4.3, 2.2, 1])
    plane = oblique_plane(CT, center, [-1, 0, 0], [0.5, -1, 0], spacing=0.35)
    col, row, depth = plane.pixels_from_ras(center)
    assert (col, row, depth) == pytest.approx((round(col), round(row), 0), abs=1e-9)
    np.testing.assert_allclose(plane.normal, [0, 0, 1], atol=1e-12)
    assert plane.spacing == pytest.approx((0.35, 0.35))
    aligned = oblique_plane(CT, CT.ras_from_ijk([0, 0, 1]), [-1, 0, 0], [0, -1, 0])
    assert aligned.shape == (8, 10)
    array = np.arange(400).reshape(CT.shape)
    np.testing.assert_array_equal(sample_plane(Volume(array, CT), aligned), array[1])


def test_planes_that_cannot_be_are_refused() -> None:
    with pytest.raises(GeometryError, match="slices 0 to 4"):
        slice_plane(CT, 0, 5)
    with pytest.raises(GeometryError, match="slices 0 to 4"):
        slice_plane(CT, 0, -1)
    with pytest.raises(GeometryError, match="array axes"):
        slice_plane(CT, 3, 0)
    with pytest.raises(GeometryError, match="does not cut the volume"):
        oblique_plane(CT, [0, 0, 1000], [1, 0, 0], [0, 1, 0])
    with pytest.raises(GeometryError, match="not parallel"):
        oblique_plane(CT, [0, 0, 0], [1, 0, 0], [2, 0, 0])
    with pytest.raises(GeometryError, match="finite"):
        oblique_plane(CT, [0, np.nan, 0], [1, 0, 0], [0, 1, 0])
    with pytest.raises(GeometryError, match="must be positive"):
        oblique_plane(CT, CT.ras_from_ijk([1, 1, 1]), [1, 0, 0], [0, 1, 0], spacing=0)
    with pytest.raises(GeometryError, match="unit normal"):
        Plane(np.diag([1, 1, 2.5, 1]), (4, 4))
    with pytest.raises(GeometryError, match="positive rows and columns"):
        Plane(np.eye(4), (0, 4))


def test_a_plane_between_two_slices_takes_the_lower_one() -> None:
    matrix = np.array(slice_plane(CT, 0, 2).pixel_to_ras)
    matrix[2, 3] += 1.25
    between = Plane(matrix, (8, 10))
    assert paste_mask(np.ones((8, 10), bool), between, CT).lower == (2, 0, 0)
    assert paste_mask(np.ones((8, 10), bool), between, CT).mask.shape == (1, 8, 10)
    array = np.zeros(CT.shape)
    array[3] = 10
    np.testing.assert_allclose(sample_plane(Volume(array, CT), between), 5)


def test_planes_of_another_volume_are_seen_at_their_place() -> None:
    array = np.arange(400, dtype=np.int16).reshape(CT.shape)
    part = CT.cropped((1, 2, 3), (3, 4, 5))
    image = sample_plane(Volume(array, CT), slice_plane(part, 0, 1))
    np.testing.assert_array_equal(image, array[2, 2:6, 3:8])
    for order in (0, 1):
        wide = sample_plane(Volume(array[1:4, 2:6, 3:8], part), slice_plane(CT, 0, 2), order, fill=-1)
        expected = np.full((8, 10), -1)
        expected[2:6, 3:8] = array[2, 2:6, 3:8]
        np.testing.assert_array_equal(wide, expected)
    beyond = sample_plane(Volume(array[1:4, 2:6, 3:8], part), slice_plane(CT, 0, 4), fill=-1)
    assert (beyond == -1).all()
    pasted = paste_mask(np.ones((8, 10), bool), slice_plane(CT, 0, 4), part)
    assert pasted.is_empty


def test_filling_never_writes_into_the_volume() -> None:
    array = np.arange(400, dtype=np.int16).reshape(CT.shape)
    before = array.copy()
    matrix = np.array(slice_plane(CT, 0, 2).pixel_to_ras)
    for step in (-5, 1.3, 5):
        matrix[2, 3] += step
        sample_plane(Volume(array, CT), Plane(matrix, (8, 10)), fill=99)
    np.testing.assert_array_equal(array, before)


def test_colour_stays_colour() -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (*CT.shape, 3), dtype=np.uint8)
    volume = Volume(array, CT)
    assert volume.is_colour
    index = sample_plane(volume, slice_plane(CT, 0, 2))
    np.testing.assert_array_equal(index, array[2])
    assert np.shares_memory(index, array)
    for plane in (slice_plane(CT, 1, 2), oblique_plane(CT, CT.ras_from_ijk([5, 4, 2]), [1, 0.2, 0.1], [0, 1, -0.7])):
        for order in (0, 1):
            image = sample_plane(volume, plane, order)
            assert image.shape == (*plane.shape, 3)
            assert image.dtype == np.uint8
        for channel in range(3):
            grey = sample_plane(Volume(array[..., channel].copy(), CT), plane, fill=0)
            colour = sample_plane(volume, plane, fill=0)[..., channel]
            np.testing.assert_allclose(colour, grey, atol=0.501)


def test_pasting_nothing_or_a_mask_of_another_size() -> None:
    plane = slice_plane(CT, 0, 2)
    assert paste_mask(np.zeros(plane.shape), plane, CT).is_empty
    with pytest.raises(GeometryError, match=r"\(10, 8\) pixels but its plane has \(8, 10\)"):
        paste_mask(np.zeros((10, 8)), plane, CT)

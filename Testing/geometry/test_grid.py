"""Voxel grids, volumes and crops on random oblique, anisotropic, left-handed affines."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, ImageError
from AutoPromptSAMLib.geometry import (
    Crop,
    Volume,
    VolumeGeometry,
    lps_affine_from_ras,
    lps_from_ras,
    oblique_plane,
    ras_affine_from_lps,
    ras_from_lps,
    sample_plane,
)

SEEDS = st.integers(0, 2**32 - 1)
GEOMETRIES = st.from_type(VolumeGeometry)
CT = VolumeGeometry((5, 8, 10), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))


def rotation(rng: np.random.Generator) -> np.ndarray:
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix  # proper or improper: left-handed grids too


@given(GEOMETRIES, SEEDS)
def test_ras_and_ijk_go_back_and_forth(geometry: VolumeGeometry, seed: int) -> None:
    ijk = np.random.default_rng(seed).uniform(-50, 50, (7, 3))
    ras = geometry.ras_from_ijk(ijk)
    np.testing.assert_allclose(geometry.ijk_from_ras(ras), ijk, atol=1e-6)
    steps = geometry.ras_from_ijk(np.eye(3)) - geometry.ras_from_ijk(np.zeros(3))
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), geometry.spacing)


@given(GEOMETRIES)
def test_lps_is_ras_with_two_signs_changed(geometry: VolumeGeometry) -> None:
    corner = geometry.corners
    np.testing.assert_array_equal(lps_from_ras(corner), corner * [-1, -1, 1])
    np.testing.assert_array_equal(ras_from_lps(lps_from_ras(corner)), corner)
    lps = lps_affine_from_ras(geometry.ijk_to_ras)
    np.testing.assert_allclose((lps @ [1, 2, 3, 1])[:3], lps_from_ras(geometry.ras_from_ijk([1, 2, 3])))
    np.testing.assert_array_equal(ras_affine_from_lps(lps), geometry.ijk_to_ras)


@given(GEOMETRIES)
def test_geometry_survives_json_exactly(geometry: VolumeGeometry) -> None:
    again = VolumeGeometry.from_json(json.loads(json.dumps(geometry.to_json())))
    assert again == geometry
    assert hash(again) == hash(geometry)


@given(GEOMETRIES, st.floats(0.01, 0.9), st.permutations([0, 1, 2]))
def test_sheared_grids_are_refused(geometry: VolumeGeometry, shear: float, axes: list[int]) -> None:
    affine = np.array(geometry.ijk_to_ras)
    one, other, _ = axes
    affine[:3, one] += shear * np.linalg.norm(affine[:3, one]) * affine[:3, other] / np.linalg.norm(affine[:3, other])
    with pytest.raises(GeometryError, match=r"sheared .* resample"):
        VolumeGeometry(geometry.shape, affine)


@given(GEOMETRIES)
def test_float32_headers_are_not_taken_for_sheared(geometry: VolumeGeometry) -> None:
    rounded = VolumeGeometry(geometry.shape, geometry.ijk_to_ras.astype(np.float32))
    assert rounded.close_to(geometry)


@given(GEOMETRIES)
def test_every_slice_direction_has_its_own_axis(geometry: VolumeGeometry) -> None:
    axes = [geometry.array_axis(name) for name in ("sagittal", "coronal", "axial")]
    assert sorted(axes) == [0, 1, 2]
    columns = np.abs(geometry.ijk_to_ras[:3, :3]) / geometry.spacing
    dominant = columns.argmax(axis=0)
    if sorted(dominant) == [0, 1, 2]:  # no ambiguity: each index axis goes with the world axis nearest to it
        assert [dominant[2 - axis] for axis in axes] == [0, 1, 2]


def test_axes_of_a_supine_ct() -> None:
    assert [CT.array_axis(name) for name in ("axial", "coronal", "sagittal")] == [0, 1, 2]
    with pytest.raises(GeometryError, match="use axial, sagittal or coronal"):
        CT.array_axis("frontal")


@given(GEOMETRIES, SEEDS)
def test_contains_ends_half_a_voxel_beyond_the_outer_centres(geometry: VolumeGeometry, seed: int) -> None:
    size = np.array(geometry.shape[::-1])
    ijk = np.random.default_rng(seed).uniform(-1.5, size + 0.5, (50, 3))
    expected = ((ijk > -0.5) & (ijk < size - 0.5)).all(axis=1)
    np.testing.assert_array_equal(geometry.contains(geometry.ras_from_ijk(ijk)), expected)
    assert geometry.contains(geometry.corners).all()


@given(GEOMETRIES, SEEDS)
def test_parent_transform_moves_every_voxel(geometry: VolumeGeometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = np.eye(4)
    parent[:3, :3] = rotation(rng) * rng.uniform(0.5, 2)
    parent[:3, 3] = rng.uniform(-100, 100, 3)
    moved = geometry.transformed(parent)
    ijk = rng.uniform(0, 9, (4, 3))
    expected = geometry.ras_from_ijk(ijk) @ parent[:3, :3].T + parent[:3, 3]
    np.testing.assert_allclose(moved.ras_from_ijk(ijk), expected, atol=1e-6)


def test_parent_transform_that_shears_is_refused() -> None:
    parent = np.eye(4)
    parent[0, 1] = 0.3
    with pytest.raises(GeometryError, match="sheared"):
        CT.transformed(parent)
    with pytest.raises(GeometryError, match="parent transform is a projection"):
        CT.transformed([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.1, 1]])


def test_close_to_measures_in_voxels() -> None:
    def moved(mm: float) -> VolumeGeometry:
        affine = np.array(CT.ijk_to_ras)
        affine[0, 3] += mm
        return VolumeGeometry(CT.shape, affine)

    assert CT.close_to(moved(0.03))
    assert not CT.close_to(moved(0.04))  # 0.05 of 0.7 mm is 0.035 mm
    assert CT.close_to(moved(0.04), tolerance=0.1)
    assert not CT.close_to(VolumeGeometry((5, 8, 11), CT.ijk_to_ras))


def with_entry(row: int, col: int, value: float) -> np.ndarray:
    affine = np.eye(4)
    affine[row, col] = value
    return affine


@pytest.mark.parametrize(
    ("shape", "affine", "sentence"),
    [
        ((4, 5), np.eye(4), "three positive sizes"),
        ((4, 5, 0), np.eye(4), "three positive sizes"),
        ((4, 5, 2.5), np.eye(4), "three positive sizes"),
        ((4, 5, 6), np.eye(3), "4x4"),
        ((4, 5, 6), with_entry(0, 3, np.nan), "NaN or infinity"),
        ((4, 5, 6), with_entry(1, 1, 0), "cannot be inverted"),
        ((4, 5, 6), with_entry(3, 0, 1), "projection"),
        ((4, 5, 6), [["1"] * 4] * 4, "matrix of numbers"),
        ((4, 5, 6), [[1, 2], [3]], "matrix of numbers"),
        ((4, 5, 6), None, "matrix of numbers"),
    ],
)
def test_impossible_geometries_are_refused(shape, affine, sentence: str) -> None:
    with pytest.raises(GeometryError, match=sentence):
        VolumeGeometry(shape, affine)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"shape": [1, 2, 3]},
        {"shape": [1, 2], "ijk_to_ras": np.eye(4).tolist()},
        {"shape": [1, 2, True], "ijk_to_ras": np.eye(4).tolist()},
        {"shape": "123", "ijk_to_ras": np.eye(4).tolist()},
        {"shape": [1, 2, 3], "ijk_to_ras": [[1]]},
        {"shape": [1, 2, 3], "ijk_to_ras": np.eye(4).tolist(), "more": 1},
    ],
)
def test_malformed_geometry_json_is_refused(data) -> None:
    with pytest.raises(GeometryError, match=r"\.$"):
        VolumeGeometry.from_json(data)


@pytest.mark.parametrize(
    ("array", "error", "sentence"),
    [
        (np.zeros((0, 8, 10)), ImageError, "is empty"),
        (np.zeros((8, 10)), ImageError, "has 2 dimensions"),
        (np.zeros((5, 8, 10, 7)), ImageError, "4 dimensions .* pick one frame"),
        (np.zeros((2, 5, 8, 10, 3)), ImageError, "has 5 dimensions"),
        (np.zeros((5, 8, 10, 3), np.uint16), ImageError, "uint16 colours; convert"),
        (np.zeros((5, 8, 10), complex), ImageError, "complex128 voxels; convert"),
        (np.zeros((5, 8, 10), object), ImageError, "object voxels; convert"),
        (np.full((5, 8, 10), np.nan), ImageError, "400 of 400 voxels that are NaN or infinite"),
        (np.where(np.arange(400).reshape(5, 8, 10) == 7, np.inf, 0), ImageError, "liver.nii has 1 of 400 voxels"),
        (np.zeros((5, 8, 11)), GeometryError, "geometry says"),
    ],
)
def test_unusable_arrays_are_refused(array: np.ndarray, error: type[AutoPromptSAMError], sentence: str) -> None:
    with pytest.raises(error, match=sentence) as caught:
        Volume(array, CT, name="liver.nii")
    assert str(caught.value).count(". ") == 0  # one sentence
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("dtype", ["bool", "u1", ">i2", "<f2", "f4", "f8", "u8", "i8"])
def test_every_number_type_can_be_sampled_obliquely(dtype: str) -> None:
    array = (np.arange(400).reshape(CT.shape) % 2).astype(dtype)
    volume = Volume(array, CT)
    assert volume.array.dtype.isnative
    plane = oblique_plane(CT, CT.ras_from_ijk([5, 4, 2]), [1, 0.2, 0.1], [0, 1, -0.7])
    linear, nearest = sample_plane(volume, plane), sample_plane(volume, plane, order=0)
    assert linear.dtype == np.float32
    assert 0 < linear.mean() < 1
    assert set(np.unique(nearest)) == {0, 1}


@given(SEEDS, st.tuples(*[st.integers(1, 7)] * 3))
def test_crops_hold_the_same_voxels(seed: int, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.random(shape) < rng.choice([0, 0.02, 0.5]) for _ in range(2))
    first, second = Crop.from_full(one), Crop.from_full(other)
    np.testing.assert_array_equal(first.to_full(shape), one)
    np.testing.assert_array_equal(first.union(second).to_full(shape), one | other)
    assert first.count == one.sum()
    assert first.is_empty == (not one.any())
    np.testing.assert_array_equal(one[first.slices], first.mask)
    if not first.is_empty:  # tight: the outer layers of the block are in use
        for axis in range(3):
            assert first.mask.take([0, -1], axis=axis).any(axis=tuple({0, 1, 2} - {axis})).all()
    moved = first.shifted((1, 2, 3))
    larger = np.zeros(np.add(shape, (1, 2, 3)), bool)
    larger[1:, 2:, 3:] = one
    np.testing.assert_array_equal(moved.to_full(larger.shape), larger)


def test_crops_that_do_not_fit_are_refused() -> None:
    crop = Crop(np.ones((2, 2, 2), bool), (3, 0, 0))
    assert crop.upper == (5, 2, 2)
    with pytest.raises(GeometryError, match="does not fit"):
        crop.to_full((4, 4, 4))
    with pytest.raises(GeometryError, match="must start at a voxel"):
        crop.shifted((0, -1, 0))
    with pytest.raises(GeometryError, match="three dimensions"):
        Crop(np.ones((2, 2), bool))

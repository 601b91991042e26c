"""Prompt in the world -> pixel -> mask -> segment -> voxel at the prompt, on random grids through real MRML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.geometry import Volume, VolumeGeometry, paste_mask, sample_plane, slice_plane
from AutoPromptSAMLib.mrml.markups import read_points
from AutoPromptSAMLib.mrml.planes import plane_from_slice_node, show_index, shown_index
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation
from AutoPromptSAMLib.mrml.volumes import volume_from_node, volume_to_node

SEEDS = st.integers(0, 2**32 - 1)
many = settings(max_examples=200, deadline=None)


def rotation(rng: np.random.Generator) -> np.ndarray:
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix  # proper or improper


@st.composite
def volumes(draw: st.DrawFn) -> Volume:
    """Oblique, anisotropic, left-handed grids, thin ones included; no two voxels have the same value."""
    rng = np.random.default_rng(draw(SEEDS))
    along_world = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    spacing = draw(st.sampled_from([(1, 1, 1), (0.7, 0.7, 2.5), None])) or 10 ** rng.uniform(-1, 1, 3)
    affine = np.eye(4)
    affine[:3, :3] = (rotation(rng) if draw(st.booleans()) else along_world) * spacing
    affine[:3, 3] = rng.uniform(-500, 500, 3)
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    return Volume(rng.permutation(int(np.prod(shape))).astype(np.int16).reshape(shape), VolumeGeometry(shape, affine))


@st.composite
def similarities(draw: st.DrawFn) -> np.ndarray:
    """Transforms that keep right angles: rotation, mirror, scale, shift."""
    rng = np.random.default_rng(draw(SEEDS))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(rng) * 10 ** rng.uniform(-0.5, 0.5)
    matrix[:3, 3] = rng.uniform(-200, 200, 3)
    return matrix


chains = st.lists(similarities(), max_size=2)


def vtk_voxel_to_world(node: Any, ijk: np.ndarray) -> np.ndarray:
    """Where a voxel of a volume node is, by the arithmetic of VTK and MRML alone."""
    matrix, to_world = vtk.vtkMatrix4x4(), vtk.vtkGeneralTransform()
    node.GetIJKToRASMatrix(matrix)
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetTransformToWorld(to_world)
    return np.array(to_world.TransformPoint(matrix.MultiplyPoint((*map(float, ijk), 1.0))[:3]))


@many
@given(volumes(), chains)
def test_volume_nodes_keep_every_voxel_at_its_place(
    put_under: Callable[..., Any], volume: Volume, chain: list[np.ndarray]
) -> None:
    with create_scene() as context:
        node = volume_to_node(volume, context.scene)
        put_under(node, *chain)
        back = volume_from_node(node)
        assert np.array_equal(back.array, volume.array)
        whole = np.linalg.multi_dot([np.eye(4), *chain, volume.geometry.ijk_to_ras])
        assert back.geometry.shape == volume.geometry.shape
        assert np.allclose(back.geometry.ijk_to_ras, whole, rtol=0, atol=1e-9)
        last = np.array(volume.array.shape[::-1]) - 1
        there = vtk_voxel_to_world(node, last)
        assert np.allclose(back.geometry.ras_from_ijk(last), there, rtol=0, atol=1e-9)


@many
@given(volumes(), chains, chains, st.sampled_from((0, 1, 2)), st.booleans(), SEEDS)
def test_click_on_a_slice_labels_the_voxel_under_it(
    put_under: Callable[..., Any],
    labels_at: Callable[..., list[str]],
    voxel_count: Callable[..., int],
    volume: Volume,
    chain: list[np.ndarray],
    markup_chain: list[np.ndarray],
    axis: int,
    square: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    with create_scene() as context:
        node = volume_to_node(volume, context.scene)
        put_under(node, *chain)
        ijk = rng.integers(0, node.GetImageData().GetDimensions())
        ras = vtk_voxel_to_world(node, ijk)
        list_node = context.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        put_under(list_node, *markup_chain)
        list_node.AddControlPointWorld(vtk.vtkVector3d(*ras))

        (point,) = read_points(list_node)
        seen = volume_from_node(node)
        plane = slice_plane(seen.geometry, axis, int(ijk[2 - axis]), square)
        col, row, depth = plane.pixels_from_ras(point.ras)
        assert abs(depth) < 1e-6
        image = sample_plane(seen, plane, order=0)
        value = volume.array[tuple(ijk[::-1])]
        assert image[round(row), round(col)] == value
        crop = paste_mask(image == value, plane, seen.geometry)
        writer = SegmentWriter(create_segmentation(node), node)
        segment_id = writer.add_segment("organ")
        writer.write(segment_id, crop)

        assert labels_at(writer.segmentation_node, ras) == ["organ"]
        assert voxel_count(writer.segmentation_node, segment_id) == 1
        back = writer.read(segment_id)
        assert back.lower == tuple(ijk[::-1])
        assert back.count == 1


@many
@given(volumes(), chains, SEEDS)
def test_click_on_an_oblique_view_labels_the_voxel_under_it(
    put_under: Callable[..., Any],
    labels_at: Callable[..., list[str]],
    volume: Volume,
    chain: list[np.ndarray],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    with create_scene() as context:
        node = volume_to_node(volume, context.scene)
        put_under(node, *chain)
        seen = volume_from_node(node)
        geometry = seen.geometry
        inside = vtk_voxel_to_world(node, rng.uniform(0, 1, 3) * (np.array(geometry.shape[::-1]) - 1))
        slice_node = context.scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
        directions = rotation(rng)
        matrix = slice_node.GetSliceToRAS()
        for a in range(3):
            for b in range(3):
                matrix.SetElement(a, b, directions[a, b])
            matrix.SetElement(a, 3, inside[a])
        slice_node.UpdateMatrices()

        plane = plane_from_slice_node(slice_node, geometry)
        col, row, depth = plane.pixels_from_ras(inside)
        assert abs(depth) < 1e-6 or plane.axis is not None
        rows, cols = np.indices(plane.shape)
        reach = np.linalg.norm(geometry.spacing)
        near = np.hypot((rows - row) * plane.spacing[1], (cols - col) * plane.spacing[0]) <= reach
        crop = paste_mask(near, plane, geometry)
        writer = SegmentWriter(create_segmentation(node), node)
        segment_id = writer.add_segment("organ")
        writer.write(segment_id, crop)

        assert labels_at(writer.segmentation_node, inside) == ["organ"]
        back = writer.read(segment_id)
        assert back.lower == crop.lower
        assert np.array_equal(back.mask, crop.mask)
        voxels = (np.argwhere(back.mask) + back.lower)[:, ::-1]
        far = np.linalg.norm([vtk_voxel_to_world(node, ijk) - inside for ijk in voxels], axis=1)
        assert far.max() <= 2.5 * reach


@pytest.mark.parametrize("name", ["Axial", "Sagittal", "Coronal"])
def test_standard_views_are_exact_slices(scene: Any, name: str) -> None:
    affine = np.array([[-0.7, 0, 0, 10], [0, 0.9, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    geometry = VolumeGeometry((5, 6, 7), affine)
    slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode", "View")
    slice_node.SetOrientation(name)
    axis = geometry.array_axis(name.lower())
    index = geometry.shape[axis] - 2
    ijk = np.zeros(3)
    ijk[2 - axis] = index + 0.4  # off centre, as views are after loading, but in that slice
    slice_node.JumpSlice(*geometry.ras_from_ijk(ijk))
    plane = plane_from_slice_node(slice_node, geometry)
    assert (plane.axis, plane.index) == (axis, index)
    assert np.array_equal(plane.pixel_to_ras, slice_plane(geometry, axis, index).pixel_to_ras)


def test_panning_an_oblique_view_does_not_move_its_pixels(scene: Any) -> None:
    geometry = VolumeGeometry((5, 6, 7), np.diag([0.7, 0.9, 2.5, 1]))
    slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode", "View")
    directions = rotation(np.random.default_rng(3))
    planes = []
    for shift in (0.0, 1.7):
        matrix = slice_node.GetSliceToRAS()
        centre = geometry.ras_from_ijk([3, 2.5, 2]) + shift * directions[:, 0]
        for a in range(3):
            for b in range(3):
                matrix.SetElement(a, b, directions[a, b])
            matrix.SetElement(a, 3, centre[a])
        slice_node.UpdateMatrices()
        planes.append(plane_from_slice_node(slice_node, geometry))
    assert planes[0].axis is None
    assert np.allclose(planes[0].pixel_to_ras, planes[1].pixel_to_ras, rtol=0, atol=1e-9)
    right, down = planes[0].pixel_to_ras[:3, 0], planes[0].pixel_to_ras[:3, 1]
    assert right @ directions[:, 0] > 0
    assert down @ directions[:, 1] < 0


@given(st.from_type(VolumeGeometry), st.integers(0, 2), st.integers(-3, 12))
def test_a_view_shows_the_slice_that_it_is_told_to(geometry: VolumeGeometry, axis: int, index: int) -> None:
    node = slicer.vtkMRMLSliceNode()
    normal = slice_plane(geometry, axis, 0, square_pixels=False).normal
    across = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    node.SetSliceToRASByNTP(*normal, *across, 0, 0, 0, 0)
    show_index(node, geometry, axis, index)
    expected = min(max(index, 0), geometry.shape[axis] - 1)
    assert shown_index(node, geometry, axis) == expected
    assert plane_from_slice_node(node, geometry).index == expected

"""Segmentations on another grid, transform or representation than the volume: fitted exactly, or refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.labelmaps import read_block
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation
from AutoPromptSAMLib.mrml.volumes import geometry_from_node, volume_to_node

SHAPE = (8, 20, 24)


def block(lower: tuple[int, int, int], upper: tuple[int, int, int]) -> Crop:
    return Crop(np.ones(np.subtract(upper, lower), dtype=bool), lower)


def full(writer: SegmentWriter, segment_id: str) -> np.ndarray:
    return writer.read(segment_id).to_full(SHAPE)


def test_other_grid_is_refused_while_it_has_voxels(scene: Any, writer: SegmentWriter) -> None:
    coarse = volume_to_node(
        Volume(np.zeros((4, 5, 6)), VolumeGeometry((4, 5, 6), np.diag([2, 2, 2, 1])), name="PET"), scene
    )
    again = SegmentWriter(writer.segmentation_node, coarse)  # nothing painted: takes the new grid
    segment_id = again.add_segment("tumour")
    again.write(segment_id, block((1, 1, 1), (3, 4, 5)))
    with pytest.raises(GeometryError, match='was made on another grid than "CT"; make a new segmentation'):
        writer.write(segment_id, block((1, 1, 1), (2, 9, 9)))
    assert again.read(segment_id).count == 24


def test_other_transform_is_refused(writer: SegmentWriter, put_under: Callable[..., Any]) -> None:
    put_under(writer.volume_node, np.eye(4))
    segment_id = writer.add_segment("same place")
    put_under(writer.volume_node, np.diag([2.0, 2.0, 2.0, 1.0]))
    with pytest.raises(GeometryError, match="under different transforms; put both under the same one"):
        writer.write(segment_id, block((1, 1, 1), (2, 9, 9)))


def test_surfaces_are_refused(volume_node: Any) -> None:
    node = create_segmentation(volume_node, "skin")
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    segment_id = node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "skin")
    with pytest.raises(AutoPromptSAMError, match='"skin" is made of surfaces; make the binary labelmap'):
        SegmentWriter(node, volume_node)
    assert volume_node.GetScene().GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == 0
    with pytest.raises(AutoPromptSAMError, match='"skin" holds surfaces'):
        read_block(node, segment_id, (0, 0, 0), (1, 1, 1))


def test_segmentation_that_starts_at_another_voxel(
    volume_node: Any, labels_at: Callable[..., list[str]], voxel_count: Callable[..., int]
) -> None:
    """As imported from a labelmap of a part of the image: same voxels, other origin, even outside the volume."""
    geometry = geometry_from_node(volume_node)
    part = geometry.cropped((2, 3, 4), (3, 4, 5))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(part.ijk_to_ras.ravel().tolist())
    image = slicer.vtkOrientedImageData()
    image.SetExtent(-6, 2, 0, 2, 0, 2)  # i from -2 to 6 of the volume
    image.SetGeometryFromImageToWorldMatrix(matrix)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(1)
    node = volume_node.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "imported")
    node.CreateDefaultDisplayNodes()
    segment_id = node.AddSegmentFromBinaryLabelmapRepresentation(image, "organ")
    writer = SegmentWriter(node, volume_node)
    assert np.array_equal(full(writer, segment_id), block((2, 3, 0), (5, 6, 7)).to_full(SHAPE))

    writer.write(segment_id, block((2, 3, 5), (3, 9, 12)), region=Crop.empty())
    writer.write(segment_id, Crop.empty(), region=block((4, 3, 0), (5, 6, 3)))
    expected = block((2, 3, 0), (5, 6, 7)).to_full(SHAPE) | block((2, 3, 5), (3, 9, 12)).to_full(SHAPE)
    expected[4, 3:6, 0:3] = False
    assert np.array_equal(full(writer, segment_id), expected)
    assert voxel_count(node, segment_id) == expected.sum() + 18  # what is outside the volume stays
    for ijk in np.argwhere(expected)[::7, ::-1]:
        assert labels_at(node, geometry.ras_from_ijk(ijk)) == ["organ"]
    assert labels_at(node, geometry.ras_from_ijk([11.0, 9.0, 2.0])) == []


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_segmentation_whose_grid_runs_another_way(
    writer: SegmentWriter,
    labels_at: Callable[..., list[str]],
    voxel_count: Callable[..., int],
    axes: tuple[int, ...],
    signs: tuple[int, ...],
) -> None:
    """As after loading a left-handed volume, which Slicer turns round while its segmentation stays as it was."""
    geometry = geometry_from_node(writer.volume_node)
    segment_id, other = writer.add_segment("organ"), writer.add_segment("other")
    crop = Crop(np.random.default_rng(0).random((3, 5, 6)) < 0.5, (2, 3, 4))
    writer.write(segment_id, crop)
    writer.write(other, block((6, 3, 4), (7, 9, 9)))

    # The same voxels in another order: axis a of the new array is axis axes[a] of the old one, maybe reversed.
    matrix = np.eye(4)
    shape = tuple(SHAPE[a] for a in axes)
    for a in range(3):
        step = geometry.ijk_to_ras[:3, 2 - axes[a]]
        matrix[:3, 2 - a] = signs[a] * step
    first = np.zeros(3)
    for a in range(3):
        first[2 - axes[a]] = 0 if signs[a] == 1 else SHAPE[axes[a]] - 1
    matrix[:3, 3] = geometry.ras_from_ijk(first)
    turned_geometry = VolumeGeometry(shape, matrix)
    turned = SegmentWriter(
        writer.segmentation_node,
        volume_to_node(Volume(np.zeros(shape, dtype=np.int16), turned_geometry), writer.volume_node.GetScene()),
    )

    def places(of: SegmentWriter, grid: VolumeGeometry) -> np.ndarray:
        seen = of.read(segment_id)
        ras = grid.ras_from_ijk((np.argwhere(seen.mask) + seen.lower)[:, ::-1]).round(6)
        return ras[np.lexsort(ras.T)]

    assert np.array_equal(places(turned, turned_geometry), places(writer, geometry))
    corner = Crop(np.array([[[True, True, False], [True, False, False]]]))
    turned.write(segment_id, corner, region=Crop.empty())
    assert voxel_count(writer.segmentation_node, segment_id) == crop.count + 3
    for ijk in ([0, 0, 0], [1, 0, 0], [0, 1, 0]):
        assert labels_at(writer.segmentation_node, turned_geometry.ras_from_ijk(ijk)) == ["organ"]
    turned.write(segment_id, Crop.empty(), region=block((0, 0, 0), shape))
    assert turned.read(segment_id).is_empty
    assert np.array_equal(full(writer, other), block((6, 3, 4), (7, 9, 9)).to_full(SHAPE))

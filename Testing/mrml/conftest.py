"""A fresh scene for each test on the real slicer-core, and ways to look at nodes that do not use the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import vtk
from vtkmodules.util.numpy_support import vtk_to_numpy

from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation
from AutoPromptSAMLib.mrml.volumes import volume_to_node

from .person import Person, a_person
from .reviewing import Reader
from .segmenting import Desk, Host


@pytest.fixture
def scene() -> Iterator[Any]:
    with create_scene() as context:
        yield context.scene


@pytest.fixture
def volume_node(scene: Any) -> Any:
    """8 x 20 x 24 voxels (k, j, i), oblique, anisotropic and left-handed; the value of a voxel is its i."""
    rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * [0.7, 0.9, 2.5] * [1, 1, -np.sign(np.linalg.det(rotation))]
    affine[:3, 3] = [31.5, -12.25, 300.0]
    array = np.broadcast_to(np.arange(24, dtype=np.int16), (8, 20, 24))
    return volume_to_node(Volume(array, VolumeGeometry((8, 20, 24), affine), name="CT"), scene)


@pytest.fixture
def writer(volume_node: Any) -> SegmentWriter:
    return SegmentWriter(create_segmentation(volume_node), volume_node)


def _put_under(node: Any, *matrices: np.ndarray) -> Any:
    parent = None
    for number, values in enumerate(matrices):
        transform = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode", f"Transform {number}")
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(values.ravel().tolist())
        transform.SetMatrixTransformToParent(matrix)
        if parent is not None:
            transform.SetAndObserveTransformNodeID(parent.GetID())
        parent = transform
    node.SetAndObserveTransformNodeID(None if parent is None else parent.GetID())
    return parent


@pytest.fixture(scope="session")
def put_under() -> Callable[..., Any]:
    """``put_under(node, outer, ..., inner)``: put a node under a chain of linear transforms (4, 4)."""
    return _put_under


def _labels_at(segmentation_node: Any, ras: np.ndarray) -> list[str]:
    to_local = vtk.vtkGeneralTransform()
    if segmentation_node.GetParentTransformNode() is not None:
        segmentation_node.GetParentTransformNode().GetTransformFromWorld(to_local)
    position = to_local.TransformPoint(*map(float, ras))
    names = []
    segmentation = segmentation_node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        image = segment.GetRepresentation("Binary labelmap")
        matrix = vtk.vtkMatrix4x4()
        image.GetWorldToImageMatrix(matrix)
        ijk = [round(x) for x in matrix.MultiplyPoint((*position, 1.0))[:3]]
        extent = image.GetExtent()
        if all(extent[2 * a] <= ijk[a] <= extent[2 * a + 1] for a in range(3)):
            value = image.GetScalarComponentAsDouble(*ijk, 0)
            names += [segment.GetName()] if value == segment.GetLabelValue() else []
    return names


@pytest.fixture(scope="session")
def labels_at() -> Callable[..., list[str]]:
    """``labels_at(segmentation_node, ras)``: the segments there, by the arithmetic of VTK and MRML alone."""
    return _labels_at


def _voxel_count(segmentation_node: Any, segment_id: str) -> int:
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    scalars = segment.GetRepresentation("Binary labelmap").GetPointData().GetScalars()
    return int((vtk_to_numpy(scalars) == segment.GetLabelValue()).sum())


@pytest.fixture(scope="session")
def voxel_count() -> Callable[[Any, str], int]:
    """``voxel_count(segmentation_node, segment_id)``, counted in the segment's layer."""
    return _voxel_count


@pytest.fixture
def person(scene: Any) -> Iterator[Person]:
    with a_person(scene) as person:
        yield person


@pytest.fixture
def host(scene: Any) -> Iterator[Host]:
    host = Host(scene)
    yield host
    host.close()


@pytest.fixture
def reader(scene: Any) -> Iterator[Reader]:
    reader = Reader(scene)
    yield reader
    reader.session.pause.set()
    reader.close()


@pytest.fixture
def desk(scene: Any) -> Iterator[Desk]:
    """A segmenter on an image of a bright block."""
    desk = Desk(scene)
    yield desk
    desk.close()


@pytest.fixture
def fresh() -> Iterator[Desk]:
    """The same image after a restart."""
    with create_scene() as context:
        desk = Desk(context.scene)
        yield desk
        desk.close()

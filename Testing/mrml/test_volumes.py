"""What a volume node gives, and the one sentence for every node that gives nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from vtkmodules.util.numpy_support import numpy_to_vtk

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, ImageError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.planes import plane_from_slice_node
from AutoPromptSAMLib.mrml.volumes import geometry_from_node, volume_from_node, volume_to_node

GRID = VolumeGeometry((2, 3, 4), np.diag([0.5, 0.6, 2.0, 1]))


def node_of(scene: Any, array: np.ndarray, components: int = 1) -> Any:
    """A volume node of 4 x 3 x 2 voxels with any number of components."""
    image = vtk.vtkImageData()
    image.SetDimensions(4, 3, 2)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array.reshape(-1, components)), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode" if components > 1 else "vtkMRMLScalarVolumeNode", "MR")
    node.SetAndObserveImageData(image)
    return node


def refusal(error: type[AutoPromptSAMError], node: Any) -> str:
    with pytest.raises(error) as caught:
        volume_from_node(node)
    text = str(caught.value)
    assert text.count(". ") == 0
    assert text.endswith(".")
    assert "; " in text  # what is wrong; what to do
    return text


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_voxels_are_a_view_on_the_node(scene: Any, dtype: type) -> None:
    array = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    node = volume_to_node(Volume(array, GRID, "MR", "head"), scene)
    volume = volume_from_node(node)
    assert (volume.name, volume.modality, volume.array.dtype) == ("head", "MR", dtype)
    assert np.array_equal(volume.array, array)
    node.GetImageData().SetScalarComponentFromDouble(3, 2, 1, 0, 99)
    assert volume.array[1, 2, 3] == 99
    assert array[1, 2, 3] == 23  # the node has its own copy


def test_masks_become_numbers(scene: Any) -> None:
    array = np.arange(24).reshape(2, 3, 4) % 2 == 0
    assert np.array_equal(volume_from_node(volume_to_node(Volume(array, GRID), scene)).array, array.astype(np.uint8))


def test_colour_keeps_its_channels_and_drops_alpha(scene: Any) -> None:
    array = np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3)
    node = volume_to_node(Volume(array, GRID), scene)
    assert node.IsA("vtkMRMLVectorVolumeNode")
    assert np.array_equal(volume_from_node(node).array, array)
    with_alpha = np.concatenate([array, np.full((2, 3, 4, 1), 255, dtype=np.uint8)], axis=3)
    assert np.array_equal(volume_from_node(node_of(scene, with_alpha, 4)).array, array)


def test_a_picture_has_no_size(scene: Any) -> None:
    array = np.zeros((1, 3, 4), dtype=np.uint8)
    for has_size in (True, False):
        volume = Volume(array, VolumeGeometry((1, 3, 4), np.eye(4)), has_size=has_size)
        assert volume_from_node(volume_to_node(volume, scene)).has_size is has_size


def test_hounsfield_units_mean_ct(scene: Any) -> None:
    node = volume_to_node(Volume(np.zeros((2, 3, 4)), GRID), scene)
    assert volume_from_node(node).modality is None
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(units)
    assert volume_from_node(node).modality == "CT"


def test_modality_of_the_subject_hierarchy(scene: Any) -> None:
    node = volume_to_node(Volume(np.zeros((2, 3, 4)), GRID), scene)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "US")
    assert volume_from_node(node).modality == "US"


def test_an_extent_that_does_not_start_at_zero_moves_no_voxel(scene: Any) -> None:
    node = node_of(scene, np.arange(24, dtype=np.int16))
    node.GetImageData().SetExtent(5, 8, -2, 0, 1, 2)
    assert volume_from_node(node).array[1, 2, 3] == 23
    assert np.array_equal(geometry_from_node(node).ras_from_ijk([3, 2, 1]), [8, 0, 2])


def test_nothing_selected() -> None:
    assert "No volume is selected" in refusal(ImageError, None)


def test_empty_volume(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "MR")
    assert '"MR" has no voxels' in refusal(ImageError, node)
    node.SetAndObserveImageData(vtk.vtkImageData())
    assert '"MR" has no voxels' in refusal(ImageError, node)


def test_not_a_volume(scene: Any) -> None:
    assert "not a volume" in refusal(ImageError, scene.AddNewNodeByClass("vtkMRMLModelNode", "skin"))


@pytest.mark.parametrize(("components", "dtype"), [(2, np.uint8), (3, np.float32), (5, np.int16)])
def test_several_values_per_voxel(scene: Any, components: int, dtype: type) -> None:
    node = node_of(scene, np.zeros(24 * components, dtype=dtype), components)
    assert f"{components} values" in refusal(ImageError, node)


def test_not_finite(scene: Any) -> None:
    assert "NaN" in refusal(ImageError, node_of(scene, np.full(24, np.nan)))


def test_sequence_is_refused_and_its_proxy_is_the_frame_shown(scene: Any) -> None:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    frame = slicer.vtkMRMLScalarVolumeNode()
    for number in range(3):
        frame.Copy(volume_to_node(Volume(np.full((2, 3, 4), number, dtype=np.int16), GRID), scene))
        sequence.SetDataNodeAtValue(frame, str(number))
    assert "sequence of 3 frames" in refusal(ImageError, sequence)

    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(2)
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    logic.UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    assert volume_from_node(proxy).array.max() == 2
    assert volume_from_node(proxy).geometry == GRID


@pytest.mark.parametrize("kind", ["vtkMRMLGridTransformNode", "vtkMRMLBSplineTransformNode"])
def test_non_linear_transform(scene: Any, put_under: Callable[..., Any], kind: str) -> None:
    node = volume_to_node(Volume(np.zeros((2, 3, 4)), GRID, name="MR"), scene)
    inner = put_under(node, np.eye(4))
    warp = scene.AddNewNodeByClass(kind, "warp")
    inner.SetAndObserveTransformNodeID(warp.GetID())
    assert '"MR" is under the non-linear transform' in refusal(GeometryError, node)


def test_shearing_transform(scene: Any, put_under: Callable[..., Any]) -> None:
    shear = np.eye(4)
    shear[0, 1] = 0.2
    node = volume_to_node(Volume(np.zeros((2, 3, 4)), GRID, name="MR"), scene)
    put_under(node, shear)
    assert 'The transform "Transform 0" shears' in refusal(GeometryError, node)


def test_sheared_volume(scene: Any) -> None:
    node = node_of(scene, np.zeros(24))
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 2, 0.2)
    node.SetIJKToRASMatrix(matrix)
    assert "sheared" in refusal(GeometryError, node)


def test_view_beside_the_volume(scene: Any) -> None:
    slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    slice_node.SetOrientation("Axial")
    slice_node.JumpSlice(0, 0, 50)
    with pytest.raises(GeometryError, match='view "Red" does not cut the volume; scroll'):
        plane_from_slice_node(slice_node, GRID)


@pytest.mark.parametrize(("degrees", "axis"), [(1, 0), (20, None)])
def test_view_tilted_within_one_thick_slice_is_that_slice(scene: Any, degrees: float, axis: int | None) -> None:
    geometry = VolumeGeometry((4, 40, 40), np.diag([1.0, 1.0, 5.0, 1.0]))
    slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    rotate = vtk.vtkTransform()
    rotate.Translate(19.5, 19.5, 10.0)
    rotate.RotateX(degrees)
    slice_node.GetSliceToRAS().DeepCopy(rotate.GetMatrix())
    slice_node.UpdateMatrices()
    assert plane_from_slice_node(slice_node, geometry).axis == axis

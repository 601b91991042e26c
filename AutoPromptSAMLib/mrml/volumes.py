"""Volume nodes -> volumes, without copying voxels, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from AutoPromptSAMLib.errors import GeometryError, ImageError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.transforms import array_from_matrix, matrix_from_array, node_to_world

MODALITY = "DICOM.Modality"  # the name that Slicer's DICOM plugins use in the subject hierarchy
PICTURE = "AutoPromptSAM.Picture"  # attribute of nodes whose voxels have no known size
HOUNSFIELD = "[hnsf'U]"  # UCUM code that Slicer's DICOM reader gives CT voxels as their unit


def volume_from_node(node: slicer.vtkMRMLVolumeNode) -> Volume:
    """The image of a scalar or colour volume node, (K, J, I) or (K, J, I, 3), in the world.

    The array is a view on the node's voxels: it changes when somebody writes into the node's image. Of the proxy
    volume of a sequence browser it is the frame on display. An alpha channel is left out.

    Raises ImageError for a node that is no volume, is empty or has several values per voxel (channels, frames), and
    GeometryError when its transforms are not linear or shear it.
    """
    image = _image(node)
    scalars = image.GetPointData().GetScalars()
    array, components = vtk_to_numpy(scalars), scalars.GetNumberOfComponents()
    colour = components in (3, 4) and array.dtype == np.uint8
    if components > 1 and not colour:
        raise ImageError(
            f'"{node.GetName()}" has {components} values of type {array.dtype} per voxel (channels or time points); '
            "extract one of them as a scalar volume first."
        )
    geometry = geometry_from_node(node)
    array = array.reshape(*geometry.shape, components)[..., :3] if colour else array.reshape(geometry.shape)
    return Volume(array, geometry, _modality(node), node.GetName() or "", has_size(node))


def has_size(node: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether the voxels of a node have a known size, as far as it tells: those of a picture have not."""
    return node.GetAttribute(PICTURE) is None


def geometry_from_node(node: slicer.vtkMRMLVolumeNode) -> VolumeGeometry:
    """Where the voxels of a volume node lie in the world, linear parent transforms included.

    Raises ImageError for a node without voxels, and GeometryError when its transforms are not linear or shear it.
    """
    image = _image(node)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    first = np.eye(4)
    first[:3, 3] = image.GetExtent()[::2]  # voxel 0 of the array; almost always (0, 0, 0)
    columns, rows, slices = image.GetDimensions()
    geometry = VolumeGeometry((slices, rows, columns), array_from_matrix(matrix) @ first)
    parent = node_to_world(node)
    try:
        return geometry.transformed(parent)
    except GeometryError:
        raise GeometryError(
            f'The transform "{node.GetParentTransformNode().GetName()}" shears or flattens "{node.GetName()}"; '
            "harden it and resample the volume to an orthogonal grid first."
        ) from None


def volume_to_node(volume: Volume, scene: slicer.vtkMRMLScene, name: str | None = None) -> slicer.vtkMRMLVolumeNode:
    """A new volume node with a copy of ``volume``'s voxels; colour becomes a vector volume."""
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    flat = np.ascontiguousarray(array).reshape(-1, 3 if volume.is_colour else 1)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(volume.geometry.shape))
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    kind = "vtkMRMLVectorVolumeNode" if volume.is_colour else "vtkMRMLScalarVolumeNode"
    node = scene.AddNewNodeByClass(kind, volume.name if name is None else name)
    node.SetIJKToRASMatrix(matrix_from_array(volume.geometry.ijk_to_ras))
    node.SetAndObserveImageData(image)
    if volume.modality:
        node.SetAttribute(MODALITY, volume.modality)
    if not volume.has_size:
        node.SetAttribute(PICTURE, "1")
    return node


def _image(node: slicer.vtkMRMLVolumeNode) -> vtk.vtkImageData:
    """The voxels of a volume node, or the sentence that says why there are none."""
    if node is None:
        raise ImageError("No volume is selected; choose one.")
    if node.IsA("vtkMRMLSequenceNode"):
        raise ImageError(
            f'"{node.GetName()}" is a sequence of {node.GetNumberOfDataNodes()} frames; choose the volume that its '
            "sequence browser shows instead."
        )
    if not node.IsA("vtkMRMLVolumeNode"):
        raise ImageError(f'"{node.GetName()}" is not a volume but a {node.GetClassName()}; choose a volume.')
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise ImageError(f'"{node.GetName()}" has no voxels; load the image again or choose another volume.')
    return image


def _modality(node: slicer.vtkMRMLVolumeNode) -> str | None:
    if node.GetAttribute(MODALITY):
        return str(node.GetAttribute(MODALITY))
    hierarchy: Any = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)  # 0 outside the application, which is what fills the hierarchy
    if item and hierarchy.GetItemAttribute(item, MODALITY):
        return str(hierarchy.GetItemAttribute(item, MODALITY))
    units = node.GetVoxelValueUnits() if node.IsA("vtkMRMLScalarVolumeNode") else None
    return "CT" if units is not None and units.GetCodeValue() == HOUNSFIELD else None

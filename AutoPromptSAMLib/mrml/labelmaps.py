"""Reading the labelmaps that a segmentation node stores its segments in.

Segments that do not overlap share one labelmap (a layer) with different label values; a layer covers only the block
in which it has voxels, and its extent says where that block is in its grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import ArrayLike, NDArray
from vtkmodules.util.numpy_support import vtk_to_numpy

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.geometry.grid import BoolArray, FloatArray
from AutoPromptSAMLib.geometry.lattice import Placement, placement
from AutoPromptSAMLib.mrml.transforms import array_from_matrix

LABELMAP = "Binary labelmap"


@dataclass(frozen=True)
class Lattice:
    """A volume's voxels in the coordinates of a segmentation node: ``shape`` (k, j, i), ``to_local`` 4x4 from ijk."""

    shape: tuple[int, int, int]
    to_local: FloatArray

    def place_in(self, image: slicer.vtkOrientedImageData) -> Placement | None:
        """How the volume's voxels lie in ``image``, None when that is on another grid."""
        return placement(self.shape, np.linalg.inv(image_to_local(image)) @ self.to_local)


def image_to_local(image: slicer.vtkOrientedImageData) -> FloatArray:
    """4x4 from voxel (i, j, k) of an image to the coordinates of the node that it is in."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return array_from_matrix(matrix)


def block_of(image: slicer.vtkOrientedImageData) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First voxel (k, j, i) of the block that an image covers, and the first one after it."""
    extent = np.array(image.GetExtent(), dtype=np.intp)[::-1]  # k1, k0, j1, j0, i1, i0
    return extent[1::2], extent[::2] + 1


def labelmap_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkOrientedImageData:
    """The layer that a segment is in; AutoPromptSAMError when there is no such segment or it is no labelmap."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise AutoPromptSAMError(f'"{node.GetName()}" has no segment "{segment_id}" any more; choose another one.')
    image = segment.GetRepresentation(LABELMAP)
    if image is None:
        raise AutoPromptSAMError(
            f'"{node.GetName()}" holds surfaces and no labelmaps; make the binary labelmap its source representation '
            "in the Segmentations module."
        )
    return image


def read_block(node: slicer.vtkMRMLSegmentationNode, segment_id: str, lower: ArrayLike, upper: ArrayLike) -> BoolArray:
    """The voxels of a segment from ``lower`` up to ``upper`` (k, j, i), indices of its own labelmap."""
    image = labelmap_of(node, segment_id)
    lower, upper = np.asarray(lower), np.asarray(upper)
    block = np.zeros(upper - lower, dtype=bool)
    start, stop = block_of(image)
    first, last = np.maximum(lower, start), np.minimum(upper, stop)
    if (first < last).all():
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(stop - start)
        part = values[tuple(map(slice, first - start, last - start))]
        label = node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
        block[tuple(map(slice, first - lower, last - lower))] = part == label
    return block

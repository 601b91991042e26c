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
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.grid import BoolArray, FloatArray, transform_points
from AutoPromptSAMLib.mrml.transforms import array_from_matrix, node_to_world

LABELMAP = "Binary labelmap"
SAME_GRID = 0.01  # voxels that two grids may be apart and count as one: headers round, and nobody sees it


@dataclass(frozen=True)
class Placement:
    """How a volume's voxels lie in a labelmap on the same grid: index ``a`` (of k, j, i) in the labelmap is
    ``signs[a]`` times the volume's index ``axes[a]``, plus ``shift[a]``.

    Not only the first voxel may differ: Slicer turns left-handed volumes right-handed when it loads them, with the
    slices in reverse, while their segmentations stay as they were.
    """

    axes: tuple[int, ...]
    signs: tuple[int, ...]
    shift: tuple[int, ...]

    @property
    def inverse(self) -> Placement:
        """The labelmap's voxels in the volume."""
        axes = tuple(np.argsort(self.axes).tolist())
        return Placement(axes, tuple(self.signs[a] for a in axes), tuple(-self.signs[a] * self.shift[a] for a in axes))

    def block(self, lower: ArrayLike, upper: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """A block of the volume, first voxel (k, j, i) and first one after it, in the labelmap."""
        first, last = np.asarray(lower)[list(self.axes)], np.asarray(upper)[list(self.axes)] - 1
        ends = np.sort(np.stack([first, last]) * self.signs + self.shift, axis=0)
        return ends[0], ends[1] + 1

    def turn(self, mask: BoolArray) -> BoolArray:
        """The voxels of a block of the volume (k, j, i) in the order of the labelmap; a view."""
        return mask.transpose(self.axes)[tuple(slice(None, None, sign) for sign in self.signs)]


@dataclass(frozen=True)
class Lattice:
    """A volume's voxels in the coordinates of a segmentation node: ``shape`` (k, j, i), ``to_local`` 4x4 from ijk."""

    shape: tuple[int, int, int]
    to_local: FloatArray

    def place_in(self, image: slicer.vtkOrientedImageData) -> Placement | None:
        """How the volume's voxels lie in ``image``, None when that is on another grid."""
        matrix = np.linalg.inv(image_to_local(image)) @ self.to_local
        whole = np.rint(matrix)
        corners = np.array([[corner >> axis & 1 for axis in range(3)] for corner in range(8)])
        corners = corners * (np.array(self.shape[::-1]) - 1)
        if np.abs(transform_points(matrix - whole, corners)).max() > SAME_GRID:
            return None
        turn = whole[2::-1, 2::-1]  # (k, j, i) of the volume -> (k, j, i) of the image
        if (np.abs(turn).sum(axis=0) != 1).any() or (np.abs(turn).sum(axis=1) != 1).any():
            return None
        axes = np.abs(turn).argmax(axis=1)
        signs = turn[range(3), axes].astype(int)
        return Placement(tuple(axes.tolist()), tuple(signs.tolist()), tuple(whole[2::-1, 3].astype(int).tolist()))


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


def read_segment(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> tuple[Crop, VolumeGeometry]:
    """The voxels of a segment as they are stored: a crop, and the grid in the world that it is a crop of.

    That grid is the labelmap's own, which need not be a volume's. Raises AutoPromptSAMError when the segment is not
    there, is no labelmap or is empty, GeometryError for transforms that are not linear or shear it.
    """
    image = labelmap_of(node, segment_id)
    start, stop = block_of(image)
    mask = read_block(node, segment_id, start, stop)
    if not mask.any():
        name = node.GetSegmentation().GetSegment(segment_id).GetName()
        raise AutoPromptSAMError(f'The segment "{name}" is empty; paint at least one voxel.')
    first = np.eye(4)
    first[:3, 3] = start[::-1]
    k, j, i = mask.shape
    return Crop(mask), VolumeGeometry((k, j, i), node_to_world(node) @ image_to_local(image) @ first)

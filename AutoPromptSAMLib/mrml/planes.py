"""Slice nodes -> planes."""

from __future__ import annotations

import math

import numpy as np
import slicer

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry import Plane, VolumeGeometry, oblique_plane, slice_plane
from AutoPromptSAMLib.geometry.grid import FloatArray
from AutoPromptSAMLib.mrml.transforms import array_from_matrix

ON_FACE = 1e-6  # voxels; a plane that lies between two slices up to rounding belongs to the lower one


def plane_from_slice_node(
    slice_node: slicer.vtkMRMLSliceNode, geometry: VolumeGeometry, square_pixels: bool = True
) -> Plane:
    """The plane that a slice view shows of a volume.

    A view that stays within one slice of the volume all over it gives exactly that slice, in the order of the array
    (``slice_plane``), so that the same slice is the same image in every view. Any other view gives an oblique plane
    with columns to the right and rows to the bottom of the screen, which panning does not move.
    Raises GeometryError when the view does not cut the volume.
    """
    slice_to_ras = array_from_matrix(slice_node.GetSliceToRAS())
    to_ijk = geometry.ras_to_ijk @ slice_to_ras
    normal = np.cross(to_ijk[:3, 0], to_ijk[:3, 1])  # in voxels: covariant, so no matter how anisotropic
    axis = int(np.abs(normal).argmax())
    index = _single_slice(normal, to_ijk[:3, 3], axis, geometry)
    array_axis = 2 - axis
    if index is not None and 0 <= index < geometry.shape[array_axis]:
        return slice_plane(geometry, array_axis, index, square_pixels)
    # The volume's centre, dropped onto the plane: a grid that depends on the plane alone keeps cached features valid.
    centre = geometry.ras_from_ijk((np.array(geometry.shape[::-1]) - 1) / 2)
    right, up = slice_to_ras[:3, 0], slice_to_ras[:3, 1]
    unit = np.cross(right, up) / np.linalg.norm(np.cross(right, up))
    centre = centre - ((centre - slice_to_ras[:3, 3]) @ unit) * unit
    try:
        return oblique_plane(geometry, centre, right, -up)
    except GeometryError:
        raise GeometryError(
            f'The slice view "{slice_node.GetName()}" does not cut the volume; scroll it into the volume.'
        ) from None


def shown_index(slice_node: slicer.vtkMRMLSliceNode, geometry: VolumeGeometry, axis: int) -> int:
    """The slice along array axis ``axis`` that a view shows in its middle; the first or last when it is beyond."""
    to_ras = array_from_matrix(slice_node.GetSliceToRAS())
    position = geometry.ijk_from_ras(to_ras[None, :3, 3])[0][2 - axis]
    return int(np.clip(math.ceil(position - 0.5 - ON_FACE), 0, geometry.shape[axis] - 1))


def show_index(slice_node: slicer.vtkMRMLSliceNode, geometry: VolumeGeometry, axis: int, index: int) -> None:
    """Make a view show slice ``index`` along array axis ``axis``, or the nearest that there is."""
    ijk = (np.array(geometry.shape[::-1]) - 1) / 2
    ijk[2 - axis] = np.clip(index, 0, geometry.shape[axis] - 1)
    slice_node.JumpSliceByOffsetting(*geometry.ras_from_ijk(ijk[None])[0])


def _single_slice(normal: FloatArray, origin: FloatArray, axis: int, geometry: VolumeGeometry) -> int | None:
    """The index along ``axis`` (0 = i) whose slice the plane never leaves within the volume, None when it does.

    ``normal`` and ``origin`` are in voxels (i, j, k).
    """
    size = np.array(geometry.shape[::-1])
    others = [a for a in range(3) if a != axis]
    corners = np.array([(a, b) for a in (-0.5, size[others[0]] - 0.5) for b in (-0.5, size[others[1]] - 0.5)])
    along = origin[axis] - (corners - origin[others]) @ normal[others] / normal[axis]
    index = math.ceil(along.mean() - 0.5 - ON_FACE)
    return index if np.abs(along - index).max() <= 0.5 + 2 * ON_FACE else None

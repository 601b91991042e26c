"""What is under the mouse, and how a slice view lies in the patient: cursor read-out, letters, scale bar."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import ArrayLike

from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.geometry.grid import ANATOMICAL_AXES, FloatArray
from AutoPromptSAMLib.mrml.labelmaps import LABELMAP, image_to_local
from AutoPromptSAMLib.mrml.transforms import array_from_matrix, node_to_world
from AutoPromptSAMLib.mrml.volumes import geometry_from_node

AXES = ("LR", "PA", "IS")  # letters of the two ends of the world axes
OBLIQUE = math.sin(math.radians(10))  # a direction off an axis by less than this is that axis alone. A choice.
BAR_OF_VIEW = 0.2  # of the view's width that a scale bar has at most. A choice.


@dataclass(frozen=True)
class ReadOut:
    """What is at a position: ``ras`` mm; ``ijk`` the voxel, also where the volume has none; ``inside`` the volume.

    ``value``: the intensity, or red, green and blue; None outside. ``segments``: names of the segments there.
    """

    ras: tuple[float, float, float]
    ijk: tuple[int, int, int]
    inside: bool
    value: float | tuple[int, int, int] | None
    segments: tuple[str, ...]


def read_out(
    volume_node: slicer.vtkMRMLVolumeNode, segmentation_node: slicer.vtkMRMLSegmentationNode | None, ras: ArrayLike
) -> ReadOut:
    """What a volume and a segmentation have at ``ras`` (3,) mm; looks at single voxels, so that it can follow a mouse.

    Raises ImageError for a volume without voxels, GeometryError for transforms that are not linear.
    """
    ras = np.asarray(ras, dtype=np.float64)
    geometry = geometry_from_node(volume_node)
    i, j, k = _nearest(geometry.ras_to_ijk, ras)
    inside = all(0 <= index < count for index, count in zip((k, j, i), geometry.shape, strict=True))
    value: float | tuple[int, int, int] | None = None
    if inside:
        image = volume_node.GetImageData()
        at = np.array([i, j, k]) + image.GetExtent()[::2]
        channels = image.GetNumberOfScalarComponents()
        values = [image.GetScalarComponentAsDouble(*at.tolist(), channel) for channel in range(min(channels, 3))]
        value = (int(values[0]), int(values[1]), int(values[2])) if len(values) == 3 else values[0]
    names = () if segmentation_node is None else _segments_at(segmentation_node, ras)
    return ReadOut((float(ras[0]), float(ras[1]), float(ras[2])), (i, j, k), inside, value, names)


def ras_at(slice_node: slicer.vtkMRMLSliceNode, x: float, y: float) -> FloatArray:
    """Position (3,) in RAS mm of a pixel of a slice view, counted from its lower left corner."""
    return np.array(slice_node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3])


def display_at(slice_node: slicer.vtkMRMLSliceNode, ras: ArrayLike) -> FloatArray:
    """Inverse of ``ras_at`` for positions (n, 3): pixels (n, 2); what is off the shown plane is dropped onto it."""
    matrix = np.linalg.inv(array_from_matrix(slice_node.GetXYToRAS()))
    return np.atleast_2d(ras) @ matrix[:2, :3].T + matrix[:2, 3]


def mm_per_pixel(slice_node: slicer.vtkMRMLSliceNode) -> float:
    """Size of a pixel of a slice view in mm."""
    return float(np.linalg.norm(array_from_matrix(slice_node.GetXYToRAS())[:3, 0]))


def orientation_letters(slice_node: slicer.vtkMRMLSliceNode) -> tuple[str, str, str, str]:
    """Where the patient lies at the edges of a slice view: (left, right, top, bottom), such as ("R", "L", "A", "P").

    A direction between two axes has the letters of both, the nearer one first ("RA").
    """
    right, up = array_from_matrix(slice_node.GetSliceToRAS())[:3, :2].T
    return _letters(-right), _letters(right), _letters(up), _letters(-up)


def slice_position(geometry: VolumeGeometry, axis: int, index: int) -> str:
    """Where the middle of slice ``index`` along array axis ``axis`` lies on the patient's axis: "S -12.5 mm".

    Unlike the number of the slice it stays when Slicer turns a grid, as it does with left-handed ones in scene files.
    """
    name = next(name for name in ANATOMICAL_AXES if geometry.array_axis(name) == axis)
    ijk = (np.array(geometry.shape[::-1]) - 1) / 2
    ijk[2 - axis] = index
    world = ANATOMICAL_AXES[name]
    mm = round(float(geometry.ras_from_ijk(ijk[None])[0][world]), 1) + 0.0  # no -0.0
    return f"{AXES[world][1]} {mm:.1f} mm"


def scale_bar(slice_node: slicer.vtkMRMLSliceNode) -> tuple[float, float]:
    """A round length in mm (1, 2 or 5 times a power of ten) of at most a fifth of a slice view, and its pixels."""
    step = mm_per_pixel(slice_node)
    longest = step * slice_node.GetDimensions()[0] * BAR_OF_VIEW
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(factor * power for factor in (1, 2, 5) if factor == 1 or factor * power <= longest)
    return length, length / step


def _letters(direction: FloatArray) -> str:
    direction = direction / np.linalg.norm(direction)
    nearest = [axis for axis in np.argsort(-np.abs(direction), kind="stable")[:2] if abs(direction[axis]) > OBLIQUE]
    return "".join(AXES[axis][int(direction[axis] > 0)] for axis in nearest)


def _nearest(to_ijk: FloatArray, position: FloatArray) -> tuple[int, int, int]:
    i, j, k = np.floor(to_ijk[:3, :3] @ position + to_ijk[:3, 3] + 0.5).astype(int).tolist()
    return i, j, k


def _segments_at(node: slicer.vtkMRMLSegmentationNode, ras: FloatArray) -> tuple[str, ...]:
    """Names of the segments at a position; of layers that several share, one voxel is looked up once."""
    segmentation = node.GetSegmentation()
    to_local = np.linalg.inv(node_to_world(node))
    local = to_local[:3, :3] @ ras + to_local[:3, 3]
    labels: dict[int, float | None] = {}
    names = []
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        image = segment.GetRepresentation(LABELMAP)
        if image is None:  # made of surfaces
            continue
        layer = segmentation.GetLayerIndex(segment_id)
        if layer not in labels:
            labels[layer] = _label_at(image, local)
        if labels[layer] == segment.GetLabelValue():
            names.append(str(segment.GetName()))
    return tuple(names)


def _label_at(image: slicer.vtkOrientedImageData, local: FloatArray) -> float | None:
    """The voxel of a layer at a position in its node's coordinates, None beyond the block that it covers."""
    if not image.GetNumberOfPoints() or image.GetPointData().GetScalars() is None:
        return None
    ijk = _nearest(np.linalg.inv(image_to_local(image)), local)
    extent = image.GetExtent()
    if any(not extent[2 * a] <= ijk[a] <= extent[2 * a + 1] for a in range(3)):
        return None
    return float(image.GetScalarComponentAsDouble(*ijk, 0))

"""Slices of any volume in one orientation, so that a support and a target show a patient the same way up.

Files store the same body in different orders of voxels: of two CTs one has its axial slices with the spine below, the
other above. Networks do not know that they are alike. So slices that are compared are turned by quarter turns and
mirrored (never resampled) to how radiologists look at them: axial and coronal slices have the patient's left on their
right side, sagittal ones the back; axial slices have the front at the top, the others the head.
"""

from __future__ import annotations

import numpy as np

from AutoPromptSAMLib.geometry.grid import ANATOMICAL_AXES, VolumeGeometry
from AutoPromptSAMLib.geometry.planes import Plane, slice_plane

# Where columns and rows go, in RAS.
_COLUMNS = {"axial": (-1, 0, 0), "coronal": (-1, 0, 0), "sagittal": (0, -1, 0)}
_ROWS = {"axial": (0, -1, 0), "coronal": (0, 0, -1), "sagittal": (0, 0, -1)}


def view_of(geometry: VolumeGeometry, axis: int) -> str:
    """What slices along array axis ``axis`` (0 = k, 1 = j, 2 = i) are: axial, sagittal or coronal."""
    return next(view for view in ANATOMICAL_AXES if geometry.array_axis(view) == axis)


def radiological_plane(geometry: VolumeGeometry, axis: int, index: int) -> Plane:
    """``slice_plane`` with square pixels, its rows and columns in the order that this module names.

    Raises GeometryError for an axis or index that the volume does not have.
    """
    plane = slice_plane(geometry, axis, index)
    view = view_of(geometry, axis)
    matrix, shape = np.array(plane.pixel_to_ras), plane.shape
    steps = matrix[:3, :2] / np.linalg.norm(matrix[:3, :2], axis=0)
    wanted = np.array([_COLUMNS[view], _ROWS[view]], dtype=np.float64)
    cosines = wanted @ steps  # [wanted column, row][own column, row]
    if abs(cosines[0, 0]) + abs(cosines[1, 1]) < abs(cosines[0, 1]) + abs(cosines[1, 0]):
        matrix[:, :2] = matrix[:, 1::-1]
        cosines, shape = cosines[:, ::-1], shape[::-1]
    for own, count in ((0, shape[1]), (1, shape[0])):
        if cosines[own, own] < 0:
            matrix[:3, 3] += matrix[:3, own] * (count - 1)
            matrix[:3, own] *= -1
    return Plane(matrix, shape, plane.axis, plane.index)

"""Voxel grids, planes through them, masks cut out and pasted back. Pure numpy and scipy; knows of no image format.

World coordinates are RAS millimetres, arrays are (k, j, i), affines map (i, j, k, 1) -> (R, A, S, 1).
"""

from AutoPromptSAMLib.geometry.grid import (
    Crop,
    Volume,
    VolumeGeometry,
    lps_affine_from_ras,
    lps_from_ras,
    ras_affine_from_lps,
    ras_from_lps,
)
from AutoPromptSAMLib.geometry.planes import (
    Plane,
    cut_box,
    oblique_plane,
    paste_mask,
    sample_plane,
    slab_thickness,
    slice_plane,
)

__all__ = [
    "Crop",
    "Plane",
    "Volume",
    "VolumeGeometry",
    "cut_box",
    "lps_affine_from_ras",
    "lps_from_ras",
    "oblique_plane",
    "paste_mask",
    "ras_affine_from_lps",
    "ras_from_lps",
    "sample_plane",
    "slab_thickness",
    "slice_plane",
]

"""Prompts and windows as they are typed on the command line, in voxels of a slice or in RAS millimetres.

    --box  liver=axial:43:130,150,330,370     slice 43, first and last column and row (voxels)
    --point liver=axial:43:200,250            a click, in voxels of slice 43
    --point liver=ras:-35.0,12.5,-180.0       a click, in RAS mm

Columns and rows are those of the voxel grid: on an axial slice of an axial scan they are I and J of Slicer's Data
Probe, on a sagittal one J and K, on a coronal one I and K.
"""

from __future__ import annotations

import numpy as np

from AutoPromptSAMLib.errors import ImageError, PromptError
from AutoPromptSAMLib.geometry import Plane, VolumeGeometry, oblique_plane, slice_plane
from AutoPromptSAMLib.intensity import CT_PRESETS, IntensityMapping, WindowLevel
from AutoPromptSAMLib.prompts import Box, Point, Prompt
from AutoPromptSAMLib.session.seeds import natural_axis, seed_slices

VIEWS = ("axial", "sagittal", "coronal")


def box_from_text(text: str, geometry: VolumeGeometry) -> tuple[str, Box]:
    """Object name and box of "NAME=VIEW:SLICE:X0,Y0,X1,Y1"; PromptError says what is wrong with it."""
    name, place = _named(text, "--box")
    parts = place.split(":")
    if len(parts) != 3:
        raise PromptError(f'--box "{text}" is not NAME=VIEW:SLICE:X0,Y0,X1,Y1, as in liver=axial:43:130,150,330,370.')
    plane = _slice(parts[0], parts[1], geometry, text)
    corners = _numbers(parts[2], 4, text)
    _inside(corners.reshape(2, 2), plane, text)
    return name, Box.on_plane(plane, corners)


def point_from_text(text: str, geometry: VolumeGeometry, positive: bool) -> tuple[str, Point]:
    """Object name and click of "NAME=VIEW:SLICE:X,Y" or "NAME=ras:R,A,S"; PromptError says what is wrong with it."""
    name, place = _named(text, "--point")
    parts = place.split(":")
    if parts[0] == "ras" and len(parts) == 2:
        return name, Point(_numbers(parts[1], 3, text), positive)
    if len(parts) != 3:
        raise PromptError(f'--point "{text}" is neither NAME=VIEW:SLICE:X,Y nor NAME=ras:R,A,S.')
    plane = _slice(parts[0], parts[1], geometry, text)
    position = _numbers(parts[2], 2, text)
    _inside(position[None], plane, text)
    return name, Point(plane.ras_from_pixels(position[None])[0], positive)


def prompted_planes(prompts: tuple[Prompt, ...], geometry: VolumeGeometry, axis: int | None) -> list[Plane]:
    """The planes to segment when nothing is propagated: the slices with prompts, and the planes of oblique boxes."""
    along = natural_axis(prompts, geometry) if axis is None else axis
    planes = [slice_plane(geometry, along, index) for index in sorted(seed_slices(prompts, geometry, along))]
    for prompt in prompts:
        if isinstance(prompt, Box) and prompt.is_flat and axis is None:
            normals = [slice_plane(geometry, a, 0, square_pixels=False).normal for a in range(3)]
            if max(abs(float(normal @ prompt.normal)) for normal in normals) <= 0.99:
                flat = int(prompt.size_mm.argmin())
                col, row = (prompt.axes[n] for n in range(3) if n != flat)
                planes.append(oblique_plane(geometry, prompt.center_ras, col, row))
    return planes


def _named(text: str, option: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not equals or not name.strip():
        raise PromptError(f'{option} "{text}" names no object; write {option} NAME=..., as in liver=axial:43:...')
    return name.strip(), place.strip()


def _slice(view: str, index: str, geometry: VolumeGeometry, text: str) -> Plane:
    if view not in VIEWS:
        raise PromptError(f'"{view}" in "{text}" is no view; use axial, sagittal or coronal.')
    axis = geometry.array_axis(view)
    if not index.strip().isdigit() or int(index) >= geometry.shape[axis]:
        raise PromptError(f'"{index}" in "{text}" is no {view} slice; they are 0 to {geometry.shape[axis] - 1}.')
    return slice_plane(geometry, axis, int(index), square_pixels=False)


def _numbers(text: str, count: int, whole: str) -> np.ndarray:
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        raise PromptError(f'"{text}" in "{whole}" must be {count} numbers with commas between them.')
    return values


def _inside(positions: np.ndarray, plane: Plane, text: str) -> None:
    if not plane.contains(positions).all():
        rows, cols = plane.shape
        raise PromptError(
            f'"{text}" is outside its slice, which has columns 0 to {cols - 1} and rows 0 to {rows - 1}.'
        )


def mapping_from_text(text: str | None) -> IntensityMapping | None:
    """The window of "LEVEL,WIDTH" or a preset's name; None (the default for the image) for None."""
    if text is None:
        return None
    if text in CT_PRESETS:
        return WindowLevel.preset(text)
    try:
        level, width = (float(part) for part in text.split(","))
    except ValueError:
        names = ", ".join(CT_PRESETS)
        raise ImageError(f'--window "{text}" is neither LEVEL,WIDTH nor one of {names}.') from None
    return WindowLevel(level, width)

"""Which slices of a volume an object's prompts speak about."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import VolumeGeometry, slice_plane
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point, Prompt


def check_inside(prompt: Prompt, geometry: VolumeGeometry) -> None:
    """Raise PromptError for a prompt that lies outside the volume; a solid box only has to touch it."""
    if isinstance(prompt, Point):
        points = prompt.ras[None]
    elif isinstance(prompt, Doodle):
        points = prompt.ras
    elif isinstance(prompt, Box):
        ijk = geometry.ijk_from_ras(prompt.corners)
        missed = (ijk.max(axis=0) < -0.5) | (ijk.min(axis=0) > np.array(geometry.shape[::-1]) - 0.5)
        points = geometry.ras_from_ijk([[-1.0, -1.0, -1.0]]) if missed.any() else prompt.center_ras[None]
        if not missed.any():
            return
    else:
        if isinstance(prompt, MaskPrompt) and not prompt.geometry.close_to(geometry):
            raise PromptError("A mask prompt was made on an image of another geometry; draw it on this image.")
        return
    if not geometry.contains(points).all():
        raise PromptError(f"The {prompt.type} is outside the image; place it inside.")


def seed_slices(prompts: Iterable[Prompt], geometry: VolumeGeometry, axis: int) -> set[int]:
    """Indices along array axis ``axis`` of the slices that the prompts are on.

    A solid box speaks for its middle slice: that is where a person drew it around the object.
    """
    found: set[int] = set()
    for prompt in prompts:
        if isinstance(prompt, Point):
            points = prompt.ras[None]
        elif isinstance(prompt, Doodle):
            points = prompt.ras
        elif isinstance(prompt, Box):
            if prompt.is_flat and not _parallel(prompt, geometry, axis):
                continue
            points = prompt.center_ras[None]
        elif isinstance(prompt, MaskPrompt):
            others = tuple(a for a in range(3) if a != axis)
            found |= {int(n) + prompt.crop.lower[axis] for n in np.flatnonzero(prompt.crop.mask.any(axis=others))}
            continue
        position = geometry.ijk_from_ras(points)[:, 2 - axis]
        # Slabs are half open (``on_plane``): a point halfway between two slices belongs to the upper one.
        found |= {int(n) for n in np.floor(position + 0.5 + 1e-9)}
    return {index for index in found if 0 <= index < geometry.shape[axis]}


def slice_range(prompts: Iterable[Prompt], geometry: VolumeGeometry, axis: int) -> tuple[int, int]:
    """First and last slice that solid boxes leave to the object: all of them when there is no solid box."""
    first, last = 0, geometry.shape[axis] - 1
    for prompt in prompts:
        if isinstance(prompt, Box) and not prompt.is_flat:
            positions = geometry.ijk_from_ras(prompt.corners)[:, 2 - axis]
            first = max(first, int(np.ceil(positions.min() - 0.5)))
            last = min(last, int(np.floor(positions.max() + 0.5)))
    return first, max(first, last)


def natural_axis(prompts: Iterable[Prompt], geometry: VolumeGeometry) -> int:
    """The array axis that the prompts lie across: that of the flat boxes, else the one with the fewest slices touched.

    Ties go to the axial direction, in which most volumes are read.
    """
    prompts = list(prompts)
    for prompt in prompts:
        if isinstance(prompt, Box) and prompt.is_flat:
            for axis in range(3):
                if _parallel(prompt, geometry, axis):
                    return axis
    axial = geometry.array_axis("axial")
    masks = [p for p in prompts if isinstance(p, (MaskPrompt, Doodle))]
    if not masks:
        return axial
    return min((axial, *(a for a in range(3) if a != axial)), key=lambda a: len(seed_slices(masks, geometry, a)))


def _parallel(box: Box, geometry: VolumeGeometry, axis: int) -> bool:
    """Whether a flat box lies in the slices along ``axis`` (within the 8 degrees of ``on_plane``)."""
    return abs(float(box.normal @ slice_plane(geometry, axis, 0, square_pixels=False).normal)) > 0.99

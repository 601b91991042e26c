"""Which slices of a volume an object's prompts speak about."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry, slab_thickness, slice_plane
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point, Prompt, Source
from AutoPromptSAMLib.prompts.pixels import ROUNDING_MM

ON_FACE = 1e-3  # slices; a box that was drawn to the middle of a slice includes it whatever the rounding


def check_inside(prompt: Prompt, geometry: VolumeGeometry) -> None:
    """Raise PromptError for a prompt that lies outside the volume; a solid box only has to touch it."""
    if isinstance(prompt, Point):
        points = prompt.ras[None]
    elif isinstance(prompt, Doodle):
        points = prompt.ras
    elif isinstance(prompt, Box):
        ijk = geometry.ijk_from_ras(prompt.corners)
        if (ijk.max(axis=0) >= -0.5).all() and (ijk.min(axis=0) <= np.array(geometry.shape[::-1]) - 0.5).all():
            return
        raise PromptError("The box is outside the image; place it inside.")
    else:
        if isinstance(prompt, MaskPrompt) and not prompt.geometry.close_to(geometry):
            raise PromptError("A mask prompt was made on an image of another geometry; draw it on this image.")
        return
    if not geometry.contains(points).all():
        raise PromptError(f"The {prompt.type} is outside the image; place it inside.")


def seed_slices(prompts: Iterable[Prompt], geometry: VolumeGeometry, axis: int) -> set[int]:
    """Indices along array axis ``axis`` of the slices that the prompts are on.

    A solid box speaks for the middle slice of what it has inside the volume: that is where a person drew it around the
    object. A doodle is on all slices that it crosses, a mask of one slice on that one only (``MaskPrompt.axes``).
    """
    found: set[int] = set()
    for prompt in prompts:
        if isinstance(prompt, Point):
            found.add(_nearest(_positions(prompt.ras[None], geometry, axis)[0]))
        elif isinstance(prompt, Doodle):
            passed = [_nearest(position) for position in _positions(prompt.ras, geometry, axis)]
            for start, end in zip(passed, passed[1:] or passed, strict=False):
                found |= set(range(min(start, end), max(start, end) + 1))
        elif isinstance(prompt, Box) and prompt.is_flat:
            if _parallel(prompt, geometry, axis):
                found.add(_nearest(_positions(prompt.center_ras[None], geometry, axis)[0]))
        elif isinstance(prompt, Box):
            inside = np.clip(_positions(prompt.corners, geometry, axis), -0.5, geometry.shape[axis] - 0.5)
            found.add(max(_nearest((inside.min() + inside.max()) / 2), 0))
        elif isinstance(prompt, MaskPrompt) and axis in prompt.axes:
            others = tuple(a for a in range(3) if a != axis)
            found |= {int(n) + prompt.crop.lower[axis] for n in np.flatnonzero(prompt.crop.mask.any(axis=others))}
    return {index for index in found if 0 <= index < geometry.shape[axis]}


def slice_range(prompts: Iterable[Prompt], geometry: VolumeGeometry, axis: int) -> tuple[int, int]:
    """First and last slice that solid boxes leave to the object: all of them when there is no solid box.

    A slice is in a box that contains its middle plane, as a slice view draws it; the slice nearest to the box's middle
    always is. Several boxes count together, from the first slice of any to the last of any.
    """
    ranges = []
    for prompt in prompts:
        if isinstance(prompt, Box) and not prompt.is_flat:
            positions = _positions(prompt.corners, geometry, axis)
            (middle,) = seed_slices([prompt], geometry, axis)
            first, last = np.ceil(positions.min() - ON_FACE), np.floor(positions.max() + ON_FACE)
            ranges.append((min(int(first), middle), max(int(last), middle)))
    end = geometry.shape[axis] - 1
    if not ranges:
        return 0, end
    return max(0, min(first for first, _ in ranges)), min(end, max(last for _, last in ranges))


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
    touched = {axis: len(seed_slices(masks, geometry, axis)) for axis in (axial, *range(3))}
    return min((axis for axis in touched if touched[axis]), key=touched.__getitem__, default=axial)


def corrected_mask(
    prompt: Prompt, others: Iterable[Prompt], mask: Crop, axis: int, geometry: VolumeGeometry, source: Source
) -> MaskPrompt | None:
    """What a run along ``axis`` found on the slice that a click falls on, as a prompt of ``source`` that it corrects.

    None for what is no click, and where the slice has prompts of its own (among ``others``) or nothing was found.
    """
    if not isinstance(prompt, (Point, Doodle)):
        return None
    at = seed_slices([prompt], geometry, axis)
    if len(at) != 1 or at & seed_slices(others, geometry, axis):
        return None
    index = at.pop()
    local = index - mask.lower[axis]
    if not 0 <= local < mask.mask.shape[axis]:
        return None
    part = [slice(None)] * 3
    part[axis] = slice(local, local + 1)
    lower = list(mask.lower)
    lower[axis] = index
    crop = Crop(mask.mask[tuple(part)], (lower[0], lower[1], lower[2])).tight()
    return None if crop.is_empty else MaskPrompt(crop, geometry, source=source)


def _parallel(box: Box, geometry: VolumeGeometry, axis: int) -> bool:
    """Whether a flat box lies in the slices along ``axis`` (within the 8 degrees of ``on_plane``)."""
    return abs(float(box.normal @ slice_plane(geometry, axis, 0, square_pixels=False).normal)) > 0.99


def _positions(points: np.ndarray, geometry: VolumeGeometry, axis: int) -> np.ndarray:
    """Where RAS points (n, 3) are along the slices of ``axis``: (n,), whole numbers on their middle planes.

    By depth, as ``on_plane`` measures it: on a grid that is slightly off square, voxel indices would differ.
    """
    plane = slice_plane(geometry, axis, 0, square_pixels=False)
    depth: np.ndarray = plane.pixels_from_ras(points)[:, 2]
    return (depth - ROUNDING_MM) / slab_thickness(plane, geometry)


def _nearest(position: float) -> int:
    # Slabs are half open (``on_plane``): a point halfway between two slices belongs to the lower one, and one on the
    # lower face of the volume to slice 0.
    index = int(np.ceil(position - 0.5))
    return 0 if index == -1 and position >= -0.5 - ON_FACE else index

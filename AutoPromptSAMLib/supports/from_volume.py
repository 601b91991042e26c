"""Pairs from a volume and the masks of objects in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.datasets.slices import native_axis
from AutoPromptSAMLib.geometry import Crop, Plane, Volume, VolumeGeometry, sample_plane
from AutoPromptSAMLib.geometry.grid import BoolArray
from AutoPromptSAMLib.geometry.views import radiological_plane, view_of
from AutoPromptSAMLib.intensity import IntensityMapping, default_mapping, picture_on
from AutoPromptSAMLib.supports.choice import SLICES, choose_slices, looks_complete
from AutoPromptSAMLib.supports.errors import SupportError
from AutoPromptSAMLib.supports.pairs import SupportPair

# Objects on so few slices, or on less than this part of those between their ends, were drawn slice by slice: no whole
# organ looks so, not even two kidneys with what lies between them. Choices.
FEW_DRAWN = 3
SPARSE = 1 / 3


def pairs_from_volume(
    volume: Volume,
    masks: Mapping[str, BoolArray | Crop],
    limit: int = SLICES,
    *,
    mapping: IntensityMapping | None = None,
    view: str | None = None,
    slices: Sequence[int] | None = None,
    complete: bool | None = None,
    has_spacing: bool = True,
    name: str = "",
    source: str = "",
) -> list[SupportPair]:
    """Slices of a volume with their masks, about ``limit`` of them by the rule of ``choice``, in their order.

    ``masks``: bool (K, J, I) or crops of the volume, by object. ``mapping``: how intensities become 8 bits, default
    ``default_mapping``. ``view``: axial, sagittal or coronal, default the direction that the volume was taken in, or
    in which some slices were annotated. ``slices``: exactly these slices along the view. ``complete``: whether the
    masks show all of every object; False when only some slices were annotated, so that an empty mask says nothing;
    None judges every object by itself (``choice.looks_complete``). ``name`` goes before the names of the slices.
    A volume of one slice gives one pair. Raises SupportError when there is no mask or all are empty.
    """
    geometry = volume.geometry
    crops = {each: (mask if isinstance(mask, Crop) else Crop.from_full(mask)).tight() for each, mask in masks.items()}
    found = {each: crop for each, crop in crops.items() if not crop.is_empty}
    if not found:
        raise SupportError("There is nothing annotated on this image; give masks that are not empty.")
    for each, crop in found.items():
        if any(upper > size for upper, size in zip(crop.upper, geometry.shape, strict=True)):
            raise SupportError(f'The mask of "{each}" is larger than its image; give both of the same size.')
    mapping = default_mapping(volume) if mapping is None else mapping
    if geometry.shape[0] == 1:
        axis, taken = 0, [0]
        whole = set() if complete is False else set(crops)
    else:
        axis = _annotated_axis(found, geometry) if view is None else geometry.array_axis(view)
        areas = {each: _areas(crop, axis, geometry.shape[axis]) for each, crop in found.items()}
        whole = set(crops) if complete else set()
        if complete is None:
            whole = {each for each, own in areas.items() if looks_complete(own)}
        taken = choose_slices(areas, limit, whole & set(areas)) if slices is None else sorted(set(slices))
    seen_from = view_of(geometry, axis)
    pairs = []
    for index in taken:
        plane = radiological_plane(geometry, axis, index)
        cuts = {each: mask_on(crop, plane, geometry) for each, crop in crops.items()}
        cuts = {each: cut for each, cut in cuts.items() if each in whole or cut.any()}
        if not cuts:
            continue
        called = f"{seen_from} {index}" if geometry.shape[0] > 1 else "" if name else "image"
        col, row = plane.spacing
        pairs.append(
            SupportPair.of(
                f"{name} {called}".strip(),
                picture_on(volume, plane, mapping),
                cuts,
                (row, col) if has_spacing else None,
                seen_from if geometry.shape[0] > 1 else None,
                source,
                volume.digest[:16],
            )
        )
    if not pairs:
        raise SupportError("Nothing is annotated on the slices that were chosen; choose others.")
    return pairs


def mask_on(crop: Crop, plane: Plane, geometry: VolumeGeometry) -> BoolArray:
    """The pixels (rows, cols) bool of a crop of a volume on a plane."""
    if crop.is_empty:
        return np.zeros(plane.shape, dtype=bool)
    part = Volume(crop.mask, geometry.cropped(crop.lower, crop.mask.shape))
    return np.ascontiguousarray(sample_plane(part, plane, order=0, fill=0), dtype=bool)


def _annotated_axis(crops: Mapping[str, Crop], geometry: VolumeGeometry) -> int:
    """The native axis, unless a person annotated some slices of another direction only."""
    native = native_axis(geometry)
    on = {
        axis: np.flatnonzero(np.any([_areas(crop, axis, geometry.shape[axis]) > 0 for crop in crops.values()], axis=0))
        for axis in range(3)
    }
    drawn = {axis: len(at) <= FEW_DRAWN or len(at) < SPARSE * (at[-1] - at[0] + 1) for axis, at in on.items()}
    others = [axis for axis in range(3) if drawn[axis] and len(on[axis]) < len(on[native])]
    return native if drawn[native] or not others else min(others, key=lambda axis: len(on[axis]))


def _areas(crop: Crop, axis: int, count: int) -> NDArray[np.int64]:
    """Voxels (count,) of a crop on every slice of its volume."""
    areas = np.zeros(count, dtype=np.int64)
    lower = crop.lower[axis]
    own = crop.mask.sum(axis=tuple(other for other in range(3) if other != axis))
    areas[lower : lower + len(own)] = own
    return areas

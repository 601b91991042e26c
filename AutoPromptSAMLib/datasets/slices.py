"""A case -> the slices that are measured, each as networks take it.

Rule for volumes, the same every time: slices are cut along the native axis, the one along which voxels are longest,
because there the slices are what a person looks at; a volume whose voxels are equally long (within 10 %) along several
axes is cut axially if it can be. For each object, only slices on which it has at least a tenth of its area on its
largest slice count, so that the last few pixels of an end do not decide; of those, ``per_object`` ones are taken at
evenly spaced quantiles (with three: 1/6, 1/2 and 5/6 of the way). All three figures are choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.datasets.cases import Case, Scribbles
from AutoPromptSAMLib.geometry import Plane, Volume, VolumeGeometry, sample_plane, slice_plane
from AutoPromptSAMLib.geometry.grid import BoolArray
from AutoPromptSAMLib.intensity import UInt8Array, default_mapping, picture_on

PER_OBJECT = 3
MIN_PIXELS = 16  # below that an object's border is all there is of it, and a Dice says little. A choice.
AREA_PART = 0.1
EQUAL_SPACING = 0.1


@dataclass(frozen=True, eq=False)
class SliceSample:
    """One object on one image.

    ``id``: unique in the dataset and stable. ``pair``: the pair's id. ``image``: uint8 (rows, cols, 3), square pixels
    where their size is known. ``truth``: bool (rows, cols). ``spacing``: (row, col) in mm, None when pixels have no
    known size. ``scribbles``: a (positive, negative) pair of bool (rows, cols) for each person who drew. ``axis``,
    ``index``: the array axis and the slice of the volume, 0 and 0 for an image.
    """

    id: str
    dataset: str
    pair: str
    group: str
    modality: str
    object: str
    image: UInt8Array
    truth: BoolArray
    spacing: tuple[float, float] | None
    scribbles: Scribbles
    axis: int
    index: int


def native_axis(geometry: VolumeGeometry) -> int:
    """The array axis (0 = k, 1 = j, 2 = i) that a volume was taken in slices along; see the module's rule."""
    lengths = np.array(geometry.spacing[::-1])
    if geometry.shape[0] == 1:  # an image, or a single slice: there is nothing else to look at
        return 0
    longest = np.flatnonzero(lengths >= lengths.max() * (1 - EQUAL_SPACING))
    axial = geometry.array_axis("axial")
    return axial if axial in longest else int(longest[0])


def chosen_slices(mask: BoolArray, axis: int, count: int) -> list[int]:
    """Indices along ``axis`` of at most ``count`` slices of a mask (K, J, I); see the module's rule."""
    areas = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    eligible = np.flatnonzero((areas > 0) & (areas >= AREA_PART * areas.max()))
    quantiles = (np.arange(count) + 0.5) / count
    return sorted({int(eligible[int(q * len(eligible))]) for q in quantiles}) if len(eligible) else []


def slices_of(
    case: Case,
    per_object: int = PER_OBJECT,
    min_pixels: int = MIN_PIXELS,
    plane_of: Callable[[VolumeGeometry, int, int], Plane] = slice_plane,
) -> Iterator[SliceSample]:
    """The slices of a case that are measured, object by object; an image of two dimensions is its only slice.

    Slices on which an object has fewer than ``min_pixels`` pixels are left out. ``plane_of(geometry, axis, index)``
    says which way up they are; it may be ``geometry.views.radiological_plane``.
    """
    geometry = case.volume.geometry
    axis = native_axis(geometry)
    mapping = default_mapping(case.volume)
    images: dict[int, UInt8Array] = {}  # objects share slices
    for name in case.masks:
        mask = case.masks[name]
        for index in chosen_slices(mask, axis, per_object):
            plane = plane_of(geometry, axis, index)
            truth = mask_on(mask, plane, geometry)
            if np.count_nonzero(truth) < min_pixels:
                continue
            if index not in images:
                images[index] = picture_on(case.volume, plane, mapping)
            col, row = plane.spacing
            yield SliceSample(
                id=f"{case.pair.id}:{name}" + (f":{'kji'[axis]}{index}" if geometry.shape[axis] > 1 else ""),
                dataset=case.dataset,
                pair=case.pair.id,
                group=case.pair.group,
                modality=case.pair.modality,
                object=name,
                image=images[index],
                truth=truth,
                spacing=(row, col) if case.has_spacing else None,
                scribbles=tuple(
                    (mask_on(positive, plane, geometry), mask_on(negative, plane, geometry))
                    for positive, negative in case.scribbles
                ),
                axis=axis,
                index=index,
            )


def mask_on(mask: BoolArray, plane: Plane, geometry: VolumeGeometry) -> BoolArray:
    """A mask (K, J, I) on a plane, (rows, cols)."""
    seen: NDArray[np.bool_] = sample_plane(Volume(mask, geometry), plane, order=0, fill=0)
    return np.ascontiguousarray(seen, dtype=bool)

"""Pairs from an image file and a file that says what is on it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from pathlib import Path

from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.geometry.lattice import crop_on
from AutoPromptSAMLib.images import is_picture, load_segmentation, load_volume
from AutoPromptSAMLib.intensity import IntensityMapping
from AutoPromptSAMLib.supports.choice import SLICES
from AutoPromptSAMLib.supports.errors import SupportError
from AutoPromptSAMLib.supports.from_volume import pairs_from_volume
from AutoPromptSAMLib.supports.pairs import SupportObject, SupportPair, as_objects

UNNAMED = "Segment_"  # what ``load_segmentation`` calls the labels of a map without names


def pairs_from_files(
    image_path: str | os.PathLike[str],
    mask_path: str | os.PathLike[str],
    objects: Sequence[str] | None = None,
    limit: int = SLICES,
    *,
    view: str | None = None,
    mapping: IntensityMapping | None = None,
    name: str = "",
    source: str = "",
) -> tuple[tuple[SupportObject, ...], list[SupportPair]]:
    """The objects and pairs of a picture and its label image, or of a volume and its segmentation.

    Images are of any format that ``load_volume`` reads, masks label maps or .seg.nrrd. ``objects``: of a file with
    names, which of them to take, None for all; of a plain label map, the names of labels 1, 2, ... in their order
    (a single name stands for all that is not 0; labels that do not count from 1 are named in ascending order), None
    for "label 1" and so on, or "object" where there is only one. Other arguments as in ``pairs_from_volume``.
    ``mapping`` is for volumes only. Names of files are not kept. Raises ImageError, GeometryError or SupportError with
    what is wrong.
    """
    image_path, mask_path = Path(image_path), Path(mask_path)
    if mask_path.is_dir():
        raise SupportError(f"{mask_path} is a folder; give the file of the mask.")
    volume = load_volume(image_path)
    masks, geometry = load_segmentation(mask_path)
    picture = is_picture(image_path) or is_picture(mask_path)
    named = _renamed({each: masks.crop(each) for each in masks}, objects, mask_path)
    crops = {each: _placed(crop, geometry, volume, picture, mask_path) for each, crop in named.items()}
    is_flat = is_picture(image_path)
    pairs = pairs_from_volume(
        volume, crops, limit, mapping=None if is_flat else mapping, view=view, has_spacing=not is_flat, name=name,
        source=source,
    )  # fmt: skip
    return as_objects(tuple(named)), pairs


def _renamed(masks: Mapping[str, Crop], objects: Sequence[str] | None, path: Path) -> dict[str, Crop]:
    wanted = [] if objects is None else list(dict.fromkeys(objects))
    if objects is not None and not wanted:
        raise SupportError("No object is asked for; name at least one.")
    if not masks:
        raise SupportError(f"{path} shows no object; give the file that the image was annotated in.")
    if all(each in masks for each in wanted):
        kept = {each: masks[each] for each in wanted or masks}
        return kept if wanted else _without_prefix(kept)
    if not _are_unnamed(masks):
        strange = next(each for each in wanted if each not in masks)
        raise SupportError(f'{path} has no object "{strange}" but {", ".join(masks)}; choose of these.')
    values = {int(each.removeprefix(UNNAMED)): mask for each, mask in masks.items()}
    if len(wanted) == 1:
        return {wanted[0]: reduce(Crop.union, values.values())}
    if set(values) <= set(range(1, len(wanted) + 1)):
        return {each: values.get(number, Crop.empty()) for number, each in enumerate(wanted, 1)}
    if len(values) == len(wanted):
        return {each: values[value] for each, value in zip(wanted, sorted(values), strict=True)}
    raise SupportError(
        f"{path} has the labels {', '.join(map(str, sorted(values)))}, which {len(wanted)} names do not fit; give one "
        "name for each."
    )


def _are_unnamed(names: Collection[str]) -> bool:
    """Whether these are the labels of a map without names; people may call a segment "Segment_left"."""
    return all(re.fullmatch(rf"{UNNAMED}-?\d+", each) for each in names)


def _without_prefix(masks: dict[str, Crop]) -> dict[str, Crop]:
    if not _are_unnamed(masks):
        return masks
    if len(masks) == 1:
        return {"object": next(iter(masks.values()))}
    return {f"label {each.removeprefix(UNNAMED)}": mask for each, mask in masks.items()}


def _placed(mask: Crop, own: VolumeGeometry, volume: Volume, picture: bool, path: Path) -> Crop:
    """The crop of the mask's own grid as one of the volume."""
    geometry = volume.geometry
    # Of a picture only the pixels count: a printer's resolution in one of the two files displaces nothing.
    if picture and own.shape != geometry.shape:
        raise SupportError(f"{path} has {_size(own)} and its image {_size(geometry)}; give both of one size.")
    crop = mask if picture else crop_on(mask, own, geometry)
    if crop is None:
        raise SupportError(f"{path} lies elsewhere ({own}) than its image ({geometry}); resample it to the image.")
    return crop


def _size(geometry: VolumeGeometry) -> str:
    slices, rows, cols = geometry.shape
    return f"{cols} x {rows} pixels" if slices == 1 else f"{cols} x {rows} x {slices} voxels"

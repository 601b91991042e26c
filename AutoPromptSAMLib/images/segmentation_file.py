"""Segments on disk: Slicer's .seg.nrrd, and NIfTI label maps for everybody else.

The .seg.nrrd header follows
https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html.
"""

from __future__ import annotations

import colorsys
import gzip
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.errors import GeometryError, ImageError, StorageError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry, lps_affine_from_ras
from AutoPromptSAMLib.geometry.grid import BoolArray
from AutoPromptSAMLib.images.reader import read_image
from AutoPromptSAMLib.images.writer import write_voxels

Colour = Sequence[float]
MOST_LABELS = 500  # of a label map without names: atlases have a few hundred, images thousands. A choice.
# "Tissue" of Slicer's general anatomy list: what Slicer itself gives a segment that nobody classified.
TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)


def save_segmentation(
    path: str | os.PathLike[str],
    segments: Mapping[str, BoolArray | Crop],
    geometry: VolumeGeometry,
    colors: Mapping[str, Colour] | None = None,
    terms: Mapping[str, str] | None = None,
) -> None:
    """Write segments, by name, as .seg.nrrd, .nrrd, .nii.gz or .nii; the whole file or nothing.

    ``segments``: bool masks (K, J, I) of ``geometry`` or crops of it; an empty one is kept as an empty segment.
    ``colors``: red, green, blue from 0 to 1 by segment name; others get colours that differ. ``terms``: terminology
    entries by segment name, for .seg.nrrd; others are "Tissue", as in Slicer. Label values count from
    1 in the given order. In .seg.nrrd overlapping segments go to separate layers, as Slicer does; a NIfTI label map
    cannot hold them and keeps no names. Raises GeometryError for a mask of another geometry, ImageError for overlaps
    in NIfTI, StorageError when the disk does not take the file.
    """
    path = Path(path)
    crops = {name: _checked_crop(name, mask, geometry) for name, mask in segments.items()}
    if path.name.lower().endswith(".nrrd"):
        layers, layer_of = _layers(crops, geometry)
        header = _nrrd_header(crops, layer_of, layers, geometry, colors or {}, terms or {})
        _write_nrrd(path, header, layers)
    elif path.name.lower().endswith((".nii", ".nii.gz")):
        layers, layer_of = _layers(crops, geometry)
        if len(layers) > 1:
            other = next(name for name, layer in layer_of.items() if layer)
            raise ImageError(
                f'Segment "{other}" overlaps another, which NIfTI cannot hold; save as .seg.nrrd instead.'
            )
        try:
            write_voxels(path, layers[0], geometry)
        except GeometryError:
            raise GeometryError(
                f"{path} cannot hold the image's slightly sheared axes; save as .seg.nrrd instead."
            ) from None
    else:
        raise StorageError(f"{path} has no known file type; save segments as .seg.nrrd or .nii.gz.")


def load_segmentation(path: str | os.PathLike[str]) -> tuple[dict[str, BoolArray], VolumeGeometry]:
    """Masks (K, J, I) by segment name, and their geometry.

    Reads .seg.nrrd (of Slicer too, which may be cropped to its segments) and any label map, whose segments are called
    "Segment_<value>". Raises ImageError for a file that holds neither.
    """
    path = Path(path)
    raw = read_image(path)
    array = raw.array[..., None] if raw.array.ndim == 3 else raw.array
    if array.dtype.kind not in "iu" and not np.array_equal(array, np.rint(array)):
        raise ImageError(f"{path} has values that are not whole numbers; give a label map or a .seg.nrrd file.")
    masks: dict[str, BoolArray] = {}
    number = 0
    while f"Segment{number}_ID" in raw.header:
        prefix = f"Segment{number}_"
        try:
            layer, value = int(raw.header.get(prefix + "Layer", "0")), int(raw.header.get(prefix + "LabelValue", "1"))
            mask = array[..., layer] == value
        except (ValueError, IndexError):
            raise ImageError(f"{path} has a damaged segmentation header at {prefix}*; save it again.") from None
        name = raw.header.get(prefix + "Name", raw.header[prefix + "ID"])
        # Slicer allows equal names; none of their voxels may get lost here.
        masks[name if name not in masks else f"{name} ({number})"] = mask
        number += 1
    if not number:
        if array.shape[3] != 1:
            raise ImageError(f"{path} has {array.shape[3]} values a voxel; give a label map or a .seg.nrrd file.")
        values = np.unique(array)
        if len(values) > MOST_LABELS:
            raise ImageError(
                f"{path} has {len(values)} different values, as images have; give a label map or a .seg.nrrd file."
            )
        masks = {f"Segment_{int(v)}": array[..., 0] == v for v in values if v}
    return masks, raw.geometry


def _checked_crop(name: str, mask: BoolArray | Crop, geometry: VolumeGeometry) -> Crop:
    if not name:
        raise ImageError("A segment has an empty name; give it one.")
    if isinstance(mask, Crop):
        if any(u > n for u, n in zip(mask.upper, geometry.shape, strict=True)):
            raise GeometryError(
                f'Segment "{name}" reaches voxel {mask.upper} of a volume with {geometry.shape} (k, j, i).'
            )
        return mask.tight()
    if np.shape(mask) != geometry.shape:
        raise GeometryError(f'Segment "{name}" has {np.shape(mask)} voxels but its image {geometry.shape} (k, j, i).')
    return Crop.from_full(mask)


def _layers(crops: Mapping[str, Crop], geometry: VolumeGeometry) -> tuple[list[NDArray[Any]], dict[str, int]]:
    """Label volumes (K, J, I) and which of them each segment is in: the first where it overlaps nothing."""
    dtype = np.uint8 if len(crops) < 256 else np.uint16
    layers: list[NDArray[Any]] = [np.zeros(geometry.shape, dtype=dtype)]
    layer_of: dict[str, int] = {}
    for value, (name, crop) in enumerate(crops.items(), 1):
        free = (n for n, layer in enumerate(layers) if not layer[crop.slices][crop.mask].any())
        layer_of[name] = next(free, len(layers))
        if layer_of[name] == len(layers):
            layers.append(np.zeros(geometry.shape, dtype=dtype))
        layers[layer_of[name]][crop.slices][crop.mask] = value
    return layers, layer_of


def _nrrd_header(
    crops: Mapping[str, Crop],
    layer_of: Mapping[str, int],
    layers: Sequence[NDArray[Any]],
    geometry: VolumeGeometry,
    colors: Mapping[str, Colour],
    terms: Mapping[str, str],
) -> str:
    lps = lps_affine_from_ras(geometry.ijk_to_ras)
    several = len(layers) > 1
    vectors = [f"({','.join(repr(x) for x in column.tolist())})" for column in lps[:3].T]
    sizes = [str(n) for n in reversed(geometry.shape)]
    lines = [
        "NRRD0004",
        f"type: {'unsigned char' if layers[0].dtype == np.uint8 else 'unsigned short'}",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {' '.join([str(len(layers))] * several + sizes)}",
        f"space directions: {' '.join(['none'] * several + vectors[:3])}",
        f"kinds: {' '.join(['list'] * several + ['domain'] * 3)}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {vectors[3]}",
    ]
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ConversionParameters": "",
        "Segmentation_MasterRepresentation": "Binary labelmap",  # the older name: every Slicer reads it
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, (name, crop) in enumerate(crops.items()):
        color = colors.get(name) or _color(number)
        extent = [f"{low} {high - 1}" for low, high in zip(reversed(crop.lower), reversed(crop.upper), strict=True)]
        for field, value in {
            "ID": f"Segment_{number + 1}",
            "Name": name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{c:.6g}" for c in color),
            "ColorAutoGenerated": "0" if name in colors else "1",
            "Extent": " ".join(extent),
            "LabelValue": str(number + 1),
            "Layer": str(layer_of[name]),
            "Tags": f"TerminologyEntry:{terms.get(name) or TISSUE}|",
        }.items():
            fields[f"Segment{number}_{field}"] = value
    return "\n".join([*lines, *(f"{key}:={_escape(value)}" for key, value in fields.items())]) + "\n\n"


def _write_nrrd(path: Path, header: str, layers: Sequence[NDArray[Any]]) -> None:
    array = layers[0] if len(layers) == 1 else np.stack(layers, axis=-1)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.write(header.encode("utf-8"))
        # Level 1: label maps shrink a hundredfold anyway, and the default level takes five times as long.
        with gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=1, mtime=0) as packed:
            packed.write(np.ascontiguousarray(array).data)


def _color(number: int) -> Colour:
    # Steps of the golden angle: any number of segments get hues that are far apart.
    return colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.65, 0.95)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")

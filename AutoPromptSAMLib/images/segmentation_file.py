"""Segments on disk: Slicer's .seg.nrrd, and NIfTI label maps for everybody else.

The .seg.nrrd header follows
https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html.
"""

from __future__ import annotations

import colorsys
import gzip
import os
import re
from collections.abc import Iterator, Mapping, Sequence
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
from AutoPromptSAMLib.names import free_name

Colour = Sequence[float]
LABEL_TYPES: dict[type[np.integer], str] = {  # what label values are written as, the smallest that fits; in NRRD
    np.uint8: "unsigned char", np.uint16: "unsigned short", np.int32: "int", np.int64: "long long",
}  # fmt: skip
MOST_LABELS = 500  # of a label map without names: atlases have a few hundred, images thousands. A choice.
# "Tissue" of Slicer's general anatomy list: what Slicer itself gives a segment that nobody classified.
TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)


class SegmentMasks(Mapping[str, BoolArray]):
    """Masks (K, J, I) by segment name, made when they are asked for, and what a file says of its segments.

    117 masks of 512 x 512 x 600 voxels at once take 18 GB, and so do tight crops that are views of them; ``crop`` is
    none. ``label_values``, ``colors`` (red, green, blue from 0 to 1) and ``terms`` (terminology entries) by segment
    name; the last two only where the file has them.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array  # (K, J, I, layers)
        self._layers: dict[str, int] = {}
        self.label_values: dict[str, int] = {}
        self.colors: dict[str, Colour] = {}
        self.terms: dict[str, str] = {}

    def add(self, name: str, layer: int, value: int) -> None:
        """Where a layer has this value there is this segment."""
        self._layers[name], self.label_values[name] = layer, value

    def crop(self, name: str) -> Crop:
        """The tight crop of a segment."""
        crop = Crop.from_full(self[name])
        return Crop(crop.mask.copy(), crop.lower)

    def __getitem__(self, name: str) -> BoolArray:
        mask: BoolArray = self._array[..., self._layers[name]] == self.label_values[name]
        return mask

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def save_segmentation(
    path: str | os.PathLike[str],
    segments: Mapping[str, BoolArray | Crop],
    geometry: VolumeGeometry,
    colors: Mapping[str, Colour] | None = None,
    terms: Mapping[str, str] | None = None,
    label_values: Mapping[str, int] | None = None,
) -> None:
    """Write segments, by name, as .seg.nrrd, .nrrd, .nii.gz or .nii; the whole file or nothing.

    ``segments``: bool masks (K, J, I) of ``geometry`` or crops of it; an empty one is kept as an empty segment.
    ``colors``: red, green, blue from 0 to 1 by segment name; others get colours that differ. ``terms``: terminology
    entries by segment name, for .seg.nrrd; others are "Tissue", as in Slicer. ``label_values``: by segment name;
    when one has none, or two have the same, they count from 1 in the given order. In .seg.nrrd overlapping segments go
    to separate layers, as Slicer does; a NIfTI label map cannot hold them and keeps no names. Raises GeometryError for
    a mask of another geometry, ImageError for overlaps in NIfTI, StorageError when the disk does not take the file.
    """
    path = Path(path)
    crops = {name: _checked_crop(name, mask, geometry) for name, mask in segments.items()}
    values = _label_values(crops, label_values or {})
    if path.name.lower().endswith(".nrrd"):
        layers, layer_of = _layers(crops, values, geometry)
        header = _nrrd_header(crops, values, layer_of, layers, geometry, colors or {}, terms or {})
        _write_nrrd(path, header, layers)
    elif path.name.lower().endswith((".nii", ".nii.gz")):
        check_disjoint(crops, geometry)
        layers, _ = _layers(crops, values, geometry)
        try:
            write_voxels(path, layers[0], geometry)
        except GeometryError:
            raise GeometryError(
                f"{path} cannot hold the image's slightly sheared axes; save as .seg.nrrd instead."
            ) from None
    else:
        raise StorageError(f"{path} has no known file type; save segments as .seg.nrrd or .nii.gz.")


def check_disjoint(segments: Mapping[str, Crop], geometry: VolumeGeometry) -> None:
    """ImageError when crops of ``geometry`` overlap: a NIfTI label map cannot hold them."""
    taken = np.zeros(geometry.shape, dtype=bool)
    for name, crop in segments.items():
        here = taken[crop.slices]
        if (here & crop.mask).any():
            raise ImageError(f'Segment "{name}" overlaps another, which NIfTI cannot hold; save as .seg.nrrd instead.')
        here |= crop.mask


def load_segmentation(path: str | os.PathLike[str]) -> tuple[SegmentMasks, VolumeGeometry]:
    """Masks (K, J, I) by segment name, and their geometry.

    Reads .seg.nrrd (of Slicer too, which may be cropped to its segments) and any label map, whose segments are called
    "Segment_<value>". Raises ImageError for a file that holds neither.
    """
    path = Path(path)
    raw = read_image(path)
    array = raw.array[..., None] if raw.array.ndim == 3 else raw.array
    if array.dtype.kind not in "iu" and not np.array_equal(array, np.rint(array)):
        raise ImageError(f"{path} has values that are not whole numbers; give a label map or a .seg.nrrd file.")
    masks = SegmentMasks(array)
    number = 0
    while f"Segment{number}_ID" in raw.header:
        prefix = f"Segment{number}_"
        try:
            layer, value = int(raw.header.get(prefix + "Layer", "0")), int(raw.header.get(prefix + "LabelValue", "1"))
        except ValueError:
            layer, value = -1, 0
        if not 0 <= layer < array.shape[3]:
            raise ImageError(f"{path} has a damaged segmentation header at {prefix}*; save it again.")
        # Slicer allows equal names; none of their voxels may get lost here.
        name = free_name(raw.header.get(prefix + "Name", raw.header[prefix + "ID"]), masks)
        masks.add(name, layer, value)
        color = _read_color(raw.header.get(prefix + "Color", ""))
        if color is not None:
            masks.colors[name] = color
        term = re.search(r"(?:^|\|)TerminologyEntry:([^|]+)", raw.header.get(prefix + "Tags", ""))
        if term is not None:
            masks.terms[name] = term[1]
        number += 1
    if not number:
        if array.shape[3] != 1:
            raise ImageError(f"{path} has {array.shape[3]} values a voxel; give a label map or a .seg.nrrd file.")
        values = np.unique(array)
        if len(values) > MOST_LABELS:
            raise ImageError(
                f"{path} has {len(values)} different values, as images have; give a label map or a .seg.nrrd file."
            )
        for value in values[values != 0]:
            masks.add(f"Segment_{int(value)}", 0, int(value))
    return masks, raw.geometry


def _read_color(text: str) -> Colour | None:
    try:
        color = [float(part) for part in text.split()]
    except ValueError:
        return None
    return color if len(color) == 3 and np.isfinite(color).all() else None


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


def _label_values(crops: Mapping[str, Crop], given: Mapping[str, int]) -> dict[str, int]:
    values = {name: given.get(name, 0) for name in crops}
    largest = np.iinfo(np.int64).max
    if len({0, *values.values()}) <= len(values) or any(abs(value) > largest for value in values.values()):
        return {name: number for number, name in enumerate(crops, 1)}
    return values


def _layers(
    crops: Mapping[str, Crop], values: Mapping[str, int], geometry: VolumeGeometry
) -> tuple[list[NDArray[Any]], dict[str, int]]:
    """Label volumes (K, J, I) and which of them each segment is in: the first where it overlaps nothing."""
    lowest, highest = min(values.values(), default=0), max(values.values(), default=0)
    dtype = next(each for each in LABEL_TYPES if np.iinfo(each).min <= lowest and highest <= np.iinfo(each).max)
    layers: list[NDArray[Any]] = [np.zeros(geometry.shape, dtype=dtype)]
    layer_of: dict[str, int] = {}
    for name, crop in crops.items():
        free = (n for n, layer in enumerate(layers) if not layer[crop.slices][crop.mask].any())
        layer_of[name] = next(free, len(layers))
        if layer_of[name] == len(layers):
            layers.append(np.zeros(geometry.shape, dtype=dtype))
        layers[layer_of[name]][crop.slices][crop.mask] = values[name]
    return layers, layer_of


def _nrrd_header(
    crops: Mapping[str, Crop],
    values: Mapping[str, int],
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
        f"type: {LABEL_TYPES[layers[0].dtype.type]}",
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
            "LabelValue": str(values[name]),
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

"""Images and label maps of every format that is read, by their path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import GeometryError, ImageError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.images.dicom import read_series
from AutoPromptSAMLib.images.reader import check_readable, read_image

# Formats that say nothing sure of the size of a pixel: what PNG and TIFF call resolution is for printers.
_FLAT = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file, by its name, is a picture, which has pixels but no place or size in the world."""
    return Path(path).suffix.lower() in _FLAT


def load_volume(path: str | os.PathLike[str], series: str | None = None) -> Volume:
    """An image from a NIfTI, NRRD, MetaImage, PNG, JPEG or TIFF file, or from a folder of DICOM files.

    A 2D image becomes a volume of one slice. Colour stays (K, J, I, 3) uint8, transparency is dropped. ``series``:
    UID of the DICOM series when the folder has several. The modality is known for DICOM only; a picture has no size.
    Raises ImageError or GeometryError with what is wrong with the image and what to do.
    """
    path = Path(path)
    check_readable(path)
    raw = read_series(path, series) if path.is_dir() else read_image(path)
    array = raw.array
    if array.ndim == 4:
        if array.shape[3] not in (3, 4) or array.dtype != np.uint8:
            raise ImageError(
                f"{path} has {array.shape[3]} values of type {array.dtype} a voxel, which is neither grey nor 8-bit "
                "colour; extract one of them first."
            )
        array = np.ascontiguousarray(array[..., :3])
    name = path.name if path.is_dir() else path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return Volume(array, raw.geometry, raw.header.get("0008|0060") or None, name, not is_picture(path))


def load_labels(path: str | os.PathLike[str], geometry: VolumeGeometry) -> NDArray[Any]:
    """A label map (K, J, I) of whole numbers that lies on ``geometry``.

    Raises GeometryError, naming both, when it lies elsewhere; ImageError when it is colour or has fractions.
    """
    path = Path(path)
    check_readable(path)
    raw = read_image(path)
    if raw.array.ndim != 3:
        raise ImageError(f"{path} is colour or has several layers where one grey label map is needed; export one.")
    if not raw.geometry.close_to(geometry):
        raise GeometryError(
            f"{path} has another geometry ({raw.geometry}) than the image ({geometry}); resample it to the image."
        )
    if raw.array.dtype.kind in "iu":
        return raw.array
    labels = np.rint(raw.array)
    if not np.array_equal(labels, raw.array):  # NaN differs from itself, so it ends here too
        raise ImageError(f"{path} has values that are not whole numbers, so it is no label map; give a label map.")
    return labels.astype(np.int32)

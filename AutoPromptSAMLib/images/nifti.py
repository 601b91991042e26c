"""The voxels of a NIfTI file, read without ITK.

ITK (5.4) reads the geometry well but is silent where voxels go wrong: the missing end of a file comes as zeros, NaN
comes as 0, and ``ct.nii.gz`` beside a ``ct.nii`` comes with the voxels of the latter.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import ImageError

# NIfTI datatype code -> numpy type and values a voxel (128 and 2304 are RGB and RGBA).
DATATYPES = {
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    64: ("f8", 1),
    128: ("u1", 3),
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    2304: ("u1", 4),
}


def is_nifti(path: Path) -> bool:
    """Whether the file's name is that of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_nifti_voxels(path: Path, header: Mapping[str, str]) -> NDArray[Any]:
    """Voxels (K, J, I) or (K, J, I, components) of ``path``, whose ``header`` ITK has read; scaled as it says.

    Raises ImageError for several frames, for a type that is no number, for a file that ends too early, and for one
    that is larger than the memory.
    """
    sizes = [1] * 8
    for n in range(1, int(header["dim[0]"]) + 1):
        sizes[n] = max(int(header[f"dim[{n}]"]), 1)
    i, j, k, frames, vector = sizes[1:6]
    frames *= sizes[6] * sizes[7]
    if frames > 1:
        raise ImageError(f"{path} has {frames} time points (or channels); extract one frame of it first.")
    code = int(header["datatype"])
    if code not in DATATYPES:
        raise ImageError(f"{path} has voxels of NIfTI type {code}; convert it to whole or real numbers first.")
    kind, components = DATATYPES[code]
    shape, offset = (vector, k, j, i, components), int(float(header["vox_offset"]))
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        # A damaged header asks for more memory than there is, or takes it all for what cannot be read anyway.
        if not packed and offset + math.prod(shape) * np.dtype(kind).itemsize > file.seek(0, os.SEEK_END):
            raise _damaged(path)
        file.seek(0)
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
        try:
            order = "<" if int.from_bytes(stream.read(4), "little") == 348 else ">"
            stream.seek(offset)
            array = np.empty(shape, dtype=order + kind)
            buffer = array.reshape(-1).view(np.uint8).data
            while len(buffer) and (count := stream.readinto(buffer)):  # type: ignore[attr-defined]
                buffer = buffer[count:]
            complete = not len(buffer)
            if packed:
                stream.read()  # to the end, where gzip compares the checksum
        except (EOFError, gzip.BadGzipFile, zlib.error):
            complete = False
        except MemoryError:
            raise ImageError(
                f"{path} is said to have {i} x {j} x {k} voxels, more than fit into memory; copy it again or crop it."
            ) from None
    if not complete:
        raise _damaged(path)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    slope, intercept = float(header.get("scl_slope", "0")), float(header.get("scl_inter", "0"))
    if math.isfinite(slope) and slope != 0 and (slope, intercept) != (1, 0):
        array = array * np.float32(slope) + np.float32(intercept)
    # Vectors are whole volumes one after the other (dimension 5), colours are pixel by pixel.
    array = np.moveaxis(array[..., 0], 0, -1) if vector > 1 else array[0]
    return array[..., 0] if array.shape[-1] == 1 and array.ndim == 4 else array


def _damaged(path: Path) -> ImageError:
    return ImageError(f"{path} is damaged or cut short and cannot be read; copy or export it again.")

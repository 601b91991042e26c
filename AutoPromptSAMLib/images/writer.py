"""Voxels and their geometry to files, by ITK."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
from numpy.typing import NDArray

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.errors import GeometryError, ImageError, StorageError
from AutoPromptSAMLib.geometry import VolumeGeometry, lps_affine_from_ras
from AutoPromptSAMLib.images.reader import read_image

SUFFIXES = (".nrrd", ".nii.gz", ".nii")


def write_voxels(path: str | os.PathLike[str], array: NDArray[Any], geometry: VolumeGeometry) -> None:
    """Write ``array`` (K, J, I) of ``geometry`` as .nrrd, .nii.gz or .nii; the whole file or nothing.

    Raises GeometryError for axes that the file cannot hold, StorageError when the disk does not take the file.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise StorageError(f"{path.name} has no known file type; save as .nrrd or .nii.gz.")
    image = sitk.GetImageFromArray(array)
    lps = lps_affine_from_ras(geometry.ijk_to_ras)
    image.SetSpacing(geometry.spacing)
    image.SetDirection((lps[:3, :3] / geometry.spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=not name.endswith(".nii"), compressionLevel=1)
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error).strip().rsplit("\n", 1)[-1]) from None
        # ITK (5.4) writes onto a full disk, and squares axes that are slightly off, without an error: only reading
        # shows that the file is all there and in its place.
        try:
            written = read_image(temporary)
        except ImageError:
            raise OSError(errno.ENOSPC, "disk full") from None
        if not np.array_equal(written.array, array):
            raise OSError(errno.ENOSPC, "disk full")
        if not written.geometry.close_to(geometry):
            raise GeometryError(
                f"{path.name} cannot hold the image's slightly sheared axes; resample the image to square axes first."
            )

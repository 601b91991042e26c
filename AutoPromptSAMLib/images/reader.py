"""One image file -> voxels and RAS geometry, with every way it can be unusable turned into a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import GeometryError, ImageError
from AutoPromptSAMLib.geometry import VolumeGeometry, ras_affine_from_lps
from AutoPromptSAMLib.images.nifti import is_nifti, read_nifti_voxels

CINE_MODALITIES = {"US", "XA", "RF", "ES", "IVUS", "GM"}  # DICOM: several frames of these are times, not slices
FORMATS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")


@dataclass(frozen=True)
class RawImage:
    """``array``: (K, J, I) or (K, J, I, components). ``header``: the file's entries by name, as text."""

    array: NDArray[Any]
    geometry: VolumeGeometry
    header: dict[str, str]


def geometry_from_lps(
    shape: Sequence[int], origin: Sequence[float], direction: Sequence[float], spacing: Sequence[float]
) -> VolumeGeometry:
    """ITK's geometry (LPS, mm; of the first three of 2 to 4 dimensions) as RAS; ``shape`` is (K, J, I)."""
    dimension = len(origin)
    space = min(dimension, 3)
    affine = np.eye(4)
    affine[:space, :space] = (np.array(direction).reshape(dimension, dimension) * np.array(spacing))[:space, :space]
    affine[:space, 3] = origin[:space]
    return VolumeGeometry((shape[0], shape[1], shape[2]), ras_affine_from_lps(affine))


def check_readable(path: Path) -> None:
    """ImageError when ``path`` is not there or has no content."""
    if not path.exists():
        raise ImageError(f"{path} does not exist; check the path.")
    if path.is_file() and path.stat().st_size == 0:
        raise ImageError(f"{path} is an empty file (0 bytes); copy or export it again.")


def read_header(path: Path) -> sitk.ImageFileReader:
    """A reader that has read the header of ``path`` and nothing else."""
    check_readable(path)
    if path.suffix.lower() in (".hdr", ".img"):  # Analyze: which side is left is not in the file
        raise ImageError(
            f"{path} is one of a pair of files, whose orientation is unsure; convert it to .nii.gz first."
        )
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _read_error(path, error) from None
    return reader


def header_entries(reader: sitk.ImageFileReader) -> dict[str, str]:
    """All entries of the header by name; DICOM tags as "gggg|eeee"."""
    return {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys()}


def read_image(path: Path) -> RawImage:
    """Read a NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF or single DICOM file.

    Raises ImageError for a file that is missing, empty, truncated, not an image or has more than one frame,
    GeometryError for a sheared one.
    """
    reader = read_header(path)
    header = header_entries(reader)
    # ITK counts a single slice of one frame as 2D, 3D or 4D after the file's format.
    frames = math.prod(reader.GetSize()[3:])
    if header.get("0008|0060") in CINE_MODALITIES and reader.GetDimension() == 3:
        frames = reader.GetSize()[2]
    if frames > 1:
        raise ImageError(f"{path} has {frames} time points (or channels); extract one frame of it first.")
    if is_nifti(path):
        array = read_nifti_voxels(path, header)
    else:
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise _read_error(path, error) from None
        while image.GetDimension() > 3:
            image = image[..., 0]
        array = sitk.GetArrayFromImage(image)
        array = array[None] if image.GetDimension() == 2 else array
    try:
        geometry = geometry_from_lps(array.shape[:3], reader.GetOrigin(), reader.GetDirection(), reader.GetSpacing())
    except GeometryError as error:
        raise GeometryError(f"{path} cannot be used: {error}") from None
    return RawImage(array, geometry, header)


def _read_error(path: Path, error: RuntimeError) -> ImageError | GeometryError:
    text = str(error)
    if "orthonormal" in text:
        return GeometryError(
            f"{path} is sheared (its axes are not perpendicular); resample it to an orthogonal grid first."
        )
    if "Unknown PixelType" in text:
        return ImageError(f"{path} has pixels that are neither grey nor RGB; convert it to one of these first.")
    if path.name.lower().endswith(FORMATS):
        return ImageError(f"{path} is damaged and cannot be read; copy or export it again.")
    return ImageError(
        f"{path} cannot be read as an image; give a NIfTI, NRRD, MetaImage, PNG, JPEG or TIFF file, or a folder of "
        "one DICOM series."
    )

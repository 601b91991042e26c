"""A folder of DICOM files -> one volume, refusing what would come out displaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name in its own manual

from AutoPromptSAMLib.errors import GeometryError, ImageError
from AutoPromptSAMLib.geometry import VolumeGeometry, ras_from_lps
from AutoPromptSAMLib.images.reader import RawImage, header_entries, read_header, read_image

# Distances between slices that differ by more than this part of their median are not one grid. A choice; scanners
# write positions with 1e-3 mm or better, a missing slice is a difference of 1.
SPACING_TOLERANCE = 0.05


def read_series(folder: Path, series: str | None = None) -> RawImage:
    """Read the only DICOM series of ``folder`` (no subfolders), or the one with UID ``series``.

    Raises ImageError when there is none, more than one, or one with several time points; GeometryError when slices
    are missing, unevenly spaced or sheared (gantry tilt).
    """
    uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)) if any(folder.iterdir()) else ()
    if not uids:
        raise ImageError(f"{folder} contains no DICOM images; give the folder that the files of a series lie in.")
    files = {uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in uids}
    if series is None and len(uids) > 1:
        found = "; ".join(f"{_describe(names)}, UID {uid}" for uid, names in files.items())
        raise ImageError(f"{folder} contains {len(uids)} DICOM series ({found}); choose one by its UID.")
    series = uids[0] if series is None else series
    if series not in files:
        raise ImageError(f"{folder} contains no DICOM series with UID {series}; it has {', '.join(uids)}.")
    names = files[series]
    if len(names) == 1:
        return read_image(Path(names[0]))
    try:
        return _read_slices(folder, names)
    except RuntimeError:
        raise ImageError(f"{folder} has damaged DICOM files; export the series again.") from None


def _describe(names: Sequence[str]) -> str:
    header = header_entries(read_header(Path(names[0])))
    return f'"{header.get("0008|103e", "without description")}" with {len(names)} files'


def _read_slices(folder: Path, names: Sequence[str]) -> RawImage:
    headers = [read_header(Path(name)) for name in names]
    first = headers[0]
    same = [
        header.GetSize()[:2] == first.GetSize()[:2]
        and np.allclose(header.GetDirection(), first.GetDirection(), atol=1e-3)
        and np.allclose(header.GetSpacing()[:2], first.GetSpacing()[:2], rtol=1e-3)
        for header in headers
    ]
    if not all(same):
        raise GeometryError(
            f"{folder} has slices of different sizes, pixel sizes or directions in one series; keep one stack."
        )
    direction = np.array(first.GetDirection()).reshape(3, 3)
    positions = np.array([header.GetOrigin() for header in headers])
    steps = np.diff(positions @ direction[:, 2])  # GDCM has sorted the files by position
    if (steps < 1e-3).any():
        raise ImageError(
            f"{folder} has several images at the same position (time points or echoes); extract one frame of it first."
        )
    if np.ptp(steps) > SPACING_TOLERANCE * np.median(steps):
        raise GeometryError(
            f"{folder} has slices {steps.min():.2f} to {steps.max():.2f} mm apart, so some are missing or unevenly "
            "spaced; complete the series or resample it first."
        )
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    array = sitk.GetArrayFromImage(reader.Execute())
    # ITK stacks along the first axis of size 1, which for slices of one row or column is another than k.
    cols, rows = first.GetSize()[:2]
    array = array.reshape(len(names), rows, cols, *array.shape[3:])
    # From the positions themselves: ITK squares the third axis, which would hide a gantry tilt.
    lps = np.eye(4)
    lps[:3, :2] = direction[:, :2] * first.GetSpacing()[:2]
    lps[:3, 2] = (positions[-1] - positions[0]) / (len(names) - 1)
    lps[:3, 3] = positions[0]
    affine = np.eye(4)
    affine[:3] = ras_from_lps(lps[:3].T).T
    try:
        geometry = VolumeGeometry((len(names), rows, cols), affine)
    except GeometryError as error:
        raise GeometryError(f"{folder} cannot be used: {error}") from None
    return RawImage(array, geometry, header_entries(first))

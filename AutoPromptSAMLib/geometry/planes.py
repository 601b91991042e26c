"""Planes through volumes: cut an image out of a volume, paste a mask back into it. Pure numpy and scipy.

World coordinates are RAS millimetres, arrays are (k, j, i), affines map (i, j, k, 1) -> (R, A, S, 1). Pixels of a
plane are (col, row), integer at the pixel centre, and their distance from the plane is a depth in mm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry.grid import (
    BoolArray,
    Crop,
    FloatArray,
    Volume,
    VolumeGeometry,
    checked_affine,
    frozen_array,
    transform_points,
)

# In-plane spacings that differ by more than this are made square: below it no model can tell.
SQUARE_TOLERANCE = 0.01
# Entries of a plane's pixel-to-voxel matrix below this many voxels per pixel are rounding: it adds up to 2e-3 voxel
# over 2000 pixels, and the noise of inverting a float64 affine is near 1e-12.
ALIGNED = 1e-6
ON_GRID = 1e-4  # voxels; a plane this close to voxel centres shows the voxels as they are, without interpolation


@dataclass(frozen=True, eq=False)
class Plane:
    """An image grid in the world.

    ``pixel_to_ras``: 4x4, maps (col, row, depth in mm, 1) -> (R, A, S, 1); its third column is the unit normal.
    ``shape``: (rows, cols). ``axis``, ``index``: array axis and index when the plane is exactly a slice of a volume,
    else None. Raises GeometryError when the matrix is singular or its third column is not the unit normal.
    """

    pixel_to_ras: FloatArray
    shape: tuple[int, int]
    axis: int | None = None
    index: int | None = None

    def __post_init__(self) -> None:
        matrix = checked_affine(self.pixel_to_ras, "The plane's pixel to RAS matrix")
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise GeometryError(f"A plane needs positive rows and columns, not {tuple(self.shape)}.")
        normal, steps = matrix[:3, 2], matrix[:3, :2]
        cosines = np.append(normal @ steps / np.linalg.norm(steps, axis=0), np.linalg.norm(normal) - 1)
        if np.abs(cosines).max() > 1e-3:
            raise GeometryError("The third column of a plane's pixel to RAS matrix must be its unit normal.")
        object.__setattr__(self, "pixel_to_ras", matrix)
        object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))

    @cached_property
    def ras_to_pixel(self) -> FloatArray:
        """4x4 inverse of ``pixel_to_ras``."""
        return frozen_array(np.linalg.inv(self.pixel_to_ras))

    @property
    def normal(self) -> FloatArray:
        """Unit normal (3,), RAS."""
        return self.pixel_to_ras[:3, 2]

    @property
    def spacing(self) -> tuple[float, float]:
        """Pixel size along (col, row) in mm."""
        col, row = np.linalg.norm(self.pixel_to_ras[:3, :2], axis=0).tolist()
        return col, row

    def pixels_from_ras(self, points: ArrayLike) -> FloatArray:
        """RAS points (n, 3) -> (col, row, depth in mm), (n, 3)."""
        return transform_points(self.ras_to_pixel, points)

    def ras_from_pixels(self, colrow: ArrayLike) -> FloatArray:
        """Pixel positions (n, 2) as (col, row) -> RAS (n, 3) on the plane."""
        colrow = np.asarray(colrow, dtype=np.float64)
        return colrow @ self.pixel_to_ras[:3, :2].T + self.pixel_to_ras[:3, 3]

    def contains(self, colrow: ArrayLike) -> BoolArray:
        """Which positions (n, 2+) as (col, row, ...) lie in some pixel, outer edges included: bool (n,)."""
        colrow = np.asarray(colrow, dtype=np.float64)[..., :2]
        return np.all((colrow >= -0.5 - 1e-6) & (colrow <= np.array(self.shape[::-1]) - 0.5 + 1e-6), axis=-1)


def slice_plane(geometry: VolumeGeometry, axis: int, index: int, square_pixels: bool = True) -> Plane:
    """The plane of slice ``index`` along array axis ``axis`` (0 = k, 1 = j, 2 = i).

    Rows run along the first of the two other array axes, columns along the second, the normal towards higher indices.
    With ``square_pixels`` and in-plane spacings that differ by more than 1 %, the coarser direction gets pixels of the
    finer spacing (rounded to a whole number of pixels) over the same field of view, so that a network sees right
    proportions. Raises GeometryError for an axis or index that the volume does not have.
    """
    if axis not in (0, 1, 2):
        raise GeometryError(f"A volume has array axes 0 (k), 1 (j) and 2 (i), not {axis}.")
    if not 0 <= index < geometry.shape[axis]:
        raise GeometryError(
            f"Slice {index} is outside the volume; along this axis it has slices 0 to {geometry.shape[axis] - 1}."
        )
    row_axis, col_axis = (a for a in (0, 1, 2) if a != axis)
    axes = (col_axis, row_axis, axis)
    columns = [geometry.ijk_to_ras[:3, 2 - a] for a in axes]
    spacing = np.array([geometry.spacing[2 - a] for a in axes])
    voxels = np.array([geometry.shape[a] for a in axes[:2]])
    pixels = voxels
    if square_pixels and spacing[:2].max() > spacing[:2].min() * (1 + SQUARE_TOLERANCE):
        pixels = np.rint(voxels * spacing[:2] / spacing[:2].min()).astype(int)
    step = voxels / pixels  # voxels a pixel; first pixel centre keeps the outer voxel edge where it is
    first = np.zeros(3)
    first[[2 - col_axis, 2 - row_axis]] = (step - 1) / 2
    first[2 - axis] = index
    matrix = np.eye(4)
    matrix[:3, 0] = columns[0] * step[0]
    matrix[:3, 1] = columns[1] * step[1]
    matrix[:3, 2] = columns[2] / spacing[2]
    matrix[:3, 3] = geometry.ras_from_ijk(first)
    # The volume's own axes may be off square by the shear tolerance: the normal is what it says.
    normal = np.cross(matrix[:3, 0], matrix[:3, 1])
    normal *= np.sign(normal @ matrix[:3, 2]) / np.linalg.norm(normal)
    matrix[:3, 2] = normal
    return Plane(matrix, (int(pixels[1]), int(pixels[0])), axis, int(index))


def cut_box(corners: ArrayLike) -> FloatArray:
    """Where the depth 0 plane cuts a box: corner points (m, 2) as (col, row), m = 0 when it does not.

    ``corners``: (8, 3) as (col, row, depth), row numbers counting in binary along the box's three axes.
    """
    corners = np.asarray(corners, dtype=np.float64)
    pairs = np.array([(a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit])
    start, end = corners[pairs[:, 0]], corners[pairs[:, 1]]
    crossing = (start[:, 2] > 0) != (end[:, 2] > 0)
    start, end = start[crossing], end[crossing]
    t = start[:, 2] / (start[:, 2] - end[:, 2])
    cut = start[:, :2] + t[:, None] * (end - start)[:, :2]
    return np.concatenate([cut, corners[corners[:, 2] == 0, :2]])


def oblique_plane(
    geometry: VolumeGeometry,
    center_ras: Sequence[float] | FloatArray,
    col_direction: Sequence[float] | FloatArray,
    row_direction: Sequence[float] | FloatArray,
    spacing: float | None = None,
) -> Plane:
    """The plane through ``center_ras`` that covers all of the volume it cuts, with square pixels.

    It also holds the centres of all voxels that it cuts, which may lie up to half a voxel beyond: a mask is pasted by
    centres. ``col_direction``, ``row_direction``: RAS vectors towards higher columns and rows (any length; the rows
    are made perpendicular to the columns); the normal is columns x rows. ``spacing``: pixel size in mm, default the
    volume's finest. ``center_ras`` falls on a pixel centre. Raises GeometryError when the plane misses the volume.
    """
    col = np.asarray(col_direction, dtype=np.float64)
    row = np.asarray(row_direction, dtype=np.float64)
    normal = np.cross(col, row)
    if not np.isfinite([*col, *row, *center_ras]).all() or np.linalg.norm(normal) <= 1e-9 * np.linalg.norm(col):
        raise GeometryError("The directions of a plane must be finite and not parallel; give two that differ.")
    pixel = min(geometry.spacing) if spacing is None else float(spacing)
    if not (np.isfinite(pixel) and pixel > 0):
        raise GeometryError(f"The pixel size of a plane must be positive, not {pixel} mm.")
    col = col / np.linalg.norm(col)
    normal = normal / np.linalg.norm(normal)
    matrix = np.eye(4)
    matrix[:3, 0] = col * pixel
    matrix[:3, 1] = np.cross(normal, col) * pixel
    matrix[:3, 2] = normal
    matrix[:3, 3] = center_ras
    to_pixel = np.linalg.inv(matrix)
    cut = cut_box(transform_points(to_pixel, geometry.corners))
    if not len(cut):
        raise GeometryError("The plane does not cut the volume; move it into the volume.")
    centres = _centres_beside(to_pixel @ geometry.ijk_to_ras, geometry.shape)
    lower = np.minimum(np.floor(cut.min(axis=0) + 0.5 + ALIGNED), np.floor(centres.min(axis=0) + 0.5 - ALIGNED))
    upper = np.maximum(np.ceil(cut.max(axis=0) - 0.5 - ALIGNED), np.floor(centres.max(axis=0) + 0.5 + ALIGNED))
    cols, rows = np.maximum(upper - lower + 1, 1).astype(int)
    matrix[:3, 3] += matrix[:3, :2] @ lower
    return Plane(matrix, (int(rows), int(cols)))


def _centres_beside(to_pixel: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Corners (m, 2) as (col, row) of the region of voxel centres that are within half a voxel of the depth 0 plane.

    ``to_pixel``: (i, j, k, 1) -> (col, row, depth, 1).
    """
    corners = transform_points(to_pixel, list(itertools.product(*((0, n - 1) for n in shape[::-1]))))
    half = (0.5 + ALIGNED) * np.abs(to_pixel[2, :3]).sum()
    faces = [cut_box(corners - [0, 0, depth]) for depth in (-half, half)]
    return np.concatenate([*faces, corners[np.abs(corners[:, 2]) <= half, :2]])


def slab_thickness(plane: Plane, geometry: VolumeGeometry) -> float:
    """How thick, in mm, a voxel of ``geometry`` is along the plane's normal: sum of |normal . voxel edge|.

    For an index slice that is the slice spacing. The plane cuts exactly the voxels whose centres are within half of it
    (the support function of the voxel's box).
    """
    return float(np.abs(plane.normal @ geometry.ijk_to_ras[:3, :3]).sum())


def sample_plane(volume: Volume, plane: Plane, order: int = 1, fill: float | None = None) -> NDArray[Any]:
    """The image that ``plane`` shows of ``volume``: (rows, cols), colour (rows, cols, 3).

    A plane on the voxel grid comes as a view, without copying: do not write into it. Else ``order`` 1 interpolates
    linearly (float32; colour stays uint8) and ``order`` 0 takes the nearest voxel (dtype kept). Pixels outside the
    volume's outer voxel faces are ``fill``, by default the volume's minimum. Never copies the volume.
    """
    rows, cols = plane.shape
    matrix = volume.geometry.ras_to_ijk @ plane.pixel_to_ras
    size = np.array(volume.geometry.shape[::-1])
    axes = _aligned_axes(matrix)
    # One array of voxel positions per index axis (i, j, k); on the grid they depend on the row or the column alone.
    col, row = np.arange(cols, dtype=np.float64)[None, :], np.arange(rows, dtype=np.float64)[:, None]
    if axes is not None:
        step = dict(zip(axes, (matrix[axes[0], 0] * col, matrix[axes[1], 1] * row, np.zeros((1, 1))), strict=True))
        ijk = [matrix[a, 3] + step[a] for a in range(3)]
        image = _sample_aligned(volume.array, ijk, axes, order)
    else:
        ijk = [matrix[a, 0] * col + matrix[a, 1] * row + matrix[a, 3] for a in range(3)]
        image = _sample_oblique(volume.array, [np.clip(p, 0, n - 1) for p, n in zip(ijk, size, strict=True)], order)
    if volume.is_colour and image.dtype != np.uint8:
        image = np.rint(image).astype(np.uint8)
    outside = [(p < -0.5 - ALIGNED) | (p > n - 0.5 + ALIGNED) for p, n in zip(ijk, size, strict=True)]
    if any(o.any() for o in outside):  # never so for a view: some axis of it was resampled
        image[np.broadcast_to(outside[0] | outside[1] | outside[2], plane.shape)] = (
            volume.minimum if fill is None else fill
        )
    return image


def _aligned_axes(pixel_to_ijk: FloatArray) -> tuple[int, int, int] | None:
    """The index axes (0 = i) that columns, rows and depth step along; None for a plane oblique to the grid."""
    steps = np.abs(pixel_to_ijk[:3, :2])
    col, row = int(steps[:, 0].argmax()), int(steps[:, 1].argmax())
    steps[col, 0] = steps[row, 1] = 0
    return None if col == row or steps.max() > ALIGNED else (col, row, 3 - col - row)


def _sample_aligned(
    array: NDArray[Any], ijk: list[FloatArray], axes: tuple[int, int, int], order: int
) -> NDArray[Any]:
    """Separable sampling at the voxel positions ``ijk``; axes on whole voxels are sliced, the others interpolated."""
    image = array
    for axis in reversed(axes):  # the depth first: it leaves one slice, or two to blend
        position, target, last = ijk[axis].ravel(), 2 - axis, array.shape[2 - axis] - 1
        nearest = np.floor(position + 0.5).astype(np.intp)
        step = int(nearest[1] - nearest[0]) if len(nearest) > 1 else 1
        whole = np.abs(position - nearest).max() < ON_GRID and abs(step) == 1
        if whole and min(nearest[0], nearest[-1]) >= 0 and max(nearest[0], nearest[-1]) <= last:
            stop = int(nearest[-1]) + step
            index: Any = slice(int(nearest[0]), None if stop < 0 else stop, step)
            image = image[(slice(None),) * target + (index,)]
        elif order == 0:
            image = image.take(np.clip(nearest, 0, last), axis=target)
        else:
            clipped = np.clip(position, 0, last)
            lower = np.minimum(clipped.astype(np.intp), max(last - 1, 0))
            shape = [1] * image.ndim
            shape[target] = -1
            weight = (clipped - lower).astype(np.float32).reshape(shape)
            below = image.take(lower, axis=target).astype(np.float32)
            above = image.take(np.minimum(lower + 1, last), axis=target).astype(np.float32)
            image = below + weight * (above - below)
    col, row, depth = axes
    image = image.squeeze(2 - depth)
    return image if row > col else image.swapaxes(0, 1)


def _sample_oblique(array: NDArray[Any], ijk: list[FloatArray], order: int) -> NDArray[Any]:
    """Nearest or trilinear sampling at voxel positions ``ijk``, each (rows, cols) and inside the volume."""
    if order == 0:
        i, j, k = (np.floor(p + 0.5).astype(np.intp) for p in ijk)
        return array[k, j, i]
    from scipy import ndimage  # here: importing it takes longer than sampling an index slice

    def sample(channel: NDArray[Any]) -> NDArray[Any]:
        return ndimage.map_coordinates(channel, ijk[::-1], np.float32, order=1, prefilter=False)

    return sample(array) if array.ndim == 3 else np.stack([sample(array[..., c]) for c in range(3)], axis=-1)


def paste_mask(mask: ArrayLike, plane: Plane, geometry: VolumeGeometry) -> Crop:
    """The voxels that a mask (rows, cols) drawn on ``plane`` stands for, as a crop.

    A voxel is taken when the plane cuts it (its centre is within half of ``slab_thickness``; a plane exactly between
    two slices takes the lower one) and the pixel nearest to its centre is set. On an index slice those are exactly
    voxels of that slice. Works on the mask's bounding box only. Raises GeometryError when the mask is of another
    shape than the plane.
    """
    mask = np.asarray(mask)
    if mask.shape != plane.shape:
        raise GeometryError(f"The mask has {mask.shape} pixels but its plane has {plane.shape}; give both alike.")
    mask = mask.astype(bool, copy=False)
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Crop.empty()
    to_pixel = plane.ras_to_pixel @ geometry.ijk_to_ras  # (i, j, k, 1) -> (col, row, depth, 1)
    half = slab_thickness(plane, geometry) / 2
    corners = [
        (c, r, d, 1)
        for c in (cols[0] - 0.5, cols[-1] + 0.5)
        for r in (rows[0] - 0.5, rows[-1] + 0.5)
        for d in (-half, half)
    ]
    ijk = (np.array(corners) @ np.linalg.inv(to_pixel).T)[:, :3]
    lower = np.maximum(np.ceil(ijk.min(axis=0) - ALIGNED), 0).astype(int)
    upper = np.minimum(np.floor(ijk.max(axis=0) + ALIGNED) + 1, geometry.shape[::-1]).astype(int)
    if (lower >= upper).any():
        return Crop.empty()
    axes = _aligned_axes(np.linalg.inv(to_pixel))
    if axes is not None:
        return _paste_aligned(mask, to_pixel, axes, lower, upper)
    return _paste_oblique(mask, to_pixel, half, lower, upper)


def _paste_aligned(
    mask: BoolArray, to_pixel: FloatArray, axes: tuple[int, int, int], lower: NDArray[Any], upper: NDArray[Any]
) -> Crop:
    """Paste onto the one slice that a plane along the grid cuts, within the index bounds (i, j, k)."""
    col, row, depth = axes
    index = math.ceil(-to_pixel[2, 3] / to_pixel[2, depth] - 0.5 - ALIGNED)
    if not lower[depth] <= index < upper[depth]:
        return Crop.empty()
    pixels, inside = [], []
    for pixel, axis, count in ((0, col, mask.shape[1]), (1, row, mask.shape[0])):
        position = to_pixel[pixel, axis] * np.arange(lower[axis], upper[axis]) + to_pixel[pixel, 3]
        nearest = np.floor(position + 0.5).astype(np.intp)
        pixels.append(np.clip(nearest, 0, count - 1))
        inside.append((nearest >= 0) & (nearest < count))
    block = mask[np.ix_(pixels[1], pixels[0])] & inside[1][:, None] & inside[0]
    block = np.expand_dims(block if row > col else block.T, 2 - depth)
    start = lower.copy()
    start[depth] = index
    return Crop(block, (int(start[2]), int(start[1]), int(start[0]))).tight()


def _paste_oblique(
    mask: BoolArray, to_pixel: FloatArray, half: float, lower: NDArray[Any], upper: NDArray[Any]
) -> Crop:
    """Paste onto all voxels within ``half`` mm of a plane oblique to the grid, within the index bounds (i, j, k)."""
    # Along the index axis nearest to the normal a plane cuts three voxels at most (sum of the normal's components
    # over the largest), so the work is that of the plane's area and not of the block around it.
    main = int(np.abs(to_pixel[2, :3]).argmax())
    a, b = (axis for axis in (0, 1, 2) if axis != main)
    along_a, along_b = np.arange(lower[a], upper[a])[:, None], np.arange(lower[b], upper[b])[None, :]
    centre = -(to_pixel[2, a] * along_a + to_pixel[2, b] * along_b + to_pixel[2, 3]) / to_pixel[2, main]
    reach = half / abs(to_pixel[2, main])
    first = np.ceil(centre - reach - ALIGNED)
    hits = []
    for offset in range(math.ceil(2 * reach)):
        index = first + offset
        hit = (index < centre + reach - ALIGNED) & (index >= lower[main]) & (index < upper[main])
        col, row = (
            np.floor(p[a] * along_a + p[b] * along_b + p[main] * index + p[3] + 0.5).astype(np.intp)
            for p in to_pixel[:2]
        )
        hit &= (col >= 0) & (col < mask.shape[1]) & (row >= 0) & (row < mask.shape[0])
        hit[hit] = mask[row[hit], col[hit]]
        at_a, at_b = np.nonzero(hit)
        ijk = np.empty((len(at_a), 3), dtype=np.intp)
        ijk[:, a], ijk[:, b], ijk[:, main] = at_a + lower[a], at_b + lower[b], index[hit]
        hits.append(ijk[:, ::-1])
    voxels = np.concatenate(hits)
    if not len(voxels):
        return Crop.empty()
    start = voxels.min(axis=0)
    block = np.zeros(voxels.max(axis=0) - start + 1, dtype=bool)
    block[tuple((voxels - start).T)] = True
    return Crop(block, (int(start[0]), int(start[1]), int(start[2])))

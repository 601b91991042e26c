"""Grids that have the same voxels in another order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from AutoPromptSAMLib.geometry.grid import BoolArray, Crop, FloatArray, VolumeGeometry, transform_points

SAME_GRID = 0.01  # voxels that two grids may be apart and count as one: headers round, and nobody sees it


@dataclass(frozen=True)
class Placement:
    """How a volume's voxels lie in another grid: index ``a`` (of k, j, i) there is ``signs[a]`` times the volume's
    index ``axes[a]``, plus ``shift[a]``.

    Not only the first voxel may differ: Slicer turns left-handed volumes right-handed when it loads them, with the
    slices in reverse, while their segmentations stay as they were.
    """

    axes: tuple[int, ...]
    signs: tuple[int, ...]
    shift: tuple[int, ...]

    @property
    def inverse(self) -> Placement:
        """The other grid's voxels in the volume."""
        axes = tuple(np.argsort(self.axes).tolist())
        return Placement(axes, tuple(self.signs[a] for a in axes), tuple(-self.signs[a] * self.shift[a] for a in axes))

    def block(self, lower: ArrayLike, upper: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """A block of the volume, first voxel (k, j, i) and first one after it, in the other grid."""
        first, last = np.asarray(lower)[list(self.axes)], np.asarray(upper)[list(self.axes)] - 1
        ends = np.sort(np.stack([first, last]) * self.signs + self.shift, axis=0)
        return ends[0], ends[1] + 1

    def turn(self, mask: BoolArray) -> BoolArray:
        """The voxels of a block of the volume (k, j, i) in the order of the other grid; a view."""
        return mask.transpose(self.axes)[tuple(slice(None, None, sign) for sign in self.signs)]


def placement(shape: tuple[int, int, int], to_other: FloatArray) -> Placement | None:
    """How the voxels of a volume of ``shape`` (k, j, i) lie in another grid, None when they are not voxels of it.

    ``to_other``: 4x4 from (i, j, k) of the volume to (i, j, k) there.
    """
    whole = np.rint(to_other)
    corners = np.array([[corner >> axis & 1 for axis in range(3)] for corner in range(8)])
    corners = corners * (np.array(shape[::-1]) - 1)
    if np.abs(transform_points(to_other - whole, corners)).max() > SAME_GRID:
        return None
    turn = whole[2::-1, 2::-1]  # (k, j, i) of the volume -> (k, j, i) there
    if (np.abs(turn).sum(axis=0) != 1).any() or (np.abs(turn).sum(axis=1) != 1).any():
        return None
    axes = np.abs(turn).argmax(axis=1)
    signs = turn[range(3), axes].astype(int)
    return Placement(tuple(axes.tolist()), tuple(signs.tolist()), tuple(whole[2::-1, 3].astype(int).tolist()))


def crop_on(crop: Crop, geometry: VolumeGeometry, wanted: VolumeGeometry) -> Crop | None:
    """A crop of one grid as crop of another, None when not all of its voxels are voxels of that one too."""
    if geometry.close_to(wanted):
        return crop
    place = placement(geometry.shape, wanted.ras_to_ijk @ geometry.ijk_to_ras)
    if place is None:
        return None
    crop = crop.tight()
    if crop.is_empty:
        return crop
    lower, upper = place.block(crop.lower, crop.upper)
    if (lower < 0).any() or (upper > wanted.shape).any():
        return None
    return Crop(place.turn(crop.mask), (int(lower[0]), int(lower[1]), int(lower[2])))


def same_voxels(one: VolumeGeometry, other: VolumeGeometry) -> bool:
    """Whether two grids have the same voxels, in whatever order."""
    place = placement(one.shape, other.ras_to_ijk @ one.ijk_to_ras)
    if place is None:
        return one.close_to(other)
    lower, upper = place.block((0, 0, 0), one.shape)
    return not lower.any() and upper.tolist() == list(other.shape)

"""A block of grey values in a volume: how an uncertainty travels, as a ``Crop`` does for a mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry import Plane, VolumeGeometry


@dataclass(frozen=True, eq=False)
class GreyCrop:
    """``values`` uint8 (k, j, i) whose first voxel is voxel ``lower`` (k, j, i) of the volume; 0 everywhere else."""

    values: NDArray[np.uint8]
    lower: tuple[int, int, int] = (0, 0, 0)

    @staticmethod
    def empty() -> GreyCrop:
        """The crop without voxels."""
        return GreyCrop(np.zeros((0, 0, 0), dtype=np.uint8))

    @property
    def upper(self) -> tuple[int, int, int]:
        """First voxel (k, j, i) after the block, exclusive."""
        (k, j, i), (nk, nj, ni) = self.lower, self.values.shape
        return k + nk, j + nj, i + ni

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the block in the volume's array (k, j, i)."""
        (k, j, i), (uk, uj, ui) = self.lower, self.upper
        return slice(k, uk), slice(j, uj), slice(i, ui)

    @property
    def is_empty(self) -> bool:
        """Whether all values are 0."""
        return not self.values.any()

    def check_fits(self, shape: Sequence[int]) -> None:
        """Raise GeometryError when the block sticks out of a volume of ``shape`` (K, J, I)."""
        if any(u > n for u, n in zip(self.upper, shape, strict=True)):
            raise GeometryError(
                f"Values up to voxel {self.upper} do not fit into a volume of {tuple(shape)} voxels; give the image "
                "that they were made on."
            )

    def to_full(self, shape: Sequence[int]) -> NDArray[np.uint8]:
        """The values as a whole volume of ``shape`` (K, J, I); GeometryError when the block does not fit."""
        self.check_fits(shape)
        full = np.zeros(tuple(shape), dtype=np.uint8)
        full[self.slices] = self.values
        return full


def united_grey(crops: Iterable[GreyCrop]) -> GreyCrop:
    """All crops in the block around them, the larger value where they overlap."""
    crops = [crop for crop in crops if not crop.is_empty]
    if not crops:
        return GreyCrop.empty()
    lower = np.min([crop.lower for crop in crops], axis=0)
    upper = np.max([crop.upper for crop in crops], axis=0)
    block = np.zeros(upper - lower, dtype=np.uint8)
    for crop in crops:
        here = block[tuple(slice(a, b) for a, b in zip(crop.lower - lower, crop.upper - lower, strict=True))]
        np.maximum(here, crop.values, out=here)
    return GreyCrop(block, (int(lower[0]), int(lower[1]), int(lower[2])))


def paste_grey(image: NDArray[np.floating], plane: Plane, geometry: VolumeGeometry) -> GreyCrop:
    """Values from 0 to 1 (rows, cols) on a slice of ``slice_plane`` as 0 to 255 in its voxels, without empty margins.

    A voxel takes the pixel nearest to its centre, as in ``paste_mask``.
    """
    assert plane.axis is not None
    assert plane.index is not None
    grey = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    row_axis, col_axis = (axis for axis in (0, 1, 2) if axis != plane.axis)
    to_pixel = plane.ras_to_pixel @ geometry.ijk_to_ras  # (i, j, k, 1) -> (col, row, depth, 1)
    inside = []
    for pixel, axis in ((1, row_axis), (0, col_axis)):
        position = to_pixel[pixel, 2 - axis] * np.arange(geometry.shape[axis]) + to_pixel[pixel, 3]
        inside.append(np.clip(np.floor(position + 0.5).astype(np.intp), 0, plane.shape[1 - pixel] - 1))
    block = np.expand_dims(grey[np.ix_(*inside)], plane.axis)
    return _tight(block, plane.axis, plane.index)


def _tight(block: NDArray[np.uint8], axis: int, index: int) -> GreyCrop:
    lower, kept = [0, 0, 0], [slice(None)] * 3
    lower[axis] = index
    for other in (a for a in (0, 1, 2) if a != axis):
        used = np.flatnonzero(block.any(axis=tuple(a for a in range(3) if a != other)))
        if not len(used):
            return GreyCrop.empty()
        lower[other], kept[other] = int(used[0]), slice(int(used[0]), int(used[-1]) + 1)
    # A copy: a view would keep the whole slice in memory.
    return GreyCrop(block[tuple(kept)].copy(), (lower[0], lower[1], lower[2]))

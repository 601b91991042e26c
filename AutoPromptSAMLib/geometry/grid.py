"""Voxel grids: where a volume lies in the world, its voxels, and crops of them.

World coordinates are RAS millimetres (R, A, S); arrays are indexed (k, j, i); affines are 4x4 and map
(i, j, k, 1) -> (R, A, S, 1), voxel centres at integer indices.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from AutoPromptSAMLib.errors import GeometryError, ImageError

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]

# |cos| between two grid axes above which the grid counts as sheared: 1e-3 moves a voxel at the far edge of a
# 512 voxel volume by half a voxel, float32 headers stay below 1e-6.
SHEAR_TOLERANCE = 1e-3
RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
ANATOMICAL_AXES = {"sagittal": 0, "coronal": 1, "axial": 2}  # the world axis (R, A, S) that each one steps along


def lps_from_ras(points: ArrayLike) -> FloatArray:
    """RAS points (..., 3) in LPS (DICOM, ITK); the same function goes back."""
    return np.asarray(points, dtype=np.float64) * np.array([-1.0, -1.0, 1.0])


ras_from_lps = lps_from_ras


def lps_affine_from_ras(affine: ArrayLike) -> FloatArray:
    """Index-to-RAS affine (4, 4) as index-to-LPS; the same function goes back."""
    return RAS_LPS @ np.asarray(affine, dtype=np.float64)


ras_affine_from_lps = lps_affine_from_ras


def transform_points(affine: FloatArray, points: ArrayLike) -> FloatArray:
    """Points (n, 3) or (3,) through a 4x4 affine, same shape out."""
    return np.asarray(points, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]


def frozen_array(values: ArrayLike, dtype: Any = np.float64) -> NDArray[Any]:
    """A read-only copy, for the fields of frozen dataclasses."""
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def number_array(values: ArrayLike) -> NDArray[Any]:
    """``values`` as an array of real numbers; ValueError for texts, booleans, None, ragged lists and huge integers."""
    try:
        array = np.asarray(values)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{array.dtype} is not a number")
    return array


def checked_affine(values: ArrayLike, what: str) -> FloatArray:
    """A finite, invertible 4x4 affine as a read-only array; anything else is a GeometryError naming ``what``."""
    try:
        affine = frozen_array(number_array(values))
    except ValueError:
        raise GeometryError(f"{what} is not a 4x4 matrix of numbers; give one.") from None
    if affine.shape != (4, 4):
        raise GeometryError(f"{what} has shape {affine.shape}; give a 4x4 matrix.")
    if not np.isfinite(affine).all():
        raise GeometryError(f"{what} contains NaN or infinity; repair the image header.")
    if not np.allclose(affine[3], [0, 0, 0, 1], rtol=0, atol=1e-9):
        raise GeometryError(f"{what} is a projection, not an affine; its last row must be 0 0 0 1.")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # Relative to the spacings, so that micrometre grids are as invertible as metre ones.
    if (lengths < 1e-12).any() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
        raise GeometryError(f"{what} cannot be inverted (a voxel has no volume); repair the image header.")
    return affine


@dataclass(frozen=True, eq=False)
class VolumeGeometry:
    """A voxel grid in the world.

    ``shape``: (K, J, I) voxels. ``ijk_to_ras``: 4x4, mm. Oblique, anisotropic and left-handed grids are fine;
    sheared, singular or not finite ones are refused with GeometryError.
    """

    shape: tuple[int, int, int]
    ijk_to_ras: FloatArray

    def __post_init__(self) -> None:
        shape = tuple(self.shape)
        if len(shape) != 3 or any(not float(n).is_integer() or n < 1 for n in shape):
            raise GeometryError(f"A volume needs three positive sizes (k, j, i), not {shape}.")
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        affine = checked_affine(self.ijk_to_ras, "The volume's IJK to RAS matrix")
        object.__setattr__(self, "ijk_to_ras", affine)
        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        cosines = np.abs(directions.T @ directions - np.eye(3)).max()
        if cosines > SHEAR_TOLERANCE:
            angle = np.degrees(np.arccos(min(1.0, cosines)))
            raise GeometryError(
                f"The volume is sheared (two of its axes meet at {angle:.1f} instead of 90 degrees, as with gantry "
                "tilt); resample it to an orthogonal grid first."
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VolumeGeometry):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.ijk_to_ras, other.ijk_to_ras)

    def __hash__(self) -> int:
        return hash((self.shape, self.ijk_to_ras.tobytes()))

    def __str__(self) -> str:
        sizes = " x ".join(str(n) for n in reversed(self.shape))
        spacing = " x ".join(f"{s:.4g}" for s in self.spacing)
        origin = ", ".join(f"{x:.2f}" for x in self.ijk_to_ras[:3, 3])
        return f"{sizes} voxels of {spacing} mm at RAS ({origin})"

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along (i, j, k) in mm."""
        si, sj, sk = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0).tolist()
        return si, sj, sk

    @cached_property
    def ras_to_ijk(self) -> FloatArray:
        """4x4 inverse of ``ijk_to_ras``."""
        return frozen_array(np.linalg.inv(self.ijk_to_ras))

    @property
    def corners(self) -> FloatArray:
        """(8, 3) RAS corners of the grid at the outer voxel faces; bit 0 of the row number is i, 1 is j, 2 is k."""
        edges = [(-0.5, n - 0.5) for n in self.shape]
        return self.ras_from_ijk([(i, j, k) for k, j, i in itertools.product(*edges)])

    def ijk_from_ras(self, points: ArrayLike) -> FloatArray:
        """RAS points (n, 3) -> continuous (i, j, k), (n, 3)."""
        return transform_points(self.ras_to_ijk, points)

    def ras_from_ijk(self, points: ArrayLike) -> FloatArray:
        """Continuous (i, j, k) points (n, 3) -> RAS mm, (n, 3)."""
        return transform_points(self.ijk_to_ras, points)

    def contains(self, points: ArrayLike) -> BoolArray:
        """Which RAS points (n, 3) lie in some voxel, outer faces included: bool (n,)."""
        ijk = self.ijk_from_ras(points)
        # A click on the outer face must not fall off by rounding.
        return np.all((ijk >= -0.5 - 1e-6) & (ijk <= np.array(self.shape[::-1]) - 0.5 + 1e-6), axis=-1)

    def array_axis(self, name: str) -> int:
        """The array axis (0 = k, 1 = j, 2 = i) that "axial", "sagittal" or "coronal" slices step along.

        Every name gets another axis, also for oblique grids: of the six assignments the one with the largest product
        of direction cosines.
        """
        if name not in ANATOMICAL_AXES:
            raise GeometryError(f'"{name}" is no slice direction; use axial, sagittal or coronal.')
        cosines = np.abs(self.ijk_to_ras[:3, :3]) / np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        best = max(itertools.permutations(range(3)), key=lambda p: np.prod(cosines[range(3), p]))
        return 2 - best[ANATOMICAL_AXES[name]]

    def close_to(self, other: VolumeGeometry, tolerance: float = 0.05) -> bool:
        """Whether both grids put every voxel at the same place, within ``tolerance`` of the smallest voxel side.

        The default allows for the float32 quaternions of NIfTI headers and still is far below what a user could see.
        """
        if self.shape != other.shape:
            return False
        away = np.linalg.norm(self.corners - other.corners, axis=1).max()
        return bool(away <= tolerance * min(*self.spacing, *other.spacing))

    def transformed(self, parent: ArrayLike) -> VolumeGeometry:
        """The grid under a parent transform (4x4, RAS to RAS); one that shears the grid is refused."""
        return VolumeGeometry(self.shape, checked_affine(parent, "The parent transform") @ self.ijk_to_ras)

    def cropped(self, lower: Sequence[int], shape: Sequence[int]) -> VolumeGeometry:
        """The grid of the block of ``shape`` (k, j, i) that starts at voxel ``lower`` (k, j, i)."""
        affine = np.array(self.ijk_to_ras)
        affine[:3, 3] = self.ras_from_ijk(tuple(reversed(lower)))
        return VolumeGeometry((shape[0], shape[1], shape[2]), affine)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: ``{"shape": [K, J, I], "ijk_to_ras": 4 rows of 4}``; floats survive exactly."""
        return {"shape": list(self.shape), "ijk_to_ras": self.ijk_to_ras.tolist()}

    @staticmethod
    def from_json(data: Any) -> VolumeGeometry:
        """Inverse of ``to_json``; anything malformed is a GeometryError."""
        if not isinstance(data, dict) or set(data) != {"shape", "ijk_to_ras"}:
            raise GeometryError('A geometry must be an object with exactly "shape" and "ijk_to_ras".')
        shape = data["shape"]
        if not isinstance(shape, list) or any(type(n) is not int for n in shape):
            raise GeometryError('The "shape" of a geometry must be a list of three whole numbers.')
        return VolumeGeometry(tuple(shape), data["ijk_to_ras"])


@dataclass(frozen=True, eq=False)
class Volume:
    """An image in the world.

    ``array``: (K, J, I) of a bool, integer or floating dtype, or (K, J, I, 3) uint8 colour (red, green, blue); not
    copied. ``modality``: DICOM code ("CT", "MR", ...) where known. ``name``: for messages and segments. ``has_size``:
    False for a picture, whose pixels have no known size or place: its geometry is made up, and no mm may be told.
    Raises ImageError for an array that is empty, not finite, or has other dimensions; GeometryError when ``geometry``
    is of another shape.
    """

    array: NDArray[Any]
    geometry: VolumeGeometry
    modality: str | None = None
    name: str = ""
    has_size: bool = True

    def __post_init__(self) -> None:
        array, name = np.asarray(self.array), self.name or "The image"
        if array.size == 0:
            raise ImageError(f"{name} is empty (size {array.shape}); load an image with voxels.")
        if array.ndim == 4 and array.shape[3] != 3:
            raise ImageError(f"{name} has 4 dimensions {array.shape}; pick one frame of it first.")
        if array.ndim not in (3, 4):
            raise ImageError(f"{name} has {array.ndim} dimensions {array.shape}; give a volume with three (k, j, i).")
        if array.ndim == 4 and array.dtype != np.uint8:
            raise ImageError(f"{name} has {array.dtype} colours; convert it to 8 bits per channel first.")
        if array.dtype.kind not in "buif":
            raise ImageError(f"{name} has {array.dtype} voxels; convert it to whole or real numbers first.")
        if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            count = array.size - int(np.count_nonzero(finite))
            raise ImageError(
                f"{name} has {count} of {array.size} voxels that are NaN or infinite; replace them by a number first."
            )
        if array.dtype == np.float16 or not array.dtype.isnative:  # scipy.ndimage reads neither
            array = array.astype(np.float32 if array.dtype == np.float16 else array.dtype.newbyteorder("="))
        object.__setattr__(self, "array", array)
        if array.shape[:3] != self.geometry.shape:
            raise GeometryError(
                f"{name} has {array.shape[:3]} voxels (k, j, i) but its geometry says {self.geometry.shape}; "
                "give both of the same size."
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of voxels and geometry: the same image under another name has the same. Takes 0.1 s for 100 MB."""
        digest = hashlib.sha256(f"{self.array.shape}{self.array.dtype.str}{self.geometry.to_json()}".encode())
        for part in self.array:  # slice by slice: no copy of a volume that is not contiguous
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    @property
    def is_colour(self) -> bool:
        """Whether the array is (K, J, I, 3) red, green, blue."""
        return self.array.ndim == 4

    @cached_property
    def minimum(self) -> float:
        """Smallest voxel value, looked up once."""
        return self.array.min().item()


@dataclass(frozen=True, eq=False)
class Crop:
    """A block of a label volume: ``mask`` bool (k, j, i) whose first voxel is voxel ``lower`` (k, j, i) of the volume.

    Everything outside the block is background. Results travel as crops because writing one into a segment takes
    1.5 ms where a whole 512 x 512 x 120 volume takes 47 to 275 ms (measured).
    """

    mask: BoolArray
    lower: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        mask = np.asarray(self.mask)
        if mask.ndim != 3:
            raise GeometryError(f"A crop needs a mask with three dimensions (k, j, i), not {mask.ndim}.")
        lower = tuple(int(n) for n in self.lower)
        if len(lower) != 3 or min(lower) < 0:
            raise GeometryError(f"A crop must start at a voxel (k, j, i) of the volume, not at {self.lower}.")
        object.__setattr__(self, "mask", mask.astype(bool, copy=False))
        object.__setattr__(self, "lower", lower)

    @staticmethod
    def empty() -> Crop:
        """The crop without voxels."""
        return Crop(np.zeros((0, 0, 0), dtype=bool))

    @staticmethod
    def from_full(mask: ArrayLike) -> Crop:
        """The tight crop of a mask (K, J, I)."""
        return Crop(np.asarray(mask).astype(bool, copy=False)).tight()

    @property
    def upper(self) -> tuple[int, int, int]:
        """First voxel (k, j, i) after the block, exclusive."""
        (k, j, i), (nk, nj, ni) = self.lower, self.mask.shape
        return k + nk, j + nj, i + ni

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the block in the volume's array (k, j, i)."""
        (k, j, i), (uk, uj, ui) = self.lower, self.upper
        return slice(k, uk), slice(j, uj), slice(i, ui)

    @property
    def is_empty(self) -> bool:
        """Whether no voxel is set."""
        return not self.mask.any()

    @property
    def count(self) -> int:
        """Number of set voxels."""
        return int(np.count_nonzero(self.mask))

    def tight(self) -> Crop:
        """The same voxels in the smallest block; shares memory."""
        lower, block = [], []
        for axis in range(3):
            used = np.flatnonzero(self.mask.any(axis=tuple(a for a in range(3) if a != axis)))
            if not len(used):
                return Crop.empty()
            lower.append(self.lower[axis] + int(used[0]))
            block.append(slice(int(used[0]), int(used[-1]) + 1))
        return Crop(self.mask[tuple(block)], (lower[0], lower[1], lower[2]))

    def to_full(self, shape: Sequence[int]) -> BoolArray:
        """The mask as a whole volume of ``shape`` (K, J, I); GeometryError when the block does not fit."""
        if any(u > n for u, n in zip(self.upper, shape, strict=True)):
            raise GeometryError(
                f"A crop up to voxel {self.upper} does not fit into a volume of {tuple(shape)} voxels."
            )
        full = np.zeros(tuple(shape), dtype=bool)
        full[self.slices] = self.mask
        return full

    def block(self, lower: ArrayLike, upper: ArrayLike) -> BoolArray:
        """The voxels from ``lower`` up to ``upper`` (k, j, i; exclusive) as a new mask, False outside of the crop."""
        lower, upper = np.asarray(lower), np.asarray(upper)
        block = np.zeros(upper - lower, dtype=bool)
        first, last = np.maximum(lower, self.lower), np.minimum(upper, self.upper)
        if (first < last).all():
            part = self.mask[tuple(map(slice, first - self.lower, last - self.lower))]
            block[tuple(map(slice, first - lower, last - lower))] = part
        return block

    def symmetric_difference(self, other: Crop) -> Crop:
        """Voxels of exactly one of both, as a tight crop: what has to be flipped to make one of the other."""
        if self.is_empty or other.is_empty:
            return (other if self.is_empty else self).tight()
        lower, upper = np.minimum(self.lower, other.lower), np.maximum(self.upper, other.upper)
        mask = self.block(lower, upper) ^ other.block(lower, upper)
        return Crop(mask, (int(lower[0]), int(lower[1]), int(lower[2]))).tight()

    def union(self, other: Crop) -> Crop:
        """Voxels of either, in the block around both."""
        if self.is_empty or other.is_empty:
            return other if self.is_empty else self
        lower = np.minimum(self.lower, other.lower)
        mask = np.zeros(np.maximum(self.upper, other.upper) - lower, dtype=bool)
        for crop in (self, other):
            here = tuple(slice(a - o, b - o) for a, b, o in zip(crop.lower, crop.upper, lower, strict=True))
            mask[here] |= crop.mask
        return Crop(mask, (int(lower[0]), int(lower[1]), int(lower[2])))

    def shifted(self, offset: Sequence[int]) -> Crop:
        """The block moved by ``offset`` voxels (k, j, i)."""
        k, j, i = (a + int(b) for a, b in zip(self.lower, offset, strict=True))
        return Crop(self.mask, (k, j, i))

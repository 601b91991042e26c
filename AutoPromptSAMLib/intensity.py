"""Voxel values -> the 8-bit RGB image that networks of the SAM family take.

A mapping is made once for a volume (``default_mapping``, or a preset), so that the same tissue looks the same on every
slice; ``apply`` then is cheap.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.geometry import Plane, Volume, sample_plane

UInt8Array = NDArray[np.uint8]

# (level, width) in HU. "abdomen" is the soft tissue window that MedSAM and LiteMedSAM were trained with (Ma et al.,
# Nature Communications 2024, pre_CT_MR.py); the others are typical values of radiopaedia.org/articles/windowing-ct.
CT_PRESETS: dict[str, tuple[float, float]] = {
    "abdomen": (40, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (30, 150),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
}
CT_MINIMUM = -500  # an image of unknown modality that goes down to here is in HU: nothing else has air below zero
PERCENTILE_SAMPLES = 2_000_000  # 0.5 % of it is 10,000 voxels: percentiles repeat to 1 % of their rank


@runtime_checkable
class IntensityMapping(Protocol):
    """Maps a slice (rows, cols) or (rows, cols, 3) of any number type to uint8 (rows, cols, 3)."""

    def apply(self, image: ArrayLike) -> UInt8Array:
        """The image as networks take it; ImageError when the mapping cannot take such an image."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object; ``mapping_from_json`` is the inverse."""


@dataclass(frozen=True)
class WindowLevel:
    """Linear between ``level - width / 2`` (black) and ``level + width / 2`` (white), in units of the image."""

    level: float
    width: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.level) and math.isfinite(self.width) and self.width > 0):
            raise ImageError(f"A window needs a finite level and a width above 0, not {self.level} and {self.width}.")

    @staticmethod
    def preset(name: str) -> WindowLevel:
        """A window of ``CT_PRESETS`` by name."""
        if name not in CT_PRESETS:
            raise ImageError(f'There is no CT window "{name}"; choose one of {", ".join(CT_PRESETS)}.')
        return WindowLevel(*CT_PRESETS[name])

    def apply(self, image: ArrayLike) -> UInt8Array:
        """Grey slice (rows, cols) -> uint8 (rows, cols, 3)."""
        return _stretch(image, self.level - self.width / 2, self.level + self.width / 2)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return {"type": "window", **asdict(self)}


@dataclass(frozen=True)
class Percentile:
    """Linear between two intensities, the ``low`` and ``high`` percentiles of a volume's foreground.

    0.5 and 99.5 are MedSAM's choice for MR (Ma et al. 2024). Make it with ``of``; ``lower`` and ``upper`` are the
    intensities, so that every slice is mapped alike.
    """

    lower: float
    upper: float
    low: float = 0.5
    high: float = 99.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ImageError(f"A mapping needs finite intensities lower < upper, not {self.lower} and {self.upper}.")

    @staticmethod
    def of(volume: Volume, low: float = 0.5, high: float = 99.5) -> Percentile:
        """The mapping for a grey volume; its foreground is all that is brighter than its darkest voxels.

        Volumes above 2 million voxels are sampled evenly. A volume of one single value maps to black.
        """
        if volume.is_colour:
            raise ImageError(
                "A colour image has no single intensity to take percentiles of; use its colours as they are."
            )
        if not 0 <= low < high <= 100:
            raise ImageError(f"Percentiles must be 0 <= low < high <= 100, not {low} and {high}.")
        # An odd stride over the flat index does not beat with row lengths, which mostly are even.
        stride = volume.array.size // PERCENTILE_SAMPLES | 1
        samples = (
            volume.array.reshape(-1)[::stride] if volume.array.flags.c_contiguous else volume.array.flat[::stride]
        )
        foreground = samples[samples > volume.minimum]
        if not foreground.size:
            return Percentile(volume.minimum, volume.minimum + 1, low, high)
        lower, upper = np.percentile(foreground, [low, high]).tolist()
        if lower == upper:  # nearly binary: the background is the other end
            lower = float(volume.minimum)
        return Percentile(lower, upper, low, high)

    def apply(self, image: ArrayLike) -> UInt8Array:
        """Grey slice (rows, cols) -> uint8 (rows, cols, 3)."""
        return _stretch(image, self.lower, self.upper)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return {"type": "percentile", **asdict(self)}


@dataclass(frozen=True)
class PassThrough:
    """8-bit images as they are: colour unchanged, grey repeated in three channels."""

    def apply(self, image: ArrayLike) -> UInt8Array:
        """uint8 or bool slice (rows, cols) or (rows, cols, 3) -> uint8 (rows, cols, 3); else ImageError."""
        image = np.asarray(image)
        if image.dtype != np.uint8 and image.dtype != np.bool_:
            raise ImageError(f"An image of {image.dtype} cannot be used as it is; choose a window or percentiles.")
        if image.ndim == 3 and image.shape[2] == 3:
            return np.ascontiguousarray(image, dtype=np.uint8)
        grey = image.view(np.uint8) * np.uint8(255) if image.dtype == np.bool_ else image
        return _rgb(grey)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return {"type": "pass-through"}


def default_mapping(volume: Volume) -> IntensityMapping:
    """How a volume is shown when nobody says otherwise.

    Colour, binary and 8-bit pictures as they are, and 8-bit CT, which somebody has windowed; CT (by its modality, or
    of unknown modality with values down to -500) in the abdomen window; everything else by the percentiles of its
    foreground. That includes 8-bit volumes: some MR is stored with its tissue in the darkest third and one bright
    vessel at 255.
    """
    if volume.is_colour or volume.array.dtype == np.bool_:
        return PassThrough()
    if volume.array.dtype == np.uint8 and (volume.modality == "CT" or len(volume.array) == 1):
        return PassThrough()
    if volume.modality == "CT" or (volume.modality is None and volume.minimum <= CT_MINIMUM):
        return WindowLevel.preset("abdomen")
    return Percentile.of(volume)


def picture_on(volume: Volume, plane: Plane, mapping: IntensityMapping) -> UInt8Array:
    """What networks see of a plane: uint8 (rows, cols, 3)."""
    image = sample_plane(volume, plane)
    stored = volume.array.dtype
    if stored in (np.uint8, np.bool_) and image.dtype != stored:  # interpolated; a pass-through takes 8 bits only
        image = np.rint(image).astype(stored)
    return np.ascontiguousarray(mapping.apply(image))


def mapping_from_json(data: Any) -> IntensityMapping:
    """Inverse of ``to_json`` of any mapping; ImageError when ``data`` is none."""
    classes = {"window": WindowLevel, "percentile": Percentile, "pass-through": PassThrough}
    try:
        values = dict(data)
        mapping: IntensityMapping = classes[values.pop("type")](**values)
        return mapping
    except (KeyError, TypeError, ValueError):
        raise ImageError(
            f'{data!r:.80} is no intensity mapping; its "type" must be one of {", ".join(classes)}.'
        ) from None


def _stretch(image: ArrayLike, lower: float, upper: float) -> UInt8Array:
    grey = np.asarray(image)
    if grey.ndim == 3:
        raise ImageError("A colour image was given where a grey one is needed; use its colours as they are.")
    # float32 is exact for the 16-bit integers of scanners, and twice as fast as float64.
    scaled = grey.astype(np.float64 if grey.dtype.itemsize > 4 else np.float32)
    np.clip(scaled, lower, upper, out=scaled)
    scaled -= lower
    scaled *= 255 / (upper - lower)
    return _rgb(np.rint(scaled, out=scaled).astype(np.uint8))


def _rgb(grey: UInt8Array) -> UInt8Array:
    if grey.ndim != 2:
        raise ImageError(f"An image needs two dimensions (rows, cols), not {grey.ndim}.")
    return np.repeat(grey[:, :, None], 3, axis=2)

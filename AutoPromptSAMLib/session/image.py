"""The image of a session as its jobs see it, and how what they found becomes one mask."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from AutoPromptSAMLib.geometry import Crop, Plane, Volume, slice_plane
from AutoPromptSAMLib.intensity import IntensityMapping, default_mapping, picture_on

LIBRARY = Path(__file__).parents[1]
# What an answer on a slice comes from, from the voxels and prompts to the mask.
ANSWERING = (
    "geometry", "intensity.py", "prompts", "backbones", "prompters", "refiners", "supports", "loops", "session"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SessionImage:
    """The image that jobs were started on; the session may have another one by the time they run."""

    volume: Volume
    mapping: IntensityMapping

    @staticmethod
    def of(volume: Volume, mapping: IntensityMapping | None) -> SessionImage:
        """With the default mapping for None; ImageError for one that does not fit the image."""
        image = SessionImage(volume, default_mapping(volume) if mapping is None else mapping)
        image.pixels(slice_plane(volume.geometry, 0, 0))  # an unfit mapping shows here
        return image

    def pixels(self, plane: Plane) -> np.ndarray:
        """What the network sees of a plane: uint8 (rows, cols, 3)."""
        return picture_on(self.volume, plane, self.mapping)

    @cached_property
    def identity(self) -> str:
        """Hash of the image and its mapping; made once, on the worker thread, when a run is to be remembered."""
        return hashlib.sha256(f"{self.volume.digest}{self.mapping.to_json()}".encode()).hexdigest()


def united(crops: Iterable[Crop]) -> Crop:
    """The voxels of all crops together; many slices at once, without growing a block for each."""
    crops = [crop for crop in crops if not crop.is_empty]
    if not crops:
        return Crop.empty()
    lower = np.min([crop.lower for crop in crops], axis=0)
    upper = np.max([crop.upper for crop in crops], axis=0)
    block = np.zeros(upper - lower, dtype=bool)
    for crop in crops:
        block[tuple(slice(a, b) for a, b in zip(crop.lower - lower, crop.upper - lower, strict=True))] |= crop.mask
    return Crop(block, (int(lower[0]), int(lower[1]), int(lower[2])))


@functools.cache
def rules(library: Path = LIBRARY) -> str:
    """Hash of all code that answers come from: slices that other rules found are not this version's answers."""
    parts = [library / name for name in ANSWERING]
    files = [path for part in parts for path in (sorted(part.rglob("*.py")) if part.is_dir() else [part])]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

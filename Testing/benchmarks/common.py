"""What the benchmarks share: labelled images, a session with a cache on disk, Dice, clicks as a person makes them."""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from AutoPromptSAMLib.backbones import load_backbone
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.geometry import Plane, Volume, VolumeGeometry, sample_plane, slice_plane
from AutoPromptSAMLib.images import load_labels, load_volume
from AutoPromptSAMLib.prompts import Box, Point
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.zoo import ensure, get_card
from AutoPromptSAMLib.zoo.sample import sample_ct
from AutoPromptSAMLib.zoo.store import home

Mask = NDArray[np.bool_]

# Every slice of a 512×512×133 CT along all three axes, encoded, is 4.6 GB.
CACHE_BYTES = 16 * 2**30


@dataclass(frozen=True, eq=False)
class Labelled:
    """An image and its label numbers (k, j, i), with the structures' label numbers by name."""

    volume: Volume
    labels: NDArray[np.integer]
    numbers: dict[str, int]

    def truth(self, name: str) -> Mask:
        """Voxels (k, j, i) of a structure."""
        return self.labels == self.numbers[name]

    def plane_truth(self, name: str, plane: Plane) -> Mask:
        """Pixels of a structure on a plane."""
        return (
            sample_plane(Volume(self.labels.astype(np.int32), self.volume.geometry), plane, order=0)
            == (self.numbers[name])
        )


def load(image: Path | None, labels: Path | None, numbers: dict[str, int] | None = None) -> Labelled:
    """A pair of files with ``numbers``, or the sample CT when there is no ``image``."""
    if image is None:
        sample = sample_ct()
        image, labels, numbers = sample.image, sample.labels, {name: n for n, name in sample.names.items()}
    assert labels is not None
    assert numbers is not None
    volume = load_volume(image)
    return Labelled(volume, load_labels(labels, volume.geometry), numbers)


def open_session(model: str, volume: Volume) -> LocalSession:
    """A session on ``volume`` that keeps encoded slices in the library's home folder, runs in memory only."""
    ensure(get_card(model))
    session = LocalSession(load_backbone(model), EmbeddingCache(home() / "embeddings", disk_bytes=CACHE_BYTES))
    session.set_image(volume)
    return session


def dice(a: Mask, b: Mask) -> float:
    """Dice overlap; 1 when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def largest_slice(mask: Mask, axis: int) -> int:
    """Index of the slice of largest area along an array axis."""
    return int(mask.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())


def tight_box(mask: Mask) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) of the first and last pixel centres of a mask (rows, cols)."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(cols[0]), float(rows[0]), float(cols[-1]), float(rows[-1])


def box_on_largest_slice(data: Labelled, name: str, axis: int) -> Box:
    """The tight box of a structure on its slice of largest area: all that the volume loop is given."""
    plane = slice_plane(data.volume.geometry, axis, largest_slice(data.truth(name), axis))
    return Box.on_plane(plane, tight_box(data.plane_truth(name, plane)))


def correcting_click(found: Mask, truth: Mask, geometry: VolumeGeometry, axis: int) -> Point | None:
    """The click that a person would correct ``found`` with: None when there is nothing to correct.

    On the slice with the largest wrong area along ``axis``, in the middle of its largest wrong region (connected
    voxels that are all missing, or all too much).
    """
    index = largest_slice(found ^ truth, axis)
    there, wanted = np.take(found, index, axis), np.take(truth, index, axis)
    regions = [ndimage.label(wrong) for wrong in (wanted & ~there, there & ~wanted)]
    sizes = [np.bincount(labels.ravel(), minlength=2)[1:] for labels, _ in regions]
    if not max(size.max() for size in sizes):
        return None
    kind = int(sizes[1].max() > sizes[0].max())
    region = regions[kind][0] == int(sizes[kind].argmax()) + 1
    spacing = [geometry.spacing[2 - a] for a in range(3) if a != axis]
    distance = ndimage.distance_transform_edt(np.pad(region, 1), sampling=spacing)[1:-1, 1:-1]
    voxel = list(np.unravel_index(int(distance.argmax()), distance.shape))
    voxel.insert(axis, index)
    return Point(geometry.ras_from_ijk([[float(v) for v in voxel[::-1]]])[0], positive=kind == 0)


def machine() -> str:
    """CPU and number of cores of this machine, as far as it tells."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments that every benchmark takes."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--model", default="lite-medsam", help="name of a model card")
    arguments.add_argument("--out", type=Path, help="write the figures to this JSON file")
    return arguments

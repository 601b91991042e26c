"""What an object looks like against its surroundings: two intensity histograms and their log ratio.

A box prompt says where, not what. When a mask is carried from slice to slice, errors feed the next prompt and grow: a
spleen that has ended goes on as a patch of lung. The intensities of the slice that the person prompted say what is
meant. This is the region term of graph cuts with histograms (Boykov and Jolly, ICCV 2001), refitted as the slices
change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BINS = 48
# The bins span the object's median plus and minus this many times its 5-95 % range: beyond, all is "far off".
SPAN = 3.0
# Log ratios are clipped: SAM's logits are about ±10 inside and outside, so appearance moves borders, not objects.
CLIP = 4.0
# Pixels around the object that count as its surroundings (pixels of a 512-pixel image, scaled with the image).
RING = 15
SMOOTHING = 1.0  # pixels; single pixels of a noisy CT say nothing


def smooth(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """The image (rows, cols[, 3]) as its appearance is judged: float32 brightness, slightly blurred."""
    grey = np.asarray(image, dtype=np.float32)
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    return ndimage.gaussian_filter(grey, SMOOTHING)


class Appearance:
    """Intensities inside an object and in the ring around it, learned from its masks.

    Made from an image of ``smooth`` and a mask (rows, cols) bool that is not empty. ``log_ratio`` gives, per pixel,
    log p(intensity | object) minus log p(intensity | surroundings), clipped to ±``CLIP``. ``update`` refits.
    """

    def __init__(self, image: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        inside, outside = _samples(image, mask)
        spread = float(np.subtract(*np.percentile(inside, [95, 5])))
        # An object of one single value (a drawn phantom) still needs a positive range.
        spread = max(spread, 0.02 * float(np.ptp(image)), 1e-6)
        middle = float(np.median(inside))
        self._edges = np.linspace(middle - SPAN * spread, middle + SPAN * spread, BINS + 1)
        self._inside = self._histogram(inside)
        self._outside = self._histogram(outside)

    def update(self, image: NDArray[np.float32], mask: NDArray[np.bool_], rate: float) -> None:
        """Move the histograms by ``rate`` (0-1) towards those of another slice."""
        inside, outside = _samples(image, mask)
        self._inside += rate * (self._histogram(inside) - self._inside)
        self._outside += rate * (self._histogram(outside) - self._outside)

    def log_ratio(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log ratio for every pixel of ``image``, any shape: positive where it looks like the object.

        Scaled by one minus the overlap of the two histograms: where object and surroundings look alike, appearance
        has little to say.
        """
        floor = 0.04 / BINS  # a bin that was never seen is unlikely, not impossible
        table = np.clip(np.log((self._inside + floor) / (self._outside + floor)), -CLIP, CLIP)
        overlap = float(np.minimum(self._inside, self._outside).sum())
        ratio: NDArray[np.float32] = ((1 - overlap) * table).astype(np.float32)[self._bins(image)]
        return ratio

    def _bins(self, values: NDArray[np.float32]) -> NDArray[np.intp]:
        width = self._edges[1] - self._edges[0]
        # Clipped as floats: intensities far off (a metal implant) may be beyond all integers after the division.
        return np.clip((values - self._edges[0]) / width, 0, BINS - 1).astype(np.intp)

    def _histogram(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        counts = np.bincount(self._bins(values), minlength=BINS).astype(np.float64)
        counts = ndimage.gaussian_filter1d(counts, 1.5)
        return counts / max(counts.sum(), 1e-9)


def _samples(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Intensities in the object without its rim (which is partial volume), and in the ring around it."""
    ring = max(2, round(RING * max(mask.shape) / 512))
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = tuple(slice(max(0, int(r[0]) - ring - 2), int(r[-1]) + ring + 3) for r in (rows, cols))
    mask, image = mask[window], image[window]
    core = ndimage.binary_erosion(mask)
    distance = ndimage.distance_transform_edt(~mask)
    around = (distance > 2) & (distance <= ring)
    inside = image[core if core.sum() > 30 else mask]
    return inside, image[around] if around.any() else image[~mask]

"""The labelmaps of a segmentation as a whole: each is read once, however many segments share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.geometry import Crop

MOST_LABEL = 1 << 16  # what all boxes are found at once for: that takes memory for each value up to the highest


@dataclass(frozen=True)
class Layer:
    """A labelmap on the voxels of a volume: ``values`` (k, j, i), a view, from voxel ``lower`` on.

    ``labels``: the value of each segment that is in it, by segment id.
    """

    values: NDArray[Any]
    lower: tuple[int, int, int]
    labels: Mapping[str, int]

    def crops(self, segment_ids: Iterable[str]) -> dict[str, Crop]:
        """The voxels of segments, tight."""
        from scipy import ndimage  # here, so that a host starts without it

        most = max((label for label in self.labels.values() if label <= MOST_LABEL), default=0)
        boxes = ndimage.find_objects(self.values, most) if self.values.size and most > 0 else []
        return {id: self._crop(boxes, self.labels[id]) for id in segment_ids}

    def changes(self, known: Mapping[str, Crop]) -> dict[str, Crop]:
        """The voxels that went in or out of its segments since they were ``known``; those without are left out."""
        then, is_clear = self._as_known(known)
        differing = Crop(self.values != then, self.lower).tight()
        shift = [a - b for a, b in zip(differing.lower, self.lower, strict=True)]
        block = tuple(slice(a, a + n) for a, n in zip(shift, differing.mask.shape, strict=True))
        touched = {*self.values[block][differing.mask].tolist(), *then[block][differing.mask].tolist()}
        whole = [id for id in self.labels if not is_clear or not self._covers(known.get(id, Crop.empty()))]
        crops = self.crops(whole) if whole else {}
        found = {id: crop.symmetric_difference(known.get(id, Crop.empty())) for id, crop in crops.items()}
        for id, label in self.labels.items():
            if id not in found and label in touched:
                before = known.get(id, Crop.empty()).block(differing.lower, differing.upper)
                found[id] = Crop((self.values[block] == label) ^ before, differing.lower).tight()
        return {id: flip for id, flip in found.items() if not flip.is_empty}

    def _crop(self, boxes: list[Any], label: int) -> Crop:
        if not 0 <= label <= MOST_LABEL:
            return Crop(self.values == label, self.lower).tight()
        box = boxes[label - 1] if 0 < label <= len(boxes) else None
        if box is None:
            return Crop.empty()
        k, j, i = (a + part.start for a, part in zip(self.lower, box, strict=True))
        return Crop(self.values[box] == label, (k, j, i))

    def _covers(self, crop: Crop) -> bool:
        """Whether all of a crop is in the block that the layer has."""
        upper = np.add(self.lower, self.values.shape)
        return crop.is_empty or bool((np.array(crop.lower) >= self.lower).all() and (crop.upper <= upper).all())

    def _as_known(self, known: Mapping[str, Crop]) -> tuple[NDArray[Any], bool]:
        """What the layer would be if nothing had changed; False when segments that came into it hide each other."""
        then, count = np.zeros_like(self.values), 0
        upper = np.add(self.lower, self.values.shape)
        for id, label in self.labels.items():
            crop = known.get(id, Crop.empty())
            first, last = np.maximum(crop.lower, self.lower), np.minimum(crop.upper, upper)
            if (first < last).all():
                part = crop.mask[tuple(map(slice, first - crop.lower, last - crop.lower))]
                then[tuple(map(slice, first - self.lower, last - self.lower))][part] = label
                count += np.count_nonzero(part)
        return then, count == np.count_nonzero(then)

"""What every contender is given: a labelled volume, a slice of it and boxes on that slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.evaluation.quality.records import Mask
from AutoPromptSAMLib.evaluation.quality.volumes import largest_slice
from AutoPromptSAMLib.geometry import Volume, sample_plane, slice_plane
from AutoPromptSAMLib.intensity import IntensityMapping, default_mapping
from AutoPromptSAMLib.prompts.simulators import tight_box

ORGAN = "liver"  # the object that is propagated
MOST_BOXES = 64
SHIFT = 8  # pixels that a further box is off at most
SMALLEST = 100  # pixels of a structure that gets a box


@dataclass(frozen=True, eq=False)
class Inputs:
    """``truth`` (k, j, i) is the object that is propagated, ``others`` all labels (k, j, i) of what gets a box.

    Slices are those along array axis 0, as the product shows them to a network.
    """

    volume: Volume
    truth: Mask
    labels: NDArray[np.integer]
    name: str = ORGAN
    seed: int = 0

    axis: int = 0

    @property
    def count(self) -> int:
        """Number of slices."""
        return int(self.volume.array.shape[self.axis])

    @cached_property
    def _mapping(self) -> IntensityMapping:
        return default_mapping(self.volume)

    def slice_image(self, index: int) -> NDArray[np.uint8]:
        """Slice ``index`` as uint8 (rows, cols, 3)."""
        plane = slice_plane(self.volume.geometry, self.axis, index)
        image: NDArray[np.uint8] = self._mapping.apply(sample_plane(self.volume, plane))
        return image

    @cached_property
    def index(self) -> int:
        """The slice where the object is largest."""
        return largest_slice(self.truth, self.axis)

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """That slice as uint8 (rows, cols, 3)."""
        return self.slice_image(self.index)

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """Boxes (64, 4) in pixels on that slice: tight ones first, the object's before all, then the same shifted."""
        labels = np.take(self.labels, self.index, self.axis)
        own = np.take(self.truth, self.index, self.axis)
        pieces = [labels == value for value in np.unique(labels[labels > 0])]
        tight = [tight_box(own), *(tight_box(p) for p in pieces if p.sum() >= SMALLEST and not (p & own).any())]
        rng = np.random.default_rng(self.seed)
        rows, cols = self.image.shape[:2]
        boxes = list(tight[:MOST_BOXES])
        while len(boxes) < MOST_BOXES:
            corners = tight[len(boxes) % len(tight)] + rng.integers(-SHIFT, SHIFT + 1, 4)
            corners = np.clip(corners, 0, (cols - 1, rows - 1, cols - 1, rows - 1))
            if (corners[2:] > corners[:2]).all():
                boxes.append(corners)
        return np.array(boxes)


def sample_inputs(seed: int = 0) -> Inputs:
    """The sample CT, fetched when it is not here. ``seed`` draws the shifts of boxes."""
    from AutoPromptSAMLib.images import load_labels, load_volume
    from AutoPromptSAMLib.zoo import sample_ct

    sample = sample_ct()
    volume = load_volume(sample.image)
    labels = load_labels(sample.labels, volume.geometry)
    numbers = {name: number for number, name in sample.names.items()}
    return Inputs(volume, labels == numbers[ORGAN], labels, seed=seed)

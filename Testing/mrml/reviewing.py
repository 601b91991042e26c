"""A host whose model knows the truth about a segment that is wrong in places."""

from __future__ import annotations

from typing import Any

import numpy as np

from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.review_state import Reviewed
from AutoPromptSAMLib.mrml.volumes import volume_from_node

from ..knows_truth import KnowsTruth
from .segmenting import Host

WORST, BAD = 4, 6  # slices on which half of the rod, and a part of it, is missing


class Reader(Host):
    """A host whose session knows the truth, with a segment that is right but on two slices."""

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self.segmenter.close()
        self.session.close()
        self.session: KnowsTruth = KnowsTruth()
        self.segmenter = InteractiveSegmenter(self.session, self.volume_node, self.segmentation_node, self.calls.put)
        self.said = []
        self._hear = lambda message: self.said.append(message.text)
        self.segmenter.said.connect(self._hear)
        self.changed = []
        self.segmenter.changed.connect(self.changed.append)
        self.wrong = self.truth.copy()
        self.wrong[WORST, :, 22:] = False
        self.wrong[BAD, :, 28:] = False
        self.id = self.segmenter.add_segment("rod")
        with self.segmenter.kept.own_changes():
            self.segmenter.writer.write(self.id, Crop.from_full(self.wrong), region=Crop.empty())
        self.segmenter.kept.known[self.id] = Crop.from_full(self.wrong)

    def review(self, first: int = 0, last: int | None = None) -> Reviewed:
        self.segmenter.looks.look(first, last, 0)
        self.settle()
        known = self.segmenter.looks.of()
        assert known is not None
        return known

    def refine(self, first: int = 0, last: int | None = None) -> None:
        self.segmenter.mending.refine(first, last, 0)
        self.settle()

    def rest(self) -> None:
        """Until a look beside everything else is over."""
        while self.segmenter.looks._live is not None:
            self.calls.get(timeout=20)()
        self.settle()

    @property
    def ranked(self) -> list[int]:
        return [review.index for review in self.segmenter.looks.ranked_slices()]

    def uncertain(self) -> np.ndarray:
        """The uncertainty in the scene, on the voxels of the image, by the node alone."""
        assert self.segmenter.looks.display.nodes is not None
        node = self.segmenter.looks.display.nodes.node(self.id)
        volume, image = volume_from_node(node), self.segmenter.volume.geometry
        lower = np.rint(image.ijk_from_ras(volume.geometry.ijk_to_ras[None, :3, 3])[0]).astype(int)[::-1]
        full = np.zeros(image.shape, np.float32)
        full[tuple(slice(a, a + n) for a, n in zip(lower, volume.array.shape, strict=True))] = volume.array
        return full

"""The tutorial on the sample CT with the real model: each step as a person does it. For a test and for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer

from AutoPromptSAMLib.images import load_labels, load_volume
from AutoPromptSAMLib.zoo import ensure, get_card, sample_ct

from .double import Desktop
from .hands import Hands

SPLEEN, LIVER = 1, 5  # labels of the sample CT
AXIAL = 0
SLICE = 92  # on which the box is drawn
PAIRS, FOUND = (90, 94), (95, 100)  # slices of the support pairs, and those that they prompt


class Tour(Hands):
    """The sample CT, loaded by the module's button, and LiteMedSAM, loaded by itself as its weights are here."""

    def __init__(self, desktop: Desktop) -> None:
        ensure(get_card("lite-medsam"))
        sample = sample_ct()
        super().__init__(desktop)
        self.press("InputPanel/sampleButton")
        self.wait(lambda: self.segmenter is not None, 120)
        self.settle(60)
        labels = load_labels(sample.labels, load_volume(sample.image).geometry)
        self.labels: np.ndarray = labels[::-1]  # Slicer reads this image from the head down
        assert self.geometry.ijk_to_ras[2, 2] < 0

    def truth(self, label: int) -> np.ndarray:
        return np.asarray(self.labels == label)

    def dice(self, label: int, *slices: int) -> float:
        """Of the active segment on slices, default all of it."""
        chosen = list(slices) or list(range(self.geometry.shape[AXIAL]))
        found, truth = self.voxels()[chosen], self.truth(label)[chosen]
        return float(2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1))

    def box_around(self, label: int, index: int) -> None:
        rows, cols = np.nonzero(self.truth(label)[index])
        self.go_to(AXIAL, index)
        self.box((cols.min(), rows.min(), index), (cols.max(), rows.max(), index))
        self.settle(60)

    # -- steps --------------------------------------------------------------------------------------------------------

    def box(self, *args: Any, **more: Any) -> None:  # type: ignore[override]
        super().box(*args, **more)
        self.settle(60)

    def box_the_spleen(self) -> None:
        self.press("InputPanel/addSegmentButton")
        self.settle()
        self.segmenter.rename_segment(self.segmenter.active_segment, "Spleen")
        self.box_around(SPLEEN, SLICE)

    def doodle_the_liver(self) -> None:
        self.press("InputPanel/addSegmentButton")
        self.settle()
        self.segmenter.rename_segment(self.segmenter.active_segment, "Liver")
        self.go_to(AXIAL, SLICE)
        rows, cols = np.nonzero(self.truth(LIVER)[SLICE])
        middle = (cols.mean(), rows.mean())
        line = [(middle[0] + step * np.ptp(cols) / 4, middle[1], SLICE) for step in np.linspace(-1, 1, 9)]
        self.tool("doodlePlus")
        self.desktop.drag("Red", *map(self.at, line))
        self.settle(60)

    def select(self, name: str) -> None:
        self.segmenter.active_segment = next(info.id for info in self.segmenter.segments if info.name == name)
        self.settle()

    def run_through(self, first: int, last: int) -> None:
        self.desktop.find("AutomaticPanel/rangeSlider").setValues(first, last)
        self.press("AutomaticPanel/runButton")
        self.settle(180)

    def make_pairs(self) -> None:
        """Of the spleen alone."""
        liver = next(info.id for info in self.segmenter.segments if info.name == "Liver")
        self.segmenter.set_segment_visible(liver, False)
        self.press("SupportsPanel/addFromSceneButton")
        self.wait(lambda: self.desktop.find("SupportsPanel/pairsList").count > 0, 60)
        self.segmenter.set_segment_visible(liver, True)

    def find_by_pairs(self) -> None:
        self.desktop.find("AutomaticPanel/methodCombo").setCurrentText("From examples")
        self.run_through(*FOUND)

    def next_unsure(self) -> int:
        self.press("AutomaticPanel/unsureButton")
        self.settle()
        return int(self.desk.views.shown_index(AXIAL))

    def review(self) -> None:
        self.desktop.find("AutomaticPanel/rangeSlider").setValues(PAIRS[0], FOUND[1])
        self.press("ReviewPanel/reviewButton")
        self.settle(180)
        self.press("ReviewPanel/nextUnsureButton")
        self.settle(60)

    def save_close_and_open(self, path: Path) -> None:
        self.desktop.spin(lambda: not self.desk._keep.is_running, 5)
        assert slicer.util.saveScene(str(path))
        slicer.mrmlScene.Clear(False)
        self.desktop.spin()
        assert self.segmenter is None
        slicer.util.loadScene(str(path))
        self.wait(lambda: self.segmenter is not None, 60)
        self.settle(60)

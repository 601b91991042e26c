"""The image, its segmentation and the list of segments."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from AutoPromptSAMDesktop import sample_data
from AutoPromptSAMDesktop.panel import Panel


class InputPanel(Panel):
    """Slicer's own selectors and table; the selected row is the active segment."""

    name = "InputPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self._busy = False
        self.ui.sampleButton.enabled = False
        self.bind(self.ui.sampleButton, self.load_sample)
        self.bind(self.ui.addSegmentButton, self.add_segment)
        self.bind(self.ui.removeSegmentButton, self.remove_segment)
        self.ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self._on_selection)

    def load_sample(self) -> None:
        """Load the sample CT, fetched the first time."""
        self.ui.sampleButton.enabled = False

        def show(path: Any) -> None:
            self.ui.sampleButton.enabled = True
            if self.desk.parameters is not None:
                self.desk.parameters.inputVolume = sample_data.load(path)

        def failed(error: BaseException) -> None:
            self.ui.sampleButton.enabled = True
            self.desk.failed(error)

        self.desk.work(_("Fetching the sample CT…"), sample_data.fetch, show, failed)

    def add_segment(self) -> None:
        """A new segment, which becomes the active one."""
        segmenter = self.desk.need_segmenter()
        segmenter.active_segment = segmenter.add_segment()

    def remove_segment(self) -> None:
        """Remove the active segment and its prompts; undo brings it back."""
        segmenter = self.desk.need_segmenter()
        if segmenter.active_segment is not None:
            segmenter.remove_segment(segmenter.active_segment)

    def connected(self, segmenter: Any) -> None:
        """Show the segments of the new segmentation."""
        self.ui.segmentsTable.setSegmentationNode(segmenter.segmentation_node)
        self._enable(True)
        segmenter.set_surface_shown(self.desk.parameters.showIn3D)

    def disconnected(self) -> None:
        """There are no segments."""
        self.ui.segmentsTable.setSegmentationNode(None)
        self._enable(False)

    def begin(self) -> None:
        """What fetches the sample is there."""
        self.ui.sampleButton.enabled = True

    def parameters_changed(self) -> None:
        """How edits treat other segments, and whether surfaces are shown."""
        parameters, segmenter = self.desk.parameters, self.segmenter
        if self.desk.editor is not None:
            self.desk.editor.set_overwrite(parameters.overwrite)
        if segmenter is not None and segmenter.surface_shown != parameters.showIn3D:
            segmenter.set_surface_shown(parameters.showIn3D)

    def refresh(self, what: str) -> None:
        """Follow the active segment."""
        if what in ("segments", "active"):
            active = self.desk.need_segmenter().active_segment
            wanted = [] if active is None else [active]
            if list(self.ui.segmentsTable.selectedSegmentIDs()) != wanted:
                self._busy = True
                try:
                    self.ui.segmentsTable.setSelectedSegmentIDs(wanted)
                finally:
                    self._busy = False

    def _on_selection(self) -> None:  # without arguments, so that nothing has to be converted for Python
        self.desk.guarded(self._selected)()

    def _selected(self) -> None:
        chosen = list(self.ui.segmentsTable.selectedSegmentIDs())
        if self.segmenter is not None and chosen and not self._busy:
            self.segmenter.active_segment = chosen[0]

    def _enable(self, on: bool) -> None:
        self.ui.addSegmentButton.enabled = self.ui.removeSegmentButton.enabled = on

"""Through the volume by itself: from prompts or from support pairs, which way, how far, how it went, what to check."""

from __future__ import annotations

from typing import Any

import qt

from AutoPromptSAMDesktop.panel import Panel
from AutoPromptSAMDesktop.parameters import FROM_SUPPORTS
from AutoPromptSAMDesktop.strip import strip
from AutoPromptSAMLib.workbench.automatic_texts import LAST, kept_range, range_within, run_texts

PREVIEW = 256  # pixels of the picture of learning


class AutomaticPanel(Panel):
    """The range and the direction here are those of the review as well."""

    name = "AutomaticPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        ui = self.ui
        for button, action in (
            (ui.runButton, self.run), (ui.runOneButton, self.run_one), (ui.allSlicesButton, self.all_slices),
            (ui.unsureButton, self.next_unsure), (ui.acceptButton, self.accept), (ui.learnButton, self.learn),
            (ui.stopLearningButton, self.stop_learning),
        ):  # fmt: skip
            self.bind(button, action)
        ui.rangeSlider.connect("valuesChanged(double,double)", desk.guarded(self._range_moved))
        self._busy = False
        self._show_learning(None)
        self._enable(False)

    # -- which slices -------------------------------------------------------------------------------------------------

    @property
    def axis(self) -> int:
        """The array axis of the slices that are worked along."""
        geometry = self.desk.need_segmenter().volume.geometry
        return int(geometry.array_axis(self.desk.parameters.direction.lower()))

    @property
    def range(self) -> tuple[int, int]:
        """The first and the last slice."""
        return range_within(self.desk.parameters.firstSlice, self.desk.parameters.lastSlice, self._count)

    @property
    def _count(self) -> int:
        return int(self.desk.need_segmenter().volume.geometry.shape[self.axis])

    def all_slices(self) -> None:
        """From the first to the last slice."""
        self.desk.parameters.firstSlice, self.desk.parameters.lastSlice = 0, LAST

    def _range_moved(self, first: float, last: float) -> None:
        if not self._busy and self.segmenter is not None:
            parameters = self.desk.parameters
            parameters.firstSlice, parameters.lastSlice = kept_range(first, last, self._count)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Go through the range with the chosen method."""
        if self.desk.parameters.method == FROM_SUPPORTS:
            self.run_supports()
        else:
            self.propagate()

    def run_one(self) -> None:
        """Find the objects of the support pairs on the shown slice only."""
        self._prompt(*(self.desk.views.shown_index(self.axis),) * 2)

    def propagate(self) -> None:
        """Go on from the prompted slices of the active segment through the range."""
        segmenter = self.desk.need_segmenter()
        if segmenter.status.phase != "propagating":
            self.desk.page.review.leads = False
            segmenter.propagate(*self.range, self.axis)

    def run_supports(self) -> None:
        """Find the ticked objects of the support pairs in the range."""
        self._prompt(*self.range)

    def _prompt(self, first: int, last: int) -> None:
        segmenter = self.desk.need_segmenter()
        if segmenter.status.phase != "propagating":
            self.desk.page.review.leads = False
            self.desk.examples.run(segmenter, self.desk.parameters.skippedObjects, first, last, self.axis)

    def next_unsure(self) -> None:
        """Show the least sure slice; again: the next one."""
        if self.desk.page.review.leads:
            self.desk.page.review.next_unsure()
            return
        segmenter = self.desk.need_segmenter()
        shown = self.desk.views.shown_index(self.axis)
        segmenter.active_segment, axis, index = self.desk.examples.next_unsure(segmenter, shown)
        self.desk.views.jump(axis, index)

    def accept(self) -> None:
        """What is on the shown slice is right: it stays, and others go by it."""
        if self.desk.page.review.leads:
            self.desk.page.review.accept()
        else:
            self.desk.need_segmenter().examples.accept(self.axis, self.desk.views.shown_index(self.axis))

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Learn the chosen support pairs for the chosen number of minutes."""
        self.desk.examples.learn(self.desk.need_segmenter(), float(self.desk.parameters.learnMinutes))

    def stop_learning(self) -> None:
        """End learning; the best so far is kept."""
        self.desk.need_segmenter().learner.cancel()

    def _show_learning(self, learning: Any) -> None:
        ui = self.ui
        ui.learnButton.visible = learning is None
        for widget in (ui.stopLearningButton, ui.learnBar, ui.learnText):
            widget.visible = learning is not None
        has_preview = learning is not None and learning.preview is not None
        ui.learnPreview.visible = has_preview
        if learning is not None:
            text = self.desk.examples.learning_text(learning, float(self.desk.parameters.learnMinutes))
            ui.learnText.text = f"{learning.name}: {text.text} {text.left}"
            ui.learnBar.value = text.percent
        if has_preview:
            rows, cols, _channels = learning.preview.shape
            picture = qt.QPixmap(cols, rows)
            picture.loadFromData(b"P6 %d %d 255\n" % (cols, rows) + learning.preview.tobytes())  # a PPM file
            ui.learnPreview.setPixmap(picture.scaled(PREVIEW, PREVIEW, qt.Qt.KeepAspectRatio))

    # -- what is shown ------------------------------------------------------------------------------------------------

    def connected(self, segmenter: Any) -> None:
        """Another image has other slices."""
        self._enable(True)
        self.desk.examples.forget()
        self.parameters_changed()

    def disconnected(self) -> None:
        """There is nothing to go through."""
        self._enable(False)
        self._show_learning(None)

    def parameters_changed(self) -> None:
        """Another direction, range or method."""
        if self.segmenter is None:
            return
        (first, last), ui = self.range, self.ui
        self._busy = True
        try:
            ui.rangeSlider.setRange(0, self._count - 1)
            ui.rangeSlider.setValues(first, last)
        finally:
            self._busy = False
        self._enable_runs()
        self._show_found()

    def refresh(self, what: str) -> None:
        """Follow the prompts' direction, runs and learning."""
        segmenter = self.desk.need_segmenter()
        if what == "prompts":
            self._turn_to_prompts()
        if what in ("prompts", "active", "propagation", "segments", "review"):
            self._show_found()
        if what == "slice":
            self._show_strip()
        if what == "status":
            self._enable_runs()
        if what == "learning":
            self._show_learning(segmenter.learner.learning)

    def _turn_to_prompts(self) -> None:
        """Slices that the prompts of the active segment lie across are the ones to go through."""
        from AutoPromptSAMLib.workbench.slice_range import view_across_prompts

        view = view_across_prompts(self.desk.need_segmenter())
        if view is not None and view.capitalize() != self.desk.parameters.direction:
            self.desk.parameters.direction = view.capitalize()
            self.all_slices()

    def _show_found(self) -> None:
        ui, texts = self.ui, run_texts(self.desk.need_segmenter(), self.desk.examples, self.axis)
        ui.unsureLabel.text, ui.resultLabel.text = texts.unsure, texts.result
        ui.unsureButton.enabled = ui.acceptButton.enabled = bool(texts.unsure) or self.desk.page.review.leads
        self._show_strip()

    def _show_strip(self) -> None:
        from AutoPromptSAMLib.workbench.strips import strip_marks

        axis = self.axis
        marks = strip_marks(self.desk.need_segmenter(), axis, self.desk.page.review.leads)
        self.ui.stripLabel.setPixmap(strip(self._count, marks, self.desk.views.shown_index(axis)))

    def _enable_runs(self) -> None:
        """One run at a time; prompts go through a range, examples through one slice as well."""
        free = self.desk.need_segmenter().status.phase != "propagating"
        self.ui.runButton.enabled = free
        self.ui.runOneButton.enabled = free and self.desk.parameters.method == FROM_SUPPORTS

    def _enable(self, on: bool) -> None:
        ui = self.ui
        for widget in (ui.runButton, ui.runOneButton, ui.rangeSlider, ui.allSlicesButton, ui.learnButton):
            widget.enabled = on
        ui.unsureButton.enabled = ui.acceptButton.enabled = False
        if not on:
            ui.resultLabel.text = ui.unsureLabel.text = ""
            ui.stripLabel.clear()

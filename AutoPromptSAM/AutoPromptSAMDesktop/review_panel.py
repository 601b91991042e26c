"""Where the model is unsure of the active segment, what it suggests, and prompts that mend themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.panel import Panel, add_row
from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.workbench.review_texts import review_texts

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.suggestion_nodes import SuggestionNodes
    from AutoPromptSAMLib.workbench.review_desk import ReviewDesk, ReviewSummary


class ReviewPanel(Panel):
    """Works along the direction and in the range of the panel "Automatic"."""

    name = "ReviewPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self.review: ReviewDesk | None = None
        self.leads = False  # whether "next unsure" and "accept" mean the review, and not what supports found
        self._suggestions: SuggestionNodes | None = None
        ui = self.ui
        for button, action in (
            (ui.reviewButton, self.run), (ui.reviewOneButton, self.run_one), (ui.nextUnsureButton, self.next_unsure),
            (ui.acceptReviewedButton, self.accept), (ui.takeButton, self.take), (ui.refineButton, self.refine),
            (ui.refineOneButton, self.refine_one), (ui.stepBackButton, lambda: self.step(-1)),
            (ui.stepForwardButton, lambda: self.step(1)), (ui.carryButton, self.carry),
            (ui.exportUncertaintyButton, self.export),
        ):  # fmt: skip
            self.bind(button, action)
        ui.unsureList.connect("itemClicked(QListWidgetItem*)", desk.guarded(self._show_row))
        ui.unsureList.connect("itemActivated(QListWidgetItem*)", desk.guarded(self._show_row))
        self._show(None)

    # -- looking ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Ask where the model is unsure on the slices of the range."""
        self._run(self.desk.page.automatic.range)

    def run_one(self) -> None:
        """Ask for the shown slice only."""
        self._run((self._index,) * 2)

    def next_unsure(self) -> None:
        """Go to the least sure slice where the person was not led yet; corrections go to their neighbours first."""
        index = self._need().next_slice(self._axis, self.desk.parameters.carryCorrections)
        if index is not None:
            self.desk.views.jump(self._axis, index)

    def accept(self) -> None:
        """What is on the shown slice is right: it stays."""
        self._need().accept(self._axis, self._index)

    def carry(self) -> None:
        """Find the neighbours of corrected slices anew."""
        self.desk.need_segmenter().mending.carry()

    def toggle_overlay(self) -> None:
        """Show or hide the uncertainty over the image."""
        self.desk.parameters.uncertaintyShown = not self.desk.parameters.uncertaintyShown

    # -- mending ------------------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Make what is suggested for the shown slice the person's prompts."""
        self._need().take(self._axis, self._index)

    def refine(self) -> None:
        """Let prompts mend themselves on the slices of the range."""
        self.leads = True
        self._need().refine(*self.desk.page.automatic.range, self._axis)

    def refine_one(self) -> None:
        """Let the prompts of the shown slice mend themselves."""
        self.leads = True
        self._need().refine(self._index, self._index, self._axis)

    def step(self, by: int) -> None:
        """Put the step after (1) or before (-1) the shown one there."""
        self._need().step(self._axis, self._index, by)

    def export(self) -> None:
        """Write the uncertainty of the active segment as an image with the volume's geometry."""
        from AutoPromptSAMLib.images.writer import write_voxels

        segmenter = self.desk.need_segmenter()
        values, geometry = segmenter.looks.display.values(), segmenter.volume.geometry
        filters = _("Images") + " (*.nrrd *.nii.gz)"
        path = qt.QFileDialog.getSaveFileName(self.widget, _("Save the uncertainty"), "uncertainty.nrrd", filters)
        if path:
            if not path.endswith((".nrrd", ".nii.gz")):
                raise StorageError(_("Give the file a name that ends in .nrrd or .nii.gz."))
            done = _("The uncertainty was written to {path}.").format(path=path)
            self.desk.thread.work(lambda: write_voxels(path, values, geometry), lambda _: self.desk.say(done))

    # -- what is shown ------------------------------------------------------------------------------------------------

    def connected(self, segmenter: Any) -> None:
        """Nothing is known of the new image yet."""
        import slicer

        from AutoPromptSAMLib.mrml.suggestion_nodes import SuggestionNodes
        from AutoPromptSAMLib.workbench.review_desk import ReviewDesk

        self.review, self.leads = ReviewDesk(segmenter), False
        self._suggestions = SuggestionNodes(segmenter, slicer.mrmlScene)
        self.parameters_changed()

    def disconnected(self) -> None:
        """Let go of the segmenter."""
        if self._suggestions is not None:
            self._suggestions.close()
        self.review = self._suggestions = None
        self._show(None)

    def parameters_changed(self) -> None:
        """What of the uncertainty is shown."""
        parameters, segmenter = self.desk.parameters, self.segmenter
        if segmenter is None or parameters is None or self._suggestions is None:
            return
        segmenter.looks.display.show(parameters.uncertaintyShown, parameters.uncertaintyOpacity / 100)
        segmenter.looks.display.show_on_surface(parameters.uncertaintyOnSurface)
        if parameters.uncertaintyOnSurface and not parameters.showIn3D:
            parameters.showIn3D = True
        self._suggestions.set_visible(parameters.suggestionsShown)

    def refresh(self, what: str) -> None:
        """Follow looks, runs, corrections and the shown slice."""
        if self.review is not None and what in ("review", "segments", "prompts", "active", "propagation", "slice"):
            self._show(self.review.summary(self._axis, self._index))

    def _show(self, found: ReviewSummary | None) -> None:
        ui, texts = self.ui, review_texts(found)
        ui.reviewAbout.text = texts.about
        ui.unsureList.clear()
        for text, index, tip in texts.rows:
            add_row(ui.unsureList, text, index, tip)
        ui.nextUnsureButton.enabled = bool(texts.rows)
        ui.carryButton.text, ui.carryButton.enabled = texts.carry, texts.can_carry
        ui.suggestedLabel.text, ui.takeButton.enabled = texts.suggested, bool(texts.suggested)
        ui.stepLabel.text = texts.step
        ui.stepBackButton.enabled, ui.stepForwardButton.enabled = texts.can_step_back, texts.can_step_forward
        ui.acceptReviewedButton.enabled = ui.exportUncertaintyButton.enabled = texts.looked

    def _show_row(self, item: Any) -> None:
        self.desk.views.jump(self._axis, item.data(qt.Qt.UserRole))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _run(self, where: tuple[int, int]) -> None:
        self.leads = True
        self._need().run(*where, self._axis)

    def _need(self) -> ReviewDesk:
        self.desk.need_segmenter()
        assert self.review is not None
        return self.review

    @property
    def _axis(self) -> int:
        return int(self.desk.page.automatic.axis)

    @property
    def _index(self) -> int:
        return int(self.desk.views.shown_index(self._axis))

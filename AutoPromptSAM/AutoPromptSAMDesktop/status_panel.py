"""What goes on: one line, a bar with Cancel, undo and redo, and the last thing that the person was told."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from AutoPromptSAMDesktop.panel import Panel

COLORS = {"info": "palette(text)", "warning": "#B35900", "error": "#C0392B"}


class StatusPanel(Panel):
    """Always in sight, above the other panels."""

    name = "StatusPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self.ui.progressBar.visible = self.ui.cancelButton.visible = False
        self.bind(self.ui.cancelButton, self.cancel)
        self.bind(self.ui.undoButton, self.undo)
        self.bind(self.ui.redoButton, self.redo)
        self.working("")

    def say(self, text: str, kind: str = "info") -> None:
        """Show a sentence until the next one."""
        self.ui.messageLabel.text = text
        self.ui.messageLabel.styleSheet = f"color: {COLORS[kind]}"

    def working(self, text: str) -> None:
        """Say what is being done beside the segmenter, "" for nothing."""
        self.ui.statusLabel.text = text or self._idle_text()

    def show_device(self, word: str, text: str) -> None:
        """Say what the model runs on, always in sight: "CPU", and in a sentence."""
        self.ui.deviceTag.text = word
        self.ui.deviceTag.toolTip = text

    def cancel(self) -> None:
        """Stop what runs; finished slices stay."""
        if self.segmenter is not None:
            self.segmenter.cancel()

    def undo(self) -> None:
        """Take back the last step, whoever made it."""
        if self.segmenter is not None:
            self.segmenter.undo()

    def redo(self) -> None:
        """Do the last undone step again."""
        if self.segmenter is not None:
            self.segmenter.redo()

    def connected(self, segmenter: Any) -> None:
        """A sentence about another image is out of date."""
        self.say("")

    def disconnected(self) -> None:
        """Nothing runs and nothing can be taken back."""
        self.ui.progressBar.visible = self.ui.cancelButton.visible = False
        self.ui.undoButton.enabled = self.ui.redoButton.enabled = False
        self.working("")

    def begin(self) -> None:
        """Say what is missing now."""
        self.working("")

    def parameters_changed(self) -> None:
        """There may be an image now."""
        if self.segmenter is None and self.desk.engine is not None:
            self.working("")

    def refresh(self, what: str) -> None:
        """Follow what is being done."""
        segmenter = self.desk.need_segmenter()
        if what in ("status", "learning"):
            self.working("")
        if what == "status":
            status = segmenter.status
            runs = status.phase == "propagating"
            self.ui.progressBar.visible = self.ui.cancelButton.visible = runs
            self.ui.progressBar.maximum = status.total
            self.ui.progressBar.value = status.done
        if what in ("history", "status"):
            for button, text, word in (
                (self.ui.undoButton, segmenter.undo_text, _("Undo: {what}")),
                (self.ui.redoButton, segmenter.redo_text, _("Redo: {what}")),
            ):
                button.enabled = bool(text)
                button.toolTip = word.format(what=text) if text else _("There is nothing to take back or do again")

    def _idle_text(self) -> str:
        if self.segmenter is not None:
            from AutoPromptSAMLib.workbench.status_line import learning_line

            status, learning = self.segmenter.status, self.segmenter.learner.learning
            return learning_line(learning) if learning is not None and status.phase == "ready" else status.text
        if not self.desk.ready:
            return _("Press Install below: some Python packages are missing.")
        if self.desk.engine is None:
            return _("Choose a model in “Models and device”.")
        parameters = self.desk.parameters
        if parameters is None or parameters.inputVolume is None:
            return _("Choose a volume, or load one with “Sample CT”.")
        return _("Ready")

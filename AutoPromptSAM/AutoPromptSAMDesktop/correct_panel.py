"""Slicer's own effects (paint, scissors, islands, ...) on the same segmentation; the panel's undo takes them back."""

from __future__ import annotations

from typing import Any

import vtk

from AutoPromptSAMDesktop.panel import Panel


class CorrectPanel(Panel):
    """The Segment Editor widget. An effect and a prompt tool never have the mouse at the same time."""

    name = "CorrectPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self._observed: tuple[Any, int] | None = None
        self._selected = ""  # the segment that the editor had when it was last looked at

    def put_away(self) -> None:
        """No effect has the mouse."""
        if self._observed is not None:
            self.ui.segmentEditor.setActiveEffect(None)

    def leave(self) -> None:
        """Another module is shown: the views are its own."""
        self.put_away()
        self.ui.segmentEditor.removeViewObservations()

    def connected(self, segmenter: Any) -> None:
        """Edit what prompts edit, with the same settings."""
        editor, node = self.ui.segmentEditor, self.desk.editor.node
        editor.setMRMLSegmentEditorNode(node)
        editor.setSegmentationNode(segmenter.segmentation_node)
        editor.setSourceVolumeNode(segmenter.volume_node)
        self._selected = node.GetSelectedSegmentID()
        self._observed = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._changed()))

    def disconnected(self) -> None:
        """Let go of the nodes."""
        if self._observed is not None:
            self.put_away()
            self._observed[0].RemoveObserver(self._observed[1])
            self._observed = None
        self.ui.segmentEditor.setSegmentationNode(None)
        self.ui.segmentEditor.setSourceVolumeNode(None)

    def refresh(self, what: str) -> None:
        """Effects work on the active segment."""
        active = self.desk.need_segmenter().active_segment
        if what == "active" and active is not None and self.ui.segmentEditor.currentSegmentID() != active:
            self.ui.segmentEditor.setCurrentSegmentID(active)

    def _changed(self) -> None:
        """The person took up an effect, or chose a segment in the editor's table."""
        segmenter, node = self.segmenter, self.desk.editor.node
        if segmenter is None:
            return
        effect = node.GetActiveEffectName()
        if effect:
            self.desk.page.prompts.put_away()
        segmenter.edit_verb = effect or "Edit"
        chosen = node.GetSelectedSegmentID()
        if chosen and chosen != self._selected:  # else something else of the node changed, and nobody chose
            segmenter.active_segment = chosen
        self._selected = chosen

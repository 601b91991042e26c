"""The list of segments: colour, name, what is shown, what may be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trame_slicer.segmentation import SegmentationEditableAreaMode

from AutoPromptSAMLib.mrml.segment_list import rgb
from AutoPromptSAMLib.mrml.terms import anatomy_terms
from AutoPromptSAMLib.web.panel import Panel, for_page
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.workbench.segment_rows import segment_rows, terminology

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp


AREAS = [  # as the editor node numbers them
    [SegmentationEditableAreaMode.EVERYWHERE.value, "Everywhere"],
    [SegmentationEditableAreaMode.INSIDE_ALL_SEGMENTS.value, "Inside all segments"],
    [SegmentationEditableAreaMode.INSIDE_SINGLE_SEGMENT.value, "Inside the active segment"],
    [SegmentationEditableAreaMode.OUTSIDE_ALL_SEGMENTS.value, "Outside all segments"],
]


class SegmentsPanel(Panel):
    """Segments of the segmentation node, in its order."""

    template = page("segments", areas=str(AREAS))

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._editor_node = app.slicer_app.segmentation_editor.editor_node
        self._terms = anatomy_terms(app.slicer_app.terminologies_logic)
        self.state.terms = list(self._terms)
        self.state.change("opacity")(self._opacity_changed)
        self.state.change("overwrite_mode", "editable_area")(self._masking_changed)

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Settings of the person hold for the next image too."""
        self._masking_changed()
        self._opacity_changed(self.state.opacity)
        self.on_segments_surface(self.state.surface_shown)

    def refresh(self, what: str) -> None:
        """Show the list anew."""
        segmenter = self.app.segmenter
        if segmenter is None or what not in ("segments", "active"):
            return
        self.state.segments = [for_page(row) for row in segment_rows(segmenter)]
        self.state.active_segment = segmenter.active_segment or ""
        if what == "active":
            self._masking_changed()

    def on_segment_add(self) -> None:
        """A new segment, which becomes the active one."""
        if self.app.segmenter is not None:
            self.app.segmenter.active_segment = self.app.segmenter.add_segment()

    def on_segment_select(self, segment_id: str) -> None:
        """Prompts and tools go to this segment from now on."""
        self._segmenter.active_segment = segment_id

    def on_segment_rename(self, segment_id: str, name: str) -> None:
        """Give it a name."""
        self._segmenter.rename_segment(segment_id, name, terminology(name, self._terms))

    def on_segment_color(self, segment_id: str, color: str) -> None:
        """Give it a colour, "#rrggbb"."""
        self._segmenter.set_segment_color(segment_id, rgb(color))

    def on_segment_visible(self, segment_id: str, visible: bool) -> None:
        """Show or hide it in all views."""
        self._segmenter.set_segment_visible(segment_id, visible)

    def on_segment_lock(self, segment_id: str, locked: bool) -> None:
        """Protect it from changes."""
        self._segmenter.set_segment_locked(segment_id, locked)

    def on_segment_delete(self, segment_id: str) -> None:
        """Remove it and its prompts; undo brings it back."""
        self._segmenter.remove_segment(segment_id)

    def on_segments_surface(self, shown: bool) -> None:
        """Show or hide all in 3D."""
        self._segmenter.set_surface_shown(shown)
        self.state.surface_shown = shown
        self.app.views.surfaces_changed()

    @property
    def _segmenter(self) -> InteractiveSegmenter:
        return self.app.need_segmenter()

    def _opacity_changed(self, opacity: float, **_: Any) -> None:
        segmenter = self.app.segmenter
        if segmenter is not None:
            segmenter.segmentation_node.GetDisplayNode().SetOpacity2DFill(float(opacity) / 100)

    def _masking_changed(self, **_: Any) -> None:
        node, area = self._editor_node, int(self.state.editable_area)
        node.SetOverwriteMode(int(self.state.overwrite_mode))
        if area == SegmentationEditableAreaMode.INSIDE_SINGLE_SEGMENT.value:
            node.SetMaskSegmentID(self.state.active_segment)
        node.SetMaskMode(area)

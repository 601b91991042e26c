"""The list of segments: colour, name, what is shown, what may be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trame_slicer.segmentation import SegmentationEditableAreaMode

from AutoPromptSAMLib.images.segmentation_file import TISSUE
from AutoPromptSAMLib.mrml.segment_list import hexadecimal, rgb
from AutoPromptSAMLib.mrml.terms import anatomy_terms
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.workbench.prompt_rows import ml_text
from AutoPromptSAMLib.workbench.shortcuts import hint

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, SegmentInfo
    from AutoPromptSAMLib.web.app import WebApp

TEMPLATE = """
<section class="aps-section aps-segments" aria-label="Segments">
  <header class="aps-head">
    <h2>Segments</h2><span class="aps-spring"></span>
    <label class="aps-opacity" title="Opacity of all segments"><v-icon size="16">mdi-circle-opacity</v-icon>
      <input type="range" min="0" max="100" v-model.number="opacity" data-testid="segments-opacity"
        aria-label="Opacity of all segments"/></label>
    <button class="aps-icon" data-testid="segments-surface" :aria-pressed="surface_shown" :disabled="!tools_ready"
      :class="{'aps-on': surface_shown}" aria-label="Show in 3D"
        @click="trigger('segments_surface', [!surface_shown])">
      <v-icon size="20">mdi-cube-outline</v-icon><v-tooltip activator="parent">Show segments in 3D</v-tooltip></button>
    <button class="aps-icon" data-testid="segment-add" :disabled="!tools_ready" aria-label="New segment"
      @click="trigger('segment_add')">
      <v-icon size="22">mdi-plus</v-icon><v-tooltip activator="parent">New segmentADD_KEY</v-tooltip></button>
  </header>
  <ul class="aps-list" data-testid="segment-list">
    <li v-for="s in segments" :key="s.id" class="aps-row" :class="{'aps-active': s.id === active_segment}"
      data-testid="segment-row" :data-segment="s.id" :data-name="s.name" :aria-current="s.id === active_segment"
      @click="s.id === active_segment || trigger('segment_select', [s.id])">
      <label class="aps-chip" :style="{background: s.color}" title="Colour">
        <input type="color" :value="s.color" data-testid="segment-color" :aria-label="'Colour of ' + s.name"
          @click.stop @change="trigger('segment_color', [s.id, $event.target.value])"/></label>
      <input class="aps-name" :value="s.name" data-testid="segment-name" aria-label="Name" spellcheck="false"
        list="aps-terms" autocomplete="off"
        @change="trigger('segment_rename', [s.id, $event.target.value])" @keydown.enter="$event.target.blur()"
        @keydown.esc="$event.target.value = s.name; $event.target.blur()"
        @focus="s.id === active_segment || trigger('segment_select', [s.id])"/>
      <span class="aps-ml" data-testid="segment-ml">{{ s.ml }}</span>
      <button class="aps-icon" data-testid="segment-visible" :aria-pressed="s.visible" :class="{'aps-off': !s.visible}"
        :aria-label="(s.visible ? 'Hide ' : 'Show ') + s.name" :title="s.visible ? 'Hide' : 'Show'"
        @click.stop="trigger('segment_visible', [s.id, !s.visible])">
        <v-icon size="18">{{ s.visible ? 'mdi-eye-outline' : 'mdi-eye-off-outline' }}</v-icon></button>
      <button class="aps-icon" data-testid="segment-lock" :aria-pressed="s.locked" :class="{'aps-off': !s.locked}"
        :aria-label="(s.locked ? 'Unlock ' : 'Lock ') + s.name" :title="s.locked ? 'Unlock' : 'Lock'"
        @click.stop="trigger('segment_lock', [s.id, !s.locked])">
        <v-icon size="18">{{ s.locked ? 'mdi-lock' : 'mdi-lock-open-variant-outline' }}</v-icon></button>
      <button class="aps-icon aps-off" data-testid="segment-delete" :aria-label="'Delete ' + s.name" title="Delete"
        @click.stop="trigger('segment_delete', [s.id])"><v-icon size="18">mdi-trash-can-outline</v-icon></button>
    </li>
    <li v-if="tools_ready && !segments.length" class="aps-empty">
      No segment yet. <button class="aps-link" @click="trigger('segment_add')">Add one</button>, or just start with a
      box.
    </li>
  </ul>
  <datalist id="aps-terms"><option v-for="term in terms" :key="term" :value="term"></option></datalist>
  <details class="aps-more" data-testid="segments-masking">
    <summary>What edits may change</summary>
    <label>Other segments
      <select v-model.number="overwrite_mode" data-testid="overwrite-mode">
        <option :value="2">Leave as they are (overlap)</option><option :value="0">Overwrite all</option>
        <option :value="1">Overwrite visible ones</option>
      </select></label>
    <label>Editable area
      <select v-model.number="editable_area" data-testid="editable-area">
        <option v-for="area in AREAS" :key="area[0]" :value="area[0]">{{ area[1] }}</option>
      </select></label>
  </details>
</section>
"""


class SegmentsPanel(Panel):
    """Segments of the segmentation node, in its order."""

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._editor_node = app.slicer_app.segmentation_editor.editor_node
        terms = anatomy_terms(app.slicer_app.terminologies_logic)
        self.state.terms = list(terms)
        self._terms = {name.lower(): term for name, term in terms.items()}
        self.state.change("opacity")(self._opacity_changed)
        self.state.change("overwrite_mode", "editable_area")(self._masking_changed)

    @property
    def template(self) -> str:  # type: ignore[override]
        """With the modes as the editor node numbers them."""
        mode = SegmentationEditableAreaMode
        areas = [
            [mode.EVERYWHERE.value, "Everywhere"],
            [mode.INSIDE_ALL_SEGMENTS.value, "Inside all segments"],
            [mode.INSIDE_SINGLE_SEGMENT.value, "Inside the active segment"],
            [mode.OUTSIDE_ALL_SEGMENTS.value, "Outside all segments"],
        ]
        return TEMPLATE.replace("AREAS", str(areas)).replace("ADD_KEY", hint("segment:add"))

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
        self.state.segments = [_row(info) for info in segmenter.segments]
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
        self._segmenter.rename_segment(segment_id, name, self._terms.get(name.strip().lower(), TISSUE))

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


def _row(info: SegmentInfo) -> dict[str, Any]:
    color = hexadecimal(info.color).lower()  # as colour fields have it
    return {
        "id": info.id, "name": info.name, "color": color, "visible": info.visible, "locked": info.locked,
        "ml": ml_text(info.ml),
    }  # fmt: skip

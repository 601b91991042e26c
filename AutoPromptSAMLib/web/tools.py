"""The rail of tools on the left: prompts, Slicer's editing effects, undo and redo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from trame_slicer.segmentation import (
    SegmentationEffectErase,
    SegmentationEffectIslands,
    SegmentationEffectPaint,
    SegmentationEffectScissors,
    SegmentationEffectSmoothing,
    SegmentationIslandsMode,
)
from trame_slicer.segmentation.paint_effect_parameters import BrushDiameterMode
from trame_slicer.segmentation.scissors_effect_parameters import ScissorsEffectFillMode
from trame_slicer.segmentation.segmentation_effect_smoothing import SmoothingEffectMode

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.mrml.placing import Placing
from AutoPromptSAMLib.mrml.placing import Tool as PlacingTool
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.workbench.shortcuts import hint

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import VolumeGeometry
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, SegmentInfo
    from AutoPromptSAMLib.web.app import WebApp


@dataclass(frozen=True)
class Tool:
    """A button: ``id`` in the state and after "tool:" among the shortcuts; ``effect`` of Slicer's segment editor."""

    id: str
    icon: str
    text: str
    effect: Any = None
    kind: str = ""  # the colour of its icon


PROMPT_TOOLS = (
    Tool("navigate", "mdi-cursor-move", "Look around: wheel scrolls, right button zooms, middle button moves"),
    Tool("point+", "mdi-plus-circle-outline", "Point: this belongs to it", kind="plus"),
    Tool("point-", "mdi-minus-circle-outline", "Point: this does not belong to it", kind="minus"),
    Tool("box", "mdi-selection", "Box around it: drag; resize by its handles"),
    Tool("doodle+", "mdi-draw", "Doodle over what belongs to it", kind="plus"),
    Tool("doodle-", "mdi-draw", "Doodle over what does not belong to it", kind="minus"),
    Tool("eraser", "mdi-eraser-variant", "Remove prompts: click or drag over them"),
)
EFFECT_TOOLS = (
    Tool("paint", "mdi-brush", "Paint", SegmentationEffectPaint),
    Tool("erase", "mdi-eraser", "Erase", SegmentationEffectErase),
    Tool("scissors", "mdi-content-cut", "Scissors: draw around", SegmentationEffectScissors),
    Tool("islands", "mdi-chart-bubble", "Islands: keep or remove pieces", SegmentationEffectIslands),
    Tool("smoothing", "mdi-blur", "Smooth", SegmentationEffectSmoothing),
)
VIEW_TOOLS = (Tool("window", "mdi-contrast-circle", "Window and level: drag in a view"),)
ALL = {tool.id: tool for tool in (*PROMPT_TOOLS, *EFFECT_TOOLS, *VIEW_TOOLS)}
PLACING: dict[str, PlacingTool] = {tool: tool for tool in get_args(PlacingTool)}


def _button(tool: Tool) -> str:
    title = tool.text + hint(f"tool:{tool.id}")
    enabled = "has_image" if tool.id in ("navigate", "window") else "tools_ready"
    return f"""
<button class="aps-tool"
  :class="{{'aps-active': tool === '{tool.id}', 'aps-tool-{tool.kind}': {str(bool(tool.kind)).lower()}}}"
  data-testid="tool-{tool.id}" :disabled="!{enabled}" :aria-pressed="tool === '{tool.id}'" aria-label="{title}"
  @click="trigger('tool', ['{tool.id}'])">
  <v-icon size="22">{tool.icon}</v-icon>{_sign(tool)}
  <v-tooltip activator="parent" location="right">{title}</v-tooltip>
</button>"""


def _sign(tool: Tool) -> str:
    return {"doodle+": "<sup>+</sup>", "doodle-": "<sup>−</sup>"}.get(tool.id, "")


def _history(action: str, icon: str, word: str) -> str:
    return f"""
<button class="aps-tool" data-testid="{action}" :disabled="!{action}_text" @click="trigger('{action}')"
  :aria-label="'{word}: ' + {action}_text">
  <v-icon size="22">{icon}</v-icon>
  <v-tooltip activator="parent" location="right">{word}: {{{{ {action}_text }}}}{hint(action)}</v-tooltip>
</button>"""


RULE = '<hr class="aps-rule"/>'
OPTIONS = """
<div v-if="tools_ready && ['paint', 'erase', 'scissors', 'islands', 'smoothing'].includes(tool)" class="aps-options"
  data-testid="tool-options" role="group" aria-label="Tool options">
  <template v-if="tool === 'paint' || tool === 'erase'">
    <label>Size <input type="range" min="1" max="40" v-model.number="brush_mm" data-testid="brush-size"/></label>
    <output>{{ brush_mm }} mm</output>
    <label class="aps-check"><input type="checkbox" v-model="brush_sphere" data-testid="brush-sphere"/> Sphere</label>
  </template>
  <template v-if="tool === 'scissors'">
    <select v-model="scissors_mode" data-testid="scissors-mode" aria-label="What scissors do">
      <option value="ERASE_INSIDE">Erase inside</option><option value="ERASE_OUTSIDE">Erase outside</option>
      <option value="FILL_INSIDE">Fill inside</option><option value="FILL_OUTSIDE">Fill outside</option>
    </select>
    <span>Draw around in any view; all slices are cut.</span>
  </template>
  <template v-if="tool === 'islands'">
    <select v-model="islands_mode" data-testid="islands-mode" aria-label="What to do with islands">
      <option value="KEEP_LARGEST_ISLAND">Keep the largest</option>
      <option value="REMOVE_SMALL_ISLANDS">Remove small ones</option>
      <option value="SPLIT_TO_SEGMENTS">Split to segments</option>
      <option value="KEEP_SELECTED">Keep the clicked one</option>
      <option value="REMOVE_SELECTED">Remove the clicked one</option>
      <option value="ADD_SELECTED">Add the clicked one</option>
    </select>
    <label v-if="islands_mode === 'REMOVE_SMALL_ISLANDS'">below
      <input type="number" min="1" v-model.number="islands_minimum" data-testid="islands-minimum"/> voxels</label>
    <span v-if="islands_mode.endsWith('SELECTED')">Click a piece in a slice view.</span>
    <button v-else class="aps-button" data-testid="islands-apply" @click="trigger('effect_apply')">Apply</button>
  </template>
  <template v-if="tool === 'smoothing'">
    <select v-model="smoothing_mode" data-testid="smoothing-mode" aria-label="How to smooth">
      <option value="MEDIAN">Median</option><option value="OPENING">Remove spikes</option>
      <option value="CLOSING">Fill holes</option><option value="GAUSSIAN">Gaussian</option>
    </select>
    <label><input type="number" min="0.5" max="30" step="0.5" v-model.number="smoothing_mm"
      data-testid="smoothing-size"/> mm</label>
    <button class="aps-button" data-testid="smoothing-apply" @click="trigger('effect_apply')">Apply</button>
  </template>
</div>
"""


class Tools(Panel):
    """One tool at a time; ``tool`` in the state."""

    template = (
        '<nav class="aps-rail" aria-label="Tools">'
        + "".join(map(_button, PROMPT_TOOLS))
        + RULE
        + "".join(map(_button, EFFECT_TOOLS))
        + RULE
        + "".join(map(_button, VIEW_TOOLS))
        + '<span class="aps-spring"></span>'
        + _history("undo", "mdi-undo", "Undo")
        + _history("redo", "mdi-redo", "Redo")
        + "</nav>"
    )

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self.placing = Placing()
        for control in app.views.slices.values():
            self.placing.attach(control.view.interactor(), control.node, control.view.schedule_render)
        self.editor = app.slicer_app.segmentation_editor
        self._editable: tuple[str, bool] = ("", False)  # the active segment, and whether it is locked
        self.state.change("tool")(self._tool_changed)
        self.state.change(
            "brush_mm", "brush_sphere", "scissors_mode", "islands_mode", "islands_minimum", "smoothing_mode",
            "smoothing_mm",
        )(self._options_changed)  # fmt: skip

    def shown(self, volume_node: Any, geometry: VolumeGeometry) -> None:
        """A new image has no segment yet for the editing effects to work on."""
        if ALL[self.state.tool].effect is not None:
            self.state.tool = "navigate"

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Tools work on the new image."""
        self.placing.segmenter = segmenter
        self._tool_changed(self.state.tool)

    def refresh(self, what: str) -> None:
        """Show what undo and redo would do."""
        segmenter = self.app.segmenter
        if segmenter is None:
            return
        self.state.undo_text, self.state.redo_text = segmenter.undo_text, segmenter.redo_text
        if what == "active" and segmenter.active_segment not in (None, self.editor.active_segment_id):
            self.editor.set_active_segment_id(segmenter.active_segment)
        if what in ("active", "segments") and ALL[self.state.tool].effect is not None:
            active = self._active()
            editable = ("", False) if active is None else (active.id, active.locked)
            if editable != self._editable:
                self._tool_changed(self.state.tool)

    def on_tool(self, name: str) -> None:
        """Take up a tool."""
        if name in ALL:
            self.state.tool = name

    def on_undo(self) -> None:
        """Take back the last step, whoever made it."""
        if self.app.segmenter is not None:
            self.app.segmenter.undo()

    def on_redo(self) -> None:
        """Do the last undone step again."""
        if self.app.segmenter is not None:
            self.app.segmenter.redo()

    def on_effect_apply(self) -> None:
        """Run the effect that needs no mouse: islands, smoothing."""
        active = self._need_active_segment()
        if not active.ml:
            raise PromptError(f'"{active.name}" is empty; give it a box, a click or a stroke of the brush first.')
        effect = self.editor.active_effect
        if isinstance(effect, SegmentationEffectIslands):
            effect.apply()
        elif isinstance(effect, SegmentationEffectSmoothing):
            effect.apply_smoothing()
        self.app.call(self._tell_if_empty)  # after the segmenter has seen what was done

    def _tell_if_empty(self) -> None:
        left = self._active()
        if left is not None and not left.ml:
            self.app.say(
                f'Nothing is left of "{left.name}", which was too thin for it; undo, or work on less.', "warning"
            )

    def _active(self) -> SegmentInfo | None:
        segmenter = self.app.segmenter
        if segmenter is None:
            return None
        return next((info for info in segmenter.segments if info.id == segmenter.active_segment), None)

    def _need_active_segment(self) -> SegmentInfo:
        active = self._active()
        if active is None:
            raise PromptError("There is no segment to work on; add one with the + above the list.")
        if active.locked:
            raise PromptError(f'"{active.name}" is locked; unlock it in the segment list first.')
        return active

    def _tool_changed(self, tool: str, **_: Any) -> None:
        chosen = ALL.get(tool, ALL["navigate"])
        active = self._active()
        self._editable = ("", False) if active is None else (active.id, active.locked)
        if chosen.effect is not None and self.app.guarded(self._need_active_segment)() is not None:
            self.editor.set_active_effect_type(chosen.effect)
            self._options_changed()
            if self.app.segmenter is not None:
                self.app.segmenter.edit_verb = chosen.text.partition(":")[0]
        else:
            self.editor.deactivate_effect()
        self.placing.tool = PLACING.get(chosen.id)
        mode = self.app.slicer_app.app_logic.GetInteractionNode()
        window = chosen.id == "window"
        mode.SetCurrentInteractionMode(mode.AdjustWindowLevel if window else mode.ViewTransform)

    def _options_changed(self, **_: Any) -> None:
        effect, state = self.editor.active_effect, self.state
        if isinstance(effect, (SegmentationEffectPaint, SegmentationEffectErase)):
            effect.set_brush_diameter(float(state.brush_mm), BrushDiameterMode.Absolute)
            effect.set_use_sphere_brush(bool(state.brush_sphere))
        elif isinstance(effect, SegmentationEffectScissors):
            effect.set_fill_mode(ScissorsEffectFillMode[state.scissors_mode])
        elif isinstance(effect, SegmentationEffectIslands):
            effect.set_island_mode(SegmentationIslandsMode[state.islands_mode])
            effect.set_minimum_island_size(max(1, int(state.islands_minimum or 1)))
        elif isinstance(effect, SegmentationEffectSmoothing):
            effect.set_smoothing_mode(SmoothingEffectMode[state.smoothing_mode])
            effect.set_kernel_size(float(state.smoothing_mm or 1))
            effect.set_standard_deviation(float(state.smoothing_mm or 1))

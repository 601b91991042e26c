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

from AutoPromptSAMLib.mrml.placing import Placing
from AutoPromptSAMLib.mrml.placing import Tool as PlacingTool
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.workbench.segment_rows import active_segment, need_editable, need_filled, nothing_left_text
from AutoPromptSAMLib.workbench.shortcuts import hint

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import VolumeGeometry
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
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


SIGNS = {"doodle+": "<sup>+</sup>", "doodle-": "<sup>−</sup>"}  # of tools that share an icon
RULE = '<hr class="aps-rule"/>'


def _button(tool: Tool) -> str:
    return page(
        "tool",
        id=tool.id,
        kind=tool.kind,
        coloured=str(bool(tool.kind)).lower(),
        enabled="has_image" if tool.id in ("navigate", "window") else "tools_ready",
        title=tool.text + hint(f"tool:{tool.id}"),
        icon=tool.icon,
        sign=SIGNS.get(tool.id, ""),
    )


def _history(action: str, icon: str, word: str) -> str:
    return page("history", action=action, icon=icon, word=word, key=hint(action))


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
        self._editable = ("", False)  # what the effect was taken up for
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
        edits = ALL[self.state.tool].effect is not None
        if what in ("active", "segments") and edits and self._edited() != self._editable:
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
        need_filled(self.app.segmenter)
        effect = self.editor.active_effect
        if isinstance(effect, SegmentationEffectIslands):
            effect.apply()
        elif isinstance(effect, SegmentationEffectSmoothing):
            effect.apply_smoothing()
        self.app.call(self._tell_if_empty)  # after the segmenter has seen what was done

    def _tell_if_empty(self) -> None:
        text = nothing_left_text(self.app.segmenter)
        if text:
            self.app.say(text, "warning")

    def _edited(self) -> tuple[str, bool]:
        """The active segment, and whether it is locked."""
        active = active_segment(self.app.segmenter)
        return ("", False) if active is None else (active.id, active.locked)

    def _tool_changed(self, tool: str, **_: Any) -> None:
        chosen = ALL.get(tool, ALL["navigate"])
        self._editable = self._edited()
        if chosen.effect is not None and self.app.guarded(need_editable)(self.app.segmenter) is not None:
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

"""Tools that place prompts in the slice views, and the list of the active segment's prompts."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.panel import ICON_FOLDER, Panel, add_row

ICONS = ("Look", "PointPlus", "PointMinus", "Box", "DoodlePlus", "DoodleMinus", "Eraser")


class PromptsPanel(Panel):
    """One tool at a time, or none: then the mouse is Slicer's."""

    name = "PromptsPanel"
    TOOLS = ("navigate", "point+", "point-", "box", "doodle+", "doodle-", "eraser")

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        ui = self.ui
        buttons = (
            ui.lookButton, ui.pointPlusButton, ui.pointMinusButton, ui.boxButton, ui.doodlePlusButton,
            ui.doodleMinusButton, ui.eraserButton,
        )  # fmt: skip
        self._buttons = dict(zip(self.TOOLS, buttons, strict=True))
        for (tool, button), icon in zip(self._buttons.items(), ICONS, strict=True):
            button.icon = qt.QIcon(str(ICON_FOLDER / "Tools" / f"{icon}.png"))
            self.bind(button, lambda tool=tool: self.take(tool))
        self.bind(ui.removePromptButton, self._remove_selected)
        self.bind(ui.clearPromptsButton, self.clear)
        self.bind(ui.fromSegmentButton, self._take_over)
        ui.promptsList.connect("itemActivated(QListWidgetItem*)", desk.guarded(self._show))
        ui.promptsList.connect("itemClicked(QListWidgetItem*)", desk.guarded(self._show))
        self._slices: dict[str, tuple[int, int]] = {}  # axis and slice of each prompt
        self._enable(False)

    # -- tools --------------------------------------------------------------------------------------------------------

    def take(self, tool: str) -> None:
        """Take up a tool; "navigate" puts it away."""
        placing = self.desk.placing
        if placing is not None and self.segmenter is not None:
            placing.tool = None if tool == "navigate" else tool
            if placing.tool is not None:
                self.desk.page.correct.put_away()
        self._show_tool()

    def put_away(self) -> None:
        """The mouse is Slicer's again."""
        if self.desk.placing is not None:
            self.desk.placing.tool = None
        self._show_tool()

    def _show_tool(self) -> None:
        placing = self.desk.placing
        held = "navigate" if placing is None or placing.tool is None else placing.tool
        for tool, button in self._buttons.items():
            button.checked = tool == held

    # -- prompts ------------------------------------------------------------------------------------------------------

    def remove_last(self) -> None:
        """Remove the prompt that was given last."""
        segmenter = self.segmenter
        if segmenter is not None and segmenter.prompts():
            segmenter.remove_prompt(segmenter.prompts()[-1].id)

    def clear(self) -> None:
        """Remove all prompts of the active segment; its voxels stay."""
        self.desk.need_segmenter().clear_prompts()

    def _remove_selected(self) -> None:
        item = self.ui.promptsList.currentItem()
        if item is not None:
            self.desk.need_segmenter().remove_prompt(item.data(qt.Qt.UserRole))

    def _take_over(self) -> None:
        """What another segment has on the shown slice becomes a mask prompt."""
        segment_id = self.ui.fromSegmentCombo.currentData
        if segment_id:
            self.desk.need_segmenter().add_mask_prompt(segment_id)

    def _show(self, item: Any) -> None:
        self.desk.views.jump(*self._slices[item.data(qt.Qt.UserRole)])

    # -- what is shown ------------------------------------------------------------------------------------------------

    def connected(self, segmenter: Any) -> None:
        """Tools work."""
        self._enable(True)
        self.parameters_changed()

    def disconnected(self) -> None:
        """There is nothing to prompt."""
        self.put_away()
        self.ui.promptsList.clear()
        self.ui.fromSegmentCombo.clear()
        self._enable(False)

    def parameters_changed(self) -> None:
        """The brush has another size."""
        if self.desk.placing is not None:
            self.desk.placing.brush_mm = self.desk.parameters.brushDiameterMm

    def refresh(self, what: str) -> None:
        """Show the list anew; strokes have the colour of the active segment."""
        if what not in ("prompts", "active", "segments"):
            return
        from AutoPromptSAMLib.workbench.prompt_rows import prompt_row

        segmenter, ui = self.desk.need_segmenter(), self.ui
        geometry = segmenter.volume.geometry
        held = ui.promptsList.currentItem()
        current = None if held is None else held.data(qt.Qt.UserRole)
        ui.promptsList.clear()
        self._slices = {}
        for prompt in segmenter.prompts():
            row = prompt_row(prompt, geometry)
            self._slices[row.id] = (geometry.array_axis(row.view), row.slice)
            source = "" if row.person else f" · {row.source}"
            item = add_row(ui.promptsList, f"{row.text} · {row.view} {row.slice}{source}", row.id)
            if row.id == current:
                ui.promptsList.setCurrentItem(item)
        ui.removePromptButton.enabled = ui.clearPromptsButton.enabled = bool(self._slices)
        others = [info for info in segmenter.segments if info.id != segmenter.active_segment]
        chosen = ui.fromSegmentCombo.currentData
        ui.fromSegmentCombo.clear()
        for info in others:
            ui.fromSegmentCombo.addItem(info.name, info.id)
        ui.fromSegmentCombo.currentIndex = max(ui.fromSegmentCombo.findData(chosen), 0 if others else -1)
        ui.fromSegmentCombo.enabled = ui.fromSegmentButton.enabled = bool(others)

    def _enable(self, on: bool) -> None:
        for button in self._buttons.values():
            button.enabled = on
        self.ui.removePromptButton.enabled = self.ui.clearPromptsButton.enabled = False
        self.ui.fromSegmentCombo.enabled = self.ui.fromSegmentButton.enabled = False
        hint = _("Draw a box around the object, or click on it.") if on else _("Choose a volume and a model first.")
        self.ui.promptsHint.text = hint

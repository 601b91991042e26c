"""The page of the module: its panels from top to bottom, and what its keys do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from AutoPromptSAMDesktop.advanced_panel import AdvancedPanel
from AutoPromptSAMDesktop.automatic_panel import AutomaticPanel
from AutoPromptSAMDesktop.correct_panel import CorrectPanel
from AutoPromptSAMDesktop.input_panel import InputPanel
from AutoPromptSAMDesktop.install_panel import InstallPanel
from AutoPromptSAMDesktop.models_panel import ModelsPanel
from AutoPromptSAMDesktop.prompts_panel import PromptsPanel
from AutoPromptSAMDesktop.review_panel import ReviewPanel
from AutoPromptSAMDesktop.status_panel import StatusPanel
from AutoPromptSAMDesktop.supports_panel import SupportsPanel

if TYPE_CHECKING:
    from AutoPromptSAMDesktop.desk import Desk
    from AutoPromptSAMDesktop.panel import Panel


@dataclass(frozen=True)
class Page:
    """The panels by name."""

    install: InstallPanel
    status: StatusPanel
    input: InputPanel
    prompts: PromptsPanel
    supports: SupportsPanel
    automatic: AutomaticPanel
    review: ReviewPanel
    correct: CorrectPanel
    models: ModelsPanel
    advanced: AdvancedPanel

    @property
    def panels(self) -> tuple[Panel, ...]:
        """From top to bottom."""
        return tuple(vars(self).values())

    @property
    def bound(self) -> dict[str, Any]:
        """The widgets that are bound to parameters, by the parameter's name."""
        widgets = [widget for panel in self.panels for widget in vars(panel.ui).values()]
        named = {widget.property("SlicerParameterName"): widget for widget in widgets}
        return {str(name): widget for name, widget in named.items() if name}

    def actions(self) -> Mapping[str, Callable[[], Any]]:
        """What the keys of the table do here; those of the browser's views are Slicer's own."""
        desk, review, automatic = self.status.desk, self.review, self.automatic
        tools = {f"tool:{tool}": lambda tool=tool: self.prompts.take(tool) for tool in self.prompts.TOOLS}
        actions = {
            **tools,
            "prompt:delete-last": self.prompts.remove_last,
            "undo": self.status.undo,
            "redo": self.status.redo,
            "segment:add": self.input.add_segment,
            "propagate": automatic.propagate,
            "examples:run": automatic.run_supports,
            "examples:unsure": automatic.next_unsure,
            "examples:accept": automatic.accept,
            "examples:open": self.supports.unfold,
            "review:run": review.run,
            "review:overlay": review.toggle_overlay,
            "review:take": review.take,
            "review:refine-one": review.refine_one,
            "review:refine": review.refine,
            "review:back": lambda: review.step(-1),
            "review:forward": lambda: review.step(1),
            "cancel": self.escape,
            "help": self.advanced.show_keys,
        }
        return {name: desk.guarded(action) for name, action in actions.items()}

    def escape(self) -> None:
        """End what runs, or what is being dragged, or put the tool away."""
        desk = self.status.desk
        if desk.segmenter is not None and desk.segmenter.status.phase == "propagating":
            desk.segmenter.cancel()
        elif desk.placing is None or not desk.placing.cancel():
            self.prompts.put_away()


def build_panels(desk: Desk, layout: Any) -> Page:
    """Make all panels and put them below each other."""
    kinds = (
        InstallPanel, StatusPanel, InputPanel, PromptsPanel, SupportsPanel, AutomaticPanel, ReviewPanel, CorrectPanel,
        ModelsPanel, AdvancedPanel,
    )  # fmt: skip
    page = Page(*(kind(desk) for kind in kinds))
    for panel in page.panels:
        layout.addWidget(panel.widget)
    layout.addStretch(1)
    return page

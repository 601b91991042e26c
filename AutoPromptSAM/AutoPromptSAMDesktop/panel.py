"""What all panels have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer

if TYPE_CHECKING:
    from AutoPromptSAMDesktop.desk import Desk
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter

RESOURCES = Path(__file__).parents[1] / "Resources"
UI_FOLDER, ICON_FOLDER = RESOURCES / "UI", RESOURCES / "Icons"


def load_ui(name: str) -> tuple[Any, Any]:
    """The widget in a .ui file, and an object with its children by name."""
    widget = slicer.util.loadUI(str(UI_FOLDER / f"{name}.ui"))
    return widget, slicer.util.childWidgetVariables(widget)


def add_row(rows: Any, text: str, data: Any, tip: str = "") -> Any:
    """A new row of a list widget, which owns it: one made here might go with the last name for it."""
    rows.addItem(text)
    item = rows.item(rows.count - 1)
    item.setData(qt.Qt.UserRole, data)
    item.setToolTip(tip)
    return item


class Panel:
    """A part of the module's page: ``widget`` of the .ui file ``name``, its children in ``ui``.

    ``desk`` calls ``begin`` once all packages are there, ``connected`` when there is an image with a model,
    ``disconnected`` when there is none any more, and ``refresh`` with what a segmenter's ``changed`` says, or "slice"
    when the person sees another one.
    """

    name = ""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.widget, self.ui = load_ui(self.name)

    @property
    def segmenter(self) -> InteractiveSegmenter | None:
        """What the panels work on; None before there are an image and a model."""
        return self.desk.segmenter

    def begin(self) -> None:
        """All packages are there: what needs them can be asked for."""

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """There is another image, segmentation or model."""

    def disconnected(self) -> None:
        """There is nothing to work on for now."""

    def refresh(self, what: str) -> None:
        """Something changed: "segments", "active", "prompts", "history", "status", "propagation", ...."""

    def parameters_changed(self) -> None:
        """A parameter has another value; bound widgets show it already."""

    def bind(self, button: Any, action: Any) -> None:
        """Let a button do something; errors of ours are told, not raised."""
        button.connect("clicked()", self.desk.guarded(action))

"""The top bar and the status line."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vtkmodules.vtkCommonCore import vtkCommand

from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.web.views import LAYOUTS
from AutoPromptSAMLib.workbench.status_line import StatusLine
from AutoPromptSAMLib.workbench.windows import WindowMenu

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp

LAYOUT_ICONS = {
    "four-up": "mdi-view-grid-outline",
    "one-three": "mdi-view-quilt-outline",
    "axial": "mdi-square-outline",
    "3d": "mdi-cube-outline",
}


LAYOUT_BUTTONS = "".join(
    page("layout", name=name, title=title, icon=LAYOUT_ICONS[name]) for name, title in LAYOUTS.items()
)


class TopBar(Panel):
    """Name, image, window, layout, model, export, help."""

    template = page("top", layouts=LAYOUT_BUTTONS)

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._menu: WindowMenu | None = None
        self.state.change("window")(self._window_changed)

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Offer the windows that fit the image."""
        if self._menu is None or segmenter.volume_node is not self._menu.volume_node:  # not another model only
            self._menu = None if segmenter.volume.is_colour else WindowMenu(segmenter)
            if self._menu is None:
                self.state.windows = []
                return
            self._show_menu(self._menu)
            display = segmenter.volume_node.GetScalarVolumeDisplayNode()
            display.AddObserver(vtkCommand.ModifiedEvent, lambda *_: self._dragged())
        self._menu.show_to(segmenter)

    def on_help(self) -> None:
        """Show or hide the card of shortcuts."""
        self.state.help_open = not self.state.help_open

    def _dragged(self) -> None:
        """The window may have been changed with the mouse."""
        if self._menu is not None and self._menu.look():
            self._show_menu(self._menu)

    def _window_changed(self, window: str, **_: Any) -> None:
        if self._menu is not None and window != self._menu.chosen:
            self._menu.choose(window)
            self._show_menu(self._menu)
            if self.app.segmenter is not None:
                self._menu.show_to(self.app.segmenter)

    def _show_menu(self, menu: WindowMenu) -> None:
        self.state.windows = [asdict(window) for window in menu.entries]
        self.state.window = menu.chosen


class StatusBar(Panel):
    """What is going on in words, and what is under the mouse."""

    template = page("status")

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._line = StatusLine()

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Say how it stands."""
        self.refresh("status")

    def refresh(self, what: str) -> None:
        """Follow the segmenter."""
        segmenter = self.app.segmenter
        if segmenter is not None and what in ("status", "learning"):
            status = segmenter.status
            self.state.update({
                "phase": status.phase, "done": status.done, "total": status.total,
                "status": self._line.text(segmenter),
            })  # fmt: skip

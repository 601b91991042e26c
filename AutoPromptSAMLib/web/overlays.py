"""What lies over the page: the start, toasts, the card of shortcuts, the first-run hints."""

from __future__ import annotations

import itertools
from typing import Literal

from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.workbench import shortcuts

LASTS_S = {"info": 6.0, "warning": 12.0, "error": 20.0}


class Overlays(Panel):
    """Toasts go by themselves; errors stay longest."""

    template = page("toasts") + page("help") + page("hints")
    _ids = itertools.count(1)

    def say(self, text: str, kind: Literal["info", "warning", "error"] = "info") -> None:
        """Show a sentence; the same sentence is not shown twice."""
        shown = [toast for toast in self.state.toasts if toast["text"] != text]
        number = next(self._ids)
        self.state.toasts = [*shown, {"id": number, "text": text, "kind": kind}][-4:]
        if self.app.loop is not None:
            self.app.loop.call_later(LASTS_S[kind], self._expire, number)

    def on_toast_close(self, number: int) -> None:
        """Put a toast away."""
        self.state.toasts = [toast for toast in self.state.toasts if toast["id"] != number]

    def _expire(self, number: int) -> None:
        with self.state:
            self.on_toast_close(number)


def shortcut_state() -> dict[str, object]:
    """What the page needs of the table of shortcuts."""
    return {"shortcut_card": shortcuts.card(), "keys": dict(shortcuts.BY_KEY)}

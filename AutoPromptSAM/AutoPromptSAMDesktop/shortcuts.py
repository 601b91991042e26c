"""Keys of the main window while the module is shown: the same ones as in the browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

QT_NAMES = {"escape": "Esc", "delete": "Del", "backspace": "Backspace", "space": "Space"}


class Shortcuts:
    """Made in ``enter`` and removed in ``exit``: no other module's keys are ever taken."""

    def __init__(self) -> None:
        self._made: list[Any] = []

    def enter(self, actions: Mapping[str, Callable[[], object]]) -> None:
        """Let the keys of ``workbench.shortcuts`` run ``actions``; those without an action here stay Slicer's."""
        from AutoPromptSAMLib.workbench.shortcuts import SHORTCUTS

        self.exit()
        window = slicer.util.mainWindow()
        for shortcut in SHORTCUTS if window is not None else ():
            action = actions.get(shortcut.action)
            for key in shortcut.keys if action is not None else ():
                made = qt.QShortcut(qt.QKeySequence(sequence(key)), window)
                made.connect("activated()", _unless_button(action) if key == "space" else action)
                self._made.append(made)

    def exit(self) -> None:
        """Take the keys away."""
        for shortcut in self._made:
            shortcut.enabled = False
            shortcut.deleteLater()
        self._made.clear()


def _unless_button(action: Callable[[], object]) -> Callable[[], object]:
    """``action``, but a button that has the keyboard is pressed, as everywhere in Qt."""

    def run() -> object:
        focus = slicer.app.focusWidget()
        return focus.click() if isinstance(focus, qt.QAbstractButton) else action()

    return run


def sequence(key: str) -> str:
    """A key of the table as Qt writes it: "ctrl+shift+z" is Ctrl+Shift+Z."""
    return "+".join(QT_NAMES.get(part, part.capitalize()) for part in key.split("+"))

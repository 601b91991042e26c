"""One table of shortcuts: for the tooltips, the card that ``?`` opens, and the keys themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Shortcut:
    """``keys`` as the page names them ("ctrl+z"), their ``action``, in words, and its ``group`` on the card."""

    action: str
    keys: tuple[str, ...]
    text: str
    group: str


SHORTCUTS = (
    Shortcut("tool:navigate", ("v", "1"), "Look around", "Prompts"),
    Shortcut("tool:point+", ("p", "2"), "Point: belongs to it", "Prompts"),
    Shortcut("tool:point-", ("n", "3"), "Point: does not belong", "Prompts"),
    Shortcut("tool:box", ("b", "4"), "Box", "Prompts"),
    Shortcut("tool:doodle+", ("d", "5"), "Doodle: belongs to it", "Prompts"),
    Shortcut("tool:doodle-", ("shift+d", "6"), "Doodle: does not belong", "Prompts"),
    Shortcut("tool:eraser", ("e", "7"), "Remove prompts", "Prompts"),
    Shortcut("tool:window", ("w",), "Window and level by dragging", "View"),
    Shortcut("prompt:delete-last", ("delete", "backspace"), "Remove the last prompt", "Prompts"),
    Shortcut("tool:paint", ("shift+b",), "Paint", "Correct by hand"),
    Shortcut("tool:erase", ("shift+e",), "Erase", "Correct by hand"),
    Shortcut("tool:scissors", ("shift+s",), "Scissors", "Correct by hand"),
    Shortcut("tool:islands", ("shift+i",), "Islands", "Correct by hand"),
    Shortcut("tool:smoothing", ("shift+m",), "Smooth", "Correct by hand"),
    Shortcut("undo", ("ctrl+z",), "Undo", "Segments"),
    Shortcut("redo", ("ctrl+shift+z", "ctrl+y"), "Redo", "Segments"),
    Shortcut("segment:add", ("a",), "New segment", "Segments"),
    Shortcut("propagate", ("space",), "Propagate", "Segments"),
    Shortcut("examples:run", ("shift+space",), "Prompt automatically from the examples", "Segments"),
    Shortcut("examples:unsure", ("u",), "Go to the next unsure slice", "Segments"),
    Shortcut("examples:accept", ("y",), "Accept what is on this slice", "Segments"),
    Shortcut("examples:open", ("x",), "Examples", "Segments"),
    Shortcut("review:run", ("shift+u",), "Where is it unsure?", "Review"),
    Shortcut("review:overlay", ("h",), "Show or hide the uncertainty", "Review"),
    Shortcut("review:take", ("t",), "Take the suggestion for this slice", "Review"),
    Shortcut("review:refine-one", ("r",), "Refine this slice automatically", "Review"),
    Shortcut("review:refine", ("shift+r",), "Refine all slices of the range", "Review"),
    Shortcut("review:back", (",",), "The step before of a refined slice", "Review"),
    Shortcut("review:forward", (".",), "The next step of a refined slice", "Review"),
    Shortcut("cancel", ("escape",), "Cancel; put the tool away", "Segments"),
    Shortcut("slice:next", ("arrowup", "pageup"), "Next slice", "View"),
    Shortcut("slice:previous", ("arrowdown", "pagedown"), "Previous slice", "View"),
    Shortcut("fit", ("f",), "Fit the image to the views", "View"),
    Shortcut("oblique", ("o",), "Turn the slices by the ends of the lines; again: straight", "View"),
    Shortcut("layout:next", ("l",), "Next layout", "View"),
    Shortcut("help", ("?",), "This card", "View"),
)
BY_KEY: Mapping[str, str] = {key: shortcut.action for shortcut in SHORTCUTS for key in shortcut.keys}
_NAMES = {
    "ctrl": "Ctrl",
    "shift": "Shift",
    "space": "Space",
    "escape": "Esc",
    "delete": "Del",
    "backspace": "⌫",
    "arrowup": "↑",
    "arrowdown": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
}


def key_text(key: str) -> str:
    """A key as it is printed on keyboards: "ctrl+shift+z" is Ctrl+Shift+Z."""
    return "+".join(_NAMES.get(part, part.upper()) for part in key.split("+"))


def hint(action: str) -> str:
    """What a tooltip adds to the name of an action: its first key in brackets, "" when it has none."""
    for shortcut in SHORTCUTS:
        if shortcut.action == action:
            return f" ({key_text(shortcut.keys[0])})"
    return ""


def card() -> list[dict[str, object]]:
    """The rows of the card by group, ready for the page."""
    groups: dict[str, list[dict[str, object]]] = {}
    for shortcut in SHORTCUTS:
        row: dict[str, object] = {"text": shortcut.text, "keys": [key_text(key) for key in shortcut.keys]}
        groups.setdefault(shortcut.group, []).append(row)
    return [{"group": group, "rows": rows} for group, rows in groups.items()]


class Keys:
    """Actions by name; ``press`` runs the one that a key stands for."""

    def __init__(self) -> None:
        self._actions: dict[str, Callable[[str], object]] = {}

    def bind(self, action: str, run: Callable[[str], object]) -> None:
        """Let ``run`` do ``action``; it gets what follows the colon of "tool:box". A prefix stands for all of them."""
        self._actions[action] = run

    def press(self, key: str) -> object:
        """Run the action of a key; keys without one do nothing."""
        action = BY_KEY.get(key, "")
        prefix, _, rest = action.partition(":")
        run = self._actions.get(action) or self._actions.get(prefix)
        return run(rest) if run else None

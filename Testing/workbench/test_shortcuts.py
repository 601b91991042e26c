"""The table of shortcuts and the keys."""

from __future__ import annotations

from AutoPromptSAMLib.workbench import shortcuts


def test_no_key_has_two_meanings() -> None:
    keys = [key for shortcut in shortcuts.SHORTCUTS for key in shortcut.keys]
    assert len(keys) == len(set(keys))


def test_keys_are_shown_as_they_are_printed_on_keyboards() -> None:
    assert shortcuts.key_text("ctrl+shift+z") == "Ctrl+Shift+Z"
    assert shortcuts.hint("propagate") == " (Space)"
    assert shortcuts.hint("nothing of that name") == ""


def test_the_card_has_every_shortcut_once() -> None:
    rows = [row for group in shortcuts.card() for row in group["rows"]]  # type: ignore[attr-defined]
    assert sorted(row["text"] for row in rows) == sorted(shortcut.text for shortcut in shortcuts.SHORTCUTS)


def test_a_key_runs_its_action_or_that_of_its_group() -> None:
    keys, done = shortcuts.Keys(), []
    keys.bind("tool", lambda name: done.append(name))
    keys.bind("slice:next", lambda rest: done.append(f"slice {rest}"))
    for key in ("b", "pageup", "pagedown", "§"):
        keys.press(key)
    assert done == ["box", "slice next"]

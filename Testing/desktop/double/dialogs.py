"""Dialogs that never block: they are written down and answered at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6 import QtGui, QtWidgets


@dataclass(frozen=True)
class Dialog:
    """One question or message: ``kind`` is "information", "warning", "critical", "question", "file" ..."""

    kind: str
    text: str
    title: str = ""
    detail: str = ""


class Answers(dict[str, Any]):
    """What the person at the desktop says, by what is asked.

    ``confirm`` True or False (buttons), ``getOpenFileName`` a path ("": cancelled) and so on for the functions of
    QFileDialog and QInputDialog, ``getColor`` a QColor, ``menu`` the text of an action, ``dialog`` the result of any
    other dialog. A list is used up from its start; a callable is called with the dialog or the question's text.
    """

    def of(self, name: str, question: Any, default: Any) -> Any:
        answer = self.get(name, default)
        if callable(answer):
            return answer(question)
        if isinstance(answer, list) and name != "getOpenFileNames":
            if not answer:
                raise AssertionError(f"nobody answers {name} once more")
            return answer.pop(0)
        return answer


@dataclass
class Desk:
    """Where dialogs go: those of the open desktop."""

    dialogs: list[Dialog]
    answers: Answers


current: list[Desk] = []
YES = ("Ok", "Yes", "Retry", "Save", "Open", "YesToAll", "Apply")
ICONS = {"Information": "information", "Warning": "warning", "Critical": "critical", "Question": "question"}


def _desk() -> Desk:
    if not current:
        raise RuntimeError("a dialog was opened, but no desktop is there")
    return current[-1]


def _pressed(buttons: Any, question: str) -> Any:
    """The button that the person presses: the only one, or the first that agrees or does not."""
    kinds = [kind for kind in QtWidgets.QMessageBox.StandardButton if kind.value and kind in buttons]
    kinds = [kind for kind in kinds if bin(kind.value).count("1") == 1]
    if len(kinds) <= 1:
        return kinds[0] if kinds else QtWidgets.QMessageBox.StandardButton.Ok
    agrees = bool(_desk().answers.of("confirm", question, True))
    return next(kind for kind in kinds if (kind.name in YES) == agrees)


def _execute(self: QtWidgets.QDialog, *_: Any) -> Any:
    if isinstance(self, QtWidgets.QMessageBox):
        kind = ICONS.get(self.icon.name, "message")
        _desk().dialogs.append(Dialog(kind, self.text, self.windowTitle, self.detailedText))
        own = [button for button in self.buttons() if self.standardButton(button).value == 0]
        if own:
            self._answer = _desk().answers.of("button", self.text, own[0].text)
            return 0
        return _pressed(self.standardButtons, self.text)
    _desk().dialogs.append(Dialog("dialog", self.windowTitle, type(self).__name__))
    return _desk().answers.of("dialog", self, 0)


def _message(kind: str) -> Callable[..., Any]:
    box = QtWidgets.QMessageBox

    def show(parent: Any, title: str, text: str, buttons: Any = None, default: Any = None) -> Any:
        if buttons is None:
            both = box.StandardButton.Yes | box.StandardButton.No
            buttons = both if kind == "question" else box.StandardButton.Ok
        _desk().dialogs.append(Dialog(kind, text, title))
        return _pressed(buttons, text)

    return show


def _file(name: str) -> Callable[..., Any]:
    def ask(parent: Any = None, caption: str = "", folder: str = "", filters: str = "", *_: Any) -> Any:
        _desk().dialogs.append(Dialog("file", caption, name, filters))
        answer = _desk().answers.of(name, caption, [] if name.endswith("Names") else "")
        return [str(each) for each in answer] if name.endswith("Names") else str(answer)

    return ask


def _input(name: str) -> Callable[..., Any]:
    def ask(parent: Any, title: str, label: str, *_: Any) -> Any:
        _desk().dialogs.append(Dialog("input", label, title))
        return _desk().answers.of(name, label, "")

    return ask


def _color(initial: Any = None, parent: Any = None, *_: Any) -> QtGui.QColor:
    _desk().dialogs.append(Dialog("color", "", "getColor"))
    return QtGui.QColor(_desk().answers.of("getColor", "", QtGui.QColor()))


def _menu(self: QtWidgets.QMenu, *_: Any) -> Any:
    texts = [action.text for action in self.actions()]
    _desk().dialogs.append(Dialog("menu", "\n".join(texts)))
    chosen = _desk().answers.of("menu", self, "")
    action = next((each for each in self.actions() if each.text == chosen), None)
    if action is not None:
        action.trigger()
    return action


@functools.cache
def change_dialogs() -> None:
    """Make Qt's dialogs write down and answer, once a process."""
    QtWidgets.QDialog.exec = QtWidgets.QDialog.exec_ = _execute
    QtWidgets.QMenu.exec = QtWidgets.QMenu.exec_ = _menu
    for kind in ICONS.values():
        setattr(QtWidgets.QMessageBox, kind, staticmethod(_message(kind)))
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory", "getOpenFileNames"):
        setattr(QtWidgets.QFileDialog, name, staticmethod(_file(name)))
    for name in ("getText", "getItem", "getInt", "getDouble"):
        setattr(QtWidgets.QInputDialog, name, staticmethod(_input(name)))
    QtWidgets.QColorDialog.getColor = staticmethod(_color)

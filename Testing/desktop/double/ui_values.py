"""Values in .ui files: ``<bool>true</bool>``, ``<enum>Qt::AlignLeft</enum>``, ``<size>`` and so on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

from PySide6 import QtCore, QtGui, QtWidgets


class UiError(ValueError):
    """A .ui file that Qt Designer's loader would not take as it is meant."""


def enumerator(text: str) -> Any:
    """``QFrame::StyledPanel`` or ``QFrame::Shape::StyledPanel`` as Qt's own."""
    scope, *names = text.strip().split("::")
    found: Any = next((getattr(lib, scope) for lib in (QtCore, QtGui, QtWidgets) if hasattr(lib, scope)), None)
    if found is None or not names:
        raise UiError(f"{text} is no enumerator of Qt")
    for name in names:
        found = getattr(found, name, None)
        if found is None:
            raise UiError(f"{text} is no enumerator of Qt")
    return found


def flags(text: str) -> Any:
    """``Qt::AlignLeft|Qt::AlignTop``."""
    parts = [enumerator(part) for part in text.split("|")]
    value = parts[0]
    for part in parts[1:]:
        value |= part
    return value


def _numbers(element: Element, *names: str) -> list[int]:
    return [int(element.findtext(name, "0")) for name in names]


def _font(element: Element) -> QtGui.QFont:
    font = QtGui.QFont()
    for child in element:
        text = child.text or ""
        if child.tag == "family":
            font.setFamily(text)
        elif child.tag == "pointsize":
            font.setPointSize(int(text))
        elif child.tag in ("bold", "italic", "underline", "strikeout"):
            getattr(font, {"strikeout": "setStrikeOut"}.get(child.tag, f"set{child.tag.capitalize()}"))(text == "true")
        elif child.tag != "weight":
            raise UiError(f"fonts in .ui files have no {child.tag} here")
    return font


def _size_policy(element: Element) -> QtWidgets.QSizePolicy:
    across, down = element.get("hsizetype"), element.get("vsizetype")
    if across is None or down is None:
        raise UiError("a size policy says hsizetype and vsizetype")
    kinds = [enumerator(f"QSizePolicy::{kind.rpartition('::')[2]}") for kind in (across, down)]
    policy = QtWidgets.QSizePolicy(*kinds)
    policy.setHorizontalStretch(int(element.findtext("horstretch", "0")))
    policy.setVerticalStretch(int(element.findtext("verstretch", "0")))
    return policy


READERS: dict[str, Callable[[Element], Any]] = {
    "bool": lambda e: {"true": True, "false": False}[(e.text or "").strip()],
    "number": lambda e: int(e.text or ""),
    "double": lambda e: float(e.text or ""),
    "string": lambda e: e.text or "",
    "cstring": lambda e: e.text or "",
    "enum": lambda e: enumerator(e.text or ""),
    "set": lambda e: flags(e.text or ""),
    "size": lambda e: QtCore.QSize(*_numbers(e, "width", "height")),
    "rect": lambda e: QtCore.QRect(*_numbers(e, "x", "y", "width", "height")),
    "point": lambda e: QtCore.QPoint(*_numbers(e, "x", "y")),
    "color": lambda e: QtGui.QColor(*_numbers(e, "red", "green", "blue"), int(e.get("alpha", "255"))),
    "stringlist": lambda e: [child.text or "" for child in e.findall("string")],
    "sizepolicy": _size_policy,
    "font": _font,
    "iconset": lambda e: None,  # pictures are not looked for
    "pixmap": lambda e: None,
    "cursorShape": lambda e: QtGui.QCursor(enumerator(f"Qt::{e.text}")),
}


def value_of(prop: Element) -> Any:
    """The value inside ``<property name="...">``."""
    inside = list(prop)
    if len(inside) != 1 or inside[0].tag not in READERS:
        raise UiError(f"the property {prop.get('name')} has a value of no known kind")
    try:
        return READERS[inside[0].tag](inside[0])
    except (KeyError, ValueError) as error:
        if isinstance(error, UiError):
            raise
        raise UiError(f"the property {prop.get('name')} has no good value: {error}") from error

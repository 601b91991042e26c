"""Widgets from .ui files, strictly: an unknown class, property, signal or slot is an error."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from PySide6 import QtWidgets

from . import facts, signals
from .standins import Behaviour
from .ui_values import UiError, enumerator, flags, value_of

MARGINS = ("leftMargin", "topMargin", "rightMargin", "bottomMargin")
LAYOUTS = ("QVBoxLayout", "QHBoxLayout", "QFormLayout", "QGridLayout")
# What Designer writes for places to put pages in; in its files only.
PAGE_ATTRIBUTES = {"title": "setTabText", "toolTip": "setTabToolTip", "label": "setItemText"}
CellArguments = tuple[int, int, int, int]


def load_ui(path: Path | str, class_of: Callable[[str], type]) -> QtWidgets.QWidget:
    """The widget of a .ui file with all that is in it.

    Args:
        class_of: the class of a name, KeyError or AttributeError where there is none.
    """
    path = Path(path)
    try:
        root = ElementTree.parse(path).getroot()
        return _Reader(root, class_of).widget
    except (UiError, AttributeError, TypeError, ElementTree.ParseError) as error:
        raise UiError(f"{path.name}: {error}") from error


class _Reader:
    def __init__(self, root: Element, class_of: Callable[[str], type]) -> None:
        self.class_of = class_of
        self.named: dict[str, Any] = {}
        self.later: list[Callable[[], Any]] = []
        self.custom = {each.findtext("class"): each for each in root.findall("customwidgets/customwidget")}
        self._check_custom_widgets()
        top = root.find("widget")
        if root.tag != "ui" or top is None:
            raise UiError("there is no widget in it")
        self.widget = self._widget(top, None)
        for action in self.later:  # pages and buddies are there now
            action()
        for connection in root.findall("connections/connection"):
            self._connect(connection)
        stops = [self._find(each.text or "") for each in root.findall("tabstops/tabstop")]
        for first, second in itertools.pairwise(stops):
            QtWidgets.QWidget.setTabOrder(first, second)

    def _check_custom_widgets(self) -> None:
        """A class that the file declares is what the facts say: Designer's loader goes by the names."""
        for name, element in self.custom.items():
            known = facts.widgets().get(name or "")
            base = element.findtext("extends")
            bases = {each.base for each in facts.lineage(name or "")} | {name, "QWidget", "QFrame"}
            if known and base not in bases:
                raise UiError(f"{name} does not extend {base}")

    def _find(self, name: str) -> Any:
        if name not in self.named:
            raise UiError(f"there is no {name} in it")
        return self.named[name]

    def _class(self, name: str) -> type:
        if name not in self.custom and name in facts.widgets():
            raise UiError(f"{name} is not among the custom widgets")
        try:
            return self.class_of(name)
        except (KeyError, AttributeError) as error:
            raise UiError(f"there is no class {name}") from error

    def _name(self, made: Any, element: Element) -> None:
        name = element.get("name", "")
        if name in self.named:
            raise UiError(f"two things are named {name}")
        made.setObjectName(name)
        if name:
            self.named[name] = made

    def _widget(self, element: Element, parent: Any) -> Any:
        kind = element.get("class", "")
        widget = self._class(kind)(parent) if parent is not None else self._class(kind)()
        self._name(widget, element)
        for prop in element.findall("property"):
            self._set(widget, prop)
        for index, item in enumerate(element.findall("item")):
            self._item(widget, item, index)
        for column in element.findall("column"):
            self._header(widget, column)
        layouts = element.findall("layout")
        if len(layouts) > 1:
            raise UiError(f"{element.get('name')} has two layouts")
        for layout in layouts:
            self._layout(layout, widget, widget)
        for child in element.findall("widget"):
            self._page(widget, self._widget(child, widget), child)
        for action in element.findall("addaction"):
            raise UiError(f"actions such as {action.get('name')} are not read here")
        return widget

    def _set(self, widget: Any, prop: Element) -> None:
        name, value = prop.get("name", ""), value_of(prop)
        kind = type(widget).__name__
        if name == "buddy":
            self.later.append(lambda: widget.setBuddy(self._find(value)))
        elif prop.get("stdset") == "0" and not _has_property(widget, name):
            widget.setProperty(name, value)
        elif not _has_property(widget, name):
            raise UiError(f"{kind} has no property {name}")
        elif value is None or (name == "geometry" and widget.parent() is not None):
            return
        elif kind == "QLineEdit" and name == "text":
            widget.setText(value)
        elif name == "currentIndex":  # there are no pages yet
            self.later.append(lambda: setattr(widget, name, value))
        else:
            setattr(widget, name, value)

    def _item(self, widget: Any, item: Element, index: int) -> None:
        text = next((value_of(prop) for prop in item.findall("property") if prop.get("name") == "text"), "")
        if not hasattr(widget, "addItem"):
            raise UiError(f"{type(widget).__name__} takes no items")
        widget.addItem(text)

    def _header(self, widget: Any, column: Element) -> None:
        text = next((value_of(prop) for prop in column.findall("property") if prop.get("name") == "text"), "")
        if isinstance(widget, QtWidgets.QTableWidget):
            widget.setColumnCount(widget.columnCount + 1)
            widget.setHorizontalHeaderItem(widget.columnCount - 1, QtWidgets.QTableWidgetItem(text))
        else:
            raise UiError(f"{type(widget).__name__} takes no columns here")

    def _page(self, parent: Any, child: Any, element: Element) -> None:
        attributes = {each.get("name", ""): value_of(each) for each in element.findall("attribute")}
        if isinstance(parent, QtWidgets.QTabWidget):
            parent.addTab(child, attributes.pop("title", ""))
            if "toolTip" in attributes:
                parent.setTabToolTip(parent.indexOf(child), attributes.pop("toolTip"))
            attributes.pop("icon", None)
        elif isinstance(parent, QtWidgets.QToolBox):
            parent.addItem(child, attributes.pop("label", ""))
        elif isinstance(parent, QtWidgets.QScrollArea):
            parent.setWidget(child)
        elif isinstance(parent, QtWidgets.QStackedWidget | QtWidgets.QSplitter):
            parent.addWidget(child)
        if attributes:
            raise UiError(f"{element.get('name')} has the attributes {', '.join(attributes)}, which are not read here")

    def _layout(self, element: Element, owner: Any, parent: Any) -> Any:
        kind = element.get("class", "")
        if kind not in LAYOUTS:
            raise UiError(f"there is no layout {kind} here")
        layout = getattr(QtWidgets, kind)()
        if parent is not None:
            parent.setLayout(layout)
        self._name(layout, element)
        margins = layout.contentsMargins
        sides = [margins.left(), margins.top(), margins.right(), margins.bottom()]
        for prop in element.findall("property"):
            name = prop.get("name", "")
            if name in MARGINS:
                sides[MARGINS.index(name)] = value_of(prop)
            elif name == "margin":
                sides = [value_of(prop)] * 4
            elif not _has_property(layout, name):
                raise UiError(f"{kind} has no property {name}")
            else:
                setattr(layout, name, value_of(prop))
        layout.setContentsMargins(*sides)
        for item in element.findall("item"):
            self._place(layout, item, owner)
        for name, method in (
            ("stretch", "setStretch"), ("rowstretch", "setRowStretch"), ("columnstretch", "setColumnStretch"),
        ):  # fmt: skip
            for index, stretch in enumerate(filter(None, element.get(name, "").split(","))):
                getattr(layout, method)(index, int(stretch))
        return layout

    def _place(self, layout: Any, item: Element, owner: Any) -> None:
        inside = next(iter(item), None)
        if inside is None:
            raise UiError("an item of a layout is empty")
        made: Any
        if inside.tag == "widget":
            made = self._widget(inside, owner)
        elif inside.tag == "layout":
            made = self._layout(inside, owner, None)
        elif inside.tag == "spacer":
            made = self._spacer(inside)
        else:
            raise UiError(f"a layout has an item {inside.tag}")
        row, column = int(item.get("row", "0")), int(item.get("column", "0"))
        spans = int(item.get("rowspan", "1")), int(item.get("colspan", "1"))
        add = {"widget": "Widget", "layout": "Layout", "spacer": "Item"}[inside.tag]
        if isinstance(layout, QtWidgets.QFormLayout):
            roles = QtWidgets.QFormLayout.ItemRole
            role = roles.SpanningRole if spans[1] > 1 else (roles.LabelRole, roles.FieldRole)[column]
            getattr(layout, f"set{add}")(row, role, made)
        elif isinstance(layout, QtWidgets.QGridLayout):
            getattr(layout, f"add{add}")(made, row, column, *spans)
        else:
            getattr(layout, f"add{add}")(made)
        if item.get("alignment"):
            layout.setAlignment(made, flags(item.get("alignment", "")))

    def _spacer(self, element: Element) -> QtWidgets.QSpacerItem:
        values = {prop.get("name"): value_of(prop) for prop in element.findall("property")}
        size, policy = values["sizeHint"], values.get("sizeType", enumerator("QSizePolicy::Expanding"))
        least = enumerator("QSizePolicy::Minimum")
        across = values["orientation"] == enumerator("Qt::Horizontal")
        policies = (policy, least) if across else (least, policy)
        return QtWidgets.QSpacerItem(size.width(), size.height(), *policies)

    def _connect(self, element: Element) -> None:
        texts = {tag: element.findtext(tag, "") for tag in ("sender", "signal", "receiver", "slot")}
        sender, receiver = self._find(texts["sender"]), self._find(texts["receiver"])
        signals.connect(sender, texts["signal"], receiver, texts["slot"])


def _has_property(made: Any, name: str) -> bool:
    if isinstance(made, Behaviour) and made._facts_of(name):
        return True
    return made.metaObject().indexOfProperty(name) >= 0

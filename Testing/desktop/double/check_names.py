"""Names that Slicer does not have, found in .ui files and in Python without running them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from PySide6 import QtCore, QtGui, QtWidgets

from . import facts
from .application import Application, ModuleManager
from .pythonqt import META, Meta, change_classes
from .slice_views import LayoutManager
from .ui_file import LAYOUTS, MARGINS
from .ui_values import UiError, flags

NOTHING = Meta(frozenset(), frozenset(), frozenset())
APPLICATION = tuple(Meta.of(cls) for cls in (Application, ModuleManager, LayoutManager))
# What the application puts into ``slicer`` beside classes.
SLICER = ("app", "mrmlScene", "modules", "parameterNodeWrapper", "selfTests", "util")
MODULES = ("slicer.util", "slicer.packaging", "slicer.i18n", "SampleData", "PyTorchUtils")


def unknown_names(ui_paths: Iterable[Path | str], python_paths: Iterable[Path | str]) -> list[str]:
    """One line for each name that neither the facts nor Qt know: "file:line: what".

    In .ui files: classes, properties, enumerators, signals, slots, senders and receivers. In Python: signatures and
    signals that are connected, classes and enumerators of ``qt``, ``ctk`` and ``slicer.q...``, functions of Slicer's
    modules, and names of widgets and their members after ``ui.``.
    """
    found: list[str] = []
    widgets: dict[str, set[str]] = {}
    for path in map(Path, ui_paths):
        found += [f"{path}:{line}: {text}" for line, text in _Ui(path, widgets).findings()]
    for path in map(Path, python_paths):
        tree = ast.parse(path.read_text(), str(path))
        findings = {each for node in ast.walk(tree) for each in _in_python(node, widgets)}
        found += [f"{path}:{line}: {text}" for line, text in sorted(findings)]
    return found


# --- what there is


def qt_class(name: str) -> type | None:
    """The class of Qt that a class is or is made from; None where neither facts nor Qt know it."""
    lineage = facts.lineage(name)
    base = lineage[-1].base if lineage else name
    return next((getattr(lib, base) for lib in (QtWidgets, QtGui, QtCore) if hasattr(lib, base)), None)


def _meta(name: str) -> Meta:
    change_classes()
    return META.get(qt_class(name), NOTHING)  # type: ignore[arg-type]


@functools.cache
def properties(name: str) -> frozenset[str]:
    known = {prop for each in facts.lineage(name) for prop in each.properties}
    return frozenset(known | _meta(name).properties)


@functools.cache
def signals(name: str) -> frozenset[str]:
    known = {signature for each in facts.lineage(name) for signature in each.signals}
    return frozenset(known | _meta(name).signals)


@functools.cache
def slots(name: str) -> frozenset[str]:
    known = {s for each in facts.lineage(name) for s in (*each.slots, *each.methods)}
    return frozenset(known | _meta(name).others)


@functools.cache
def members(name: str) -> frozenset[str]:
    known = properties(name) | {facts.name_of(s) for s in signals(name) | slots(name)}
    return frozenset(known) | {"connect", "disconnect", "name", "className", "delete"} | set(dir(qt_class(name)))


@functools.cache
def all_signals() -> frozenset[str]:
    """Signals of all classes."""
    known = {s for name in facts.widgets() for s in signals(name)}
    change_classes()
    known |= {signature for meta in META.values() for signature in meta.signals}
    return frozenset(known.union(*(meta.signals for meta in APPLICATION)))


# --- .ui files


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    line: int
    children: list[_Element] = field(default_factory=list)
    text: str = ""

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")

    def all(self, tag: str) -> Iterator[_Element]:
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.all(tag)

    def child(self, tag: str) -> _Element:
        return next((each for each in self.children if each.tag == tag), _Element(tag, {}, self.line))


def _read(path: Path) -> _Element:
    parser, stack = expat.ParserCreate(), [_Element("", {}, 0)]

    def start(tag: str, attributes: dict[str, str]) -> None:
        stack.append(_Element(tag, attributes, parser.CurrentLineNumber))

    def end(_: str) -> None:
        done = stack.pop()
        stack[-1].children.append(done)

    def text(data: str) -> None:
        stack[-1].text += data

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.Parse(path.read_bytes(), True)
    return stack[0]


class _Ui:
    def __init__(self, path: Path, widgets: dict[str, set[str]]) -> None:
        self.root, self.widgets = _read(path), widgets
        self.own = {each.get("name"): each.get("class") for each in self._named()}
        for name, cls in self.own.items():
            widgets.setdefault(name, set()).add(cls)
        self.custom = {each.child("class").text for each in self.root.all("customwidget")}

    def _named(self) -> Iterator[_Element]:
        yield from self.root.all("widget")
        yield from self.root.all("layout")

    def findings(self) -> Iterator[tuple[int, str]]:
        for element in self.root.all("customwidget"):
            name = element.child("class").text
            if name not in facts.widgets():
                yield element.line, f"there is no class {name}"
        for element in self._named():
            yield from self._element(element)
        for value in (*self.root.all("enum"), *self.root.all("set")):
            yield from _enumerators(value)
        for connection in self.root.all("connection"):
            yield from self._connection(connection)

    def _element(self, element: _Element) -> Iterator[tuple[int, str]]:
        name = element.get("class")
        if qt_class(name) is None or (element.tag == "layout" and name not in LAYOUTS):
            yield element.line, f"there is no {element.tag} of class {name}"
            return
        if name in facts.widgets() and name not in self.custom:
            yield element.line, f"{name} is not among the custom widgets"
        extra = (*MARGINS, "margin") if element.tag == "layout" else ("buddy",) if name == "QLabel" else ()
        for prop in element.children:
            if prop.tag != "property":
                continue
            if prop.get("name") not in (*properties(name), *extra) and prop.get("stdset") != "0":
                yield prop.line, f"{name} has no property {prop.get('name')}"

    def _connection(self, element: _Element) -> Iterator[tuple[int, str]]:
        for who, what, known in (("sender", "signal", signals), ("receiver", "slot", slots)):
            name, signature = element.child(who).text, element.child(what).text
            if name not in self.own:
                yield element.child(who).line, f"there is no {who} {name}"
                continue
            cls = self.own[name]
            setters = {f"set{p[0].upper()}{p[1:]}" for p in properties(cls)} if what == "slot" else set()
            if _normal(signature) not in known(cls) and facts.name_of(signature) not in setters:
                yield element.child(what).line, f"{cls} has no {what} {signature}"


def _enumerators(value: _Element) -> Iterator[tuple[int, str]]:
    try:
        flags(value.text)
    except UiError as error:
        yield value.line, str(error)


def _normal(signature: str) -> str:
    try:
        return facts.normal(signature)
    except ValueError:
        return ""


# --- Python


def _in_python(node: ast.AST, widgets: dict[str, set[str]]) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from _connected(node)
    if isinstance(node, ast.Attribute):
        yield from _attribute(node, widgets)
    if isinstance(node, ast.ImportFrom) and _is_module(node.module or ""):
        for alias in node.names:
            if alias.name != "*" and not _in_module(node.module, alias.name):
                yield node.lineno, f"{node.module} has no {alias.name}"


def _connected(call: ast.Call) -> Iterator[tuple[int, str]]:
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr not in ("connect", "disconnect"):
        return
    texts = [arg.value for arg in call.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if texts:
        if _normal(texts[0]) not in all_signals():
            yield call.lineno, f"no class has a signal {texts[0]}"
    elif isinstance(call.func.value, ast.Attribute) and _path(call.func.value)[:1] == ["ui"]:
        name = call.func.value.attr  # ui.button.clicked.connect(f)
        if name not in {facts.name_of(s) for s in all_signals()}:
            yield call.lineno, f"no class has a signal {name}"


def _path(node: ast.AST) -> list[str]:
    """``["ui", "button", "text"]`` of ``self.ui.button.text``: what comes after self or another owner of ``ui``."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        names.insert(0, node.id)
    return names[len(names) - names[::-1].index("ui") - 1 :] if "ui" in names else names


def _attribute(node: ast.Attribute, widgets: dict[str, set[str]]) -> Iterator[tuple[int, str]]:
    path = _path(node)
    if path[0] == "ui" and widgets:
        if len(path) == 2 and path[1] not in widgets:
            yield node.lineno, f"no .ui file has a {path[1]}"
        elif len(path) == 3 and path[1] in widgets:
            kinds = [cls for cls in widgets[path[1]] if qt_class(cls) is not None]
            if kinds and not any(path[2] in members(cls) for cls in kinds):
                yield node.lineno, f"{' or '.join(sorted(kinds))} {path[1]} has no {path[2]}"
    elif path[0] == "qt" and len(path) in (2, 3):
        found: Any = next((getattr(lib, path[1]) for lib in (QtWidgets, QtGui, QtCore) if hasattr(lib, path[1])), None)
        if found is None or not path[1].startswith("Q"):
            yield node.lineno, f"qt has no {path[1]}"
        elif len(path) == 3 and not hasattr(found, path[2]):
            yield node.lineno, f"qt.{path[1]} has no {path[2]}"
    elif path[0] == "ctk" and len(path) == 2 and path[1] not in facts.widgets():
        yield node.lineno, f"ctk has no {path[1]}"
    elif path[0] == "slicer" and len(path) == 2 and not _in_module("slicer", path[1]):
        yield node.lineno, f"slicer has no {path[1]}"
    else:
        for module in MODULES:
            head = module.split(".")
            if path[: len(head)] == head and len(path) == len(head) + 1 and not _in_module(module, path[-1]):
                yield node.lineno, f"{module} has no {path[-1]}"


def _in_core(name: str) -> bool:
    """Whether slicer-core has a class: its VTK and MRML classes are the application's own."""
    import slicer

    return name.startswith("vtk") and hasattr(slicer, name)


def _is_module(module: str) -> bool:
    return any(each == module or each.startswith(f"{module}.") for each in facts.python_modules())


def _in_module(module: str, name: str) -> bool:
    """Whether a module of Slicer, with what it takes from its own parts, has a function or a class."""
    known = facts.python_modules()
    if module == "slicer":
        return name in facts.widgets() or name in SLICER or f"slicer.{name}" in known or _in_core(name)
    parts = [entry for each, entry in known.items() if each == module or each.startswith(f"{module}.")]
    return any(name in entry["functions"] or name in entry["classes"] for entry in parts)

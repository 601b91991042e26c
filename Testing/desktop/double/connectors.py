"""Which widgets can show which parameters, as documented: the class of a widget has to be exactly the one named."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

import ctk
import qt
import slicer

from .parameter_types import Choice, Decimals, FloatRange, Maximum, Minimum, RangeBounds, SingleStep, WithinRange

UNBOUND = (-(2**31), 2**31 - 1)


class Connector:
    """Between one widget and one parameter."""

    def __init__(self, signals: list[tuple[Any, str]], read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self._signals, self.read, self.write = signals, read, write
        self._callback: Callable[[], None] | None = None

    def on_changed(self, callback: Callable[[], None] | None) -> None:
        for widget, signal in self._signals:
            if callback is None:
                widget.disconnect(signal, self._changed)
            else:
                widget.connect(signal, self._changed)
        self._callback = callback

    def _changed(self) -> None:
        if self._callback is not None:
            self._callback()


def create_connector(widget: Any, datatype: Any) -> Connector:
    """The connector of a pair; RuntimeError where the application has none."""
    kind, notes = datatype, ()
    if get_origin(datatype) is Annotated:
        kind, *notes = get_args(datatype)
    for classes, fits, make in _pairs():
        if type(widget) in classes and fits(kind):
            return make(widget, kind, notes)
    raise RuntimeError(f"there is no connection from a {type(widget).__name__} to a parameter of type {datatype}")


def _pairs() -> list[tuple[tuple[type, ...], Callable[[Any], bool], Callable[[Any, Any, Any], Connector]]]:
    return [
        ((qt.QCheckBox,), lambda t: t is bool, _check("stateChanged(int)")),
        ((qt.QPushButton, ctk.ctkPushButton), lambda t: t is bool, _check("toggled(bool)")),
        ((qt.QSlider, qt.QSpinBox), lambda t: t is int, _number),
        ((qt.QDoubleSpinBox, ctk.ctkSliderWidget), lambda t: t in (float, int), _number),
        ((qt.QComboBox,), lambda t: t in (int, float, str, bool), _choice),
        ((qt.QComboBox,), lambda t: isinstance(t, type) and issubclass(t, enum.Enum), _enum),
        ((qt.QLineEdit,), lambda t: t is str, _text("textChanged(QString)")),
        ((qt.QLabel,), lambda t: t is str, _label),
        ((qt.QTextEdit,), lambda t: t is str, _plain_text),
        ((ctk.ctkRangeWidget,), lambda t: t is FloatRange, _range),
        ((ctk.ctkPathLineEdit,), _is_path, _path("currentPath", "currentPathChanged(QString)")),
        ((ctk.ctkDirectoryButton,), _is_path, _path("directory", "directoryChanged(QString)")),
        ((slicer.qMRMLNodeComboBox,), lambda t: isinstance(t, type) and issubclass(t, slicer.vtkMRMLNode), _node),
    ]


def _is_path(kind: Any) -> bool:
    return kind in (pathlib.Path, pathlib.PurePath)


def _put(widget: Any, name: str) -> Callable[[Any], None]:
    return lambda value: setattr(widget, name, value)


def _check(signal: str) -> Callable[[Any, Any, Any], Connector]:
    def make(widget: Any, _kind: Any, _notes: Any) -> Connector:
        if not widget.checkable:
            widget.checkable = True
        return Connector([(widget, signal)], lambda: widget.checked, _put(widget, "checked"))

    return make


def _first(notes: Any, kind: type) -> Any:
    return next((note for note in notes if isinstance(note, kind)), None)


def _number(widget: Any, kind: Any, notes: Any) -> Connector:
    for note, name in ((_first(notes, Decimals), "decimals"), (_first(notes, SingleStep), "singleStep")):
        if note is not None:
            setattr(widget, name, note.value)
    within, low, high = _first(notes, WithinRange), _first(notes, Minimum), _first(notes, Maximum)
    slides = type(widget) in (qt.QSlider, ctk.ctkSliderWidget)
    if slides and within is None and (low is None or high is None):
        raise RuntimeError(f"a {type(widget).__name__} needs a number with bounds")
    unbound = UNBOUND if kind is int else (float("-inf"), float("inf"))
    widget.minimum = within.minimum if within else low.minimum if low else unbound[0]
    widget.maximum = within.maximum if within else high.maximum if high else unbound[1]
    signal = "valueChanged(int)" if type(widget) in (qt.QSlider, qt.QSpinBox) else "valueChanged(double)"
    return Connector([(widget, signal)], lambda: kind(widget.value), _put(widget, "value"))


def _items(widget: Any, texts: list[str], values: list[Any]) -> Connector:
    widget.clear()
    for text in texts:
        widget.addItem(text)

    def write(value: Any) -> None:
        if value not in values:
            raise ValueError(f"{value!r} is not among {values}")
        widget.currentIndex = values.index(value)

    return Connector([(widget, "currentIndexChanged(int)")], lambda: values[widget.currentIndex], write)


def _choice(widget: Any, _kind: Any, notes: Any) -> Connector:
    choice = _first(notes, Choice)
    if choice is None:
        raise RuntimeError("a QComboBox needs a parameter with the annotation Choice")
    return _items(widget, [str(each) for each in choice.choices], list(choice.choices))


def _enum(widget: Any, kind: Any, _notes: Any) -> Connector:
    label = getattr(kind, "label", lambda each: each.name)
    return _items(widget, [label(each) for each in kind], list(kind))


def _text(signal: str) -> Callable[[Any, Any, Any], Connector]:
    def make(widget: Any, _kind: Any, _notes: Any) -> Connector:
        return Connector([(widget, signal)], lambda: widget.text, _put(widget, "text"))

    return make


def _label(widget: Any, _kind: Any, _notes: Any) -> Connector:
    return Connector([], lambda: widget.text, _put(widget, "text"))


def _plain_text(widget: Any, _kind: Any, _notes: Any) -> Connector:
    def write(value: str) -> None:
        if value != widget.toPlainText():
            widget.setPlainText(value)

    return Connector([(widget, "textChanged()")], widget.toPlainText, write)


def _range(widget: Any, _kind: Any, notes: Any) -> Connector:
    bounds = _first(notes, RangeBounds)
    if bounds is None:
        raise RuntimeError("a ctkRangeWidget needs a range with the annotation RangeBounds")
    for note, name in ((_first(notes, Decimals), "decimals"), (_first(notes, SingleStep), "singleStep")):
        if note is not None:
            setattr(widget, name, note.value)
    widget.minimum, widget.maximum = bounds.minimum, bounds.maximum
    return Connector(
        [(widget, "valuesChanged(double,double)")],
        lambda: FloatRange(widget.minimumValue, widget.maximumValue),
        lambda value: widget.setValues(value.minimum, value.maximum),
    )


def _path(name: str, signal: str) -> Callable[[Any, Any, Any], Connector]:
    def make(widget: Any, kind: Any, _notes: Any) -> Connector:
        return Connector(
            [(widget, signal)], lambda: kind(getattr(widget, name)), lambda value: setattr(widget, name, str(value))
        )

    return make


def _node(widget: Any, kind: Any, _notes: Any) -> Connector:
    widget.nodeTypes = [kind.__name__]
    signal = "currentNodeChanged(vtkMRMLNode*)"
    return Connector([(widget, signal)], widget.currentNode, widget.setCurrentNode)

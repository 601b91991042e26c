# ruff: noqa: N802, N803, N815 - the names are Slicer's
"""``slicer.parameterNodeWrapper``: typed parameters that live in a ``vtkMRMLScriptedModuleNode``.

A class with annotated members becomes a view of a parameter node: reading and writing a member reads and writes the
node, so that parameters are saved with the scene. Parameter packs are not there.
"""

from __future__ import annotations

import copy
import enum
import json
import pathlib
import typing
from collections.abc import Callable, Iterator, MutableSequence
from typing import Annotated, Any

import slicer
import vtk

from .connectors import create_connector
from .parameter_types import Decimals, Default, FloatRange, SingleStep, Validator

PROPERTY = "SlicerParameterName"
PATHS = (pathlib.Path, pathlib.PurePath)
RESERVED = (
    "allParameters", "default", "isCached", "dataType", "getValue", "setValue", "connectGui", "connectParametersToGui",
    "disconnectGui", "StartModify", "EndModify", "AddObserver", "RemoveObserver", "Modified", "parameterNode",
)  # fmt: skip


def split(datatype: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type and its annotations."""
    if typing.get_origin(datatype) is Annotated:
        kind, *notes = typing.get_args(datatype)
        return kind, tuple(notes)
    return datatype, ()


class ObservedList(MutableSequence):
    """A list of which every change is written to the node."""

    def __init__(self, values: list[Any], write: Callable[[list[Any]], None]) -> None:
        self._values, self._write = values, write

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = value
        self._write(self._values)

    def __delitem__(self, index: Any) -> None:
        del self._values[index]
        self._write(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def insert(self, index: int, value: Any) -> None:
        self._values.insert(index, value)
        self._write(self._values)

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, list | ObservedList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ObservedList({self._values!r})"


class Parameter:
    """One member: how its values are checked and written as text."""

    def __init__(self, name: str, datatype: Any, default: Default | None) -> None:
        self.name, self.datatype = name, datatype
        self.kind, notes = split(datatype)
        self.validators = [note for note in notes if isinstance(note, Validator)]
        _check_notes(name, notes)
        given = [note for note in notes if isinstance(note, Default)]
        if len(given) > 1 or (given and default is not None):
            raise ValueError(f"{name} has two defaults")
        self.is_node = isinstance(self.kind, type) and issubclass(self.kind, slicer.vtkMRMLNode)
        self.default = default or (given[0] if given else Default(self._zero()))

    def _zero(self) -> Any:
        kind = self.kind
        if self.is_node:
            return None
        if kind in (bool, int, float, str, FloatRange) or kind in PATHS:
            return kind()
        if typing.get_origin(kind) is list and typing.get_args(kind)[0] in (bool, int, float, str):
            return []
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return next(iter(kind))
        raise TypeError(f"the parameter {self.name} cannot be written: {kind}")

    def check(self, value: Any) -> None:
        kind = self.kind
        if not self.is_node and value is None:
            raise ValueError(f"the parameter {self.name} cannot be None")
        expected: Any = kind
        if kind is float:
            expected = (int, float)
        elif typing.get_origin(kind) is list:
            expected = (list, tuple, ObservedList)
            for each in value:
                if not isinstance(each, typing.get_args(kind)[0]):
                    raise TypeError(f"{each!r} is no item of {self.name}, a {kind}")
        if value is not None and not isinstance(value, expected):
            raise TypeError(f"{value!r} is no {kind}, as the parameter {self.name}")
        for validator in self.validators:
            validator.validate(value)

    def is_in(self, node: Any) -> bool:
        return bool(node.HasParameter(self.name))

    def write(self, node: Any, value: Any) -> None:
        self.check(value)
        with slicer.util.NodeModify(node):
            if self.is_node:
                node.SetParameter(self.name, "")  # tells None from never set
                node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            else:
                node.SetParameter(self.name, self._text(value))

    def _text(self, value: Any) -> str:
        if isinstance(value, enum.Enum):
            return value.name
        if isinstance(value, FloatRange):
            return json.dumps([value.minimum, value.maximum])
        if typing.get_origin(self.kind) is list:
            return json.dumps(list(value))
        return str(value)

    def read(self, node: Any) -> Any:
        if not self.is_in(node):
            self.write(node, self.default.value)
        if self.is_node:
            return node.GetNodeReference(self.name)
        text, kind = node.GetParameter(self.name), self.kind
        if kind is bool:
            return text == "True"
        if kind is FloatRange:
            return FloatRange(*json.loads(text))
        if typing.get_origin(kind) is list:
            return ObservedList(json.loads(text), lambda values: self.write(node, values))
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return kind[text]
        return kind(text)


def _check_notes(name: str, notes: tuple[Any, ...]) -> None:
    for note in notes:
        if not isinstance(note, Validator | Default | Decimals | SingleStep):
            raise TypeError(f"the parameter {name} has the note {note!r}, which nothing reads")


def _process(cls: type) -> type:
    parameters: dict[str, Parameter] = {}
    for name, datatype in typing.get_type_hints(cls, include_extras=True).items():
        if name in RESERVED:
            raise ValueError(f"{name} is a reserved name")
        default = Default(getattr(cls, name)) if hasattr(cls, name) else None
        parameters[name] = Parameter(name, datatype, default)
        setattr(cls, name, _member(name))
    for name in RESERVED:
        if hasattr(cls, name):
            raise ValueError(f"{name} is a reserved name")
    for name, method in vars(_Wrapper).items():
        if not name.startswith("__") or name == "__init__":
            setattr(cls, name, method)
    cls.allParameters = parameters  # type: ignore[attr-defined]
    cls._is_parameter_node_wrapper = True  # type: ignore[attr-defined]
    return cls


def _member(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


class _Wrapper:
    """The methods of a wrapped class."""

    allParameters: dict[str, Parameter]

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._guis: dict[int, tuple[dict[str, Any], int]] = {}
        self._next_gui, self._writing_gui = 0, False
        self._own = {}
        for name, parameter in self.allParameters.items():
            own = copy.copy(parameter)
            own.name = f"{prefix or ''}{name}"
            self._own[name] = own
            if not own.is_in(parameterNode):
                own.write(parameterNode, own.default.value)

    def _parameter(self, name: str) -> Parameter:
        if name not in self._own:
            raise ValueError(f"there is no parameter {name}, but {', '.join(self._own)}")
        return self._own[name]

    def default(self, name: str) -> Default:
        return self._parameter(name).default

    def isCached(self, name: str) -> bool:
        return not self._parameter(name).is_node

    def dataType(self, name: str) -> Any:
        return self._parameter(name).datatype

    def getValue(self, name: str) -> Any:
        return self._parameter(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        self._parameter(name).write(self.parameterNode, value)

    def StartModify(self) -> int:
        return int(self.parameterNode.StartModify())

    def EndModify(self, wasModified: int) -> int:
        return int(self.parameterNode.EndModify(wasModified))

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def connectGui(self, gui: Any) -> None:
        """Slicer's own (up to 5.12) drops the tag that its documentation promises."""
        self.connectParametersToGui(dict(_named(gui)))

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        connectors = {name: create_connector(w, self.dataType(name)) for name, w in mapping.items()}
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.on_changed(lambda name=name, connector=connector: self._from_gui(name, connector))
        observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._to_gui())
        tag, self._next_gui = self._next_gui, self._next_gui + 1
        self._guis[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        if tag in self._guis:
            connectors, observer = self._guis.pop(tag)
            self.parameterNode.RemoveObserver(observer)
            for connector in connectors.values():
                connector.on_changed(None)

    def _from_gui(self, name: str, connector: Any) -> None:
        if not self._writing_gui:
            with slicer.util.NodeModify(self):
                self.setValue(name, connector.read())

    def _to_gui(self) -> None:
        if self._writing_gui:
            return
        self._writing_gui = True
        try:
            with slicer.util.NodeModify(self):
                for connectors, _ in tuple(self._guis.values()):
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._writing_gui = False


def _named(gui: Any) -> Iterator[tuple[str, Any]]:
    """Widgets below a widget, or among the members of ``childWidgetVariables``, that name a parameter."""
    import qt

    children = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else vars(gui).values()
    for widget in children:
        name = widget.property(PROPERTY)
        if name:
            yield name, widget


def parameter_node_wrapper(classtype: type | None = None) -> Any:
    """The decorator, with brackets or without."""
    return _process if classtype is None else _process(classtype)


def is_parameter_node_wrapper(class_or_object: Any) -> bool:
    return bool(getattr(class_or_object, "_is_parameter_node_wrapper", False))


def find_child_widget(widget: Any, parameter: str) -> Any:
    return next((child for name, child in _named(widget) if name == parameter), None)

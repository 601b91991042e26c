# ruff: noqa: N807 - the names are Slicer's
"""PySide's classes with the manners of PythonQt: properties are attributes, signals are connected by signature.

The classes of PySide are changed in place and stay so for the life of the process: what Qt itself creates (the header
of a table, the line edit of a spin box) has to behave like what Python creates.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from . import signals

LIBRARIES = (QtCore, QtGui, QtWidgets)
STRICT: set[type] = set()  # instances take no attribute but properties, as PythonQt's plain wrappers
PRIVATE: set[type] = set()  # strict, but with private attributes of the double's own
NOT_IN_PYTHONQT = {"QtMsgType", "QEnum", "QFlag"}
RAW_PROPERTY, RAW_SET_PROPERTY = QtCore.QObject.property, QtCore.QObject.setProperty
RAW_FIND = QtCore.QObject.findChildren


@dataclass(frozen=True)
class Meta:
    """What Qt itself says of a class; read once, as PySide's own objects for it end with the first instance."""

    properties: frozenset[str]
    signals: frozenset[str]
    others: frozenset[str]

    @classmethod
    def of(cls, kind: Any) -> Meta:
        meta = kind.staticMetaObject
        return cls(
            frozenset(meta.property(index).name() for index in range(meta.propertyCount())),
            frozenset(signals.signatures_of(meta)),
            frozenset(signals.signatures_of(meta, signals=False)),
        )


META: dict[type, Meta] = {}  # of all classes of Qt


def classes() -> Iterator[tuple[str, type]]:
    """All classes of Qt's core, gui and widgets, bases first."""
    found = {
        name: each
        for library in LIBRARIES
        for name in dir(library)
        if isinstance(each := getattr(library, name), type) and name.startswith("Q")
    }
    yield from sorted(found.items(), key=lambda item: len(item[1].__mro__))


def type_attribute(cls: type, name: str) -> Any:
    """What the class and its bases hold under a name, unbound; None if nothing."""
    return next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)


def set_attribute(self: Any, name: str, value: Any) -> None:
    """Set a property; anything else only on instances of classes that were made in Python."""
    found, cls = type_attribute(type(self), name), type(self)
    if isinstance(found, property) and found.fset is None:
        raise AttributeError(f"{cls.__name__}.{name} is read-only")
    if hasattr(type(found), "__set__"):
        found.__set__(self, value)
    elif cls in STRICT or (cls in PRIVATE and not name.startswith("_")):
        raise AttributeError(f"{cls.__name__} has no property {name}")
    else:
        self.__dict__[name] = value


def _getter(raw: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    @functools.wraps(raw)
    def __getattribute__(self: Any, name: str) -> Any:
        if name == "connect":
            return types.MethodType(signals.connect, self)
        if name == "disconnect":
            return types.MethodType(signals.disconnect, self)
        value = raw(self, name)
        return signals.QtSignal(self, name, value) if type(value) is QtCore.SignalInstance else value

    return __getattribute__


def _constructor(raw: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(raw)
    def __init__(self: Any, *arguments: Any, **keywords: Any) -> None:
        if keywords:
            raise TypeError(f"{type(self).__name__} takes no keyword arguments: {', '.join(keywords)}")
        raw(self, *arguments)

    return __init__


class QtProperty(property):
    """A property on instances; the class keeps what it had under the name, such as ``QTimer.singleShot(ms, f)``."""

    raw: Any = None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return super().__get__(instance, owner) if instance is not None or self.raw is None else self.raw


def _property(cls: type, meta: QtCore.QMetaProperty) -> property:
    name = meta.name()
    capital = name[0].upper() + name[1:]
    read = next((m for n in ("is" + capital, "has" + capital, name) if callable(m := getattr(cls, n, None))), None)
    write = getattr(cls, "set" + capital, None)
    getter = (lambda self: read(self)) if read else (lambda self: RAW_PROPERTY(self, name))
    setter = write if callable(write) else (lambda self, value: _set_raw(self, name, value))
    made = QtProperty(getter, setter if meta.isWritable() else None)
    made.raw = getattr(cls, name, None)
    return made


def _set_raw(self: QtCore.QObject, name: str, value: Any) -> None:
    if not RAW_SET_PROPERTY(self, name, value):
        raise TypeError(f"{type(self).__name__}.{name} does not take {value!r}")


def _find_children(self: QtCore.QObject, kind: Any = QtCore.QObject, name: str = "") -> list[QtCore.QObject]:
    """``findChildren(qt.QWidget)``, ``findChildren("QWidget")``, each with a name or without."""
    if isinstance(kind, str):
        return [c for c in RAW_FIND(self, QtCore.QObject) if c.inherits(kind) and name in ("", c.objectName)]
    return RAW_FIND(self, kind, name) if name else RAW_FIND(self, kind)


def _find_child(self: QtCore.QObject, kind: Any = QtCore.QObject, name: str = "") -> QtCore.QObject | None:
    return next(iter(_find_children(self, kind, name)), None)


_waiting: set[QtCore.QTimer] = set()


def _single_shot(milliseconds: int, receiver: Callable[[], Any]) -> None:
    """``QTimer.singleShot``: PySide's own calls ``connect`` from C++, which the changed one is not made for."""
    timer = QtCore.QTimer()
    timer.setSingleShot(True)

    def run() -> None:
        _waiting.discard(timer)
        signals.deliver(receiver, ())

    signals.connect(timer, "timeout()", run)
    _waiting.add(timer)
    timer.start(milliseconds)


def keep_none() -> None:
    """PySide 6.12 gives back one reference to None too many with every call; before Python 3.12 None dies of that."""
    if sys.version_info < (3, 12):
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


@functools.cache
def change_classes() -> None:
    """Give PySide's classes PythonQt's manners, once a process."""
    keep_none()
    found = [(name, cls) for name, cls in classes() if issubclass(cls, QtCore.QObject)]
    raw = {cls: (cls.__getattribute__, cls.__init__) for _, cls in found}
    for _, cls in found:
        META[cls] = Meta.of(cls)
        meta = cls.staticMetaObject
        new = {
            (each := meta.property(index)).name(): _property(cls, each)
            for index in range(meta.propertyCount())
            if index >= meta.propertyOffset() or meta.property(index).name() in cls.__dict__
        }
        for name, each in new.items():
            setattr(cls, name, each)
        cls.__getattribute__ = _getter(raw[cls][0])
        cls.__setattr__ = set_attribute
        cls.__init__ = _constructor(raw[cls][1])
        STRICT.add(cls)
    type_attribute(QtCore.QTimer, "singleShot").raw = _single_shot
    base = QtCore.QObject
    base.name = property(lambda self: self.objectName, lambda self, value: self.setObjectName(value))
    base.connect, base.disconnect = signals.connect, signals.disconnect
    base.findChildren, base.findChild = _find_children, _find_child
    base.className = lambda self: self.metaObject().className()
    base.delete = lambda self: self.deleteLater()


class QtModule(types.ModuleType):
    """The flat ``qt`` module; a name that Qt lacks is an error that says so."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"qt has no {name}")


def qt_module() -> QtModule:
    """All classes of Qt under their own names, as Slicer's ``qt`` has them."""
    change_classes()
    module = QtModule("qt")
    vars(module).update({name: each for name, each in classes() if name not in NOT_IN_PYTHONQT})
    module.Qt = QtCore.Qt
    return module

# ruff: noqa: N802, N807 - the names are Slicer's
"""Classes that stand for those of CTK and Slicer, made from the facts: what a class does not have is an error.

A class has the properties, signals, slots and methods of its facts and of its base. A property without behaviour keeps
its value; a method without behaviour says so when it is called. Behaviour is written by hand, in classes that may say
only what the facts say (checked when the class is made).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

from . import facts
from .pythonqt import PRIVATE, RAW_PROPERTY, RAW_SET_PROPERTY, change_classes
from .signals import StandinSignal

ZERO: dict[str, Callable[[], Any]] = {
    "bool": bool,
    "int": int,
    "double": float,
    "QString": str,
    "QStringList": tuple,
    "QColor": QtGui.QColor,
    "QIcon": QtGui.QIcon,
}
TAKES: dict[str, tuple[type, ...]] = {
    "bool": (bool, int),
    "int": (int,),
    "double": (int, float),
    "QString": (str,),
    "QStringList": (list, tuple),
    "QColor": (QtGui.QColor, QtCore.Qt.GlobalColor),
    "QIcon": (QtGui.QIcon,),
}


class Behaviour:
    """What all stand-ins share. Subclasses define methods of the facts, ``_set_<property>(value)``, which is called
    after a property got another value, ``_get_<property>()`` for values that are kept elsewhere, ``DEFAULTS`` of
    properties and ``_build()`` for what is inside."""

    FACTS: Sequence[facts.WidgetFacts] = ()
    DEFAULTS: ClassVar[dict[str, Any]] = {}

    def _start(self) -> None:
        self._values: dict[str, Any] = {}
        self._bound: dict[str, StandinSignal] = {}
        for each in self.FACTS:
            for signature in each.signals:
                self._bound[signature] = StandinSignal(self, signature)
        for cls in reversed(type(self).__mro__):
            self._values.update(vars(cls).get("DEFAULTS", {}))

    def _build(self) -> None:
        """Make what is inside the widget."""

    def _signal(self, signature: str) -> StandinSignal | None:
        return self._bound.get(facts.normal(signature))

    def _slots(self) -> list[str]:
        known = [s for each in self.FACTS for s in (*each.slots, *each.methods)]
        for each in self.FACTS:
            known += [f"set{_capital(p.name)}({p.type})" for p in each.properties.values() if p.writable]
        return known

    def _emit(self, signature: str, *arguments: Any) -> None:
        self._bound[signature].emit(*arguments)

    def _facts_of(self, name: str) -> facts.Property | None:
        return next((each.properties[name] for each in self.FACTS if name in each.properties), None)

    def _read(self, name: str) -> Any:
        getter = getattr(self, f"_get_{name}", None)
        if getter is not None:
            return getter()
        if name not in self._values:
            known = self._facts_of(name)
            assert known is not None
            self._values[name] = ZERO.get(known.type, lambda: None)()
        return self._values[name]

    def _write(self, name: str, value: Any) -> None:
        known = self._facts_of(name)
        assert known is not None
        if not known.writable:
            raise AttributeError(f"{type(self).__name__}.{name} is read-only")
        value = checked(f"{type(self).__name__}.{name}", known.type, value)
        before = self._read(name)
        self._values[name] = value
        changed = getattr(self, f"_set_{name}", None)
        if changed is not None and before != value:
            changed(value)

    def property(self, name: str) -> Any:
        return self._read(name) if self._facts_of(name) else RAW_PROPERTY(self, name)

    def setProperty(self, name: str, value: Any) -> bool:
        if self._facts_of(name):
            self._write(name, value)
            return True
        return bool(RAW_SET_PROPERTY(self, name, value))


def checked(name: str, kind: str, value: Any) -> Any:
    """``value`` as the property's type, which it has to be of."""
    takes = TAKES.get(kind)
    if takes is None:
        return value
    if kind == "QString" and value is None:
        return ""
    if not isinstance(value, takes) or (kind in ("int", "double") and isinstance(value, bool)):
        raise TypeError(f"{name} is a {kind} and does not take {value!r}")
    return QtGui.QColor(value) if kind == "QColor" else takes[0](value) if kind == "bool" else _plain(kind, value)


def _plain(kind: str, value: Any) -> Any:
    return float(value) if kind == "double" else tuple(value) if kind == "QStringList" else value


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


class _SignalAttribute:
    """``widget.currentNodeChanged``: of several signals with one name that with a node, else the first."""

    def __init__(self, signatures: Sequence[str]) -> None:
        self.signature = next((s for s in signatures if "*" in s), signatures[0])

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance._bound[self.signature]

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError(f"{self.signature} is a signal")


class StandinProperty(property):
    """A property of the facts."""


def _make_property(each: facts.Property) -> StandinProperty:
    return StandinProperty(lambda self: self._read(each.name), lambda self, value: self._write(each.name, value))


def _unwritten(owner: str, name: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any) -> Any:
        raise NotImplementedError(f"the double has no behaviour for {owner}.{name}()")

    method.__name__ = name
    method.unwritten = True  # type: ignore[attr-defined]
    return method


def _accessors(cls_facts: facts.WidgetFacts) -> dict[str, Callable[..., Any]]:
    """``setX(value)``, ``isX()`` and ``hasX()`` of the properties, where the facts have them."""
    made: dict[str, Callable[..., Any]] = {}
    names = cls_facts.callables
    for each in cls_facts.properties.values():
        capital = _capital(each.name)
        if f"set{capital}" in names:
            made[f"set{capital}"] = lambda self, value, name=each.name: self._write(name, value)
        for getter in (f"is{capital}", f"has{capital}"):
            if getter in names:
                made[getter] = lambda self, name=each.name: self._read(name)
    return made


def _check_behaviour(behaviour: type, known: set[str], base: type) -> set[str]:
    """The public names of a behaviour, all of which the facts or Qt know as methods."""
    written = {n for cls in behaviour.__mro__ for n in vars(cls) if cls not in (Behaviour, object)}
    written = {n for n in written if not n.startswith("_") and not n.isupper()}
    for name in written:
        if name not in known and not hasattr(base, name):
            raise TypeError(f"{behaviour.__name__} has {name}, which the facts do not have")
        if isinstance(getattr(base, name, None), (StandinProperty, _SignalAttribute)):
            raise TypeError(f"{behaviour.__name__} hides the property or signal {name}")
    return written


def _constructor(root: type) -> Callable[..., None]:
    def __init__(self: Any, *arguments: Any) -> None:
        root.__init__(self, *arguments)
        self._start()
        done: set[Any] = set()
        for cls in reversed(type(self).__mro__):
            build = vars(cls).get("_build")
            if build is not None and build not in done:
                done.add(build)
                build(self)

    return __init__


def make_class(name: str, made: dict[str, type], behaviours: dict[str, type], module: str) -> type:
    """The class ``name`` of the facts; its bases are made before and put into ``made``, too."""
    if name in made:
        return made[name]
    change_classes()
    own = facts.widgets()[name]
    if own.base in facts.widgets():
        base = make_class(own.base, made, behaviours, module)
        root = base.ROOT  # type: ignore[attr-defined]
        bases: tuple[type, ...] = (base,)
    else:  # of the qMRML bases without facts only that they are widgets is known
        root = base = getattr(QtWidgets, own.base, None) or getattr(QtCore, own.base, QtWidgets.QWidget)
        bases = (Behaviour, base)
    members: dict[str, Any] = {n: _unwritten(name, n) for n in own.callables if not hasattr(base, n)}
    members.update(_accessors(own))
    members.update({p.name: _make_property(p) for p in own.properties.values()})
    for signature in own.signals:
        same = [s for s in own.signals if facts.name_of(s) == facts.name_of(signature)]
        members[facts.name_of(signature)] = _SignalAttribute(same)
    behaviour = behaviours.get(name)
    if behaviour is not None:
        written = _check_behaviour(behaviour, set(members) | own.callables, base)
        members = {n: value for n, value in members.items() if n not in written}
        bases = (behaviour, base)
    members |= {"FACTS": facts.lineage(name), "ROOT": root, "__init__": _constructor(root), "__module__": module}
    made[name] = type(root)(name, bases, members)
    PRIVATE.add(made[name])
    return made[name]

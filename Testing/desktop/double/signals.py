"""Signals as PythonQt connects them: by signature, checked, and with as many arguments as the receiver takes."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

from .facts import arguments_of, name_of, normal

Receiver = Callable[..., Any]
RAW_CONNECT, RAW_DISCONNECT = QtCore.QObject.connect, QtCore.QObject.disconnect  # PySide's own


def arity(receiver: Receiver) -> int | None:
    """How many arguments PythonQt hands to a receiver at most; None for all.

    It counts the parameters of functions and methods, those with a default included, and hands everything to whatever
    takes ``*args`` and to other callables.
    """
    function = receiver.__func__ if isinstance(receiver, types.MethodType) else receiver
    if not isinstance(function, types.FunctionType) or function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - isinstance(receiver, types.MethodType)


def deliver(receiver: Receiver, arguments: tuple[Any, ...]) -> None:
    count = arity(receiver)
    receiver(*(arguments if count is None else arguments[:count]))


class StandinSignal:
    """One signal of one stand-in; ``connect``, ``disconnect`` and ``emit`` as in PythonQt."""

    def __init__(self, owner: Any, signature: str) -> None:
        self._owner, self.signature = owner, signature
        self._receivers: list[Receiver] = []

    def connect(self, receiver: Receiver) -> bool:
        if not callable(receiver):
            raise TypeError(f"{receiver!r} cannot receive {self.signature}")
        self._receivers.append(receiver)
        return True

    def disconnect(self, receiver: Receiver) -> bool:
        if receiver not in self._receivers:
            raise ValueError(f"{receiver!r} is not connected to {self.signature}")
        self._receivers.remove(receiver)
        return True

    def emit(self, *arguments: Any) -> None:
        if len(arguments) != len(arguments_of(self.signature)):
            raise TypeError(f"{self.signature} is emitted with {len(arguments)} arguments")
        if self._owner.signalsBlocked():
            return
        for receiver in tuple(self._receivers):
            deliver(receiver, arguments)

    __call__ = emit


class QtSignal:
    """A signal of a widget of Qt, as an attribute: the overload with most arguments."""

    def __init__(self, owner: QtCore.QObject, name: str, raw: QtCore.SignalInstance) -> None:
        self._owner, self._raw = owner, raw
        found = [s for s in signatures(owner) if name_of(s) == name]
        self.signature = max(found, key=lambda s: len(arguments_of(s)))

    def connect(self, receiver: Receiver) -> bool:
        return connect(self._owner, self.signature, receiver)

    def disconnect(self, receiver: Receiver) -> bool:
        return disconnect(self._owner, self.signature, receiver)

    def emit(self, *arguments: Any) -> None:
        if arguments and all(type(each) in (bool, int, float, str) for each in arguments):
            self._raw[tuple(map(type, arguments)) if len(arguments) > 1 else type(arguments[0])].emit(*arguments)
        else:
            self._raw.emit(*arguments)

    __call__ = emit


def signatures(owner: QtCore.QObject) -> list[str]:
    """Signals of an object of Qt in normal form."""
    return signatures_of(owner.metaObject())


def signatures_of(meta: QtCore.QMetaObject, signals: bool = True) -> list[str]:
    """The signals of a class of Qt in normal form, or what is no signal."""
    kind = QtCore.QMetaMethod.MethodType.Signal
    methods = (meta.method(index) for index in range(meta.methodCount()))
    found = [m for m in methods if (m.methodType() == kind) == signals]
    return [normal(bytes(method.methodSignature().data()).decode()) for method in found]


def _standin_signal(owner: QtCore.QObject, signature: str) -> StandinSignal | None:
    find = getattr(owner, "_signal", None)
    return find(signature) if find else None


def _links(owner: QtCore.QObject) -> list[tuple[str, Receiver, Any]]:
    links: list[tuple[str, Receiver, Any]] = owner.__dict__.setdefault("_links", [])
    return links


def _check(owner: QtCore.QObject, signature: str) -> str:
    wanted = normal(signature)
    if wanted not in signatures(owner):
        same = ", ".join(s for s in signatures(owner) if name_of(s) == name_of(wanted)) or "none of that name"
        raise AttributeError(f"{type(owner).__name__} has no signal {wanted}; it has {same}")
    return wanted


def connect(owner: QtCore.QObject, signature: str, receiver: Any, slot: str | None = None) -> bool:
    """``owner.connect("clicked()", f)`` and ``owner.connect("clicked()", other, "slot()")``."""
    if slot is not None:
        receiver = slot_of(receiver, slot, signature)
    if not callable(receiver):
        raise TypeError(f"{receiver!r} cannot receive {signature}")
    standin = _standin_signal(owner, signature)
    if standin is not None:
        return standin.connect(receiver)
    wanted = _check(owner, signature)

    def hand_on(*arguments: Any) -> None:
        deliver(receiver, arguments)

    link = RAW_CONNECT(owner, QtCore.SIGNAL(wanted), hand_on)
    _links(owner).append((wanted, receiver, link))
    return True


def disconnect(owner: QtCore.QObject, signature: str, receiver: Any, slot: str | None = None) -> bool:
    """The opposite of ``connect``; an error when there is no such connection."""
    if slot is not None:
        raise NotImplementedError("the double disconnects callables only")
    standin = _standin_signal(owner, signature)
    if standin is not None:
        return standin.disconnect(receiver)
    wanted = _check(owner, signature)
    for link in _links(owner):
        if link[0] == wanted and link[1] == receiver:
            _links(owner).remove(link)
            return bool(RAW_DISCONNECT(link[2]))
    raise ValueError(f"{receiver!r} is not connected to {wanted} of {type(owner).__name__}")


def disconnect_all(owner: QtCore.QObject) -> None:
    """Take away all that was connected to an object of Qt by ``connect``."""
    for _, _, link in _links(owner):
        RAW_DISCONNECT(link)
    _links(owner).clear()


def slot_of(receiver: QtCore.QObject, slot: str, signal: str) -> Receiver:
    """The method of ``receiver`` that a slot's signature names; the slot exists and takes what the signal brings."""
    wanted, brought = normal(slot), arguments_of(normal(signal))
    known = getattr(receiver, "_slots", list)()
    known += signatures_of(receiver.metaObject(), signals=False)
    if wanted not in known:
        raise AttributeError(f"{type(receiver).__name__} has no slot {wanted}")
    if arguments_of(wanted) != brought[: len(arguments_of(wanted))]:
        raise TypeError(f"the slot {wanted} does not fit to the signal {signal}")
    count, name = len(arguments_of(wanted)), name_of(wanted)
    return lambda *arguments: getattr(receiver, name)(*arguments[:count])

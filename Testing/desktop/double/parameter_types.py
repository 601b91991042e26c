# ruff: noqa: N802, N815 - the names are Slicer's
"""What annotations of parameters may say: defaults, ranges, choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


class Default:
    """``Annotated[int, Default(5)]``; ``generator`` makes a new value each time."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value

    def __repr__(self) -> str:
        return f"Default({self.value!r})"


class FloatRange:
    """Two numbers in order."""

    def __init__(self, minimum: float = 0.0, maximum: float = 0.0) -> None:
        self.setRange(minimum, maximum)

    def setRange(self, minimum: float, maximum: float) -> None:
        if minimum > maximum:
            raise ValueError(f"a range from {minimum} to {maximum} is empty")
        self.minimum, self.maximum = float(minimum), float(maximum)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FloatRange) and (self.minimum, self.maximum) == (other.minimum, other.maximum)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"FloatRange({self.minimum}, {self.maximum})"


class Validator:
    """Raises ValueError for values that a parameter may not have."""

    def validate(self, value: Any) -> None:
        raise NotImplementedError

    @staticmethod
    def _need(right: bool, text: str) -> None:
        if not right:
            raise ValueError(text)


class NotNone(Validator):
    def validate(self, value: Any) -> None:
        self._need(value is not None, "the value must not be None")


@dataclasses.dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        self._need(self.minimum <= value <= self.maximum, f"{value} is not within {self.minimum} to {self.maximum}")


@dataclasses.dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value: Any) -> None:
        self._need(value >= self.minimum, f"{value} is below {self.minimum}")


@dataclasses.dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value: Any) -> None:
        self._need(value <= self.maximum, f"{value} is above {self.maximum}")


@dataclasses.dataclass
class Choice(Validator):
    choices: Sequence[Any]

    def validate(self, value: Any) -> None:
        self._need(value in self.choices, f"{value!r} is not among {self.choices}")


@dataclasses.dataclass
class Exclude(Validator):
    excludedValues: Sequence[Any]

    def validate(self, value: Any) -> None:
        self._need(value not in self.excludedValues, f"{value!r} is not allowed")


@dataclasses.dataclass
class RangeBounds(Validator):
    """Bounds of a ``FloatRange``."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        inside = self.minimum <= value.minimum and value.maximum <= self.maximum
        self._need(inside, f"{value} is not within {self.minimum} to {self.maximum}")


@dataclasses.dataclass
class Decimals:
    """Decimals of the widget of a number."""

    value: int


@dataclasses.dataclass
class SingleStep:
    """Step of the widget of a number."""

    value: float


EXPORTS = (
    Default, FloatRange, Validator, NotNone, WithinRange, Minimum, Maximum, Choice, Exclude, RangeBounds, Decimals,
    SingleStep,
)  # fmt: skip

"""Time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """``later`` of a host; ``go_on`` lets seconds pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self._waiting: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        entry = (self.now + seconds, action)
        self._waiting.append(entry)
        return lambda: self._waiting.remove(entry) if entry in self._waiting else None

    def go_on(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [entry for entry in self._waiting if entry[0] <= end]:
            first = min(due, key=lambda entry: entry[0])
            self._waiting.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end

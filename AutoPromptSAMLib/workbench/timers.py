"""Things that are done a moment later, on the host's main thread."""

from __future__ import annotations

from collections.abc import Callable

# What a host gives: run a function so many seconds from now; returns a function that calls that off.
Later = Callable[[float, Callable[[], None]], Callable[[], None]]


class Timer:
    """Runs ``action`` so many ``seconds`` after it was last started, once."""

    def __init__(self, later: Later, seconds: float, action: Callable[[], None]) -> None:
        self._later, self._seconds, self._action = later, seconds, action
        self._call_off: Callable[[], None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the action is still to come."""
        return self._call_off is not None

    def start(self) -> None:
        """Run the action then; what was started before is called off."""
        self.stop()
        self._call_off = self._later(self._seconds, self._run)

    def stop(self) -> None:
        """Do not run it."""
        call_off, self._call_off = self._call_off, None
        if call_off is not None:
            call_off()

    def _run(self) -> None:
        self._call_off = None
        self._action()

"""Work that other threads hand to Qt's, and work that the panels hand to another thread."""

from __future__ import annotations

import time
from collections.abc import Callable

import qt

from AutoPromptSAMLib.workbench.turns import OnError, Turns

IDLE_MS, BUSY_MS = 15, 5  # between two looks; looking costs microseconds
# Slicer's event loop keeps Python's lock, also while it waits for events: other threads run only while Python sleeps
# here, and each operation of a network needs the lock. A small one of 180 operations took 4 ms alone, 210 ms beside a
# loop that keeps the lock and only looks every 15 ms, and 20 ms beside one that looks every 5 ms and then sleeps.
GIVE_AWAY_S = 0.005


class MainThread(Turns):
    """Runs functions on Qt's thread.

    A timer looks for them: what another thread calls must not touch Qt, and PythonQt has no way to post a function.
    """

    def __init__(self, on_error: OnError, is_busy: Callable[[], bool]) -> None:
        super().__init__(on_error, is_busy)
        self._timer = qt.QTimer()
        self._timer.setInterval(IDLE_MS)
        self._timer.connect("timeout()", self.run)
        self._timer.start()

    def run(self) -> None:
        """Run what waits, and let other threads work."""
        busy = self.turn()
        if busy:
            time.sleep(GIVE_AWAY_S)
        if self._timer.interval != (BUSY_MS if busy else IDLE_MS):
            self._timer.setInterval(BUSY_MS if busy else IDLE_MS)

    def close(self) -> None:
        """Run no more."""
        self._timer.stop()
        super().close()

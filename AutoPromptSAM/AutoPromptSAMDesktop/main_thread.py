"""Work that other threads hand to Qt's, and work that the panels hand to another thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import qt

IDLE_MS, BUSY_MS = 15, 5  # between two looks; looking costs microseconds
# Slicer's event loop keeps Python's lock, also while it waits for events: other threads run only while Python sleeps
# here, and each operation of a network needs the lock. A small one of 180 operations took 4 ms alone, 210 ms beside a
# loop that keeps the lock and only looks every 15 ms, and 20 ms beside one that looks every 5 ms and then sleeps.
GIVE_AWAY_S = 0.005
LONGEST_S = 0.05  # then the views get their turn

OnError = Callable[[BaseException], None]


class MainThread:
    """Runs functions on Qt's thread, in the order in which any thread gave them.

    A timer looks for them: what another thread calls must not touch Qt, and PythonQt has no way to post a function.
    """

    def __init__(self, on_error: OnError, is_busy: Callable[[], bool]) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._on_error = on_error
        self._is_busy = is_busy  # whether a thread other than this object's own has something to do
        self._own = 0  # jobs of ``work`` that did not end yet
        self._inside = False
        self._timer = qt.QTimer()
        self._timer.setInterval(IDLE_MS)
        self._timer.connect("timeout()", self.run)
        self._timer.start()
        self._workers = ThreadPoolExecutor(4, "AutoPromptSAM")  # a download must not keep a model from loading

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` soon; from any thread."""
        self._waiting.put(function)

    def work(self, load: Callable[[], Any], show: Callable[[Any], None], failed: OnError | None = None) -> None:
        """Run ``load`` on another thread, then ``show`` what it gave, or ``failed`` its error."""

        def ended(tell: Callable[[], None]) -> None:
            self._own -= 1
            tell()

        def run() -> None:
            try:
                loaded = load()
            except Exception as error:  # told on the main thread
                problem = error
                self.call(lambda: ended(lambda: (failed or self._on_error)(problem)))
            else:
                self.call(lambda: ended(lambda: show(loaded)))

        self._own += 1
        self._workers.submit(run)

    def run(self) -> None:
        """Run what waits, and let other threads work."""
        if self._inside:  # a function that lets the application handle events
            return
        self._inside = True
        try:
            self._run_waiting()
            busy = self._own > 0 or self._is_busy()
            if busy:
                time.sleep(GIVE_AWAY_S)
            if self._timer.interval != (BUSY_MS if busy else IDLE_MS):
                self._timer.setInterval(BUSY_MS if busy else IDLE_MS)
        finally:
            self._inside = False

    def _run_waiting(self) -> None:
        start = time.monotonic()
        while time.monotonic() - start < LONGEST_S:
            try:
                function = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                function()
            except Exception as error:  # must not end the timer
                self._on_error(error)

    def close(self) -> None:
        """Run no more."""
        self._timer.stop()
        self._workers.shutdown(wait=False, cancel_futures=True)


def single_shot(milliseconds: int, run: Callable[[], None]) -> Any:
    """A timer that runs a function so long after it was last started."""
    timer = qt.QTimer()
    timer.setSingleShot(True)  # the attribute is Qt's function of that name
    timer.setInterval(milliseconds)
    timer.connect("timeout()", run)
    return timer

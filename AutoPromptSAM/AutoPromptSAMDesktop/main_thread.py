"""Work that other threads hand to Qt's, and work that the panels hand to another thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import qt

INTERVAL_MS = 15  # a finished slice waits this long at most before it is drawn; looking costs microseconds
LONGEST_S = 0.05  # then the views get their turn

OnError = Callable[[BaseException], None]


class MainThread:
    """Runs functions on Qt's thread, in the order in which any thread gave them.

    A timer looks for them: what another thread calls must not touch Qt, and PythonQt has no way to post a function.
    """

    def __init__(self, on_error: OnError) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._on_error = on_error
        self._timer = qt.QTimer()
        self._timer.interval = INTERVAL_MS
        self._timer.connect("timeout()", self.run)
        self._timer.start()
        self._worker = ThreadPoolExecutor(1, "AutoPromptSAM")

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` soon; from any thread."""
        self._waiting.put(function)

    def work(self, load: Callable[[], Any], show: Callable[[Any], None], failed: OnError | None = None) -> None:
        """Run ``load`` on another thread, one after the other, then ``show`` what it gave, or ``failed`` its error."""

        def run() -> None:
            try:
                loaded = load()
            except Exception as error:  # told on the main thread
                problem = error
                self.call(lambda: (failed or self._on_error)(problem))
            else:
                self.call(lambda: show(loaded))

        self._worker.submit(run)

    def run(self) -> None:
        """Run what waits."""
        start = time.monotonic()
        while time.monotonic() - start < LONGEST_S:
            try:
                function = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                function()
            except Exception as error:  # an error must not end the timer
                self._on_error(error)

    def close(self) -> None:
        """Run no more."""
        self._timer.stop()
        self._worker.shutdown(wait=False, cancel_futures=True)


def single_shot(milliseconds: int, run: Callable[[], None]) -> Any:
    """A timer that runs a function so long after it was last started."""
    timer = qt.QTimer()
    timer.setSingleShot(True)  # the attribute is Qt's function of that name
    timer.setInterval(milliseconds)
    timer.connect("timeout()", run)
    return timer

"""Work that other threads hand to a host's main thread, in turns that it takes, and work that it hands to others."""

from __future__ import annotations

import heapq
import itertools
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LONGEST_S = 0.05  # of a turn: then the views get theirs

OnError = Callable[[BaseException], None]


class Turns:
    """Runs functions on the thread that calls ``turn``, in the order in which any thread gave them.

    ``is_busy`` says whether a thread other than this object's own has something to do; ``on_error`` gets what goes
    wrong in a function.
    """

    def __init__(self, on_error: OnError, is_busy: Callable[[], bool]) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._due: list[tuple[float, int, Callable[[], None]]] = []  # what is to run later, the next one first
        self._numbers = itertools.count()
        self._on_error, self._is_busy = on_error, is_busy
        self._own = 0  # jobs of ``work`` that did not end yet
        self._inside = False
        self._workers = ThreadPoolExecutor(4, "AutoPromptSAM")  # a download must not keep a model from loading

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` soon; from any thread."""
        self._waiting.put(function)

    def later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Run ``function`` so many seconds from now (``workbench.timers.Later``); what is returned calls that off."""
        entry = (time.monotonic() + seconds, next(self._numbers), function)
        heapq.heappush(self._due, entry)

        def call_off() -> None:
            if entry in self._due:
                self._due.remove(entry)
                heapq.heapify(self._due)

        return call_off

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

    def turn(self) -> bool:
        """Run what waits and what is due; returns whether other threads have something to do."""
        if self._inside:  # a function that lets the application handle events
            return False
        self._inside = True
        try:
            self._run_waiting()
        finally:
            self._inside = False
        return self._own > 0 or self._is_busy()

    def close(self) -> None:
        """Run no more; other threads still do what they were given, as a session's goodbye to its server."""
        self._due.clear()
        self._workers.shutdown(wait=False)

    def _run_waiting(self) -> None:
        start = time.monotonic()
        while time.monotonic() - start < LONGEST_S:
            try:
                function = self._next()
            except queue.Empty:
                return
            try:
                function()
            except Exception as error:  # must not end the turns
                self._on_error(error)

    def _next(self) -> Callable[[], None]:
        if self._due and self._due[0][0] <= time.monotonic():
            return heapq.heappop(self._due)[2]
        return self._waiting.get_nowait()

"""One worker thread per session, and the jobs that run on it one after the other.

What a person waits for (one slice) goes before what takes long (a volume) or was not asked for (encoding the slices
around): it starts as soon as a background job gets to its next check. A thread that lives as long as the session keeps
what torch warms up: on a fresh thread every prompt pays for it again (1.2 s against 0.11 s was measured with
nnInteractive). A job never touches MRML or Qt; the host reads its result on its own thread.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from AutoPromptSAMLib.errors import Cancelled

logger = logging.getLogger(__name__)

EXIT_SECONDS = 60.0  # how long a leaving process waits for the slice that is being worked on; a choice

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` steps, and what is being done, in words."""

    done: int
    total: int
    text: str


class Control:
    """What a running job sees: it reports progress and asks whether to go on."""

    def __init__(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        self._on_progress = on_progress
        self._cancel = threading.Event()
        self._make_way: Callable[[], None] | None = None  # set for background jobs, by their worker

    def cancel(self) -> None:
        """Ask the job to stop at its next check."""
        self._cancel.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the job to stop."""
        return self._cancel.is_set()

    def make_way(self) -> None:
        """Let the jobs that came in meanwhile run first, if this is a background job."""
        if self._make_way is not None and not self._cancel.is_set():
            self._make_way()

    def check(self) -> None:
        """Raise Cancelled when the job shall stop, and make way; called between slices."""
        self.make_way()
        if self._cancel.is_set():
            raise Cancelled("Cancelled; what was finished before is kept.")

    def report(self, done: int, total: int, text: str) -> None:
        """Tell how far the job is. Called on the worker thread."""
        if self._on_progress is not None:
            self._on_progress(Progress(done, total, text))


class Job(Generic[T]):
    """A piece of work that was handed to a ``Worker``; thread safe."""

    def __init__(
        self,
        run: Callable[[Control], T],
        on_progress: Callable[[Progress], None] | None,
        on_done: Callable[[Job[T]], None] | None,
    ) -> None:
        self._run: Callable[[Control], T] | None = run
        self._on_done = on_done
        self._control = Control(on_progress)
        self._finished = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None

    def cancel(self) -> None:
        """Stop before it starts, or at its next check; ``result`` then raises Cancelled."""
        self._control.cancel()

    @property
    def done(self) -> bool:
        """Whether the job ended: with a result, an error, or cancelled."""
        return self._finished.is_set()

    @property
    def error(self) -> BaseException | None:
        """What the job raised, Cancelled included; None while it runs or when it went well."""
        return self._error

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the result, or raise what the job raised.

        Raises TimeoutError when it does not end within ``timeout`` seconds.
        """
        if not self._finished.wait(timeout):
            raise TimeoutError(f"The job did not end within {timeout} s.")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def _execute(self) -> None:
        """Run to the end, on the worker thread; never raises, or the jobs after this one would wait for ever."""
        run, self._run = self._run, None  # a job that a host keeps must not keep the image that it worked on
        assert run is not None
        try:
            self._control.check()
            self._result = run(self._control)
        except BaseException as error:  # whatever it is, it belongs to who waits for the result
            self._error = error
        self._finished.set()
        if self._on_done is not None:
            try:
                self._on_done(self)
            except Exception:
                logger.exception("A job's on_done callback failed; the job itself ended before.")


class Worker:
    """One daemon thread that runs jobs in the order they were submitted, background jobs last."""

    def __init__(self, name: str = "autopromptsam") -> None:
        self._jobs: deque[Job[Any]] = deque()
        self._background: deque[Job[Any]] = deque()
        self._running: list[Job[Any]] = []
        self._closed = False
        # A job handed in beside ``close`` is either run or refused, never forgotten.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()
        # A thread inside torch when Python shuts down aborts the process ("terminate called ...").
        atexit.register(self._leave)

    def submit(
        self,
        run: Callable[[Control], T],
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Job[T]], None] | None = None,
        background: bool = False,
    ) -> Job[T]:
        """Run ``run(control)`` after the jobs before it; both callbacks are called on the worker thread.

        A ``background`` job waits for all others, and lets those that come while it runs go first whenever it checks
        its control. Raises RuntimeError after ``close``.
        """
        job = Job(run, on_progress, on_done)
        with self._changed:
            if self._closed:
                raise RuntimeError("The session is closed; open a new one.")
            if background:
                job._control._make_way = self._run_urgent
            (self._background if background else self._jobs).append(job)
            self._changed.notify()
        return job

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return bool(self._running or self._jobs or self._background)

    def close(self, cancel: bool = False) -> None:
        """Finish the jobs that were submitted, or ``cancel`` them, then end the thread and wait for that."""
        self._end(cancel)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _end(self, cancel: bool) -> None:
        atexit.unregister(self._leave)
        with self._changed:
            self._closed = True
            if cancel:
                for job in (*self._running, *self._jobs, *self._background):
                    job.cancel()
            self._changed.notify()

    def _leave(self) -> None:
        self._end(cancel=True)
        self._thread.join(EXIT_SECONDS)

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._background or self._closed)
                queue = self._jobs or self._background
                if not queue:
                    return
                self._running.append(queue.popleft())
            self._run_last()

    def _run_urgent(self) -> None:
        """Run what waits, from within the background job that is running on this thread."""
        while True:
            with self._changed:
                if not self._jobs:
                    return
                self._running.append(self._jobs.popleft())
            self._run_last()

    def _run_last(self) -> None:
        self._running[-1]._execute()
        with self._changed:
            self._running.pop()  # nothing else keeps the job: its result must not stay in memory

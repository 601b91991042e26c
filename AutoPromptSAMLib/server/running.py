"""One job of a client: what it tells goes out frame by frame, and no faster than the client takes it in."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.server.limits import Limits
from AutoPromptSAMLib.session.learning import LearningResult
from AutoPromptSAMLib.session.wire import error_to_json, pack

logger = logging.getLogger(__name__)

_PART = 2**20  # bytes of a file that are sent at a time


class Turn:
    """How many clicks of a session wait for its thread; what runs on it then must not wait for its client."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting = 0

    def add(self, number: int) -> None:
        """A click came in (1) or was answered (-1)."""
        with self.changed:
            self.waiting += number
            self.changed.notify_all()


class Running:
    """A job on its way. ``loop`` is the server's; ``tell`` and ``finished`` are called on the session's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Turn, ahead: int, limits: Limits) -> None:
        self.job: Job[Any] | None = None
        self.on_end: Callable[[], None] = lambda: None
        self._loop, self._turn, self._ahead, self._limits = loop, turn, ahead, limits
        self._frames: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self._told = self._seen = 0
        self._heard = time.monotonic()
        self._is_open = False  # nobody is waited for any more

    def tell(self, event: str, *values: Any) -> None:
        """Send an event, and wait while the client is further behind than it allowed."""
        self._put(pack({"event": event, "values": values}))
        with self._turn.changed:
            self._told += 1
            self._turn.changed.wait_for(
                lambda: self._is_open or self._turn.waiting or self._told - self._seen <= self._ahead
            )

    def finished(self, job: Job[Any]) -> None:
        """Send what the job ended with."""
        self.on_end()
        try:
            if job.error is not None:
                raise job.error
            result = job.result()
            if isinstance(result, LearningResult):
                result = self._send_learned(result)
            last = pack({"event": "end", "result": result})
        except BaseException as error:  # the client waits for it, whatever it is
            last = pack({"event": "error", "error": error_to_json(error)})
            if not isinstance(error, AutoPromptSAMError):
                logger.error("A job failed.", exc_info=error)
        self._put(last, True)

    def seen(self, count: int) -> None:
        """The client has taken in ``count`` events; 0 is a sign that it is there."""
        with self._turn.changed:
            self._seen = max(self._seen, count)
            self._heard = time.monotonic()
            self._turn.changed.notify_all()

    def cancel(self) -> None:
        """End the job at its next check, and wait for nobody."""
        if self.job is not None:
            self.job.cancel()
        with self._turn.changed:
            self._is_open = True
            self._turn.changed.notify_all()

    async def frames(self) -> AsyncIterator[bytes]:
        """The bytes of the answer; when nobody takes them any more, the job is cancelled."""
        try:
            yield pack({"event": "started"})
            last = False
            while not last:
                try:
                    frame, last = await asyncio.wait_for(self._frames.get(), self._limits.heartbeat)
                except asyncio.TimeoutError:
                    if time.monotonic() - self._heard > self._limits.silence:
                        return
                    frame = pack({"event": "alive"})
                yield frame
        finally:
            self.cancel()

    def _send_learned(self, result: LearningResult) -> dict[str, Any]:
        content = result.task.read_bytes()
        for start in range(0, len(content), _PART):
            self._put(pack({"event": "part", "values": [np.frombuffer(content[start : start + _PART], np.uint8)]}))
        about = {"dice": result.dice, "steps": result.steps, "seconds": result.seconds, "complete": result.complete}
        about |= {"better": result.better, "held_back": result.held_back}
        return {"sha256": hashlib.sha256(content).hexdigest(), **about}

    def _put(self, frame: bytes, last: bool = False) -> None:
        try:
            self._loop.call_soon_threadsafe(self._frames.put_nowait, (frame, last))
        except RuntimeError:
            logger.debug("The server has ended; what its job found is not sent.")

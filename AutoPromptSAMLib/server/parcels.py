"""Images and sets of examples that clients sent, in memory, under the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from AutoPromptSAMLib.server.limits import MEGABYTE, Limits
from AutoPromptSAMLib.session.wire import CHUNK, RemoteError, inflated


@dataclass(eq=False)
class _Parcel:
    content: bytearray
    received: int = 0  # chunks
    hash: Any = field(default_factory=hashlib.sha256)  # of those
    used: float = field(default_factory=time.monotonic)

    @property
    def chunks(self) -> int:
        return -(-len(self.content) // CHUNK)

    @property
    def is_whole(self) -> bool:
        return self.received == self.chunks


class Parcels:
    """Nothing is written to disk. Safe to use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parcels: OrderedDict[str, _Parcel] = OrderedDict()  # the longest unused first
        self._lock = threading.Lock()

    def begin(self, digest: str, size: int) -> int:
        """Make room for ``size`` bytes; how many chunks of them are here already. RemoteError when it is too large."""
        if not 0 < size <= self._limits.parcel:
            raise RemoteError(
                f"This has {size / MEGABYTE:.0f} MB and the server takes up to {self._limits.parcel / MEGABYTE:.0f}; "
                "crop or resample it, or ask who runs the server for more."
            )
        with self._lock:
            known = self._parcels.get(digest)
            if known is None or len(known.content) != size:
                self._parcels.pop(digest, None)
                self._make_room(size)
                known = self._parcels[digest] = _Parcel(bytearray(size))
            self._touch(digest)
            return known.received

    def put(self, digest: str, number: int, compressed: bytes) -> int:
        """Take chunk ``number`` if it is the next; how many are here then.

        RemoteError when the parcel was forgotten, or is not what its digest says.
        """
        with self._lock:
            known = self._parcels.get(digest)
            if known is None:
                raise RemoteError("The server has forgotten what was sent before; try again.")
            self._touch(digest)
            if number != known.received or known.is_whole:
                return known.received
            start = number * CHUNK
            end = min(start + CHUNK, len(known.content))
        plain = inflated(compressed, end - start)
        with self._lock:
            if number == known.received:
                known.content[start:end] = plain
                known.hash.update(plain)
                known.received += 1
                if known.is_whole and known.hash.hexdigest() != digest:
                    self._parcels.pop(digest, None)
                    raise RemoteError("What was sent changed on the way; try again.")
            return known.received

    def get(self, digest: str) -> memoryview | None:
        """The bytes, None when they are not (all) here; do not write into them."""
        with self._lock:
            known = self._parcels.get(digest)
            if known is None or not known.is_whole:
                return None
            self._touch(digest)
            return memoryview(known.content).toreadonly()

    def forget_idle(self) -> None:
        """Drop what nobody used for longer than the limits say."""
        oldest = time.monotonic() - self._limits.idle
        with self._lock:
            for digest in [digest for digest, each in self._parcels.items() if each.used < oldest]:
                del self._parcels[digest]

    def _touch(self, digest: str) -> None:
        self._parcels[digest].used = time.monotonic()
        self._parcels.move_to_end(digest)

    def _make_room(self, size: int) -> None:
        used = sum(len(each.content) for each in self._parcels.values())
        while self._parcels and used + size > self._limits.kept:
            used -= len(self._parcels.popitem(last=False)[1].content)

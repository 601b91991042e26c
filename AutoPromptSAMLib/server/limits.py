"""How much a server takes and how long it keeps it."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Bytes, seconds and numbers; all of them choices.

    ``parcel``: the largest image or set of examples. ``kept``: all of them together, the longest unused go first.
    ``request``: the largest job, with its masks and prompts. ``idle``: after so long without a job a session is
    forgotten, and so is an image that nobody used. ``heartbeat``: how often a waiting client is told that it goes on.
    ``silence``: after so long without a sign of its client a job is cancelled.
    """

    parcel: int = 2000 * MEGABYTE
    kept: int = 8000 * MEGABYTE
    request: int = 64 * MEGABYTE
    sessions: int = 32
    idle: float = 30 * 60.0
    heartbeat: float = 5.0
    silence: float = 60.0

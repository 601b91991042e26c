"""What the interactive part tells its host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Message:
    """A sentence for the person: what happened and what to do next."""

    text: str
    kind: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True)
class Status:
    """What is being done: ``phase``, in words (``text``), and how far (``done`` of ``total``; 0 when unknown)."""

    phase: Literal["embedding", "ready", "segmenting", "propagating"] = "ready"
    text: str = "Ready"
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Propagation:
    """The last run of a segment.

    ``axis``: array axis. ``agreement``: by slice index, the Dice with the slice it was prompted from. ``seeds``: the
    slices that a person prompted. ``complete``: False after a cancel.
    """

    axis: int
    agreement: Mapping[int, float] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    complete: bool = True

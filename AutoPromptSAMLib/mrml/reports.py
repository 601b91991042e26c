"""What the interactive part tells its host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

WEAK = 0.85  # Dice with the slice that it came from, below which a slice is worth a look: our choice

SURE_LEVELS = (0.9, 0.8, 0.65, 0.5)  # confidence from which on a slice has a level: our choice
# Five of matplotlib's viridis (Smith and van der Walt, CC0), which is even in lightness for all kinds of colour
# vision; the brightest is where to look.
SURE_COLORS = ("#33638D", "#238A8D", "#29AF7F", "#94D840", "#FDE725")


def sure_level(sure: float) -> int:
    """The level of a confidence from 0 to 1: 0 is the surest; its colour is that of ``SURE_COLORS``."""
    return sum(sure < limit for limit in SURE_LEVELS)


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
    slices that a person prompted. ``complete``: False after a cancel. ``automatic``: examples prompted the slices, and
    ``agreement`` is how sure each of them is.
    """

    axis: int
    agreement: Mapping[int, float] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    complete: bool = True
    automatic: bool = False

    @property
    def spans(self) -> list[tuple[int, int, Literal["done", "weak"]]]:
        """Neighbouring slices that went alike: first, last, and whether they are worth a look."""
        spans: list[tuple[int, int, Literal["done", "weak"]]] = []
        for index in sorted(self.agreement):
            kind: Literal["done", "weak"] = "weak" if self.agreement[index] < WEAK else "done"
            if spans and spans[-1][1:] == (index - 1, kind):
                spans[-1] = (spans[-1][0], index, kind)
            else:
                spans.append((index, index, kind))
        return spans

    @property
    def sure_spans(self) -> list[tuple[int, int, int, float]]:
        """Neighbouring slices of an automatic run that are about as sure: first, last, level, lowest confidence.

        Levels count from 0, the surest, and have their colours in ``SURE_COLORS``.
        """
        spans: list[tuple[int, int, int, float]] = []
        for index, sure in sorted(self.agreement.items()):
            level = sure_level(sure)
            if spans and spans[-1][1:3] == (index - 1, level):
                spans[-1] = (spans[-1][0], index, level, min(spans[-1][3], sure))
            else:
                spans.append((index, index, level, sure))
        return spans

    @property
    def weak(self) -> list[int]:
        """Slices that are worth a look, the weakest first."""
        return sorted((n for n, dice in self.agreement.items() if dice < WEAK), key=self.agreement.__getitem__)

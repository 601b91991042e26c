"""What a speed run measured: samples by contender, their spread, the ratios, and how noisy the machine was."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.atomic import atomic_path

SCHEMA = "autopromptsam-speed/1"
RESULTS_NAME = "speed.json"
REFERENCE = "reference"

DRAWS = 10_000  # of the bootstrap
FEWEST = 3  # samples that a bootstrap interval is given for
PARTS = ("encode", "decode", "volume", "cache", "memory", "startup", "gpu")


@dataclass(frozen=True)
class Spread:
    """Of one contender's samples: the median and the quartiles; or of a total, which has none."""

    n: int
    value: float
    q1: float | None
    q3: float | None

    @staticmethod
    def of(samples: Sequence[float], total: bool = False) -> Spread:
        """``total``: the samples are parts of one sum. Raises ValueError without samples."""
        if not samples:
            raise ValueError("there are no samples")
        if total:
            return Spread(len(samples), float(np.sum(samples)), None, None)
        q1, median, q3 = (float(value) for value in np.percentile(samples, (25, 50, 75)))
        return Spread(len(samples), median, q1, q3)


@dataclass(frozen=True)
class Ratio:
    """Reference by contender: above 1 where the contender needs less. ``low`` and ``high`` bound 95 % of the draws."""

    value: float
    low: float | None
    high: float | None

    @staticmethod
    def of(reference: Sequence[float], own: Sequence[float], total: bool = False, seed: int = 0) -> Ratio:
        """Ratio of medians (of sums with ``total``) with a percentile bootstrap interval, None for few samples.

        Samples of the same number were taken one after the other and are drawn together, so that what disturbed both
        cancels out. Raises ValueError when their numbers differ.
        """
        pairs = np.array([reference, own], dtype=np.float64)
        middle = np.sum if total else np.median
        upper, lower = middle(pairs, axis=1)
        n = pairs.shape[1]
        if n < FEWEST:
            return Ratio(float(upper / lower), None, None)
        drawn = np.random.default_rng(seed).integers(n, size=(DRAWS, n))
        several: NDArray[np.float64] = middle(pairs[:, drawn], axis=2)
        low, high = np.percentile(several[0] / several[1], (2.5, 97.5))
        return Ratio(float(upper / lower), float(low), float(high))


@dataclass(frozen=True)
class Noise:
    """How busy the machine was: load average over a minute before and after, and time taken by its other guests."""

    load_before: float | None
    load_after: float | None
    steal: float | None


@dataclass(frozen=True)
class Row:
    """One thing that was measured, in seconds or MiB.

    ``samples``: by contender. ``total``: they are parts of one sum. ``against``: what the reference did, where it is
    another thing. ``equal``: by contender, how far its output was from the reference's: "logits" and "embedding" are
    largest absolute differences, "dice" the smallest Dice of two masks.
    """

    model: str
    part: str
    what: str
    samples: Mapping[str, Sequence[float]]
    unit: str = "s"
    total: bool = False
    note: str = ""
    equal: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    noise: Noise = Noise(None, None, None)

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        """By contender."""
        return {key: Spread.of(samples, self.total) for key, samples in self.samples.items()}

    @cached_property
    def ratios(self) -> dict[str, Ratio]:
        """By contender other than the reference; empty where there is no reference."""
        reference = self.samples.get(REFERENCE)
        if reference is None:
            return {}
        return {
            key: Ratio.of(reference, samples, self.total) for key, samples in self.samples.items() if key != REFERENCE
        }

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object, with what follows from the samples."""
        return dataclasses.asdict(self) | {
            "spreads": {key: dataclasses.asdict(spread) for key, spread in self.spreads.items()},
            "ratios": {key: dataclasses.asdict(ratio) for key, ratio in self.ratios.items()},
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Row:
        """Inverse of ``to_json``."""
        own = {f.name: content[f.name] for f in dataclasses.fields(Row)}
        return Row(**{**own, "noise": Noise(**own["noise"])})


@dataclass(frozen=True)
class Rate:
    """How fast arithmetic went: of an encoder or decoder in operations, of batches in slices.

    ``gflop`` is what PyTorch counts for the network as published, a multiplication and an addition being two;
    ``gflops`` that number by the time taken, ``peak`` the largest rate of a matrix product that was measured in the
    same precision. ``batch``: slices at once, 0 where it does not apply.
    """

    model: str
    contender: str
    what: str
    precision: str
    batch: int
    seconds: float
    gflop: float | None = None
    peak: float | None = None

    @property
    def slices_per_second(self) -> float | None:
        """None where no slices are encoded."""
        return self.batch / self.seconds if self.batch else None

    @property
    def gflops(self) -> float | None:
        """Arithmetic of the published network a second, 10⁹ operations."""
        return None if self.gflop is None else self.gflop / self.seconds

    @property
    def fraction(self) -> float | None:
        """Part of the peak."""
        return None if self.gflops is None or not self.peak else self.gflops / self.peak

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object, with what follows from the rest."""
        derived = {name: getattr(self, name) for name in ("slices_per_second", "gflops", "fraction")}
        return dataclasses.asdict(self) | derived

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Rate:
        """Inverse of ``to_json``."""
        return Rate(**{f.name: content[f.name] for f in dataclasses.fields(Rate)})


@dataclass(frozen=True)
class Skipped:
    """What was not measured, and why."""

    model: str
    part: str
    reason: str


@dataclass
class SpeedRun:
    """Everything that a run measured. ``about``: command, settings and environment; ``contenders``: model -> who."""

    about: dict[str, Any]
    contenders: dict[str, dict[str, str]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    complete: bool = False

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return {
            "schema": SCHEMA,
            **self.about,
            "complete": self.complete,
            "contenders": self.contenders,
            "records": [row.to_json() for row in self.rows],
            "rates": [rate.to_json() for rate in self.rates],
            "not_measured": [dataclasses.asdict(entry) for entry in self.skipped],
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> SpeedRun:
        """Inverse of ``to_json``."""
        return SpeedRun(
            {name: content[name] for name in ("command", "settings", "environment")},
            dict(content["contenders"]),
            [Row.from_json(row) for row in content["records"]],
            [Rate.from_json(rate) for rate in content["rates"]],
            [Skipped(**entry) for entry in content["not_measured"]],
            content["complete"],
        )

    def write(self, folder: Path) -> None:
        """Write ``speed.json`` into ``folder``. Raises StorageError."""
        with atomic_path(folder / RESULTS_NAME) as temporary:
            temporary.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class NoiseMeter:
    """Looks at the machine when it is made and again in ``stop``."""

    def __init__(self) -> None:
        self._load, self._ticks = _load(), _ticks()

    def stop(self) -> Noise:
        """What happened since."""
        ticks, steal = _ticks(), None
        if ticks is not None and self._ticks is not None and ticks[0] > self._ticks[0]:
            steal = (ticks[1] - self._ticks[1]) / (ticks[0] - self._ticks[0])
        return Noise(self._load, _load(), steal)


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _ticks() -> tuple[int, int] | None:
    """All ticks of the processor and the stolen ones since the start of the system (proc(5)); None elsewhere."""
    try:
        ticks = [int(text) for text in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return (sum(ticks), ticks[7]) if len(ticks) == 8 else None

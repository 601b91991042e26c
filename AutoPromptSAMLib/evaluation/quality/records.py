"""What a quality run measured: one row a case, kept as soon as it is there, and their summary.

``cases.jsonl`` is a log: its first line holds the settings, each further line one case, one thing that could not be
measured, or one unit of work that is done. Lines are appended whole, so several processes can write to it and a run
that was killed goes on from there.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.atomic import atomic_path, storage_error
from AutoPromptSAMLib.evaluation.errors import BenchError

SCHEMA = "autopromptsam-quality/1"
LOG_NAME = "cases.jsonl"

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Settings:
    """What decides the figures. How many workers share the work is not among it: it changes nothing.

    ``datasets``: name -> SHA-256 of its description. ``models``: name -> SHA-256 of its weights. ``limit``: images (or
    volumes) of each dataset, 0 for all. ``objects``: only these; empty for all.
    """

    datasets: Mapping[str, str]
    models: Mapping[str, str | None]
    methods: tuple[str, ...]
    prompts: tuple[str, ...]
    objects: tuple[str, ...] = ()
    limit: int = 0
    seed: int = 0
    device: str = "auto"
    version: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        plain = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @property
    def fingerprint(self) -> str:
        """Hash of everything in it."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class CaseRow:
    """One object on one slice (or in one volume), segmented from one prompt by one model.

    ``sample`` names the slice or volume, ``group`` the patient. ``metrics``: a value that does not exist is None.
    ``unit`` is that of distances: "mm", or "px" where pixels have no size. ``engine``: what ran the model.
    ``seconds``: by stage; "encode" only where this case had to encode. ``trace``: Dice after each answer, for prompts
    of several.
    ``given``: the prompts in pixels. ``view``: array axis and index of the slice that ``mask`` lies on, for volumes.
    ``mask``: see ``pack_mask``.
    """

    dataset: str
    group: str
    pair: str
    sample: str
    object: str
    model: str
    method: str
    prompt: str
    metrics: Mapping[str, float | None]
    unit: str = "px"
    engine: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    trace: Sequence[float] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    view: Sequence[int] | None = None
    mask: Mapping[str, Any] | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What there is one row of."""
        return (self.dataset, self.sample, self.object, self.model, self.method, self.prompt)


@dataclass(frozen=True)
class Unusable:
    """Something that could not be measured, and why. ``prompt`` is "" when it is the whole pair."""

    dataset: str
    pair: str
    reason: str
    object: str = ""
    model: str = ""
    method: str = ""
    prompt: str = ""


@dataclass(frozen=True)
class Statistics:
    """Of the ``n`` cases where a metric has a value. ``sd`` (of the sample, n - 1) is None for one case."""

    n: int
    mean: float
    sd: float | None
    median: float
    p5: float
    p95: float

    @staticmethod
    def of(values: Sequence[float]) -> Statistics | None:
        """None without values."""
        if not values:
            return None
        array = np.asarray(values, dtype=np.float64)
        p5, median, p95 = (float(value) for value in np.percentile(array, (5, 50, 95)))
        sd = float(array.std(ddof=1)) if len(array) > 1 else None
        return Statistics(len(array), float(array.mean()), sd, median, p5, p95)


@dataclass(frozen=True)
class Record:
    """The cases of one dataset, object, model, method and prompt together; ``n`` of them from ``groups`` patients."""

    dataset: str
    object: str
    model: str
    method: str
    prompt: str
    n: int
    groups: int
    unit: str
    metrics: Mapping[str, Statistics]
    seconds: Mapping[str, Statistics]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return dataclasses.asdict(self)


def summarise(rows: Iterable[CaseRow]) -> list[Record]:
    """One record for each dataset, object, model, method and prompt, in the order in which the rows come."""
    together: dict[tuple[str, ...], list[CaseRow]] = {}
    for row in rows:
        together.setdefault((row.dataset, row.object, row.model, row.method, row.prompt), []).append(row)
    return [
        Record(
            dataset,
            name,
            model,
            method,
            prompt,
            n=len(cases),
            groups=len({row.group for row in cases}),
            unit="/".join(sorted({row.unit for row in cases})),
            metrics=_statistics([row.metrics for row in cases]),
            seconds=_statistics([row.seconds for row in cases]),
        )
        for (dataset, name, model, method, prompt), cases in together.items()
    ]


def _statistics(values: Sequence[Mapping[str, float | None]]) -> dict[str, Statistics]:
    names = dict.fromkeys(name for each in values for name in each)
    found = {name: Statistics.of([v for each in values if (v := each.get(name)) is not None]) for name in names}
    return {name: statistics for name, statistics in found.items() if statistics is not None}


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON has them: None for what is not finite."""
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}


def pack_mask(mask: Mask) -> dict[str, Any]:
    """A mask (rows, cols) as JSON: its shape, and its bits compressed; about 1 kB for 512 x 512 pixels."""
    return {
        "shape": list(mask.shape),
        "bits": base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii"),
    }


def unpack_mask(packed: Mapping[str, Any]) -> Mask:
    """Inverse of ``pack_mask``."""
    rows, cols = packed["shape"]
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed["bits"])), dtype=np.uint8)
    return np.unpackbits(bits, count=rows * cols).reshape(rows, cols).astype(bool)


class CaseLog:
    """The log of one run in ``folder``: opened anew, or gone on with when the settings are the same.

    Raises BenchError when the folder holds the results of other settings, StorageError when it cannot be written.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.path = folder / LOG_NAME
        self.settings = settings
        self.rows: dict[tuple[str, ...], CaseRow] = {}
        self.unusable: list[Unusable] = []
        self.done: set[tuple[str, ...]] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error) from error
        if self.path.is_file():
            self.read()
        self._rewrite()

    def read(self) -> None:
        """Take in what all processes wrote; a line that was cut off by a kill does not count."""
        lines = self.path.read_bytes().split(b"\n")
        head = _parsed(lines[0])
        if head is None or head.get("schema") != SCHEMA:
            raise BenchError(f"{self.path} is no log of this version's benchmark; choose another folder with --out.")
        if head["fingerprint"] != self.settings.fingerprint:
            other, own = head["settings"], self.settings.to_json()
            name = next((name for name in own if other.get(name) != own[name]), "settings")
            raise BenchError(
                f"{self.path.parent} has results of other settings ({name}: {_brief(other.get(name))}, now "
                f"{_brief(own.get(name))}); give the same ones to go on, or another folder with --out."
            )
        self.rows.clear()
        self.unusable.clear()
        for line in lines[1:]:
            entry = _parsed(line) or {}
            if "case" in entry:
                row = CaseRow(**entry["case"])
                self.rows[row.key] = row
            elif "unusable" in entry:
                self.unusable.append(Unusable(**entry["unusable"]))
            elif "done" in entry:
                self.done.add(tuple(entry["done"]))

    def _rewrite(self) -> None:
        """Without what was cut off, and without what could not be used before: it is tried again."""
        again = {(entry.dataset, entry.pair) for entry in self.unusable}
        self.done = {unit for unit in self.done if (unit[0], unit[1]) not in again}
        self.unusable.clear()
        head = {"schema": SCHEMA, "fingerprint": self.settings.fingerprint, "settings": self.settings.to_json()}
        entries: list[Mapping[str, Any]] = [head]
        entries += [{"case": dataclasses.asdict(row)} for row in self.rows.values()]
        entries += [{"done": list(unit)} for unit in sorted(self.done)]
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def append(path: Path, entry: CaseRow | Unusable | tuple[str, ...]) -> None:
    """Add a line to the log at ``path``, in one piece whoever else is writing. Raises StorageError."""
    kind = "case" if isinstance(entry, CaseRow) else "unusable" if isinstance(entry, Unusable) else "done"
    content = list(entry) if isinstance(entry, tuple) else dataclasses.asdict(entry)
    line = (json.dumps({kind: content}) + "\n").encode()
    import filelock

    try:
        with filelock.FileLock(f"{path}.lock"), open(path, "ab", buffering=0) as stream:
            stream.write(line)
            os.fsync(stream.fileno())
    except OSError as error:
        raise storage_error(path, error) from error


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _brief(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, dict)) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

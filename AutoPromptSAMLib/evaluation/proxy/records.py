"""What ``bench proxy`` measured: one file a run, kept as soon as it is there, so that nothing is measured twice.

Below the folder of the benchmark, ``settings.json`` holds what decides the figures, ``runs/`` one JSON file for every
finished run and ``tasks/`` the networks that were learned.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from AutoPromptSAMLib.atomic import atomic_path, storage_error
from AutoPromptSAMLib.evaluation.quality.records import BenchError

SCHEMA = "autopromptsam-proxy/1"
SETTINGS_NAME, RESULTS_NAME, REPORT_NAME = "settings.json", "results.json", "report.md"

GENERAL = "general"  # variant of a run: the weights that are shipped, nothing learned
APART = "apart"  # variant of a run: learned on several objects together, asked for one at a time


@dataclass(frozen=True)
class Settings:
    """What decides the figures, the same for all runs in a folder.

    ``models``: name -> SHA-256 of the weights. ``minutes`` and ``steps`` bound learning (None: as learning has it).
    ``limit``: test images of each run, 0 for all. ``supports``: images that prompt, where the run says nothing else.
    ``start``: "scratch" or "general", what learning starts from.
    """

    models: Mapping[str, str | None]
    minutes: float | None = None
    steps: int | None = None
    limit: int = 0
    supports: int = 4
    start: str = "scratch"
    device: str = "auto"
    version: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return {**asdict(self), "models": dict(self.models)}


@dataclass(frozen=True)
class Run:
    """A network for one task, and the images that prompt it.

    The network was learned on the first ``shots`` drawn images of ``dataset`` with masks of ``objects``; the drawn
    images from ``supports[0]`` up to, but without, ``supports[1]`` prompt it. ``seed`` draws the images and is that of
    learning. ``variant``: "" as it is, GENERAL, APART, or the name of an ablation.
    """

    model: str
    dataset: str
    objects: tuple[str, ...]
    seed: int
    shots: int
    supports: tuple[int, int]
    variant: str = ""

    @property
    def object(self) -> str:
        """All objects in a line."""
        return " + ".join(self.objects)

    @property
    def task(self) -> Run:
        """Runs with the same one have the same network."""
        return replace(self, supports=(0, 0), variant="" if self.variant == APART else self.variant)

    @property
    def name(self) -> str:
        """For people and for files: which network, prompted by which images."""
        return f"{self.task_name}-by{self.supports[0]}to{self.supports[1]}"

    @property
    def task_name(self) -> str:
        """For people and for files: which network."""
        return f"{self.object}-seed{self.seed}-m{self.shots}" + (f"-{self.variant}" if self.variant else "")

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Run:
        """Inverse of ``dataclasses.asdict``, also after JSON made lists of tuples."""
        first, last = content["supports"]
        return Run(**{**content, "objects": tuple(content["objects"]), "supports": (first, last)})


@dataclass(frozen=True)
class Record:
    """A run that is finished.

    ``images``: names of the test images. ``dice``: contender -> object -> Dice on each image, None where the object is
    not on it. ``seconds``: contender -> median from features to masks of an image. ``learned``: what is known of
    learning. ``source``: hash of the dataset's description.
    """

    run: Run
    images: Sequence[str]
    dice: Mapping[str, Mapping[str, Sequence[float | None]]]
    seconds: Mapping[str, float] = field(default_factory=dict)
    learned: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def values(self, contender: str, name: str) -> list[float]:
        """Dice on the images that show the object; empty where the contender was not measured."""
        return [value for value in self.dice.get(contender, {}).get(name, ()) if value is not None]

    def mean(self, contender: str, name: str) -> float:
        """Mean Dice, NaN without any."""
        found = self.values(contender, name)
        return sum(found) / len(found) if found else math.nan

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Record:
        """Inverse of ``to_json``."""
        return Record(**{**content, "run": Run.from_json(content["run"])})


@dataclass(frozen=True)
class Unmeasured:
    """Something that was asked for and could not be measured, and why."""

    part: str
    what: str
    reason: str


class Folder:
    """A benchmark's folder, opened anew or gone on with.

    Raises BenchError when it holds results of other settings, StorageError when it cannot be written.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        _make(path)
        known = path / SETTINGS_NAME
        models = dict(settings.models)
        if known.is_file():
            before = _read(known)
            models = self._check(before, settings) | models
        _write(known, {"schema": SCHEMA, **settings.to_json(), "models": models})

    def _check(self, before: Mapping[str, Any], settings: Settings) -> dict[str, str | None]:
        """The models so far; BenchError when something else differs than that there is one more."""
        if before.get("schema") != SCHEMA:
            raise BenchError(f"{self.path} holds results of another version; choose another folder with --out.")
        models: dict[str, str | None] = before["models"]
        now = settings.to_json()
        now["models"] = {**models, **now["models"]}
        wrong = [name for name in now if before.get(name) != now[name] and name != "models"]
        wrong += [name for name, sha256 in models.items() if now["models"][name] != sha256]
        if wrong:
            raise BenchError(
                f"{self.path} has results of other settings ({wrong[0]}: {before.get(wrong[0], 'other weights')}, now "
                f"{now.get(wrong[0], 'these')}); give the same ones to go on, or another folder with --out."
            )
        return models

    def task(self, run: Run) -> Path:
        """Where the network of a run is kept; its folder exists."""
        path = self.path / "tasks" / _slug(run.model) / _slug(run.dataset) / f"{_slug(run.task_name)}.safetensors"
        _make(path.parent)
        return path

    def _record(self, run: Run) -> Path:
        return self.path / "runs" / _slug(run.model) / _slug(run.dataset) / f"{_slug(run.name)}.json"

    def read(self, run: Run, source: str) -> Record | None:
        """The record of a finished run, None when there is none.

        Raises BenchError when it was measured on another ``source``, that is, the dataset was described differently.
        """
        path = self._record(run)
        if not path.is_file():
            return None
        record = Record.from_json(_read(path))
        if record.source != source:
            raise BenchError(
                f"{run.dataset} is described differently than when {path} was measured; choose another folder with "
                "--out."
            )
        return record

    def write(self, record: Record) -> None:
        """Keep a finished run. Raises StorageError."""
        path = self._record(record.run)
        _make(path.parent)
        _write(path, record.to_json())

    def records(self) -> Iterator[Record]:
        """All finished runs, of this call and of earlier ones, in the order of their files' names."""
        for path in sorted((self.path / "runs").rglob("*.json")):
            yield Record.from_json(_read(path))

    def cost(self, model: str) -> Path:
        """Where the cost of prompting is kept."""
        return self.path / f"cost-{_slug(model)}.json"

    def costs(self) -> dict[str, list[dict[str, Any]]]:
        """What prompting costs, by model; see ``cost.measure``."""
        found = [_read(path) for path in sorted(self.path.glob("cost-*.json"))]
        return {content["model"]: content["rows"] for content in found}

    def write_cost(self, model: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep what prompting costs. Raises StorageError."""
        _write(self.cost(model), {"model": model, "rows": list(rows)})


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error


def _slug(text: str) -> str:
    """A file name; names that would become the same one are told apart by a piece of their hash."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", text) or "_"
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise BenchError(f"{path} cannot be read; remove it, and it is measured again.")
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

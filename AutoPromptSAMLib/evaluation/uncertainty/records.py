"""What ``bench uncertainty`` measured: one file a run, kept after every image, so that nothing is measured twice.

Below the folder of the benchmark, ``settings.json`` holds what decides the figures and ``runs/`` one JSON file for
every run, finished or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from AutoPromptSAMLib.evaluation.proxy.records import _make, _read, _slug, _write
from AutoPromptSAMLib.evaluation.quality.records import BenchError

SCHEMA = "autopromptsam-uncertainty/1"
SETTINGS_NAME, RESULTS_NAME, REPORT_NAME = "settings.json", "results.json", "report.md"
DIGITS = 6  # of a figure that are kept


@dataclass(frozen=True)
class Settings:
    """What decides the figures, the same for all runs in a folder.

    ``models``: name -> what tells its weights (and adapter, and temperature) from others. ``limit``: images (or
    volumes) of each set, 0 for all.
    """

    models: Mapping[str, str]
    limit: int = 0
    device: str = "auto"
    version: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return {**asdict(self), "models": dict(self.models)}


@dataclass(frozen=True)
class Run:
    """One part of the benchmark, on one set of images, with one model and one seed; ``dataset`` "" where none is."""

    part: str
    model: str
    dataset: str
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return ": ".join(text for text in (self.model, self.part, self.dataset, f"seed {self.seed}") if text)


@dataclass(frozen=True)
class Case:
    """One object on one image, or in one volume. ``figures``: by name; None where one does not exist."""

    sample: str
    group: str
    object: str
    figures: Mapping[str, float | None]


@dataclass(frozen=True)
class Record:
    """A run as far as it is done.

    ``done``: ids of the images that were gone through, with those that cannot be used. ``tables``: sums over the
    images, by name. ``base``: the model without its adapter, or the model itself. ``use``: the dataset's. ``source``:
    hash of the dataset's description. ``reasons``: why images could not be used, by id.
    """

    run: Run
    base: str
    use: str
    source: str
    cases: tuple[Case, ...] = ()
    done: tuple[str, ...] = ()
    tables: Mapping[str, Sequence[float]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False

    def values(self, figure: str) -> list[float]:
        """A figure of all cases that have it."""
        return [value for case in self.cases if (value := case.figures.get(figure)) is not None]

    def mean(self, figure: str) -> float:
        """Mean of a figure over the cases that have it, NaN without any."""
        found = self.values(figure)
        return sum(found) / len(found) if found else math.nan

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Record:
        """Inverse of ``to_json``."""
        return Record(
            **{
                **content,
                "run": Run(**content["run"]),
                "cases": tuple(Case(**case) for case in content["cases"]),
                "done": tuple(content["done"]),
            }
        )


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
            models = self._check(_read(known), settings)
        _write(known, {"schema": SCHEMA, **settings.to_json(), "models": models})

    def _check(self, before: Mapping[str, Any], settings: Settings) -> dict[str, str]:
        """The models so far and now; BenchError when something else differs than that there are more of them."""
        if before.get("schema") != SCHEMA:
            raise BenchError(f"{self.path} holds results of another version; choose another folder with --out.")
        models = {**before["models"], **settings.models}
        now = {**settings.to_json(), "models": models}
        wrong = [name for name in now if name != "models" and before.get(name) != now[name]]
        wrong += [name for name, weights in before["models"].items() if models[name] != weights]
        if wrong:
            raise BenchError(
                f"{self.path} has results of other settings ({wrong[0]}: {before.get(wrong[0], 'other weights')}, now "
                f"{now.get(wrong[0], 'these')}); give the same ones to go on, or another folder with --out."
            )
        return models

    def _record(self, run: Run) -> Path:
        names = (_slug(run.part), _slug(run.model), f"{_slug(run.dataset)}-seed{run.seed}.json")
        return self.path.joinpath("runs", *names)

    def read(self, run: Run, source: str) -> Record | None:
        """The record of a run, finished or not; None when there is none.

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
        """Keep a run as far as it is done. Raises StorageError."""
        path = self._record(record.run)
        _make(path.parent)
        _write(path, record.to_json())

    def records(self) -> Iterator[Record]:
        """All runs that have cases or tables, of this call and of earlier ones, in the order of their files' names."""
        for path in sorted((self.path / "runs").rglob("*.json")):
            record = Record.from_json(_read(path))
            if record.cases or record.tables:
                yield record


def rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Figures as they are kept: NaN and infinity become None."""
    return {
        name: None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
        for name, value in values.items()
    }

"""What ``bench uncertainty`` measures, and where it is kept, after every image; see ``run_folder``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from AutoPromptSAMLib.evaluation.run_folder import RunFolder, slug

SCHEMA = "autopromptsam-uncertainty/1"
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


class Folder(RunFolder[Record]):
    """Runs, finished or not."""

    def __init__(self, path: Path, settings: Settings) -> None:
        super().__init__(path, SCHEMA, settings.to_json())

    def file(self, run: Run) -> Path:
        """Where a run is kept."""
        return self.path.joinpath("runs", slug(run.part), slug(run.model), f"{slug(run.dataset)}-seed{run.seed}.json")

    def parse(self, content: Mapping[str, Any]) -> Record:
        """The record in a file's content."""
        return Record.from_json(content)

    def records(self) -> Iterator[Record]:
        """All runs that have cases or tables, of this call and of earlier ones, in the order of their files' names."""
        return (record for record in super().records() if record.cases or record.tables)


def rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Figures as they are kept: NaN and infinity become None."""
    return {
        name: None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
        for name, value in values.items()
    }

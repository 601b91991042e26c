"""What ``bench proxy`` measures, and where it is kept; see ``run_folder``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from AutoPromptSAMLib.evaluation.run_folder import RunFolder, make_folder, read_json, slug, write_json

SCHEMA = "autopromptsam-proxy/1"

GENERAL = "general"  # variant of a run: the weights that are shipped, nothing learned
APART = "apart"  # variant of a run: learned on several objects together, asked for one at a time


@dataclass(frozen=True)
class Settings:
    """What decides the figures, the same for all runs in a folder.

    ``models``: name -> SHA-256 of the weights. ``minutes`` and ``steps`` bound learning (None: as learning has it).
    ``limit``: test images of each run, 0 for all. ``supports``: images that prompt, where the run says nothing else.
    ``start``: "scratch" or "general", what learning starts from. ``lora``: whether the model itself learns, too
    (None: as learning has it).
    """

    models: Mapping[str, str | None]
    minutes: float | None = None
    steps: int | None = None
    limit: int = 0
    supports: int = 4
    start: str = "scratch"
    lora: bool | None = None
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


class Folder(RunFolder[Record]):
    """Runs, and ``tasks/``, the networks that were learned for them."""

    def __init__(self, path: Path, settings: Settings) -> None:
        super().__init__(path, SCHEMA, settings.to_json())

    def task(self, run: Run) -> Path:
        """Where the network of a run is kept; its folder exists."""
        path = self.path / "tasks" / slug(run.model) / slug(run.dataset) / f"{slug(run.task_name)}.safetensors"
        make_folder(path.parent)
        return path

    def file(self, run: Run) -> Path:
        """Where a run is kept."""
        return self.path / "runs" / slug(run.model) / slug(run.dataset) / f"{slug(run.name)}.json"

    def parse(self, content: Mapping[str, Any]) -> Record:
        """The record in a file's content."""
        return Record.from_json(content)

    def cost(self, model: str) -> Path:
        """Where the cost of prompting is kept."""
        return self.path / f"cost-{slug(model)}.json"

    def costs(self) -> dict[str, list[dict[str, Any]]]:
        """What prompting costs, by model; see ``cost.measure``."""
        found = [read_json(path) for path in sorted(self.path.glob("cost-*.json"))]
        return {content["model"]: content["rows"] for content in found}

    def write_cost(self, model: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep what prompting costs. Raises StorageError."""
        write_json(self.cost(model), {"model": model, "rows": list(rows)})

"""From runs to the figures of tables and plots: means over images and seeds, differences to the plain model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.evaluation.proxy.summary import Figure
from AutoPromptSAMLib.evaluation.uncertainty.errors import calibration_error
from AutoPromptSAMLib.evaluation.uncertainty.images import STARTS
from AutoPromptSAMLib.evaluation.uncertainty.records import Record

EVALUATION = "evaluation"


@dataclass(frozen=True)
class Group:
    """The records of one part, model and set of images, a record a seed."""

    part: str
    model: str
    base: str
    dataset: str
    use: str
    records: tuple[Record, ...]

    @property
    def is_adapted(self) -> bool:
        """Whether the model is another one with an adapter."""
        return self.model != self.base

    def figure(self, name: str) -> Figure | None:
        """Mean by seed of a figure; None where no case has it."""
        values = [found for record in self.records if (found := record.values(name))]
        if not values:
            return None
        together = np.concatenate(values)
        sd = float(together.std(ddof=1)) if len(together) > 1 else None
        return Figure(tuple(float(np.mean(each)) for each in values), sd, len(together))

    def mean(self, name: str) -> float | None:
        """Mean over the seeds."""
        found = self.figure(name)
        return None if found is None else found.mean

    def table(self, name: str) -> NDArray[np.float64] | None:
        """Sum of a table over the seeds; None where none has it."""
        found = [np.asarray(record.tables[name]) for record in self.records if name in record.tables]
        return np.sum(found, axis=0) if found else None

    def calibration(self, start: str, temperature: str) -> float | None:
        """Expected calibration error, mean over the seeds."""
        name = f"{start}/reliability/{temperature}"
        found = [calibration_error(record.tables[name]) for record in self.records if name in record.tables]
        return float(np.mean(found)) if found else None


def groups(records: Sequence[Record], part: str) -> list[Group]:
    """The groups of a part by model and set, seeds in order; models without adapters first."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(records, key=lambda record: (record.run.model != record.base, record.run.model)):
        if record.run.part == part:
            found.setdefault((record.run.model, record.run.dataset), []).append(record)
    return [
        Group(part, model, own[0].base, dataset, own[0].use, tuple(sorted(own, key=lambda one: one.run.seed)))
        for (model, dataset), own in found.items()
    ]


def gain(group: Group, figure: str, base: Group, base_figure: str) -> float | None:
    """Mean over seeds of the mean difference to a figure of ``base``, image by image; None without common images."""
    before = {
        (record.run.seed, case.sample): value
        for record in base.records
        for case in record.cases
        if (value := case.figures.get(base_figure)) is not None
    }
    means = []
    for record in group.records:
        found = [
            value - before[key]
            for case in record.cases
            if (value := case.figures.get(figure)) is not None and (key := (record.run.seed, case.sample)) in before
        ]
        if found:
            means.append(float(np.mean(found)))
    return float(np.mean(means)) if means else None


def base_of(group: Group, found: Sequence[Group]) -> Group | None:
    """The same part and set with the plain model."""
    return next((one for one in found if (one.model, one.dataset) == (group.base, group.dataset)), None)


def gains(
    found: Sequence[Group], model: str, figure: str, base_figure: str, use: str = EVALUATION
) -> dict[str, float]:
    """``gain`` over the plain model by set, of those sets that both were measured on."""
    values = {}
    for group in found:
        if group.model == model and group.use == use and (base := base_of(group, found)) is not None:
            value = gain(group, figure, base, base_figure)
            if value is not None:
                values[group.dataset] = value
    return values


def over_sets(found: Sequence[Group], model: str, value: Callable[[Group], float | None]) -> dict[str, float]:
    """A value by evaluation set, of those sets that have it."""
    values = {group.dataset: value(group) for group in found if group.model == model and group.use == EVALUATION}
    return {name: value for name, value in values.items() if value is not None}


def over_starts(value: Callable[[str], float | None]) -> float | None:
    """Mean over the start boxes; None when one is missing."""
    found = [value(start) for start in STARTS]
    return None if None in found else float(np.mean([one for one in found if one is not None]))


def mean(values: Mapping[str, float]) -> float | None:
    """Mean over sets, each counting alike; None without any."""
    return float(np.mean(list(values.values()))) if values else None


def models(found: Sequence[Group]) -> list[tuple[str, bool]]:
    """(model, whether it has an adapter), in order."""
    return list(dict.fromkeys((group.model, group.is_adapted) for group in found))


@dataclass(frozen=True)
class Counts:
    """Slices that a reviewer corrected until a goal: by the ranks and in order, over the objects where both did."""

    ranked: float
    in_order: float
    objects: int
    missing: int

    @property
    def saved(self) -> float | None:
        """The part that the ranks save; None when there was nothing to correct."""
        return 1 - self.ranked / self.in_order if self.in_order else None


def counts(found: Sequence[Group], model: str, start: str, goal: float, what: str = "corrected") -> Counts:
    """``what`` ("corrected" or "looked") over all objects and seeds of a model."""
    ranked = in_order = 0.0
    objects = missing = 0
    for group in found:
        for case in (case for record in group.records for case in record.cases if group.model == model):
            pair = [case.figures.get(f"{start}/{order}/{what}/{goal:.2f}") for order in ("ranked", "in order")]
            if pair[0] is None or pair[1] is None:
                missing += 1
                continue
            ranked, in_order, objects = ranked + pair[0], in_order + pair[1], objects + 1
    return Counts(ranked, in_order, objects, missing)

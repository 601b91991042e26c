"""What each part of ``bench uncertainty`` consists of: runs, and the images of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from AutoPromptSAMLib.datasets import Dataset
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.uncertainty import draws
from AutoPromptSAMLib.evaluation.uncertainty.records import Run

IMAGES = ("boxes", "points", "click")  # parts that go through images, object by object
PARTS = (*IMAGES, "errors", "slices", "cost", "human")
FIT = "fit"  # what comes before ``errors``: temperatures
RESERVED, HALVES = "reserved groups", "halves"  # what a temperature is fitted on: see ``work_of``
FITS = (RESERVED, HALVES)


@dataclass(frozen=True)
class Work:
    """A run and the images of it; ``datasets`` are several for a temperature only."""

    run: Run
    datasets: tuple[Dataset, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    parts: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]


def expanded(parts: Sequence[str]) -> tuple[str, ...]:
    """Parts in their order. Raises BenchError for an unknown one."""
    for part in parts:
        if part not in PARTS:
            raise BenchError(f'There is no part "{part}"; choose from {", ".join(PARTS)}.')
    return tuple(part for part in PARTS if part in parts)


def work_of(asked: Asked, datasets: Sequence[Dataset], sample: Callable[[], Dataset]) -> list[Work]:
    """All runs, model by model. ``sample`` gives the sample CT, and is called only when it is needed.

    Temperatures are fitted on the groups that are kept from training in sets for training (weights may be shipped with
    those), and on half of the groups of all sets for evaluation; either is tested on their other half. What does not
    depend on the seed is measured with the first one only. Raises BenchError when the data hold nothing to test on.
    """
    needs_images = bool({*IMAGES, "errors"} & {*asked.parts})
    sets = draws.tested_sets(datasets) if needs_images else []
    halved = draws.evaluation_sets(datasets)
    kept = tuple(draws.reserved_sets(datasets))
    volumes = [*draws.volume_sets(datasets), sample()] if "slices" in asked.parts else []
    organs = [sample()] if "human" in asked.parts else []
    found = []
    for model in asked.models:
        for part in asked.parts:
            if part in IMAGES:
                found += [Work(Run(part, model, one.name, seed), (one,)) for one in sets for seed in asked.seeds]
            elif part == "errors":
                for seed in asked.seeds:
                    found += _fits(model, seed, kept, halved)
                    for one in halved:
                        tested = draws.half(one, draws.TESTED, seed)
                        assert tested is not None
                        found.append(Work(Run(part, model, one.name, seed), (tested,)))
            elif part == "slices":
                found += [Work(Run(part, model, one.name, asked.seeds[0]), (one,)) for one in volumes]
            elif part == "human":
                found += [Work(Run(part, model, one.name, seed), (one,)) for one in organs for seed in asked.seeds]
            else:
                found.append(Work(Run(part, model, "", asked.seeds[0])))
    return found


def _fits(model: str, seed: int, kept: tuple[Dataset, ...], halved: Sequence[Dataset]) -> list[Work]:
    parts = [part for one in halved if (part := draws.half(one, draws.FITTED, seed)) is not None]
    chosen = {RESERVED: kept, HALVES: tuple(parts)}
    return [Work(Run(FIT, model, name, seed), chosen[name]) for name in FITS if chosen[name]]

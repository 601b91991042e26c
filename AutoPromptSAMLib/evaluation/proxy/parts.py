"""What each part of ``bench proxy`` consists of: runs, and the contenders that are measured in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from AutoPromptSAMLib.datasets import Dataset
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.proxy.contenders import CONTENDERS
from AutoPromptSAMLib.evaluation.proxy.draws import (
    CLAIMED_ON,
    MOST_SHOTS,
    SWAPPED,
    Task,
    chosen_tasks,
    general_sets,
    objects_of,
)
from AutoPromptSAMLib.evaluation.proxy.records import APART, GENERAL, Run
from AutoPromptSAMLib.evaluation.run_folder import Unmeasured
from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig

CLAIMS = ("c1", "c2", "c3", "c4")
PARTS = ("shots", *CLAIMS, "general", "cost")
SHOTS = (2, 4, 8, 16)  # M, as published
SUPPORTS = (1, 2, 4, 8, 15)  # G
PAIRS = 5  # single supports

# What an ablation changes in a network's configuration: without the selective map every cell of the target reads the
# mean over all cells of the supports; without colorization the tokens are what was read, pooled.
ABLATIONS: dict[str, dict[str, bool]] = {
    "no-map": {"selective_map": False},
    "no-colorization": {"colorization": False},
    "neither": {"selective_map": False, "colorization": False},
}


@dataclass(frozen=True)
class Work:
    """A run of a part, and who is measured in it."""

    part: str
    run: Run
    contenders: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What was asked for: parts (``PARTS``; "claims" is all of c1 to c4), models, seeds, objects (empty: the default).

    ``supports``: images that prompt where the part does not say it. ``from_scratch``: whether learning starts from
    nothing.
    """

    parts: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    objects: tuple[str, ...] = ()
    supports: int = 4
    from_scratch: bool = True


def expanded(parts: Sequence[str]) -> tuple[str, ...]:
    """Parts in order, "claims" replaced. Raises BenchError for an unknown one."""
    found = [one for part in parts for one in (CLAIMS if part == "claims" else (part,))]
    for part in found:
        if part not in PARTS:
            raise BenchError(f'There is no part "{part}"; choose from claims, {", ".join(PARTS)}.')
    return tuple(part for part in PARTS if part in found)


def work_of(asked: Asked, datasets: Sequence[Dataset]) -> tuple[list[Work], list[Unmeasured]]:
    """All runs in the order of the parts, and what cannot be measured at all."""
    found: list[Work] = []
    not_measured: list[Unmeasured] = []
    learned = {"shots": shots, "c1": c1, "c2": c2, "c4": c4}
    for part in asked.parts:
        if part in learned:
            tasks = chosen_tasks(datasets, asked.objects)
            if part != "shots" and not asked.objects:
                tasks = [task for task in tasks if task.object in CLAIMED_ON] or tasks
            for model in asked.models:
                for task in tasks:
                    for seed in asked.seeds:
                        found += learned[part](asked, _run(asked, model, task, seed))
        elif part == "c3":
            found += _swaps(asked, datasets)
        elif part == "general":
            found += _general(asked, datasets)
    if "c3" in asked.parts and not any(work.part == "c3" for work in found):
        wanted = "; ".join(f"{' and '.join(names)} in {dataset}" for dataset, names in SWAPPED)
        not_measured.append(Unmeasured("c3", "all of it", f"the data lack {wanted}."))
    if "c4" in asked.parts:
        reason = _no_ablation(asked)
        if reason:
            found = [work for work in found if work.part != "c4"]
            not_measured.append(Unmeasured("c4", "all of it", reason))
    return found, not_measured


def _run(asked: Asked, model: str, task: Task, seed: int) -> Run:
    return Run(model, task.dataset, (task.object,), seed, MOST_SHOTS, (0, asked.supports))


def shots(asked: Asked, run: Run) -> list[Work]:
    """16 shots, all contenders."""
    return [Work("shots", run, CONTENDERS)]


def c1(asked: Asked, run: Run) -> list[Work]:
    """Fewer shots; and fewer and more supports for the network of 16."""
    fewer = [replace(run, shots=count, supports=(0, min(asked.supports, count))) for count in SHOTS]
    several = [replace(run, supports=(0, count)) for count in SUPPORTS]
    return [Work("c1", each, ("proxy",)) for each in dict.fromkeys([*fewer, *several])]


def c2(asked: Asked, run: Run) -> list[Work]:
    """Each of five single supports."""
    return [Work("c2", replace(run, supports=(n, n + 1)), ("proxy", "persam")) for n in range(PAIRS)]


def c4(asked: Asked, run: Run) -> list[Work]:
    """The network as it is and without its parts."""
    return [Work("c4", replace(run, variant=variant), ("proxy",)) for variant in ("", *ABLATIONS)]


def _swaps(asked: Asked, datasets: Sequence[Dataset]) -> list[Work]:
    """One network of two objects, asked for one at a time; and a network for each, which is its own Dice."""
    here = {dataset.name: [name for name, _ in dataset.objects.named] for dataset in datasets}
    found = []
    for dataset, names in SWAPPED:
        if dataset not in here or not set(names) <= set(here[dataset]):
            continue
        for model in asked.models:
            for seed in asked.seeds:
                both = Run(model, dataset, names, seed, MOST_SHOTS, (0, asked.supports), APART)
                own = [_run(asked, model, Task(dataset, name), seed) for name in names]
                found += [Work("c3", run, ("proxy",)) for run in (both, *own)]
    return found


def _general(asked: Asked, datasets: Sequence[Dataset]) -> list[Work]:
    """One support, the weights that are shipped, all contenders, on every set for evaluation."""
    found = []
    for dataset in general_sets(datasets):
        for name in objects_of(dataset):
            if asked.objects and name not in asked.objects:
                continue
            for model in asked.models:
                for seed in asked.seeds:
                    found.append(
                        Work("general", Run(model, dataset.name, (name,), seed, 0, (0, 1), GENERAL), CONTENDERS)
                    )
    return found


def _no_ablation(asked: Asked) -> str:
    """Why networks cannot be learned without their parts; empty when they can."""
    switches = dict.fromkeys(switch for changes in ABLATIONS.values() for switch in changes)
    missing = [switch for switch in switches if switch not in {field.name for field in fields(ProxyPromptConfig)}]
    if missing:
        return f"the network's configuration has no switch {' and no '.join(missing)}."
    if not asked.from_scratch:
        return "networks without parts start from nothing, so the whole one must, too; use --start scratch."
    return ""

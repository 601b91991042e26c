"""Runs of ``bench proxy``: learn a network where there is none yet, find the objects in the test images, keep it.

A finished run is a file, and so is a finished network; whatever ends a benchmark (Ctrl-C, a kill, a power cut), the
same command goes on from there. Learning itself goes on from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from AutoPromptSAMLib.evaluation import measuring
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.measuring import Measurement, OnProgress, Say, measure_all
from AutoPromptSAMLib.evaluation.metrics import dice
from AutoPromptSAMLib.evaluation.proxy import cost
from AutoPromptSAMLib.evaluation.proxy.contenders import contender
from AutoPromptSAMLib.evaluation.proxy.draws import (
    MOST_SHOTS,
    Draw,
    Examples,
    examples_of_pair,
    general_sets,
    source_hash,
)
from AutoPromptSAMLib.evaluation.proxy.parts import ABLATIONS, Asked, Work, work_of
from AutoPromptSAMLib.evaluation.proxy.records import APART, GENERAL, Folder, Record, Run, Settings
from AutoPromptSAMLib.evaluation.proxy.targets import Target
from AutoPromptSAMLib.evaluation.run_folder import Unmeasured
from AutoPromptSAMLib.training.pool import reserved

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.datasets import Dataset
    from AutoPromptSAMLib.prompters.base import Support
    from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
    from AutoPromptSAMLib.training.shots import Example

SLOT = "the object"  # what an object is called when it is asked for apart, whichever it is


class Saved(Protocol):
    """What learning returns: ``training.run.Learned`` is one."""

    def save(self, path: Path, backbone: Backbone, info: Mapping[str, Any] | None = None) -> str:
        """Write the task file."""


# (backbone, examples, objects, run, settings, start, say, checkpoint) -> what was learned; seams for tests.
Learn = Callable[..., Saved]
_Task = tuple["ProxyPromptNetwork", "Backbone"]  # a network, and the model that it prompts
General = Callable[["Backbone"], "ProxyPromptNetwork | None"]


def load_from_zoo(model: str, device: str) -> Backbone:
    """A model of the zoo whose weights are on this machine."""
    from AutoPromptSAMLib.backbones import load_backbone

    return load_backbone(model, device)


def learn_task(
    backbone: Backbone,
    examples: Sequence[Example],
    objects: Sequence[str],
    seed: int,
    settings: Settings,
    start: ProxyPromptNetwork | None,
    say: Callable[[str], None],
    checkpoint: Path,
) -> Saved:
    """Learn with the defaults of ``training.learn``, but for the seed and what ``settings`` say about time."""
    from AutoPromptSAMLib.backbones.lora import rank_for
    from AutoPromptSAMLib.loops.job import Control
    from AutoPromptSAMLib.training.learn import learn
    from AutoPromptSAMLib.training.settings import Settings as LearnSettings

    chosen = LearnSettings(seed=seed, lora=rank_for(backbone, settings.lora))
    if settings.minutes is not None:
        chosen = replace(chosen, minutes=settings.minutes)
    if settings.steps is not None:
        chosen = replace(chosen, steps=settings.steps)
    control = Control(lambda progress: say(f"{progress.text} ({progress.done} of {progress.total})"))
    return learn(backbone, examples, objects, chosen, start, control, checkpoint)


def shipped_network(backbone: Backbone) -> ProxyPromptNetwork | None:
    """The general weights for ``backbone``, None when there are none."""
    from AutoPromptSAMLib.prompters.proxy_prompt.weights import general_network

    return general_network(backbone)


@dataclass(frozen=True)
class Plan:
    """All that a benchmark needs: what was asked for, on which data, into which folder, and the seams of tests."""

    settings: Settings
    asked: Asked
    datasets: tuple[Dataset, ...]
    folder: Path
    cache_folder: Path | None = None
    command: str = ""
    load: Callable[[str, str], Backbone] = load_from_zoo
    learn: Learn = learn_task
    general: General = shipped_network
    examples: Examples = examples_of_pair


@dataclass
class Outcome(measuring.Outcome[Record]):
    """What the folder has, and what prompting costs by model."""

    costs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def run(plan: Plan, on_progress: OnProgress | None = None) -> Outcome:
    """Measure what the folder does not have yet, and return all that it has.

    Ctrl-C ends it: the outcome then is not ``complete``. Raises BenchError when the folder has other settings' results
    or there is nothing to measure, StorageError when it cannot be written, MetricsError when MONAI is missing.
    """
    import numpy as np

    dice(np.eye(2, dtype=bool), np.eye(2, dtype=bool))  # better now than after an hour
    asked, unmeasured = work_of(plan.asked, plan.datasets)
    bench = Bench(plan)

    def measure(each: Work, say: Say) -> list[Unmeasured]:
        bench.measure(each, say)
        return []

    def measure_cost(model: str, say: Say) -> list[Unmeasured]:
        bench.measure_cost(model)
        return []

    works = [
        Measurement(each.part, f"{each.run.model}: {each.run.dataset}: {each.run.name}", partial(measure, each))
        for each in asked
    ]
    if "cost" in plan.asked.parts:
        works += [Measurement("cost", f"{name}: cost", partial(measure_cost, name)) for name in plan.asked.models]
    failed, complete = measure_all(works, on_progress)
    found = bench.folder
    return Outcome(list(found.records()), [*unmeasured, *failed], complete, bench.engines, found.costs())


class Bench:
    """Measures runs one after the other; models, networks and draws are kept as long as the next run needs them."""

    def __init__(self, plan: Plan) -> None:
        from AutoPromptSAMLib.backbones.cache import EmbeddingCache

        self.folder = Folder(plan.folder, plan.settings)
        self.folder.begin(plan.command)
        self.engines: dict[str, str] = {}
        self._plan = plan
        self._cache = EmbeddingCache(plan.cache_folder)
        sets = [*plan.datasets, *general_sets(plan.datasets)]
        # Those for the general weights may hold fewer pairs under the same name.
        self._datasets = {(dataset.name, n >= len(plan.datasets)): dataset for n, dataset in enumerate(sets)}
        self._backbones: dict[str, Backbone] = {}
        self._draw: tuple[Any, Draw] | None = None
        self._task: tuple[Run, _Task, dict[str, Any]] | None = None
        self._general: tuple[ProxyPromptNetwork, dict[str, Any]] | None = None

    def measure(self, work: Work, say: Callable[[str], None] = lambda text: None) -> Record:
        """The record of a run with all of the work's contenders; only those that are missing are measured.

        Raises BenchError where the data or the weights do not allow it, and what learning raises.
        """
        run, dataset = work.run, self._dataset(work.run)
        source = source_hash(dataset)
        known = self.folder.read(run, source)
        if (
            known is not None
            and run.variant == GENERAL
            and known.learned != self._shipped(self._backbone(run.model))[1]
        ):
            known = None  # there are other weights now
        left = [name for name in work.contenders if known is None or name not in known.dice]
        if known is not None and not left:
            return known
        backbone = self._backbone(run.model)
        draw = self._drawn(run, dataset)
        task, learned = self._task_of(run, draw, backbone, dataset, say) if "proxy" in left else (None, {})
        say("finding")
        record = self._find(run, left, backbone, task, draw)
        if known is not None:
            if list(known.images) != list(record.images):
                raise BenchError(f"The test images of {run.dataset} changed; choose another folder with --out.")
            record = replace(record, dice={**known.dice, **record.dice}, seconds={**known.seconds, **record.seconds})
        record = replace(record, source=source, learned=learned or (known.learned if known else {}))
        self.folder.write(record)
        return record

    def measure_cost(self, model: str) -> None:
        """What prompting costs, unless it is known."""
        if not self.folder.cost(model).is_file():
            self.folder.write_cost(model, cost.measure(self._backbone(model)))

    def _find(
        self,
        run: Run,
        names: Sequence[str],
        backbone: Backbone,
        task: _Task | None,
        draw: Draw,
    ) -> Record:
        shots = draw.shots[slice(*run.supports)]
        network, prompted = task or (None, backbone)
        asked_of = {name: prompted if name == "proxy" else backbone for name in names}
        supports_of = {by: [self._support(by, shot) for shot in shots] for by in set(asked_of.values())}
        finders = {}
        for name, by in asked_of.items():
            supports = supports_of[by]
            made = contender(name, by, network, copying=run.variant == GENERAL)
            if run.variant == APART:
                for asked in run.objects:
                    finders[name, asked] = made.prepare([_only(each, asked) for each in supports], (SLOT,))
            else:
                finders[name, ""] = made.prepare(supports, run.objects)
        scores: dict[str, dict[str, list[float | None]]] = {name: {} for name in names}
        seconds: dict[str, list[float]] = {name: [] for name in names}
        images = []
        for example in draw.tests():
            images.append(example.name)
            targets = {
                by: Target(self._cache.get_or_encode(by, example.image), example.image, example.masks)
                for by in supports_of
            }
            for (name, asked), find in finders.items():
                target = targets[asked_of[name]]
                started = time.perf_counter()
                masks = find(target)
                seconds[name].append(time.perf_counter() - started)
                for truth in run.objects:
                    found = masks[SLOT] if asked else masks[truth]
                    key = crossed(asked, truth) if asked else truth
                    there = example.masks.get(truth)
                    scores[name].setdefault(key, []).append(
                        dice(found, there) if there is not None and there.any() else None
                    )
        if not images:
            raise BenchError(f"No test image of {run.dataset} can be used; `bench quality --list` says why.")
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        return Record(run, images, scores, medians)

    def _task_of(
        self, run: Run, draw: Draw, backbone: Backbone, dataset: Dataset, say: Callable[[str], None]
    ) -> tuple[_Task, dict[str, Any]]:
        """The network of a run, learned when there is none yet, and what is known of its learning."""
        from AutoPromptSAMLib.prompters.proxy_prompt.weights import load_task

        if self._task is not None and self._task[0] == run.task:
            return self._task[1], self._task[2]
        learned: dict[str, Any] = {}
        if run.variant == GENERAL:
            network, learned = self._shipped(backbone)
            found = network, backbone
        else:
            path = self.folder.task(run.task)
            if not path.is_file():
                self._learn(run, draw, backbone, dataset, path, say)
            task = load_task(path, backbone)
            found, learned = (task.network, task.backbone), dict(task.header.info)
        self._task = (run.task, found, learned)
        return found, learned

    def _learn(
        self, run: Run, draw: Draw, backbone: Backbone, dataset: Dataset, path: Path, say: Callable[[str], None]
    ) -> None:
        settings = self._plan.settings
        start, began = None, "scratch"
        if run.task.variant in ABLATIONS:
            start = ablated(run.task.variant, run.seed)
        elif settings.start == "general" and (dataset.use == "evaluation" or reserved(dataset)):
            # Of other datasets the general weights may have seen the test images.
            start, began = self._shipped(backbone)[0], "general"
        learned = self._plan.learn(
            backbone, draw.shots[: run.shots], run.objects, run.seed, settings, start, say, path.with_suffix(".part")
        )
        shots = [shot.name for shot in draw.shots[: run.shots]]
        learned.save(path, backbone, {"data": run.dataset, "shots": shots, "start": began})

    def _shipped(self, backbone: Backbone) -> tuple[ProxyPromptNetwork, dict[str, Any]]:
        """The general weights and their hash."""
        if self._general is None:
            network = self._plan.general(backbone)
            if network is None:
                raise BenchError(
                    f"There are no general weights for {backbone.card.name}; choose another model with --model."
                )
            digest = hashlib.sha256()
            for name, tensor in sorted(network.state_dict().items()):
                digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
            self._general = network, {"weights": digest.hexdigest(), "labels": "copied"}
        return self._general

    def _drawn(self, run: Run, dataset: Dataset) -> Draw:
        most = max(run.supports[1], 1) if run.variant == GENERAL else max(MOST_SHOTS, run.shots)
        key = (run.dataset, run.variant == GENERAL, run.objects, run.seed, most)
        if self._draw is None or self._draw[0] != key:
            limit, examples = self._plan.settings.limit, self._plan.examples
            self._draw = key, Draw(dataset, run.objects, run.seed, most, limit, examples)
        return self._draw[1]

    def _support(self, backbone: Backbone, example: Example) -> Support:
        from AutoPromptSAMLib.prompters.base import Support

        features = self._cache.get_or_encode(backbone, example.image)
        return Support(features, example.image, example.masks, example.name)

    def _dataset(self, run: Run) -> Dataset:
        return self._datasets[run.dataset, run.variant == GENERAL]

    def _backbone(self, model: str) -> Backbone:
        if model not in self._backbones:
            self._backbones.clear()  # one at a time in memory
            self._task = self._general = None
            self._backbones[model] = self._plan.load(model, self._plan.settings.device)
            self.engines[model] = self._backbones[model].engine
        return self._backbones[model]


def crossed(asked: str, truth: str) -> str:
    """What the Dice is called of the mask that was found with the masks of ``asked``, against ``truth``."""
    return f"{asked} → {truth}"


def ablated(variant: str, seed: int) -> ProxyPromptNetwork:
    """An untrained network without some of its parts; see ``parts.ABLATIONS``."""
    import torch

    from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
    from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork

    torch.manual_seed(seed)
    config = ProxyPromptConfig.small().to_dict()
    return ProxyPromptNetwork(ProxyPromptConfig.from_dict({**config, **ABLATIONS[variant]}))


def _only(support: Support, name: str) -> Support:
    """A support with one of its masks, under the name that all such have."""
    return replace(support, masks={SLOT: support.masks[name]} if name in support.masks else {})

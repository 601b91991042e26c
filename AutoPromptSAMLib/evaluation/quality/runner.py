"""The quality benchmark: every dataset, object, model, method and prompt, measured case by case, alike for everybody.

What a case gives depends on the image, the seed and the names of dataset, slice, object and prompt, never on the order
of the work or on how many workers share it. A case is in the log as soon as it is done: whatever ends a run (Ctrl-C,
a kill, a power cut), the same command goes on from there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib import __version__
from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled
from AutoPromptSAMLib.evaluation.environment import cores, weights
from AutoPromptSAMLib.evaluation.measuring import OnProgress
from AutoPromptSAMLib.evaluation.quality.records import (
    LOG_NAME,
    BenchError,
    CaseLog,
    CaseRow,
    Settings,
    Unusable,
    append,
)
from AutoPromptSAMLib.evaluation.quality.slices import METHODS
from AutoPromptSAMLib.evaluation.quality.volumes import VOLUMES
from AutoPromptSAMLib.prompts.simulators import get_simulator

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.datasets import Case, Dataset

logger = logging.getLogger(__name__)

# From a model's name and a device to the model; must be importable by its name where there are several workers.
LoadBackbone = Callable[[str, str], "Backbone"]
Unit = tuple[str, str, str]  # dataset, pair, model
Key = tuple[str, ...]  # of a case: ``CaseRow.key``
Tasks = Sequence[tuple[Unit, Collection[Key]]]  # each unit with the cases of it that are known
ALL = "all"


def load_from_zoo(model: str, device: str) -> Backbone:
    """A model of the zoo whose weights are on this machine."""
    from AutoPromptSAMLib.backbones import load_backbone

    return load_backbone(model, device)


@dataclass(frozen=True)
class Plan:
    """All that a worker needs: what is to be done, the folder for results, how models are loaded, features kept.

    ``threads``: for each of several workers.
    """

    settings: Settings
    datasets: tuple[Dataset, ...]
    folder: Path
    load: LoadBackbone = load_from_zoo
    cache_folder: Path | None = None
    threads: int = 1

    def dataset(self, name: str) -> Dataset:
        """The dataset called so."""
        return next(dataset for dataset in self.datasets if dataset.name == name)


@dataclass
class Outcome:
    """All cases of a run in the order of a report, what was not measured, and whether the run came to its end."""

    rows: list[CaseRow] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)
    complete: bool = True
    engines: dict[str, str] = field(default_factory=dict)


def make_settings(
    datasets: Sequence[Dataset],
    models: Sequence[str],
    prompts: Sequence[str],
    methods: Sequence[str] = ("interactive",),
    *,
    objects: Sequence[str] = (),
    limit: int = 0,
    seed: int = 0,
    device: str = "auto",
) -> Settings:
    """Settings of a run.

    Raises BenchError for an unknown method, PromptError for an unknown prompt, ModelError for an unknown model.
    """
    for method in methods:
        if method not in METHODS:
            raise BenchError(f'There is no method "{method}"; choose from {", ".join(METHODS)}.')
    for prompt in prompts:
        if prompt not in VOLUMES:
            get_simulator(prompt)
    known = {dataset.name: _description_hash(dataset) for dataset in datasets}
    if len(known) < len(datasets):
        raise BenchError("Two datasets have the same name; rename one in its dataset.yaml.")
    return Settings(
        known, weights(models), tuple(methods), tuple(prompts), tuple(objects), limit, seed, device, __version__
    )


def case_rng(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that belong to one case, whatever was measured before it."""
    digest = hashlib.sha256("\n".join([str(seed), *names]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def run(plan: Plan, workers: int = 1, on_progress: OnProgress | None = None) -> Outcome:
    """Measure what the log does not have yet, and return all of it.

    Ctrl-C ends it at the next case: the outcome then is not ``complete``. Raises BenchError when the folder
    has other settings' results or a worker died, StorageError when it cannot be written, MetricsError when a package
    that measures is missing.
    """
    from AutoPromptSAMLib.datasets import sample_pairs

    check_metrics(plan)
    log = CaseLog(plan.folder, plan.settings)
    units = [
        (dataset.name, pair.id, model)
        for dataset in plan.datasets
        for pair in sample_pairs(dataset, plan.settings.limit or None, plan.settings.seed)
        for model in plan.settings.models
    ]
    left = [unit for unit in units if unit not in log.done]
    report = on_progress or (lambda done, total, text: None)
    report(len(units) - len(left), len(units), "")
    keys = _keys_by_unit(log.rows.values())
    tasks = [(unit, keys.get(unit, frozenset())) for unit in left]
    finished = _in_processes(plan, tasks, workers) if workers > 1 else _in_this_process(plan, tasks)
    complete = False
    with suppress(KeyboardInterrupt, Cancelled), closing(finished):
        for number, unit in enumerate(finished, 1):
            report(len(units) - len(left) + number, len(units), f"{unit[0]}: {unit[1]}")
        complete = True
    log.read()
    rows = _in_order(plan, log.rows.values())
    unusable = [*inapplicable(plan), *sorted(log.unusable, key=astuple)]
    return Outcome(rows, unusable, complete, {row.model: row.engine for row in rows})


def _in_this_process(plan: Plan, tasks: Tasks) -> Generator[Unit, None, None]:
    bench = Bench(plan)
    for unit, known in tasks:
        bench.measure(unit, known)
        yield unit


def _in_processes(plan: Plan, tasks: Tasks, workers: int) -> Generator[Unit, None, None]:
    import multiprocessing

    # Not fork: torch's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, _start_worker, (replace(plan, threads=threads_each(workers)), stop))
    try:
        for future in as_completed([pool.submit(_measure_in_worker, *task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool:
        raise BenchError(
            "A worker process was ended, perhaps for want of memory; run it again with fewer --workers to go on."
        ) from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


_bench: Bench | None = None  # of this worker process


def _start_worker(plan: Plan, stop: Any) -> None:
    global _bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one says when to stop
    os.environ["OMP_NUM_THREADS"] = str(plan.threads)  # read by OpenMP when torch is first imported
    import torch

    torch.set_num_threads(plan.threads)
    _bench = Bench(plan, stop.is_set)


def _measure_in_worker(unit: Unit, known: Collection[Key]) -> Unit:
    assert _bench is not None
    _bench.measure(unit, known)
    return unit


class Bench:
    """Measures one image with one model after the other, and writes what it finds into the log."""

    def __init__(self, plan: Plan, stop: Callable[[], bool] = lambda: False) -> None:
        from AutoPromptSAMLib.backbones.cache import EmbeddingCache

        self._plan = plan
        self._stop = stop
        self._log = plan.folder / LOG_NAME
        self._cache = EmbeddingCache(plan.cache_folder)
        self._backbones: dict[str, Backbone] = {}

    def measure(self, unit: Unit, known: Collection[Key] = ()) -> None:
        """All cases of a unit but those whose keys are ``known``; Cancelled when it is to stop.

        What cannot be measured is noted with its reason.
        """
        from AutoPromptSAMLib.datasets import load_case

        name, pair_id, model = unit
        dataset = self._plan.dataset(name)
        pair = next(pair for pair in dataset.pairs if pair.id == pair_id)
        if model not in self._backbones:
            self._backbones[model] = self._plan.load(model, self._plan.settings.device)
        try:
            case = load_case(dataset, pair)
        except Exception as error:
            self._note(Unusable(name, pair_id, _reason(error)), error)
        else:
            self._slices(case, model, known)
            if dataset.dimensions == 3:
                self._volume(case, model, known)
        append(self._log, unit)

    def _slices(self, case: Case, model: str, known: Collection[Key]) -> None:
        from AutoPromptSAMLib.datasets import slices_of
        from AutoPromptSAMLib.evaluation.quality.measure import measure_slice

        settings, backbone = self._plan.settings, self._backbones[model]
        kinds = [
            (method, prompt)
            for prompt in settings.prompts
            for method in settings.methods
            if prompt not in VOLUMES and applies(backbone, method, prompt)
        ]
        for sample in slices_of(case) if kinds else ():
            if settings.objects and sample.object not in settings.objects:
                continue
            for method, prompt in kinds:
                if (case.dataset, sample.id, sample.object, model, method, prompt) in known:
                    continue
                rng = case_rng(settings.seed, case.dataset, sample.id, prompt)
                what = Unusable(case.dataset, case.pair.id, "", sample.object, model, method, prompt)
                arguments = (backbone, self._cache, sample, method, prompt, rng, case.pair.sequence is not None)
                self._keep(what, partial(measure_slice, *arguments))

    def _volume(self, case: Case, model: str, known: Collection[Key]) -> None:
        from AutoPromptSAMLib.evaluation.quality.measure import measure_volume
        from AutoPromptSAMLib.session.local import LocalSession

        settings = self._plan.settings
        prompts = [prompt for prompt in settings.prompts if prompt in VOLUMES]
        if not prompts or "interactive" not in settings.methods:
            return
        session = LocalSession(self._backbones[model], self._cache)
        try:
            session.set_image(case.volume)
            for name in case.masks:
                for prompt in prompts:
                    key = (case.dataset, f"{case.pair.id}:{name}", name, model, "interactive", prompt)
                    if (settings.objects and name not in settings.objects) or key in known:
                        continue
                    what = Unusable(case.dataset, case.pair.id, "", name, model, "interactive", prompt)
                    self._keep(what, partial(measure_volume, session, case, name, prompt, self._stop))
        finally:
            session.close(cancel=True)

    def _keep(self, what: Unusable, measure: Callable[[], CaseRow]) -> None:
        """Write the row of ``measure`` into the log, or why there is none."""
        if self._stop():
            raise Cancelled("Cancelled; what was finished before is kept.")
        try:
            row = measure()
        except Cancelled:
            raise
        except Exception as error:
            self._note(replace(what, reason=_reason(error)), error)
        else:
            append(self._log, row)

    def _note(self, entry: Unusable, error: Exception) -> None:
        if not isinstance(error, AutoPromptSAMError):
            logger.warning("%s of %s could not be measured.", entry.pair, entry.dataset, exc_info=error)
        append(self._log, entry)


def applies(backbone: Backbone, method: str, prompt: str) -> bool:
    """Whether a model takes a prompt on a slice: bare models that know boxes only cannot take a click."""
    return method == "interactive" or backbone.capabilities.points or not has_points(prompt)


def has_points(prompt: str) -> bool:
    """Whether a prompt on a slice is more than a box."""
    simulator = get_simulator(prompt)
    return simulator.kind == "user" or simulator.start != "box"


def check_metrics(plan: Plan) -> None:
    """MetricsError, before anything is done, when a package that measures is not installed."""
    from AutoPromptSAMLib.evaluation.metrics import dice

    mask = np.eye(2, dtype=bool)
    dice(mask, mask)


def inapplicable(plan: Plan) -> list[Unusable]:
    """What was asked for and has no meaning, once each."""
    from AutoPromptSAMLib.evaluation.metrics import has_video_metrics
    from AutoPromptSAMLib.zoo import get_card

    settings = plan.settings
    found = []
    for dataset in plan.datasets:
        if any(pair.sequence is not None for pair in dataset.pairs) and not has_video_metrics():
            reason = 'the measures for video need one more package: pip install "autopromptsam[video]".'
            found.append(Unusable(dataset.name, ALL, reason))
    for prompt in settings.prompts:
        if prompt in VOLUMES:
            if all(dataset.dimensions == 2 for dataset in plan.datasets):
                found.append(Unusable(ALL, ALL, "it needs volumes; there are images only.", prompt=prompt))
            if "interactive" not in settings.methods:
                found.append(Unusable(ALL, ALL, "it is measured with the method interactive.", prompt=prompt))
        elif "plain" in settings.methods:
            for model in settings.models:
                if has_points(prompt) and not get_card(model).capabilities.points:
                    reason = "the model takes no points; the method interactive makes boxes of them."
                    found.append(Unusable(ALL, ALL, reason, "", model, "plain", prompt))
    return found


def threads_each(workers: int) -> int:
    """Threads of each of several workers: the cores shared out, or fewer where OMP_NUM_THREADS says so."""
    share = max(1, cores() // workers)
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked)) if asked.isdigit() and int(asked) else share


def _keys_by_unit(rows: Iterable[CaseRow]) -> dict[Unit, frozenset[Key]]:
    found: dict[Unit, set[Key]] = {}
    for row in rows:
        found.setdefault((row.dataset, row.pair, row.model), set()).add(row.key)
    return {unit: frozenset(keys) for unit, keys in found.items()}


def _in_order(plan: Plan, rows: Iterable[CaseRow]) -> list[CaseRow]:
    """As a report shows them: datasets by name, objects, models, methods and prompts as they were asked for."""
    settings = plan.settings
    models, methods, prompts = list(settings.models), settings.methods, settings.prompts

    def place(row: CaseRow) -> tuple[Any, ...]:
        order = models.index(row.model), methods.index(row.method), prompts.index(row.prompt)
        return row.dataset, row.object, *order, row.sample

    return sorted(rows, key=place)


def _description_hash(dataset: Dataset) -> str:
    """Hash of what decides which slices there are, and nothing else: where the folder lies does not matter."""
    pairs = [(pair.id, pair.group, pair.modality, pair.object) for pair in dataset.pairs]
    text = repr((dataset.dimensions, dataset.objects, sorted(dataset.npz_keys), sorted(pairs, key=str)))
    return hashlib.sha256(text.encode()).hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, AutoPromptSAMError):
        return str(getattr(error, "reason", error))  # a DatasetError's text names the pair again
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"

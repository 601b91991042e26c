"""Runs of ``bench uncertainty``, image by image; whatever ends it, the same command goes on after the last image.

What an image gives depends on the seed and the names of set and image, never on what was measured before, and boxes
and points are the same for all models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib.datasets import Dataset, Pair, load_case, native_axis, sample_pairs
from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled, StorageError
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.measuring import Measurement, OnProgress, Outcome, Say, could_not, measure_all
from AutoPromptSAMLib.evaluation.metrics import dice
from AutoPromptSAMLib.evaluation.proxy.draws import source_hash
from AutoPromptSAMLib.evaluation.proxy.runner import load_from_zoo
from AutoPromptSAMLib.evaluation.run_folder import Unmeasured
from AutoPromptSAMLib.evaluation.uncertainty import cost, draws, errors, images, volumes
from AutoPromptSAMLib.evaluation.uncertainty.parts import FIT, FITS, IMAGES, Asked, Work, work_of
from AutoPromptSAMLib.evaluation.uncertainty.records import Case, Folder, Record, Run, Settings, rounded
from AutoPromptSAMLib.refiners.calibration import fit_temperature

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.datasets import Case as LoadedCase
    from AutoPromptSAMLib.session.local import LocalSession

Measured = tuple[str, list[Case], Mapping[str, Any]]  # id of an image or an object in it, cases and tables
VOLUMES = ("slices", "human")  # parts that go through volumes
TEMPERATURE = "temperature"  # figure of a fit
UNSCALED, CARD = "none", "card"  # temperatures that are not fitted: 1, and what the model's card says
FITTED_IMAGES = 24  # of a set, at most, that a temperature is fitted on; a choice


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
    sample: Callable[[], Dataset] = draws.sample_set


def run(plan: Plan, on_progress: OnProgress | None = None) -> Outcome[Record]:
    """Measure what the folder does not have yet, and return all that it has.

    Ctrl-C ends it: the outcome then is not ``complete``. Raises BenchError when the folder has other settings' results
    or there is nothing to test on, StorageError when it cannot be written, MetricsError when MONAI is missing.
    """
    dice(np.eye(2, dtype=bool), np.eye(2, dtype=bool))  # better now than after an hour
    asked = work_of(plan.asked, plan.datasets, plan.sample)
    bench = Bench(plan)

    def measure(each: Work, say: Say) -> list[Unmeasured]:
        record = bench.measure(each, say)
        run = each.run
        return [Unmeasured(run.part, f"{run.name}: {pair}", reason) for pair, reason in record.reasons.items()]

    works = [Measurement(each.run.part, each.run.name, partial(measure, each)) for each in asked]
    unmeasured, complete = measure_all(works, on_progress)
    return Outcome(list(bench.folder.records()), unmeasured, complete, bench.engines)


class Bench:
    """Measures runs one after the other; a model is kept as long as the next run needs it."""

    def __init__(self, plan: Plan) -> None:
        from AutoPromptSAMLib.backbones.cache import EmbeddingCache

        self.folder = Folder(plan.folder, plan.settings)
        self.folder.begin(plan.command)
        self.engines: dict[str, str] = {}
        self._plan = plan
        self._cache = EmbeddingCache(plan.cache_folder)
        self._backbones: dict[str, Backbone] = {}

    def measure(self, work: Work, say: Callable[[str], None] = lambda text: None) -> Record:
        """The record of a run, gone on with from where it is. Raises what the data or the model do not allow."""
        run, sets = work.run, work.datasets
        source = "\n".join(source_hash(dataset) for dataset in sets)
        record = self.folder.read(run, source)
        if record is not None and record.complete:
            return record
        backbone = self._backbone(run.model)
        if record is None:
            base = getattr(backbone.card, "base", None) or run.model
            record = Record(run, base, sets[0].use if sets else "", source)
        if run.part == "cost":
            record = replace(record, cases=(Case("", "", "", rounded(cost.measure(backbone))),))
        elif run.part == FIT:
            record = replace(record, cases=(self._fit(backbone, run, sets, say),))
        else:
            record = self._images(record, backbone, sets[0], say)
        record = replace(record, complete=True)
        self.folder.write(record)
        return record

    def _images(self, record: Record, backbone: Backbone, dataset: Dataset, say: Callable[[str], None]) -> Record:
        """Go through the images that are not done, keeping each."""
        run, temperatures = record.run, {}
        if run.part == "errors":
            temperatures = self._temperatures(run, backbone)
        pairs = sample_pairs(dataset, self._plan.settings.limit or None, run.seed)
        for number, pair in enumerate(pairs):
            if pair.id in record.done:
                continue
            say(f"image {number + 1} of {len(pairs)}")
            try:
                for key, cases, tables in self._measured(record, backbone, dataset, pair, temperatures):
                    record = replace(
                        record,
                        cases=(*record.cases, *cases),
                        done=(*record.done, key),
                        tables=_added(record.tables, tables),
                    )
                    self.folder.write(record)
            except (StorageError, Cancelled):
                raise
            except Exception as error:
                failed = could_not(run.part, f"{run.name}: {pair.id}", error)
                record = replace(record, reasons={**record.reasons, pair.id: failed.reason})
            if pair.id not in record.done:
                record = replace(record, done=(*record.done, pair.id))
                self.folder.write(record)
        return record

    def _measured(
        self, record: Record, backbone: Backbone, dataset: Dataset, pair: Pair, temperatures: Mapping[str, float]
    ) -> Iterator[Measured]:
        """What an image gives, or a volume object by object; those that are done are left out."""
        run = record.run
        if run.part in VOLUMES:
            yield from self._volume(record, backbone, load_case(dataset, pair))
            return
        cases = []
        tables: dict[str, list[float]] = {}
        for sample in draws.drawn_samples(dataset, pair, run.seed):
            features = self._cache.get_or_encode(backbone, sample.image)
            if run.part in IMAGES:
                figures = images.PARTS[run.part](backbone, features, sample, run.seed)
            else:
                figures, own = errors.measure(backbone, features, sample, run.seed, temperatures)
                tables = _added(tables, own)
            cases.append(Case(sample.id, sample.group, sample.object, rounded(figures)))
        yield pair.id, cases, tables

    def _volume(self, record: Record, backbone: Backbone, case: LoadedCase) -> Iterator[Measured]:
        run, axis = record.run, native_axis(case.volume.geometry)
        with self._session(backbone) as session:
            session.set_image(case.volume)
            for name in case.masks:
                key = f"{case.pair.id}:{name}"
                if key in record.done:
                    continue
                figures: dict[str, float | None] = {}
                tables: Mapping[str, Any] = {}
                if run.part == "slices":
                    figures, tables = volumes.slices(session, case, name, axis)
                else:
                    for start in volumes.STARTS:
                        figures |= volumes.human(session, case, name, axis, start, run.seed)
                yield key, [Case(key, case.pair.group, name, rounded(figures))], tables

    @contextmanager
    def _session(self, backbone: Backbone) -> Iterator[LocalSession]:
        """A session that remembers the slices it carried in the benchmark's folder."""
        from AutoPromptSAMLib.session.local import LocalSession

        session = LocalSession(backbone, self._cache, self.folder.path / "propagated" / "slices")
        try:
            yield session
        finally:
            session.close(cancel=True)

    def _fit(self, backbone: Backbone, run: Run, sets: Sequence[Dataset], say: Callable[[str], None]) -> Case:
        """The temperature of a model on the images of some sets."""
        logits, truths, count = [], [], 0
        limit = min(self._plan.settings.limit or FITTED_IMAGES, FITTED_IMAGES)
        for dataset in sets:
            say(dataset.name)
            for pair in sample_pairs(dataset, limit, run.seed):
                try:
                    samples = draws.drawn_samples(dataset, pair, run.seed)
                except AutoPromptSAMError:
                    continue  # a pair less; where it is measured it is said why
                for sample in samples:
                    features = self._cache.get_or_encode(backbone, sample.image)
                    for inside, truth in errors.fitting_pixels(backbone, features, sample, run.seed):
                        logits.append(inside)
                        truths.append(truth)
                count += 1
        if not logits:
            raise BenchError(f"No image of {', '.join(one.name for one in sets)} can be used to fit a temperature.")
        found = fit_temperature(np.concatenate(logits, axis=1), np.concatenate(truths))
        return Case("", "", "", rounded({TEMPERATURE: found, "images": float(count)}))

    def _temperatures(self, run: Run, backbone: Backbone) -> dict[str, float]:
        """By where they come from; those that were fitted have been by then."""
        found = {UNSCALED: 1.0, CARD: backbone.card.temperature}
        for record in self.folder.records():
            same = (record.run.part, record.run.model, record.run.seed) == (FIT, run.model, run.seed)
            if same and (value := record.cases[0].figures[TEMPERATURE]) is not None:
                found[record.run.dataset] = value
        return {name: found[name] for name in (UNSCALED, CARD, *FITS) if name in found}

    def _backbone(self, model: str) -> Backbone:
        if model not in self._backbones:
            self._backbones.clear()  # one at a time in memory
            self._backbones[model] = self._plan.load(model, self._plan.settings.device)
            self.engines[model] = self._backbones[model].engine
        return self._backbones[model]


def _added(tables: Mapping[str, Sequence[float]], more: Mapping[str, Any]) -> dict[str, list[float]]:
    """Both tables by name, those of the same name added up."""
    found = {name: list(values) for name, values in tables.items()}
    for name, values in more.items():
        found[name] = (np.asarray(values) + found.get(name, 0.0)).tolist()
    return found

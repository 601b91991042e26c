"""From runs to the figures of tables and plots: means over images, spread over seeds, and whether claims hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from AutoPromptSAMLib.evaluation.proxy.contenders import CONTENDERS
from AutoPromptSAMLib.evaluation.proxy.draws import MOST_SHOTS, TASKS
from AutoPromptSAMLib.evaluation.proxy.parts import ABLATIONS, PAIRS, SHOTS, SUPPORTS
from AutoPromptSAMLib.evaluation.proxy.records import APART, GENERAL, Record
from AutoPromptSAMLib.evaluation.proxy.runner import crossed

# What a step may fall by and still count as growth, and the bounds of the claims; all in Dice.
SLACK = 0.005
MOST_SPREAD = 0.02
LEAST_SWAPPED = 0.8  # of the object's own Dice
LEAST_WON = 0.8  # of the sets
PAPER_MEAN = 0.844  # Proxy Prompt's own mean over five objects with 16 shots, on other images

Key = tuple[str, str, str]  # model, dataset, object


@dataclass(frozen=True)
class Figure:
    """Dice of one contender: ``seeds`` has the mean over images for each seed, ``sd`` is over all images together.

    ``n`` counts an image once for every seed, ``images`` once.
    """

    seeds: tuple[float, ...]
    sd: float | None
    n: int
    images: int = 0

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.seeds))

    @property
    def over_seeds(self) -> float | None:
        """Standard deviation over the seeds, None for one."""
        return float(np.std(self.seeds, ddof=1)) if len(self.seeds) > 1 else None

    @staticmethod
    def of(records: Iterable[Record], contender: str, name: str) -> Figure | None:
        """None when none of the records measured it."""
        measured = [(record, found) for record in records if (found := record.values(contender, name))]
        if not measured:
            return None
        together = np.concatenate([found for _, found in measured])
        sd = float(together.std(ddof=1)) if len(together) > 1 else None
        images = {
            image
            for record, _ in measured
            for image, value in zip(record.images, record.dice[contender][name], strict=True)
            if value is not None
        }
        return Figure(tuple(float(np.mean(found)) for _, found in measured), sd, len(together), len(images))


def figure_text(figure: Figure | None) -> str:
    """Mean, spread over the images and, of several seeds, the least and the most of one; "" for None."""
    if figure is None:
        return ""
    text = f"{figure.mean:.3f}" + ("" if figure.sd is None else f" ± {figure.sd:.3f}")
    return text + (f" [{min(figure.seeds):.3f}, {max(figure.seeds):.3f}]" if len(figure.seeds) > 1 else "")


def count_text(figure: Figure | None) -> str:
    """How many images, how many of them different, and of how many seeds; "" for None."""
    return "" if figure is None else f"{figure.n} ({figure.images}), {len(figure.seeds)}"


@dataclass(frozen=True)
class ShotsRow:
    """An object after 16 shots: a figure for each contender; ``target`` None where none is set."""

    key: Key
    figures: dict[str, Figure]
    target: float | None
    minutes: float | None
    start: str

    @property
    def verdict(self) -> str:
        """Whether the target is reached; "" without one."""
        if self.target is None or "proxy" not in self.figures:
            return ""
        return "reached" if self.figures["proxy"].mean >= self.target else "missed"


@dataclass(frozen=True)
class Curve:
    """Dice over a number of images; ``grows`` when the end is above the start and no step falls by more than SLACK."""

    key: Key
    points: dict[int, Figure]

    @property
    def grows(self) -> bool:
        """See the class."""
        means = [self.points[count].mean for count in sorted(self.points)]
        return means[-1] > means[0] and all(b >= a - SLACK for a, b in pairwise(means))


@dataclass(frozen=True)
class SpreadRow:
    """Single supports: contender -> for each seed the mean Dice with each of the supports."""

    key: Key
    by_seed: dict[str, list[list[float]]]

    def spread(self, contender: str) -> float:
        """Largest minus smallest, mean over the seeds."""
        return float(np.mean([max(each) - min(each) for each in self.by_seed[contender]]))

    def mean(self, contender: str) -> float:
        """Mean Dice over supports and seeds."""
        return float(np.mean(self.by_seed[contender]))

    @property
    def holds(self) -> bool:
        """At most ``MOST_SPREAD``, and below that of the PerSAM-style baseline."""
        return self.spread("proxy") <= MOST_SPREAD and self.spread("proxy") < self.spread("persam")


@dataclass(frozen=True)
class SwapRow:
    """One network, one image: asked with the masks of ``asked``, against its truth and against the other object's."""

    key: Key
    asked: str
    found: Figure
    other: str
    against_other: Figure
    own: Figure | None

    @property
    def part(self) -> float | None:
        """Of the Dice of the network that was learned for the object alone."""
        return None if self.own is None or not self.own.mean else self.found.mean / self.own.mean

    @property
    def holds(self) -> bool:
        """At least ``LEAST_SWAPPED``."""
        return self.part is not None and self.part >= LEAST_SWAPPED


@dataclass(frozen=True)
class AblationRow:
    """The whole network ("") and those without parts, by variant."""

    key: Key
    variants: dict[str, Figure]


@dataclass(frozen=True)
class SetRow:
    """An object of an evaluation set by the general weights and one support, a figure for each contender."""

    key: Key
    figures: dict[str, Figure]


def shots(records: Sequence[Record]) -> list[ShotsRow]:
    """All objects of which all contenders were measured after 16 shots, in the order of ``TASKS``."""
    rows = []
    order = {(task.dataset, task.object): n for n, task in enumerate(TASKS)}
    targets = {(task.dataset, task.object): task.target for task in TASKS}
    for key, own in _by_key(records, _is_whole).items():
        whole = [record for record in own if set(CONTENDERS) <= set(record.dice)]
        if not whole:
            continue
        minutes = [record.learned["seconds"] / 60 for record in whole if "seconds" in record.learned]
        rows.append(
            ShotsRow(
                key,
                _figures(whole, key[2]),
                targets.get(key[1:]),
                float(np.mean(minutes)) if minutes else None,
                "/".join(sorted({str(record.learned.get("start", "")) for record in whole})),
            )
        )
    return sorted(rows, key=lambda row: (row.key[0], order.get(row.key[1:], len(order)), row.key))


def paper_mean(rows: Sequence[ShotsRow], model: str) -> float | None:
    """Mean over the five objects that the paper has the like of; None when one is missing."""
    wanted = [(task.dataset, task.object) for task in TASKS if task.in_paper]
    found = [row.figures["proxy"].mean for row in rows if row.key[0] == model and row.key[1:] in wanted]
    return float(np.mean(found)) if len(found) == len(wanted) else None


def over_shots(records: Sequence[Record]) -> list[Curve]:
    """Dice over the number of shots, with as many supports as in the table of shots where there are as many shots."""
    found = []
    for key, own in _by_key(records, lambda r: not r.run.variant and r.run.supports[0] == 0).items():
        fewer = [record for record in own if record.run.shots < MOST_SHOTS]
        if not fewer:
            continue
        most = max(record.run.supports[1] for record in fewer)
        whole = [record for record in own if record.run.shots == MOST_SHOTS and record.run.supports[1] == most]
        found.append(_curve(key, [*fewer, *whole], SHOTS, lambda record: record.run.shots))
    return [curve for curve in found if len(curve.points) > 1]


def over_supports(records: Sequence[Record]) -> list[Curve]:
    """Dice over the number of supports of the network that was learned on 16 shots."""
    found = []
    for key, own in _by_key(records, lambda r: _is_whole(r) and r.run.supports[0] == 0).items():
        found.append(_curve(key, own, SUPPORTS, lambda record: record.run.supports[1]))
    return [curve for curve in found if len(curve.points) > 1]


def spreads(records: Sequence[Record]) -> list[SpreadRow]:
    """Of seeds for which all single supports were measured."""
    rows = []

    def is_single(record: Record) -> bool:
        first, last = record.run.supports
        return _is_whole(record) and last - first == 1 and {"proxy", "persam"} <= set(record.dice)

    for key, own in _by_key(records, is_single).items():
        by_seed: dict[str, list[list[float]]] = {"proxy": [], "persam": []}
        for seed in sorted({record.run.seed for record in own}):
            each = [record for record in own if record.run.seed == seed]
            if len(each) == PAIRS:
                for name, values in by_seed.items():
                    values.append([record.mean(name, key[2]) for record in each])
        if by_seed["proxy"]:
            rows.append(SpreadRow(key, by_seed))
    return rows


def swaps(records: Sequence[Record]) -> list[SwapRow]:
    """Both directions of every network that learned two objects."""
    rows = []
    groups: dict[tuple[str, str, tuple[str, ...]], list[Record]] = {}
    for record in records:
        if record.run.variant == APART:
            groups.setdefault((record.run.model, record.run.dataset, record.run.objects), []).append(record)
    for (model, dataset, objects), own in groups.items():
        for asked in objects:
            other = next(name for name in objects if name != asked)
            found = Figure.of(own, "proxy", crossed(asked, asked))
            against = Figure.of(own, "proxy", crossed(asked, other))
            alone = [
                record
                for record in records
                if (record.run.model, record.run.dataset, record.run.objects) == (model, dataset, (asked,))
                and any((record.run.seed, record.run.shots, record.run.supports, "") == _place(both) for both in own)
                and not record.run.variant
            ]
            if found is not None and against is not None:
                own_dice = Figure.of(alone, "proxy", asked)
                rows.append(SwapRow((model, dataset, asked), asked, found, other, against, own_dice))
    return rows


def ablations(records: Sequence[Record]) -> list[AblationRow]:
    """Objects for which something was left out."""
    rows = []
    for key, own in _by_key(records, lambda r: r.run.variant in ("", *ABLATIONS)).items():
        without = [record for record in own if record.run.variant]
        places = {(record.run.shots, record.run.supports) for record in without}
        alike = [record for record in own if (record.run.shots, record.run.supports) in places]
        figures = {
            variant: Figure.of([r for r in alike if r.run.variant == variant], "proxy", key[2])
            for variant in ("", *ABLATIONS)
        }
        kept = {variant: figure for variant, figure in figures.items() if figure is not None}
        if without and len(kept) > 1:
            rows.append(AblationRow(key, kept))
    return rows


def general(records: Sequence[Record]) -> list[SetRow]:
    """Every object of every evaluation set."""
    found = _by_key(records, lambda r: r.run.variant == GENERAL)
    return [SetRow(key, _figures(own, key[2])) for key, own in found.items()]


def won(rows: Sequence[SetRow], model: str, other: str) -> tuple[list[str], list[str]]:
    """Evaluation sets where the mean over objects of proxy is above that of ``other``, and those where it is not."""
    means: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.key[0] == model and {"proxy", other} <= set(row.figures):
            means.setdefault(row.key[1], []).append((row.figures["proxy"].mean, row.figures[other].mean))
    better = {name: bool(np.subtract(*np.mean(values, axis=0)) > 0) for name, values in means.items()}
    return [name for name in better if better[name]], [name for name in better if not better[name]]


def _is_whole(record: Record) -> bool:
    """Whether its network was learned on all shots and has all parts."""
    return record.run.shots == MOST_SHOTS and not record.run.variant


def _by_key(records: Sequence[Record], chosen: Callable[[Record], bool]) -> dict[Key, list[Record]]:
    """The chosen records of single objects, by model, dataset and object; in order."""
    found: dict[Key, list[Record]] = {}
    for record in records:
        if len(record.run.objects) == 1 and chosen(record):
            found.setdefault((record.run.model, record.run.dataset, record.run.object), []).append(record)
    return found


def _figures(records: Sequence[Record], name: str) -> dict[str, Figure]:
    found = {contender: Figure.of(records, contender, name) for contender in CONTENDERS}
    return {contender: figure for contender, figure in found.items() if figure is not None}


def _curve(key: Key, records: Sequence[Record], counts: Sequence[int], count: Callable[[Record], int]) -> Curve:
    """Of seeds that were measured for every number of images that any seed was measured for."""
    present = sorted({count(record) for record in records} & set(counts))
    seeds = [
        seed
        for seed in sorted({record.run.seed for record in records})
        if {count(record) for record in records if record.run.seed == seed} >= set(present)
    ]
    kept = [record for record in records if record.run.seed in seeds]
    points = {n: Figure.of([r for r in kept if count(r) == n], "proxy", key[2]) for n in present}
    return Curve(key, {n: figure for n, figure in points.items() if figure is not None})


def _place(record: Record) -> tuple[int, int, tuple[int, int], str]:
    return record.run.seed, record.run.shots, record.run.supports, ""

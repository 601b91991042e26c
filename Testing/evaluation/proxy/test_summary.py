"""Figures and verdicts, from runs that are made up."""

from __future__ import annotations

import pytest

from AutoPromptSAMLib.evaluation.proxy import summary
from AutoPromptSAMLib.evaluation.proxy.contenders import CONTENDERS
from AutoPromptSAMLib.evaluation.proxy.draws import TASKS
from AutoPromptSAMLib.evaluation.proxy.records import APART, GENERAL, Record, Run
from AutoPromptSAMLib.evaluation.proxy.runner import crossed

DISC = ("drishti_gs_disc_cup", "optic disc")


def record(
    dice: dict[str, list[float | None]],
    task: tuple[str, str] = DISC,
    seed: int = 0,
    shots: int = 16,
    supports: tuple[int, int] = (0, 4),
    variant: str = "",
) -> Record:
    dataset, name = task
    run = Run("m", dataset, (name,), seed, shots, supports, variant)
    images = [str(n) for n in range(len(next(iter(dice.values()))))]
    scores = {contender: {name: values} for contender, values in dice.items()}
    return Record(run, images, scores, learned={"seconds": 120.0, "start": "scratch"})


def everyone(value: float, **kind: object) -> Record:
    return record({name: [value] for name in CONTENDERS}, **kind)  # type: ignore[arg-type]


def test_means_are_of_seeds_and_the_deviation_of_images() -> None:
    rows = [
        record({name: [0.8, 1.0, None] for name in CONTENDERS}),
        record({name: [0.5, 0.5, 0.5] for name in CONTENDERS}, seed=1),
    ]
    (row,) = summary.shots(rows)
    figure = row.figures["proxy"]
    assert figure.seeds == pytest.approx((0.9, 0.5))
    assert figure.mean == pytest.approx(0.7)
    assert figure.n == 5
    assert figure.sd == pytest.approx(0.2302, abs=1e-3)
    assert figure.over_seeds == pytest.approx(0.2828, abs=1e-3)
    assert row.minutes == pytest.approx(2)


@pytest.mark.parametrize(("value", "verdict"), [(0.93, "reached"), (0.9299, "missed")])
def test_a_target_is_reached_or_missed_by_the_unrounded_mean(value: float, verdict: str) -> None:
    assert summary.shots([everyone(value)])[0].verdict == verdict
    assert summary.shots([everyone(value, task=("own", "thing"))])[0].verdict == ""


def test_the_mean_of_the_paper_needs_all_five_objects() -> None:
    rows = [everyone(0.6 + n / 10, task=(task.dataset, task.object)) for n, task in enumerate(TASKS[:4])]
    assert summary.paper_mean(summary.shots(rows), "m") is None
    rows += [
        everyone(0.5, task=("usgra_nerve_us", "nerve")),
        everyone(0.0, task=("msd_hippocampus_mri", "hippocampus")),
    ]
    assert summary.paper_mean(summary.shots(rows), "m") == pytest.approx((0.6 + 0.7 + 0.8 + 0.9 + 0.5) / 5)


@pytest.mark.parametrize(
    ("means", "grows"),
    [([0.5, 0.6, 0.7, 0.8], True), ([0.5, 0.6, 0.597, 0.8], True), ([0.5, 0.7, 0.6, 0.8], False), ([0.8] * 4, False)],
)
def test_a_curve_grows_but_for_small_steps_back(means: list[float], grows: bool) -> None:
    pairs = zip((2, 4, 8, 16), means, strict=True)
    rows = [record({"proxy": [mean]}, shots=count, supports=(0, min(4, count))) for count, mean in pairs]
    rows.append(record({"proxy": [0.1]}, supports=(0, 15)))  # another number of supports does not belong here
    (curve,) = summary.over_shots(rows)
    assert [curve.points[count].mean for count in (2, 4, 8, 16)] == pytest.approx(means)
    assert curve.grows is grows


def test_curves_compare_the_same_seeds_only() -> None:
    rows = [record({"proxy": [0.5]}, supports=(0, count)) for count in (1, 2)]
    rows.append(record({"proxy": [0.9]}, supports=(0, 1), seed=1))
    (curve,) = summary.over_supports(rows)
    assert [figure.seeds for figure in curve.points.values()] == [(0.5,), (0.5,)]


@pytest.mark.parametrize(("step", "holds"), [(0.004, True), (0.006, False)])
def test_the_spread_is_from_the_worst_to_the_best_support(step: float, holds: bool) -> None:
    rows = [
        record({"proxy": [0.8 + n * step], "persam": [0.5 + n / 10]}, seed=seed, supports=(n, n + 1))
        for n in range(5)
        for seed in (0, 1)
    ]
    rows.append(record({"proxy": [0.1], "persam": [0.1]}, seed=2, supports=(0, 1)))  # not all five: left out
    (row,) = summary.spreads(rows)
    assert row.spread("proxy") == pytest.approx(4 * step)
    assert row.spread("persam") == pytest.approx(0.4)
    assert row.mean("persam") == pytest.approx(0.7)
    assert row.holds is holds
    steady = [record({"proxy": [0.8 + n * step], "persam": [0.5]}, supports=(n, n + 1)) for n in range(5)]
    assert not summary.spreads(steady)[0].holds


def test_a_swap_is_measured_by_the_other_objects_own_network() -> None:
    names = ("optic disc", "optic cup")
    dice = {crossed(a, b): [0.9 if a == b else 0.4] for a in names for b in names}
    dice[crossed("optic cup", "optic cup")] = [0.6]
    both = Record(Run("m", DISC[0], names, 0, 16, (0, 4), APART), ["0"], {"proxy": dice})
    own = [record({"proxy": [0.95]}), record({"proxy": [0.8]}, task=(DISC[0], "optic cup"))]
    own.append(record({"proxy": [0.1]}, supports=(0, 1)))  # by other supports
    disc, cup = summary.swaps([both, *own])
    assert (disc.asked, disc.other, disc.holds) == ("optic disc", "optic cup", True)
    assert disc.part == pytest.approx(0.9 / 0.95)
    assert disc.against_other.mean == 0.4
    assert cup.part == pytest.approx(0.75)
    assert not cup.holds
    assert summary.swaps([both])[0].part is None


def test_ablations_are_compared_with_the_whole_network_by_the_same_supports() -> None:
    rows = [record({"proxy": [0.8]}), record({"proxy": [0.7]}, variant="no-map")]
    rows.append(record({"proxy": [0.1]}, supports=(0, 1)))
    (row,) = summary.ablations(rows)
    assert {variant: figure.mean for variant, figure in row.variants.items()} == {"": 0.8, "no-map": 0.7}
    assert summary.ablations(rows[:1]) == []


def test_a_set_is_won_by_the_mean_over_its_objects() -> None:
    def both(task: tuple[str, str], proxy: float, persam: float) -> Record:
        return record({"proxy": [proxy], "persam": [persam]}, task=task, shots=0, supports=(0, 1), variant=GENERAL)

    rows = summary.general([both(("a", "x"), 0.9, 0.5), both(("a", "y"), 0.4, 0.5), both(("b", "x"), 0.5, 0.5)])
    assert summary.won(rows, "m", "persam") == (["a"], ["b"])
    assert summary.won(rows, "m", "nearest-copy") == ([], [])

"""Plots of ``bench proxy``, one file a part. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.evaluation.proxy import summary
from AutoPromptSAMLib.evaluation.proxy.contenders import CONTENDERS
from AutoPromptSAMLib.evaluation.proxy.records import Record
from AutoPromptSAMLib.evaluation.proxy.summary import Figure
from AutoPromptSAMLib.evaluation.quality.plots import canvas, need_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Colours that people with any colour vision tell apart (Okabe and Ito 2008).
COLOURS = dict(zip(CONTENDERS, ("#D55E00", "#0072B2", "#009E73", "#999999"), strict=True))
TARGET = "#000000"

Groups = Mapping[str, Sequence[Figure | None]]


def draw(records: Sequence[Record], costs: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> dict[str, str]:
    """Write a PNG for each part that was measured into ``folder``; part -> file name.

    Raises BenchError without matplotlib, StorageError when a file cannot be written.
    """
    need_matplotlib()
    made = {
        "shots": _shots(summary.shots(records)),
        "c1": _curves(summary.over_shots(records), summary.over_supports(records)),
        "c2": _spreads(summary.spreads(records)),
        "c3": _swaps(summary.swaps(records)),
        "c4": _ablations(summary.ablations(records)),
        "general": _general(summary.general(records)),
        "cost": _cost(costs),
    }
    found = {}
    for part, picture in made.items():
        if picture is not None:
            found[part] = f"{part}.png"
            with atomic_path(folder / found[part]) as temporary:
                picture.savefig(temporary, dpi=110)
    return found


def _bars(axes: Axes, names: Sequence[str], groups: Groups, colours: Sequence[str]) -> None:
    """Bars of mean Dice side by side; the whiskers go from the lowest to the highest seed."""
    width = 0.8 / len(groups)
    for number, (label, figures) in enumerate(groups.items()):
        at = [n + (number - (len(groups) - 1) / 2) * width for n, figure in enumerate(figures) if figure]
        own = [figure for figure in figures if figure]
        means = np.array([figure.mean for figure in own])
        low, high = (np.array([pick(figure.seeds) for figure in own]) for pick in (min, max))
        whiskers = [means - low, high - means]
        axes.bar(at, means, width, label=label, color=colours[number], yerr=whiskers, error_kw={"linewidth": 0.8})
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_ylabel("Dice")
    axes.grid(axis="y", alpha=0.3)


def _label(key: summary.Key, several: bool) -> str:
    return f"{key[2]} ({key[0]})" if several else key[2]


def _several(keys: Sequence[summary.Key]) -> bool:
    return len({key[0] for key in keys}) > 1


def _shots(rows: Sequence[summary.ShotsRow]) -> Canvas | None:
    if not rows:
        return None
    picture = canvas(max(2 + 1.1 * len(rows), 7), 4)
    axes = picture.subplots()
    several = _several([row.key for row in rows])
    groups = {name: [row.figures.get(name) for row in rows] for name in CONTENDERS}
    _bars(axes, [_label(row.key, several) for row in rows], groups, list(COLOURS.values()))
    for number, row in enumerate(rows):
        if row.target is not None:
            axes.plot([number - 0.4, number + 0.4], [row.target] * 2, color=TARGET, linestyle="--", linewidth=1)
    axes.plot([], [], color=TARGET, linestyle="--", label="target of proxy")
    picture.legend(loc="outside lower center", ncols=5, fontsize=8)
    axes.set_title("16 shots: mean over seeds (whiskers: lowest and highest seed)", fontsize=10)
    return picture


def _curves(over_shots: Sequence[summary.Curve], over_supports: Sequence[summary.Curve]) -> Canvas | None:
    if not (over_shots or over_supports):
        return None
    picture = canvas(9, 4)
    panels = picture.subplots(1, 2, sharey=True)
    for axes, curves, title in (
        (panels[0], over_shots, "shots learned from (M)"),
        (panels[1], over_supports, "supports that prompt (G)"),
    ):
        several = _several([curve.key for curve in curves])
        for curve in curves:
            counts = sorted(curve.points)
            means = [curve.points[count].mean for count in counts]
            errors = [curve.points[count].over_seeds or 0.0 for count in counts]
            axes.errorbar(counts, means, errors, marker="o", capsize=3, label=_label(curve.key, several))
        axes.set_xscale("log", base=2)
        ticks = sorted({count for curve in curves for count in curve.points})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel(title)
        axes.grid(alpha=0.3)
        if curves:
            axes.legend(fontsize=8)
    panels[0].set_ylabel("Dice (± sd over seeds)")
    return picture


def _spreads(rows: Sequence[summary.SpreadRow]) -> Canvas | None:
    if not rows:
        return None
    picture = canvas(max(2 + 1.5 * len(rows), 7), 4)
    axes = picture.subplots()
    several = _several([row.key for row in rows])
    for side, name in ((-0.15, "proxy"), (0.15, "persam")):
        for number, row in enumerate(rows):
            seeds = row.by_seed[name]
            for place, values in enumerate(seeds):
                at = number + side + 0.2 * ((place + 0.5) / len(seeds) - 0.5)
                axes.plot([at] * len(values), values, marker=".", linewidth=0.8, color=COLOURS[name])
        axes.plot([], [], marker=".", color=COLOURS[name], label=name)
    axes.set_xticks(range(len(rows)), [_label(row.key, several) for row in rows], rotation=30, ha="right", fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_ylabel("mean Dice, a dot for each support")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title("Five single supports, a line for each seed", fontsize=10)
    return picture


def _swaps(rows: Sequence[summary.SwapRow]) -> Canvas | None:
    if not rows:
        return None
    picture = canvas(max(2 + 1.6 * len(rows), 7), 4)
    axes = picture.subplots()
    several = _several([row.key for row in rows])
    groups: Groups = {
        "with the object of the mask": [row.found for row in rows],
        "with the other object": [row.against_other for row in rows],
        "a network for it alone": [row.own for row in rows],
    }
    colours = [COLOURS["proxy"], "#CC79A7", COLOURS["true-box"]]
    _bars(axes, [_label(row.key, several) for row in rows], groups, colours)
    picture.legend(loc="outside lower center", ncols=3, fontsize=8)
    axes.set_title("One network, asked with the mask of", fontsize=10)
    return picture


def _ablations(rows: Sequence[summary.AblationRow]) -> Canvas | None:
    if not rows:
        return None
    picture = canvas(max(2 + 1.4 * len(rows), 7), 4)
    axes = picture.subplots()
    several = _several([row.key for row in rows])
    variants = list(dict.fromkeys(variant for row in rows for variant in row.variants))
    groups = {variant or "whole": [row.variants.get(variant) for row in rows] for variant in variants}
    colours = ["#D55E00", "#56B4E9", "#E69F00", "#999999"]
    _bars(axes, [_label(row.key, several) for row in rows], groups, colours)
    picture.legend(loc="outside lower center", ncols=4, fontsize=8)
    return picture


def _general(rows: Sequence[summary.SetRow]) -> Canvas | None:
    if not rows:
        return None
    picture = canvas(7, 1.5 + 0.28 * len(rows))
    axes = picture.subplots()
    several = _several([row.key for row in rows])
    for name in CONTENDERS:
        places = [(row.figures[name].mean, number) for number, row in enumerate(rows) if name in row.figures]
        if places:
            axes.plot(*zip(*places, strict=True), "o", color=COLOURS[name], label=name, markersize=5)
    names = [f"{row.key[1]}: {_label(row.key, several)}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("Dice")
    axes.grid(alpha=0.3)
    picture.legend(loc="outside lower center", ncols=4, fontsize=8)
    axes.set_title("General weights, one support, nothing learned", fontsize=10)
    return picture


def _cost(costs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Canvas | None:
    if not costs:
        return None
    picture = canvas(9, 4)
    panels = picture.subplots(1, 2)
    for number, (model, rows) in enumerate(costs.items()):
        for way in dict.fromkeys(row["way"] for row in rows):
            own = [row for row in rows if row["way"] == way]
            style = {"color": f"C{number}", "linestyle": "-" if way == "chunked" else ":", "marker": "o"}
            for axes, name in ((panels[0], "seconds"), (panels[1], "peak")):
                known = [(row["supports"], row[name]) for row in own if row[name] is not None]
                if known:
                    axes.plot(*zip(*known, strict=True), label=f"{model}, {way}", **style)
    counts = sorted({row["supports"] for rows in costs.values() for row in rows})
    for axes, title in ((panels[0], "seconds from features to a mask"), (panels[1], "peak MiB while prompting")):
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xlabel("supports")
        axes.set_title(title, fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return picture

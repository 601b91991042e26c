"""Plots of ``bench uncertainty``, one file a part. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.evaluation.quality.plots import canvas, need_matplotlib
from AutoPromptSAMLib.evaluation.uncertainty import summary
from AutoPromptSAMLib.evaluation.uncertainty.errors import BINS, COVERAGES
from AutoPromptSAMLib.evaluation.uncertainty.images import POINTS, STARTS, WAYS
from AutoPromptSAMLib.evaluation.uncertainty.records import Record
from AutoPromptSAMLib.evaluation.uncertainty.summary import Group
from AutoPromptSAMLib.evaluation.uncertainty.volumes import GOALS, ORDERS, PART, PARTS
from AutoPromptSAMLib.evaluation.uncertainty.volumes import STARTS as REVIEWED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Colours that people with any colour vision tell apart (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
WAY_COLOURS = dict(zip(WAYS, ("#999999", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7", "#009E73"), strict=True))


def draw(records: Sequence[Record], folder: Path) -> dict[str, str]:
    """Write a PNG for each part that was measured into ``folder``; part -> file name.

    Raises BenchError without matplotlib, StorageError when a file cannot be written.
    """
    need_matplotlib()
    makers = {
        "boxes": _boxes, "points": _points, "click": _click, "errors": _errors, "slices": _slices, "human": _human,
    }  # fmt: skip
    found = {}
    for part, make in makers.items():
        groups = summary.groups(records, part)
        if groups:
            found[part] = f"{part}.png"
            with atomic_path(folder / found[part]) as temporary:
                make(groups).savefig(temporary, dpi=110)
    return found


def _rows(groups: Sequence[Group]) -> tuple[list[str], list[str]]:
    return list(dict.fromkeys(group.model for group in groups)), list(dict.fromkeys(group.dataset for group in groups))


def _boxes(groups: Sequence[Group]) -> Canvas:
    """A panel for each model and start, a line for each set, a dot for each way."""
    models, sets = _rows(groups)
    picture = canvas(3.2 + 3 * len(STARTS), 1.6 + 0.3 * len(sets) * len(models))
    panels = picture.subplots(len(models), len(STARTS), squeeze=False, sharex=True, sharey=True)
    for row, model in zip(panels, models, strict=True):
        for axes, start in zip(row, STARTS, strict=True):
            for group in (one for one in groups if one.model == model):
                place = sets.index(group.dataset)
                for way, colour in WAY_COLOURS.items():
                    value = group.mean(f"{start}/{way}")
                    if value is not None:
                        axes.plot(value, place, "o" if way != "guarded" else "D", color=colour, markersize=5)
            axes.set_title(f"{model}, box {start}", fontsize=9)
            _sets_on(axes, sets)
    for way, colour in WAY_COLOURS.items():
        panels[0, 0].plot([], [], "o" if way != "guarded" else "D", color=colour, label=way)
    picture.legend(loc="outside lower center", ncols=6, fontsize=8)
    return picture


def _sets_on(axes: Axes, sets: Sequence[str]) -> None:
    axes.set_yticks(range(len(sets)), sets, fontsize=7)
    axes.set_ylim(len(sets) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("Dice", fontsize=8)
    axes.grid(alpha=0.3)


def _points(groups: Sequence[Group]) -> Canvas:
    """Change of Dice by the number of points: a thin line for each set, a thick one for their mean."""
    models, _ = _rows(groups)
    picture = canvas(9, 4)
    panels = picture.subplots(1, len(STARTS) - 1, sharey=True)
    for axes, start in zip(panels, STARTS[1:], strict=True):
        for number, model in enumerate(models):
            lines = []
            for group in (one for one in groups if one.model == model and one.use == summary.EVALUATION):
                values = [summary.gain(group, f"{start}/+{count}", group, f"{start}/+0") for count in POINTS]
                if None not in values:
                    lines.append([value for value in values if value is not None])
                    axes.plot(POINTS, lines[-1], color=COLOURS[number], linewidth=0.6, alpha=0.6)
            if lines:
                axes.plot(POINTS, np.mean(lines, axis=0), marker="o", color=COLOURS[number], linewidth=2, label=model)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(POINTS)
        axes.set_xlabel("points inside the object")
        axes.set_title(f"beside a box at IoU {start}", fontsize=10)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("change of Dice")
    panels[0].legend(fontsize=8)
    return picture


def _click(groups: Sequence[Group]) -> Canvas:
    models, sets = _rows(groups)
    picture = canvas(8, 1.6 + 0.3 * len(sets))
    axes = picture.subplots()
    for number, model in enumerate(models):
        for name, marker in (("raw", "o"), ("interactive", "s")):
            own = [
                (value, sets.index(one.dataset)) for one in groups if one.model == model and (value := one.mean(name))
            ]
            if own:
                label = f"{model}, {'one decode' if name == 'raw' else 'slice loop'}"
                fill: Any = "full" if name == "raw" else "none"
                axes.plot(*zip(*own, strict=True), marker, label=label, color=COLOURS[number], fillstyle=fill)
    _sets_on(axes, sets)
    picture.legend(loc="outside lower center", ncols=2, fontsize=8)
    axes.set_title("One click", fontsize=10)
    return picture


def _errors(groups: Sequence[Group]) -> Canvas:
    """For each model a reliability diagram with the share of pixels below it, and risk over coverage."""
    models, _ = _rows(groups)
    picture = canvas(11, 4.6 * len(models))
    panels = picture.subplots(2 * len(models), 2, squeeze=False, height_ratios=[3, 1] * len(models))
    for number, model in enumerate(models):
        own = [group for group in groups if group.model == model and group.use == summary.EVALUATION]
        upper, lower, right = panels[2 * number, 0], panels[2 * number + 1, 0], panels[2 * number, 1]
        panels[2 * number + 1, 1].set_visible(False)
        _reliability(upper, lower, own)
        upper.set_title(f"{model}: reliability, all sets and boxes", fontsize=10)
        _risk(right, own)
        right.set_title(f"{model}: risk and coverage", fontsize=10)
    return picture


def _reliability(axes: Axes, below: Axes, groups: Sequence[Group]) -> None:
    names = list(
        dict.fromkeys(
            name.split("/")[2] for one in groups for r in one.records for name in r.tables if "/reliability/" in name
        )
    )
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
    for number, name in enumerate(names):
        total = np.zeros((3, BINS))
        for group in groups:
            for start in STARTS:
                table, images = group.table(f"{start}/reliability/{name}"), group.table(f"{start}/images")
                if table is not None and images is not None:
                    total += table.reshape(3, BINS) / images  # every set and box alike
        filled = total[0] > 0
        said, true = (total[row][filled] / total[0][filled] for row in (1, 2))
        axes.plot(said, true, marker=".", color=COLOURS[number], label=f"temperature: {name}")
        centres = (np.arange(BINS) + 0.5) / BINS
        below.step(centres, total[0] / max(total[0].sum(), 1e-12), where="mid", color=COLOURS[number])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_ylabel("part that is the object")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    below.set_yscale("log")
    below.set_xlim(0, 1)
    below.set_xlabel("mean probability")
    below.set_ylabel("pixels")
    below.grid(alpha=0.3)


def _risk(axes: Axes, groups: Sequence[Group]) -> None:
    for number, start in enumerate(STARTS):
        curves = []
        for group in groups:
            risk, images = group.table(f"{start}/risk"), group.table(f"{start}/images")
            if risk is not None and images is not None:
                curves.append(risk / images)
                axes.plot(COVERAGES, curves[-1], color=COLOURS[number], linewidth=0.5, alpha=0.5)
        if curves:
            mean = np.mean(curves, axis=0)
            axes.plot(COVERAGES, mean, color=COLOURS[number], linewidth=2, marker=".", label=f"box {start}")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: the part of pixels that is kept, surest first")
    axes.set_ylabel("risk: the part of them that is wrong")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _slices(groups: Sequence[Group]) -> Canvas:
    """The share of the error on the slices that are looked at first, by their part."""
    models, sets = _rows(groups)
    picture = canvas(5.5 * len(models), 4.5)
    panels = picture.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for axes, model in zip(panels, models, strict=True):
        for group in (one for one in groups if one.model == model):
            colour = COLOURS[sets.index(group.dataset) % len(COLOURS)]
            for name, line in (("ranked", "-"), ("best", ":")):
                table, images = group.table(name), group.table("images")
                if table is not None and images is not None:
                    label = group.dataset if name == "ranked" else None
                    axes.plot(PARTS, table / images, line, color=colour, label=label)
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
        axes.axvline(PART, color="black", linewidth=0.5)
        axes.axhline(0.5, color="black", linewidth=0.5)
        axes.set_title(f"{model} (dotted: the best order there is)", fontsize=9)
        axes.set_xlabel("part of the slices, least sure first")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    panels[0].set_ylabel("share of all wrong voxels")
    return picture


def _human(groups: Sequence[Group]) -> Canvas:
    """Corrected slices, all objects together, by start box and goal."""
    models, _ = _rows(groups)
    picture = canvas(1.5 + 3.5 * len(models), 4)
    panels = picture.subplots(1, len(models), squeeze=False, sharey=True)[0]
    places = [(start, goal) for start in REVIEWED for goal in GOALS]
    for axes, model in zip(panels, models, strict=True):
        found = [summary.counts(groups, model, start, goal) for start, goal in places]
        for number, order in enumerate(ORDERS):
            heights = [one.ranked if order == "ranked" else one.in_order for one in found]
            at = np.arange(len(places)) + (number - 0.5) * 0.4
            axes.bar(at, heights, 0.4, color=COLOURS[number], label=order)
        axes.set_xticks(range(len(places)), [f"{start} start\nto {goal:.2f}" for start, goal in places], fontsize=8)
        axes.set_title(model, fontsize=10)
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("corrected slices")
    panels[0].legend(fontsize=8)
    return picture

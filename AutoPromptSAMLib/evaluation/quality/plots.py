"""Plots of a quality run: box plots of each dataset, and contact sheets of its worst cases. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.quality.records import CaseRow, Mask, unpack_mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

WORST = 5  # cases of each prompt on a contact sheet; a choice
CONTEXT = 0.35  # what is shown around the object, as a part of its size; a choice
# Colours that people with any colour vision tell apart (Okabe and Ito 2008).
TRUTH, FOUND, GIVEN, AGAINST = "#009E73", "#D55E00", "#56B4E9", "#CC79A7"


def need_matplotlib() -> None:
    """Raise BenchError with what to install when matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise BenchError('Plots need matplotlib; run pip install "autopromptsam[bench]".') from None


def box_plots(rows: Sequence[CaseRow], metric: str, path: Path) -> None:
    """Write one picture: the cases of one dataset, a panel for each object, a box for each model, method and prompt.

    Raises BenchError without matplotlib, StorageError when ``path`` cannot be written.
    """
    objects = list(dict.fromkeys(row.object for row in rows))
    kinds = list(dict.fromkeys((row.model, row.method) for row in rows))
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    across = min(3, len(objects))
    down = -(-len(objects) // across)
    figure = canvas(across * max(3.2, 0.35 * len(kinds) * len(prompts)), 2.8 * down + 0.5)
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    for panel, name in zip(panels.flat, objects, strict=False):
        for number, (model, method) in enumerate(kinds):
            own = [row for row in rows if (row.object, row.model, row.method) == (name, model, method)]
            values = [[row.metrics.get(metric) for row in own if row.prompt == prompt] for prompt in prompts]
            values = [[value for value in each if value is not None] for each in values]
            at = np.arange(len(prompts)) + (number - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
            style = {"color": f"C{number}"}
            panel.boxplot(
                values, positions=at, widths=0.7 / len(kinds), manage_ticks=False, whis=(5, 95),
                boxprops=style, whiskerprops=style, capprops=style, medianprops=style,
                flierprops={"marker": ".", "markeredgecolor": f"C{number}", "markersize": 3},
            )  # fmt: skip
            panel.plot([], [], color=f"C{number}", label=f"{model}, {method}")
        panel.set_title(name, fontsize=9)
        panel.set_xticks(np.arange(len(prompts)), prompts, rotation=30, ha="right", fontsize=8)
        panel.grid(axis="y", alpha=0.3)
    for panel in list(panels.flat)[len(objects) :]:
        panel.set_visible(False)
    for row_of_panels in panels:
        row_of_panels[0].set_ylabel(metric)
    figure.suptitle(f"{rows[0].dataset}: {metric} (box: quartiles, whiskers: 5 to 95 %)", fontsize=10)
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    _save(figure, path)


def worst_cases(rows: Sequence[CaseRow], prompts: Iterable[str]) -> dict[str, list[CaseRow]]:
    """The cases of lowest Dice for each prompt, worst first; those with equal Dice in the order of their names."""
    found = {}
    for prompt in prompts:
        own = [row for row in rows if row.prompt == prompt and row.mask is not None]
        own.sort(key=lambda row: (row.metrics.get("dice") or 0.0, row.sample, row.object))
        if own:
            found[prompt] = own[:WORST]
    return found


def contact_sheet(
    worst: dict[str, list[CaseRow]], pictures: dict[tuple[str, ...], tuple[NDArray[np.uint8], Mask]], path: Path
) -> None:
    """Write one picture: a line for each prompt with its worst cases: image, truth, what was found, what was given.

    ``pictures``: image (rows, cols, 3) and truth (rows, cols) by ``CaseRow.key``. Raises as ``box_plots``.
    """
    figure = canvas(2.1 * WORST, 2.4 * len(worst) + 0.6)
    panels = figure.subplots(len(worst), WORST, squeeze=False)
    for line, (prompt, rows) in zip(panels, worst.items(), strict=True):
        for panel in line:
            panel.set_axis_off()
        for panel, row in zip(line, rows, strict=False):
            if row.key in pictures:
                _overlay(panel, row, *pictures[row.key])
        line[0].text(-0.06, 0.5, prompt, rotation=90, va="center", ha="right", transform=line[0].transAxes, fontsize=9)
    first = next(iter(worst.values()))[0]
    for colour, text in ((TRUTH, "truth"), (FOUND, "found"), (GIVEN, "prompt"), (AGAINST, "prompt: background")):
        figure.axes[0].plot([], [], color=colour, label=text)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"{first.dataset}: lowest Dice, {first.model}, {first.method}", fontsize=10)
    _save(figure, path)


def _overlay(panel: Axes, row: CaseRow, image: NDArray[np.uint8], truth: Mask) -> None:
    mask = unpack_mask(row.mask) if row.mask is not None else np.zeros_like(truth)
    panel.imshow(image)
    for outline, colour in ((truth, TRUTH), (mask, FOUND)):
        if outline.any() and not outline.all():
            panel.contour(outline, [0.5], colors=[colour], linewidths=0.9)
    for x0, y0, x1, y1 in row.given.get("boxes", ()):
        panel.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=GIVEN, linewidth=0.8, linestyle="--")
    for (x, y), label in zip(row.given.get("points", ()), row.given.get("labels", ()), strict=True):
        panel.plot(x, y, marker="+", color=GIVEN if label else AGAINST, markersize=6)
    seen = truth | mask
    if seen.any():
        rows, cols = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        half = (0.5 + CONTEXT) * max(rows[-1] - rows[0], cols[-1] - cols[0], 16)
        row_at, col_at = (rows[0] + rows[-1]) / 2, (cols[0] + cols[-1]) / 2
        panel.set_xlim(max(-0.5, col_at - half), min(image.shape[1] - 0.5, col_at + half))
        panel.set_ylim(min(image.shape[0] - 0.5, row_at + half), max(-0.5, row_at - half))
    name = row.sample if len(row.sample) <= 24 else f"…{row.sample[-23:]}"
    panel.set_title(f"{name}\n{row.object}: {row.metrics.get('dice') or 0:.2f}", fontsize=6)


def canvas(width: float, height: float) -> Figure:
    """An empty figure of so many inches that needs no display. Raises BenchError without matplotlib."""
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(width, 30), min(height, 60)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)

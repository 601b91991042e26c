"""From a speed run to what people read: ``speed.json``, ``speed.md`` and ``speed.png``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.evaluation.environment import machine_text
from AutoPromptSAMLib.evaluation.quality.report import table
from AutoPromptSAMLib.evaluation.speed.rates import rounded
from AutoPromptSAMLib.evaluation.speed.records import REFERENCE, Noise, Rate, Ratio, Row, SpeedRun, Spread

REPORT_NAME = "speed.md"
PLOT_NAME = "speed.png"

METHOD = """\
All contenders get the same slice and boxes of the sample CT in one process with the same number of PyTorch threads.
Their runs take turns, forwards and backwards, after a round that does not count. Times are medians with the quartiles
in brackets; what is timed once for every slice is a sum. "× faster" is the reference's time (or memory) divided by the
contender's, with the 95 % interval of a paired bootstrap (10 000 draws; none for fewer than three samples). Start-up
and memory are those of fresh processes with files in the system's cache. Outputs are compared with the reference's:
the largest absolute difference of embeddings and of logits, and the smallest Dice of two masks."""


def publish(run: SpeedRun, folder: Path, with_plot: bool = True) -> None:
    """Write all files into ``folder``. Raises StorageError, and BenchError when matplotlib is missing."""
    run.write(folder)
    drawn = with_plot and plot(run.rows, folder / PLOT_NAME)
    with atomic_path(folder / REPORT_NAME) as temporary:
        temporary.write_text(markdown(run, PLOT_NAME if drawn else None), encoding="utf-8")


def markdown(run: SpeedRun, picture: str | None = None) -> str:
    """The report: the machine, how it was measured, a table a model, arithmetic, what was not measured."""
    environment, settings = run.about["environment"], run.about["settings"]
    lines = ["# Speed", ""]
    if not run.complete:
        lines += ["**This run was interrupted; what is missing was not measured.**", ""]
    lines += [
        f"`{run.about['command']}`",
        "",
        f"{machine_text(environment['machine'])} Device {environment['device']}, "
        f"{environment['threads']} threads of PyTorch, {settings['repeats']} repeats, seed {settings['seed']}.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in environment["versions"].items()) + ".",
        "",
        METHOD,
        "",
    ]
    if picture is not None:
        lines += [f"![How many times faster]({picture})", ""]
    for model, contenders in run.contenders.items():
        rows = [row for row in run.rows if row.model == model]
        lines += [f"## {model}", "", f"Weights {environment['weights'].get(model) or 'without a known hash'}.", ""]
        lines += [*(f"- {key}: {text}" for key, text in contenders.items()), ""]
        if rows:
            lines += [*_figures(rows), ""]
    lines += _rates(run.rates)
    if run.skipped:
        lines += ["## Not measured", ""]
        body = [[entry.model, entry.part, entry.reason] for entry in run.skipped]
        lines += [*table(["model", "what", "why"], body), ""]
    return "\n".join(lines)


def ratio_text(ratio: Ratio) -> str:
    """As in "2.10 [2.05, 2.14]"."""
    text = rounded(ratio.value)
    return text if ratio.low is None or ratio.high is None else f"{text} [{rounded(ratio.low)}, {rounded(ratio.high)}]"


def plot(rows: Sequence[Row], path: Path) -> bool:
    """Write the ratios as bars with their intervals; False when there is none to draw.

    Raises BenchError without matplotlib, StorageError when ``path`` cannot be written.
    """
    from AutoPromptSAMLib.evaluation.quality.plots import need_matplotlib

    bars = [(row, key, ratio) for row in rows for key, ratio in row.ratios.items()]
    if not bars:
        return False
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.32 * len(bars) + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    kinds = list(dict.fromkeys((row.model, key) for row, key, _ in bars))
    for n, (row, key, ratio) in enumerate(bars):
        colour = f"C{kinds.index((row.model, key))}"
        panel.barh(n, ratio.value - 1, left=1, color=colour, height=0.7)
        if ratio.low is not None and ratio.high is not None:
            panel.plot([ratio.low, ratio.high], [n, n], color="black", linewidth=1.2)
        panel.annotate(
            rounded(ratio.value), (max(ratio.value, ratio.high or 0, 1), n), (4, 0),
            textcoords="offset points", va="center", fontsize=7,
        )  # fmt: skip
    for n, (model, key) in enumerate(kinds):
        panel.barh(0, 0, left=1, color=f"C{n}", label=f"{model}, {key}")
    panel.set_yticks(range(len(bars)), [row.what for row, _, _ in bars], fontsize=7)
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.axvline(1, color="grey", linewidth=0.8)
    panel.margins(x=0.12)
    panel.set_xlabel("reference / AutoPromptSAM: to the right of 1 AutoPromptSAM needs less", fontsize=8)
    panel.legend(fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return True


def _figures(rows: Sequence[Row]) -> list[str]:
    keys = list(dict.fromkeys(key for row in rows for key in row.samples))
    own = [key for key in keys if key != REFERENCE]
    head = ["what", *keys, *(f"{key}: × faster" for key in own if REFERENCE in keys), "output beside the reference"]
    body = []
    for row in rows:
        spreads, ratios = row.spreads, row.ratios
        line = [row.what + (f" ({row.note})" if row.note else "")]
        line += [_spread(spreads[key], row.unit) if key in spreads else "" for key in keys]
        line += [ratio_text(ratios[key]) if key in ratios else "" for key in own if REFERENCE in keys]
        body.append([*line, "; ".join(_equal(row, own)), _noise(row.noise)])
    return table([*head, "load before, after; steal"], body)


def _equal(row: Row, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        found = row.equal.get(key, {})
        parts = [f"{name} ± {found[name]:.1e}" for name in ("embedding", "logits") if name in found]
        parts += [f"Dice {found['dice']:.4f}"] if "dice" in found else []
        if parts:
            yield (f"{key}: " if len(keys) > 1 else "") + ", ".join(parts)


def _spread(spread: Spread, unit: str) -> str:
    value, q1, q3 = spread.value, spread.q1, spread.q3
    if unit == "s" and value < 1:
        value, q1, q3, unit = value * 1000, q1 and q1 * 1000, q3 and q3 * 1000, "ms"
    around = "" if q1 is None or q3 is None or spread.n == 1 else f" [{rounded(q1)}, {rounded(q3)}]"
    return f"{rounded(value)}{around} {unit}"


def _noise(noise: Noise) -> str:
    loads = ", ".join("?" if load is None else f"{load:.1f}" for load in (noise.load_before, noise.load_after))
    return f"{loads}; {'?' if noise.steal is None else f'{noise.steal:.1%}'}"


def _rates(rates: Sequence[Rate]) -> list[str]:
    if not rates:
        return []
    body = []
    for rate in rates:
        body.append([
            rate.model, rate.contender, rate.what, rate.precision, str(rate.batch or ""), f"{rate.seconds * 1000:.1f}",
            "" if rate.slices_per_second is None else rounded(rate.slices_per_second),
            "" if rate.gflop is None else rounded(rate.gflop),
            "" if rate.gflops is None else rounded(rate.gflops),
            "" if rate.peak is None else rounded(rate.peak),
            "" if rate.fraction is None else f"{rate.fraction:.0%}",
        ])  # fmt: skip
    head = ["model", "contender", "what", "precision", "batch", "ms", "slices/s", "GFLOP", "GFLOP/s"]
    text = (
        "GFLOP are those that PyTorch counts for the network as published (a multiplication and an addition are two), "
        "whatever a contender saves of them, so the part of the peak may exceed that of its own arithmetic. The peak "
        "is the fastest of ten products of large square matrices in the same precision on this machine."
    )
    return ["## Arithmetic", "", text, "", *table([*head, "peak GFLOP/s", "of the peak"], body), ""]

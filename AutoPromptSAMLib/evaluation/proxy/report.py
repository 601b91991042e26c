"""From runs to what people read: ``results.json``, ``report.md`` and the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from AutoPromptSAMLib.evaluation import run_folder
from AutoPromptSAMLib.evaluation.measuring import about, sections
from AutoPromptSAMLib.evaluation.proxy import summary
from AutoPromptSAMLib.evaluation.proxy.contenders import CONTENDERS
from AutoPromptSAMLib.evaluation.proxy.draws import MOST_SHOTS
from AutoPromptSAMLib.evaluation.proxy.records import SCHEMA, Record
from AutoPromptSAMLib.evaluation.proxy.runner import Outcome, Plan
from AutoPromptSAMLib.evaluation.proxy.summary import Curve, count_text, figure_text
from AutoPromptSAMLib.evaluation.quality.report import table

METHOD = """\
Test images are never of a group (a patient) that a shot is of. Dice is the mean over the seeds of the mean over the
test images, ± the standard deviation over all test images; in brackets the least and the most of a seed. `n` counts
an image (of a volume, a slice) once for every seed that drew it; behind it, how many different ones these are.
`persam`: points (or, for models that take boxes only, a box of our own making) from one feature of the object,
refined, nothing learned, without PerSAM's changes inside of the decoder; `nearest-copy`: every cell takes the label
of the most similar cell of the supports; `true-box`: the bare model with one tight box around all pieces of the
truth. With general weights `proxy` takes copied labels in by a vote, whose size was chosen on five images each of
seeds 0 and 1."""

_LORA = {None: "", True: ", with LoRA", False: ", without LoRA"}
NAMES = {
    "no-map": "no selective map (uniform read-out)",
    "no-colorization": "no colorization (pooled read-out)",
    "neither": "neither",
    "": "whole",
}


def publish(plan: Plan, outcome: Outcome, with_plots: bool = True) -> str:
    """Write everything into the folder of ``plan``; returns the report.

    Raises StorageError, and BenchError when plots are wanted and matplotlib is missing.
    """
    content = {
        "schema": SCHEMA,
        "command": plan.command,
        "settings": plan.settings.to_json(),
        "complete": outcome.complete,
        "records": [record.to_json() for record in outcome.records],
        "cost": outcome.costs,
        "unmeasured": [vars(entry) for entry in outcome.unmeasured],
    }

    def pictures() -> dict[str, str]:
        from AutoPromptSAMLib.evaluation.proxy.plots import draw

        return draw(outcome.records, outcome.costs, plan.folder)

    return run_folder.publish(plan.folder, content, outcome.engines, markdown, pictures if with_plots else None)


def markdown(content: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """The report of the content of ``results.json``. ``pictures``: part -> file name of its plot."""
    records = [Record.from_json(entry) for entry in content["records"]]
    settings = content["settings"]
    bounds = [f"{settings[name]} {name}" for name in ("minutes", "steps") if settings[name] is not None]
    seeds = sorted({record.run.seed for record in records})
    sentence = (
        f"Seeds {', '.join(map(str, seeds)) or 'none'}; test images of a run: {settings['limit'] or 'all'}; learning "
        f"at most {' and '.join(bounds) or 'as long as it does by default'}, from {settings['start']}"
        f"{_LORA[settings.get('lora')]}."
    )
    weights = {name: f"weights {sha256 or 'without a known hash'}" for name, sha256 in settings["models"].items()}
    parts = {
        "shots": _shots(records, settings["supports"]),
        "c1": _curves(records),
        "c2": _spreads(records),
        "c3": _swaps(records),
        "c4": _ablations(records),
        "general": _general(records),
        "cost": _cost(content["cost"]),
    }
    lines = ["# Proxy Prompt", "", *about(content, sentence, weights), "", METHOD, ""]
    return "\n".join([*lines, *sections(parts, pictures or {}, content["unmeasured"])])


def _shots(records: Sequence[Record], supports: int) -> list[str]:
    rows = summary.shots(records)
    if not rows:
        return []
    head = ["model", "dataset: object", *CONTENDERS, "n, seeds", "target", "verdict", "learning", "from"]
    body = []
    for row in rows:
        model, dataset, name = row.key
        line = [model, f"{dataset}: {name}", *(figure_text(row.figures.get(each)) for each in CONTENDERS)]
        line += [count_text(row.figures.get("proxy"))]
        line += ["" if row.target is None else f"{row.target:.2f}", row.verdict]
        line += ["" if row.minutes is None else f"{row.minutes:.1f} min", row.start]
        body.append(line)
    lines = [f"## {MOST_SHOTS} shots", "", f"Prompted by the first {supports} of the shots.", "", *table(head, body)]
    for model in dict.fromkeys(row.key[0] for row in rows):
        mean = summary.paper_mean(rows, model)
        if mean is not None:
            is_above = "above" if mean > summary.PAPER_MEAN else "not above"
            lines += [
                "",
                f"{model}: mean of disc, cup, vessels, fetal head and nerve {mean:.3f}, {is_above} the "
                f"{summary.PAPER_MEAN:.3f} that the paper reports for 16 shots on its own images of such objects.",
            ]
    return lines


def _curves(records: Sequence[Record]) -> list[str]:
    lines = []
    for title, curves in (
        ("shots learned from", summary.over_shots(records)),
        ("supports that prompt", summary.over_supports(records)),
    ):
        if curves:
            counts = sorted({count for curve in curves for count in curve.points})
            body = [_curve(curve, counts) for curve in curves]
            lines += [f"Dice by the number of {title}:", ""]
            lines += [*table(["model", "dataset: object", *map(str, counts), "grows"], body), ""]
    if not lines:
        return []
    text = f"It grows when the end is above the start and no step falls by more than {summary.SLACK}."
    return ["## C1: more images help", "", text, "", *lines][:-1]


def _curve(curve: Curve, counts: Sequence[int]) -> list[str]:
    model, dataset, name = curve.key
    cells = [figure_text(curve.points.get(count)) for count in counts]
    return [model, f"{dataset}: {name}", *cells, "yes" if curve.grows else "no"]


def _spreads(records: Sequence[Record]) -> list[str]:
    rows = summary.spreads(records)
    if not rows:
        return []
    text = (
        "Largest minus smallest mean Dice over five single supports, mean over the seeds. It holds when that of proxy "
        f"is at most {summary.MOST_SPREAD} and below that of persam."
    )
    head = ["model", "dataset: object", "spread of proxy", "of persam", "Dice of proxy", "of persam", "seeds", "holds"]
    body = [
        [
            row.key[0], f"{row.key[1]}: {row.key[2]}", f"{row.spread('proxy'):.3f}", f"{row.spread('persam'):.3f}",
            f"{row.mean('proxy'):.3f}", f"{row.mean('persam'):.3f}", str(len(row.by_seed["proxy"])), _yes(row.holds),
        ]
        for row in rows
    ]  # fmt: skip
    return ["## C2: which support it is matters little", "", text, "", *table(head, body)]


def _swaps(records: Sequence[Record]) -> list[str]:
    rows = summary.swaps(records)
    if not rows:
        return []
    text = (
        "One network that learned both objects, the same supports and images; only the supports' mask is another one, "
        "and nothing else says which object is meant. The object's own Dice is that of a network for it alone. It "
        f"holds from {summary.LEAST_SWAPPED} of that."
    )
    head = ["model", "dataset", "mask of", "Dice with it", "Dice with the other object", "own Dice", "part", "holds"]
    body = [
        [
            row.key[0], row.key[1], row.asked, figure_text(row.found),
            f"{row.other}: {figure_text(row.against_other)}",
            figure_text(row.own), "" if row.part is None else f"{row.part:.2f}", _yes(row.holds),
        ]
        for row in rows
    ]  # fmt: skip
    return ["## C3: another mask, another object", "", text, "", *table(head, body)]


def _ablations(records: Sequence[Record]) -> list[str]:
    rows = summary.ablations(records)
    if not rows:
        return []
    variants = list(dict.fromkeys(variant for row in rows for variant in row.variants))
    body = []
    for row in rows:
        whole = row.variants.get("")
        less = [figure.mean for variant, figure in row.variants.items() if variant]
        holds = whole is not None and all(mean < whole.mean for mean in less)
        cells = [figure_text(row.variants.get(variant)) for variant in variants]
        body.append([row.key[0], f"{row.key[1]}: {row.key[2]}", *cells, _yes(holds)])
    head = ["model", "dataset: object", *(NAMES[variant] for variant in variants), "each part helps"]
    return ["## C4: without its parts", "", *table(head, body)]


def _general(records: Sequence[Record]) -> list[str]:
    rows = summary.general(records)
    if not rows:
        return []
    body = []
    for row in rows:
        cells = [figure_text(row.figures.get(each)) for each in CONTENDERS]
        better = ""
        if {"proxy", "persam"} <= set(row.figures):
            better = _yes(row.figures["proxy"].mean > row.figures["persam"].mean)
        n = count_text(row.figures.get("proxy"))
        body.append([row.key[0], f"{row.key[1]}: {row.key[2]}", *cells, n, better])
    head = ["model", "set: object", *CONTENDERS, "n, seeds", "proxy > persam"]
    lines = ["## General weights, one support, nothing learned", "", *table(head, body)]
    for model in dict.fromkeys(row.key[0] for row in rows):
        better_on, not_on = summary.won(rows, model, "persam")
        than_copy, not_than_copy = summary.won(rows, model, "nearest-copy")
        total = len(better_on) + len(not_on)
        if total:
            verdict = "reached" if len(better_on) >= summary.LEAST_WON * total else "missed"
            lines += [
                "",
                f"{model}: proxy beats persam on {len(better_on)} of {total} sets (mean over a set's objects); "
                f"the goal of {summary.LEAST_WON:.0%} is {verdict}."
                + (f" Not on: {', '.join(not_on)}." if not_on else "")
                + f" It beats nearest-copy on {len(than_copy)} of {len(than_copy) + len(not_than_copy)}.",
            ]
    return lines


def _cost(costs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    if not costs:
        return []
    head = [
        "model",
        "supports",
        "way",
        "seconds",
        "of it prompting",
        "peak MiB",
        "kept MiB",
        "remembering, once",
    ]
    body = []
    for model, rows in costs.items():
        for row in rows:
            seconds = f"{row['seconds']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            peak = "" if row["peak"] is None else f"{row['peak']:.1f}"
            line = [model, str(row["supports"]), row["way"], seconds, f"{row['prompt']:.3f}", peak]
            body.append([*line, f"{row['kept']:.1f}", f"{row['remember']:.2f} s"])
    text = (
        "From the encoded target to the mask of one object: median and quartiles. Peak: by how much memory grows "
        "while prompts are made; kept: what the supports take; remembering: encoding all supports' masks. The "
        "network is untrained, which costs the same."
    )
    return ["## What prompting costs", "", text, "", *table(head, body)]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"

"""From runs to what people read: ``results.json``, ``report.md`` and the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from AutoPromptSAMLib.evaluation import run_folder
from AutoPromptSAMLib.evaluation.measuring import Outcome, about, sections
from AutoPromptSAMLib.evaluation.proxy.summary import figure_text
from AutoPromptSAMLib.evaluation.quality.report import table
from AutoPromptSAMLib.evaluation.uncertainty import cost, summary, volumes
from AutoPromptSAMLib.evaluation.uncertainty.errors import COVERAGES
from AutoPromptSAMLib.evaluation.uncertainty.images import POINTS, STARTS, WAYS
from AutoPromptSAMLib.evaluation.uncertainty.parts import FIT
from AutoPromptSAMLib.evaluation.uncertainty.records import SCHEMA, Record
from AutoPromptSAMLib.evaluation.uncertainty.runner import TEMPERATURE, Plan
from AutoPromptSAMLib.evaluation.uncertainty.summary import Group
from AutoPromptSAMLib.evaluation.uncertainty.verdicts import verdicts
from AutoPromptSAMLib.session import REACH

METHOD = """\
No weights made here were trained on what is tested: sets for evaluation, and of large sets for training the groups
that are kept from it; verdicts count the former alone, each set alike. What a model itself was trained on, its card
says as far as it is known. On each image one object is drawn by seed (on a volume up to three slices of it), and
models get the same boxes and points. A start box has the given IoU with the tight one, ± 0.03, off in a random
direction. Figures are the mean over the seeds of the mean over the images, ± the standard deviation over all images;
in brackets the least and the most of a seed. `n` counts an image (of a volume, a slice) once for every seed, and a
set of few images is the same in all seeds. `single`: one decode of the box; `ugmp`: the mean over jittered boxes;
`ugpa`: refined as long as uncertainty falls and the mask does not run away, `ugpa-1` by one round at most; `always`:
every round taken; `guarded`: refined as in the application, where the plain model's single mask stays unless the
refined one is expected to be 5 points of Dice better."""
COVERED = (0.5, 0.8, 0.95, 1.0)  # coverages in the table of risks


def publish(plan: Plan, outcome: Outcome[Record], with_plots: bool = True) -> str:
    """Write everything into the folder of ``plan``; returns the report.

    Raises StorageError, and BenchError when plots are wanted and matplotlib is missing.
    """
    content = {
        "schema": SCHEMA,
        "command": plan.command,
        "settings": plan.settings.to_json(),
        "complete": outcome.complete,
        "records": [record.to_json() for record in outcome.records],
        "unmeasured": [vars(entry) for entry in outcome.unmeasured],
    }

    def pictures() -> dict[str, str]:
        from AutoPromptSAMLib.evaluation.uncertainty.plots import draw

        return draw(outcome.records, plan.folder)

    return run_folder.publish(plan.folder, content, outcome.engines, markdown, pictures if with_plots else None)


def markdown(content: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """The report of the content of ``results.json``. ``pictures``: part -> file name of its plot."""
    records, settings = [Record.from_json(entry) for entry in content["records"]], content["settings"]
    seeds = sorted({record.run.seed for record in records})
    sentence = f"Seeds {', '.join(map(str, seeds)) or 'none'}; images of a set: {settings['limit'] or 'all'}."
    parts = {
        "boxes": _boxes(records),
        "points": _points(records),
        "click": _click(records),
        "errors": _errors(records),
        "slices": _slices(records),
        "cost": _cost(records),
        "human": _human(records),
    }
    lines = ["# Uncertainty", "", *about(content, sentence, settings["models"]), "", METHOD, "", *_verdicts(records)]
    return "\n".join([*lines, *sections(parts, pictures or {}, content["unmeasured"])])


def _verdicts(records: Sequence[Record]) -> list[str]:
    found = verdicts(records)
    if not found:
        return []
    words = {True: "reached", False: "missed", None: ""}
    body = [[one.part, one.model, one.goal, one.measured, words[one.holds]] for one in found]
    text = "Without a verdict: for comparison only, such as models without an adapter where the adapter is meant."
    return ["## Goals", "", text, "", *table(["part", "model", "goal", "measured", "verdict"], body), ""]


def _boxes(records: Sequence[Record]) -> list[str]:
    found = summary.groups(records, "boxes")
    if not found:
        return []
    lines = ["## Boxes", "", "`gain`: of `guarded` over the plain model's `single`, image by image."]
    for start in STARTS:
        body = []
        for group in found:
            base = summary.base_of(group, found)
            gain = None if base is None else summary.gain(group, f"{start}/guarded", base, f"{start}/single")
            ways = [group.figure(f"{start}/{way}") for way in WAYS]
            count = "" if ways[0] is None else str(ways[0].n)
            cells = [
                *(figure_text(figure) for figure in ways),
                _signed(gain),
                _plain(group.mean(f"{start}/rounds"), 1),
                count,
            ]
            body.append([group.model, group.dataset, *cells])
        title = "tight boxes" if start == STARTS[0] else f"IoU {start}"
        lines += ["", f"Dice, {title}:", "", *table(["model", "set", *WAYS, "gain", "rounds", "n"], body)]
    return lines


def _points(records: Sequence[Record]) -> list[str]:
    found = summary.groups(records, "points")
    if not found:
        return []
    names = [f"{start}/+{count}" for start in STARTS[1:] for count in POINTS]
    body = [[group.model, group.dataset, *(figure_text(group.figure(name)) for name in names)] for group in found]
    head = ["model", "set", *(f"IoU {name.replace('/', ', ')}" for name in names)]
    text = "Dice of one decode with a box and so many random points inside the object."
    return ["## Points beside a box", "", text, "", *table(head, body)]


def _click(records: Sequence[Record]) -> list[str]:
    found = summary.groups(records, "click")
    if not found:
        return []
    body = []
    for group in found:
        base = summary.base_of(group, found)
        gains = [None if base is None else summary.gain(group, name, base, name) for name in ("raw", "interactive")]
        cells = [
            figure_text(group.figure("raw")),
            _signed(gains[0]),
            figure_text(group.figure("interactive")),
            _signed(gains[1]),
        ]
        body.append([group.model, group.dataset, *cells])
    text = (
        "Dice with one click on the innermost pixel and nothing else: one decode of the bare model, and the slice "
        "loop, which looks for a box around the click. Gains are over the plain model."
    )
    head = ["model", "set", "one decode", "gain", "slice loop", "gain"]
    return ["## One click", "", text, "", *table(head, body)]


def _errors(records: Sequence[Record]) -> list[str]:
    found = summary.groups(records, "errors")
    if not found:
        return []
    temperatures = list(
        dict.fromkeys(
            name.split("/")[2] for g in found for r in g.records for name in r.tables if "/reliability/" in name
        )
    )
    aurocs, calibration, covered = [], [], []
    for group in found:
        names = [f"{start}/auroc/{mask}" for start in STARTS for mask in ("mean", "single")]
        aurocs.append([group.model, group.dataset, *(figure_text(group.figure(name)) for name in names)])
        for start in STARTS:
            cells = [_plain(group.calibration(start, name), 3) for name in temperatures]
            calibration.append([group.model, group.dataset, start, *cells])
            risk, images = group.table(f"{start}/risk"), group.table(f"{start}/images")
            if risk is not None and images is not None:
                at = np_interp(COVERED, risk / images)
                covered.append([group.model, group.dataset, start, *(f"{value:.3f}" for value in at)])
    text = (
        "Inside the region of interest: the box around the mask and all pixels above 0.05 bits, its sides 20 % "
        "longer. AUROC: chance that a wrong pixel is less sure than a right one, mean over images with both kinds; of "
        "the mean map's own mask, and of a single decode's by the probability that it is wrong."
    )
    head = ["model", "set", *(f"{start}: {mask}" for start in STARTS for mask in ("mean", "single"))]
    lines = ["## Errors", "", text, "", *table(head, aurocs), "", *_temperatures(records)]
    text = (
        "Expected calibration error of the mean probability (15 intervals, every image counting alike), by the "
        "temperature: none; the model card's; fitted on the groups of sets for training that are kept from it; fitted "
        "on half of the groups of these sets. Tested on the other half."
    )
    lines += [text, "", *table(["model", "set", "box", *temperatures], calibration), ""]
    text = "Risk: the part of pixels that is wrong among the surest ones, by the part of them that is covered."
    return [*lines, text, "", *table(["model", "set", "box", *(f"{part:.0%}" for part in COVERED)], covered)]


def np_interp(at: Sequence[float], values: Any) -> list[float]:
    """A curve over ``COVERAGES`` at some of them."""
    import numpy as np

    return [float(value) for value in np.interp(at, COVERAGES, values)]


def _temperatures(records: Sequence[Record]) -> list[str]:
    body = []
    for group in summary.groups(records, FIT):
        seeds = ", ".join(f"{record.cases[0].figures[TEMPERATURE]:.3f}" for record in group.records)
        body.append(
            [
                group.model,
                group.dataset,
                seeds,
                str(int(sum(r.cases[0].figures["images"] or 0 for r in group.records))),
            ]
        )
    return [*table(["model", "temperature fitted on", "by seed", "images"], body), ""] if body else []


def _slices(records: Sequence[Record]) -> list[str]:
    found = summary.groups(records, "slices")
    if not found:
        return []
    names = ("dice", "share", "share/error", "share/best", "slices")
    body = [[group.model, group.dataset, *(figure_text(group.figure(name)) for name in names)] for group in found]
    text = (
        "Propagation from one tight box on the slice of largest area; the share of all wrong voxels that is on the "
        "20 % of reviewed slices that are least sure (as they are ranked), expected to have most wrong voxels, and "
        "that truly have most."
    )
    head = ["model", "set", "3D Dice", "least sure", "expected", "best possible", "slices"]
    return ["## Slices", "", text, "", *table(head, body)]


def _cost(records: Sequence[Record]) -> list[str]:
    found = summary.groups(records, "cost")
    body = []
    for group in found:
        for side in cost.SIDES:
            seconds = [group.mean(f"{side}/{name}") for name in cost.WORK]
            single, one = seconds[0], seconds[-1]
            ratio = "" if not single or one is None else f"{one / single:.2f}"
            body.append([group.model, str(side), *(_plain(value, 3) for value in seconds), ratio])
    text = f"Seconds after the embedding, median of {cost.REPEATS}, for an image with so many pixels a side."
    head = ["model", "side", *cost.WORK, "round / single"]
    return ["## Cost", "", text, "", *table(head, body)] if body else []


def _human(records: Sequence[Record]) -> list[str]:
    found = summary.groups(records, "human")
    body = []
    for group in found:
        for start in volumes.STARTS:
            for name in dict.fromkeys(case.object for record in group.records for case in record.cases):
                own = _only(group, name)
                cells = [_plain(own.mean(f"{start}/dice"), 3)]
                for goal in volumes.GOALS:
                    for what in ("corrected", "looked"):
                        pair = [own.mean(f"{start}/{order}/{what}/{goal:.2f}") for order in volumes.ORDERS]
                        cells.append(" / ".join("never" if value is None else f"{value:.1f}" for value in pair))
                body.append([group.model, start, name, *cells])
    text = (
        "Starts: the propagation of one tight box, or a rough one: every slice from a box of its own with an IoU of "
        f"{volumes.ROUGH_IOU[0]} to {volumes.ROUGH_IOU[1]} with the tight one, at random. A reviewer looks at slices "
        "by their ranks, or in order (ranked / in order), until the 3D Dice is reached: slices corrected, and slices "
        f"looked at. Slices with a Dice of {volumes.GOOD} are accepted as they are; a correction is carried to "
        f"{REACH} slices on both sides. Means over the seeds."
    )
    goals = [f"{what} to {goal:.2f}" for goal in volumes.GOALS for what in ("corrected", "looked at")]
    return (
        ["## Review", "", text, "", *table(["model", "start", "object", "3D Dice before", *goals], body)]
        if body
        else []
    )


def _only(group: Group, name: str) -> Group:
    from dataclasses import replace

    records = [replace(r, cases=tuple(case for case in r.cases if case.object == name)) for r in group.records]
    return replace(group, records=tuple(records))


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _plain(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"

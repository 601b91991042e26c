"""From cases to what people read: ``results.json``, ``cases.csv`` and ``report.md``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.evaluation.environment import machine_text
from AutoPromptSAMLib.evaluation.quality.records import SCHEMA, CaseRow, Record, Statistics, Unusable, summarise

# How metrics are called where people read them, and their digits after the point; others keep their name.
HEADINGS: dict[str, tuple[str, int]] = {
    "dice": ("Dice", 3),
    "iou": ("IoU", 3),
    "hd95": ("HD95", 1),
    "nsd": ("NSD", 3),
    "clicks_to_0.85": ("clicks to .85", 1),
    "clicks_to_0.90": ("clicks to .90", 1),
    "dice_auc5": ("Dice AUC, 5 clicks", 3),
}
STAGES = ("decode", "propagate", "correct")  # what a person waits for once the image is encoded


def write_results(
    folder: Path,
    rows: Sequence[CaseRow],
    unusable: Sequence[Unusable],
    about: Mapping[str, Any],
    complete: bool = True,
) -> dict[str, Any]:
    """Write ``results.json`` into ``folder`` and return its content. ``about``: command, settings, environment.

    Raises StorageError.
    """
    content = {
        "schema": SCHEMA,
        **about,
        "complete": complete,
        "records": [record.to_json() for record in summarise(rows)],
        "unusable": [vars(entry) for entry in unusable],
    }
    with atomic_path(folder / "results.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return content


def write_csv(folder: Path, rows: Sequence[CaseRow]) -> None:
    """Write ``cases.csv`` into ``folder``: a line a case, a column a metric. Raises StorageError."""
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    seconds = list(dict.fromkeys(name for row in rows for name in row.seconds))
    names = ("dataset", "group", "pair", "sample", "object", "model", "method", "prompt")
    head = [*names, *metrics, "unit", *(f"{name}_s" for name in seconds), "trace"]
    with atomic_path(folder / "cases.csv") as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(head)
        for row in rows:
            values = ["" if (value := row.metrics.get(name)) is None else repr(value) for name in metrics]
            times = [f"{row.seconds[name]:.4f}" if name in row.seconds else "" for name in seconds]
            trace = " ".join(f"{dice:.4f}" for dice in row.trace)
            writer.writerow([*(getattr(row, name) for name in names), *values, row.unit, *times, trace])


def write_report(
    folder: Path,
    rows: Sequence[CaseRow],
    unusable: Sequence[Unusable],
    about: Mapping[str, Any],
    pictures: Mapping[str, Sequence[Path]] | None = None,
    complete: bool = True,
) -> None:
    """Write ``report.md`` into ``folder``; ``pictures`` by dataset lie in it too. Raises StorageError."""
    inside = {name: [path.relative_to(folder) for path in paths] for name, paths in (pictures or {}).items()}
    text = markdown(summarise(rows), unusable, about, inside, complete)
    with atomic_path(folder / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


def markdown(
    records: Sequence[Record],
    unusable: Sequence[Unusable],
    about: Mapping[str, Any],
    pictures: Mapping[str, Sequence[Path]],
    complete: bool = True,
) -> str:
    """The report: the settings and the machine, Dice at a glance, every metric, what could not be measured."""
    settings, environment = about["settings"], about["environment"]
    limit = settings["limit"] or "all"
    lines = ["# Quality", ""]
    if not complete:
        lines += ["**This run was interrupted; run the same command again to finish it.**", ""]
    lines += [
        f"`{about['command']}`",
        "",
        f"Seed {settings['seed']}, images of each dataset: {limit}. {machine_text(environment['machine'])}",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in environment["versions"].items()) + ".",
        "",
    ]
    for name, sha256 in settings["models"].items():
        engine = environment.get("engines", {}).get(name)
        lines.append(f"- {name}: weights {sha256 or 'without a known hash'}{f', engine {engine}' if engine else ''}")
    lines += ["", "## Dice at a glance", "", "Mean ± standard deviation over n cases.", ""]
    for model, method in dict.fromkeys((record.model, record.method) for record in records):
        own = [record for record in records if (record.model, record.method) == (model, method)]
        lines += [f"### {model}, {method}", "", *_glance(own), ""]
    lines += ["## Every metric", "", _legend(records), ""]
    for dataset in dict.fromkeys(record.dataset for record in records):
        lines += [f"### {dataset}", "", *_details([r for r in records if r.dataset == dataset]), ""]
        lines += [line for path in pictures.get(dataset, ()) for line in (_picture(path), "")]
    if unusable:
        lines += ["## Not measured", "", *_not_measured(unusable), ""]
    return "\n".join(lines)


def _glance(records: Sequence[Record]) -> list[str]:
    prompts = list(dict.fromkeys(record.prompt for record in records))
    cells = {(r.dataset, r.object, r.prompt): r for r in records}
    body = []
    for dataset, name in dict.fromkeys((record.dataset, record.object) for record in records):
        line = [f"{dataset}: {name}"]
        for prompt in prompts:
            record = cells.get((dataset, name, prompt))
            line.append("" if record is None else f"{_spread(record.metrics.get('dice'))} ({record.n})")
        body.append(line)
    return table(["dataset: object", *prompts], body)


def _details(records: Sequence[Record]) -> list[str]:
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    head = ["object", "model", "method", "prompt", "n", "groups", *(_heading(name)[0] for name in metrics), "seconds"]
    body = []
    for record in records:
        line = [record.object, record.model, record.method, record.prompt, str(record.n), str(record.groups)]
        for name in metrics:
            found = record.metrics.get(name)
            unit = f" {record.unit}" if name == "hd95" and found is not None else ""
            line.append(_full(found, _heading(name)[1], record.n) + unit)
        took = next((record.seconds[name] for name in STAGES if name in record.seconds), None)
        line.append("" if took is None else f"{took.median:.2f}")
        body.append(line)
    return table(head, body)


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; what is in a cell cannot break it."""
    cleaned: Callable[[str], str] = lambda text: text.replace("|", "\\|").replace("\n", " ")  # noqa: E731
    rows = [list(head), ["---"] * len(head), *(list(map(cleaned, row)) for row in body)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _legend(records: Sequence[Record]) -> str:
    text = "Mean ± standard deviation, median [5th percentile]; (k) where only k of the n cases have a value."
    text += " Seconds: median from prompt to mask, on a slice without encoding it; for users all clicks, in 3D one."
    if any("hd95" in record.metrics for record in records):
        text += " HD95 in mm, or in pixels (px) where the image does not say how large they are."
    if any("clicks_to_0.85" in record.metrics for record in records):
        text += " A user who does not get there within the most clicks counts with that number."
    return text


def _not_measured(unusable: Sequence[Unusable]) -> list[str]:
    body = []
    for entry in unusable:
        what = ", ".join(part for part in (entry.object, entry.model, entry.method, entry.prompt) if part)
        body.append([entry.dataset, entry.pair, what or "all of it", entry.reason])
    return table(["dataset", "pair", "what", "why"], body)


def _spread(found: Statistics | None) -> str:
    if found is None:
        return ""
    return f"{found.mean:.3f}" + ("" if found.sd is None else f" ± {found.sd:.3f}")


def _full(found: Statistics | None, digits: int, n: int) -> str:
    if found is None:
        return ""
    text = f"{found.mean:.{digits}f}" + ("" if found.sd is None else f" ± {found.sd:.{digits}f}")
    text += f", {found.median:.{digits}f} [{found.p5:.{digits}f}]"
    return text if found.n == n else f"{text} ({found.n})"


def _heading(name: str) -> tuple[str, int]:
    return HEADINGS.get(name, (name, 3))


def _picture(path: Path) -> str:
    return f"![{path.stem.replace('-', ' ')}]({path.as_posix()})"

"""The page of benchmarks in the documentation, made of the reports of runs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.proxy import records as proxy_records
from AutoPromptSAMLib.evaluation.proxy import report as proxy_report
from AutoPromptSAMLib.evaluation.quality import records
from AutoPromptSAMLib.evaluation.quality import report as quality_report
from AutoPromptSAMLib.evaluation.quality.records import Record, Statistics, Unusable
from AutoPromptSAMLib.evaluation.run_folder import RESULTS_NAME
from AutoPromptSAMLib.evaluation.speed import records as speed_records
from AutoPromptSAMLib.evaluation.speed import report as speed_report
from AutoPromptSAMLib.evaluation.speed.records import SpeedRun
from AutoPromptSAMLib.evaluation.uncertainty import records as uncertainty_records
from AutoPromptSAMLib.evaluation.uncertainty import report as uncertainty_report

QUALITY_NAME = "results.json"

HEAD = """\
# Benchmarks

The sections of this page are written by `autopromptsam bench docs` from the results of the commands that they show,
some of them at other times than the rest; figures are not edited. To reproduce a table, run its command with the same
seed: the prompts and the images drawn are the same, and so are the figures of quality but for the rounding of another
processor. Speed depends on the machine: run it with nothing else at work. How labelled images are described is in
[datasets.md](datasets.md).
"""


def write_page(
    quality: Sequence[Path],
    speed: Sequence[Path],
    out: Path,
    proxy: Sequence[Path] = (),
    uncertainty: Sequence[Path] = (),
) -> None:
    """Write ``out`` from the folders of quality, speed, proxy and uncertainty runs; some may be missing, not all.

    Raises BenchError when there are none or a folder holds no results, StorageError.
    """
    if not quality and not speed and not proxy and not uncertainty:
        raise BenchError(
            "There is nothing to write; give the folder of a run with --quality, --proxy, --uncertainty or --speed."
        )
    text = page(
        [_read(folder / QUALITY_NAME, records.SCHEMA, "quality") for folder in quality],
        [_read(folder / speed_records.RESULTS_NAME, speed_records.SCHEMA, "speed") for folder in speed],
        [_read(folder / RESULTS_NAME, proxy_records.SCHEMA, "proxy") for folder in proxy],
        [_read(folder / RESULTS_NAME, uncertainty_records.SCHEMA, "uncertainty") for folder in uncertainty],
    )
    with atomic_path(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page(
    quality: Sequence[Mapping[str, Any]],
    speed: Sequence[Mapping[str, Any]],
    proxy: Sequence[Mapping[str, Any]] = (),
    uncertainty: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page of the contents of ``results.json`` and ``speed.json`` files."""
    parts = [HEAD]
    parts += [_quality(content) for content in quality] or ["## Quality\n\nNot measured yet: `bench quality`.\n"]
    parts += [_proxy(content) for content in proxy] or ["## Proxy Prompt\n\nNot measured yet: `bench proxy`.\n"]
    parts += [_uncertainty(content) for content in uncertainty] or [
        "## Uncertainty\n\nNot measured yet: `bench uncertainty`.\n"
    ]
    parts += [_speed(content) for content in speed] or ["## Speed\n\nNot measured yet: `bench speed`.\n"]
    return "\n".join(parts)


def _quality(content: Mapping[str, Any]) -> str:
    found = [
        Record(
            **{
                **entry,
                **{name: {k: Statistics(**v) for k, v in entry[name].items()} for name in ("metrics", "seconds")},
            }
        )
        for entry in content["records"]
    ]
    unusable = [Unusable(**entry) for entry in content["unusable"]]
    about = {name: content[name] for name in ("command", "settings", "environment")}
    return _part(quality_report.markdown(found, unusable, about, {}, content["complete"]), content["command"])


def _proxy(content: Mapping[str, Any]) -> str:
    return _part(proxy_report.markdown(content), content["command"])


def _uncertainty(content: Mapping[str, Any]) -> str:
    return _part(uncertainty_report.markdown(content), content["command"])


def _speed(content: Mapping[str, Any]) -> str:
    return _part(speed_report.markdown(SpeedRun.from_json(content)), content["command"])


def _part(text: str, command: str) -> str:
    """A report as a part of the page: headings one level down, no absolute paths of the machine where it was made."""
    for word in shlex.split(command):
        path = Path(word.partition("=")[2] or word)
        if path.is_absolute():
            text = text.replace(str(path), path.name)
    return re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)


def _read(path: Path, schema: str, name: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BenchError(f"There are no results at {path}; run `autopromptsam bench {name}` first.") from None
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise BenchError(f"{path} was written by another version; run `autopromptsam bench {name}` again.")
    return content

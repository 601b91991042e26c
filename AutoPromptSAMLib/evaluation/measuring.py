"""What benchmarks of a method have in common: one measurement after the other, and their report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic

from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled, StorageError
from AutoPromptSAMLib.evaluation import run_folder
from AutoPromptSAMLib.evaluation.environment import machine_text
from AutoPromptSAMLib.evaluation.quality.report import table
from AutoPromptSAMLib.evaluation.run_folder import R, Unmeasured

logger = logging.getLogger(__name__)

OnProgress = Callable[[int, int, str], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Measurement:
    """Something to measure: a part of the benchmark, and in words what; ``measure`` returns what it could not."""

    part: str
    what: str
    measure: Callable[[Say], Iterable[Unmeasured]]


@dataclass
class Outcome(Generic[R]):
    """All finished runs of the folder, what could not be measured, whether it came to its end, and the engines."""

    records: list[R] = field(default_factory=list)
    unmeasured: list[Unmeasured] = field(default_factory=list)
    complete: bool = True
    engines: dict[str, str] = field(default_factory=dict)


def measure_all(works: Sequence[Measurement], report: OnProgress | None) -> tuple[list[Unmeasured], bool]:
    """Measure one after the other; what could not be measured, and whether all was tried: Ctrl-C ends it.

    Raises StorageError: nothing more can be kept then.
    """
    report = report or (lambda done, total, text: None)
    unmeasured = list[Unmeasured]()
    with suppress(KeyboardInterrupt, Cancelled):
        for number, work in enumerate(works):

            def say(text: str, number: int = number, what: str = work.what) -> None:
                report(number, len(works), f"{what}: {text}" if text else what)

            say("")
            try:
                unmeasured += work.measure(say)
            except (StorageError, Cancelled):
                raise
            except Exception as error:
                unmeasured.append(could_not(work.part, work.what, error))
        report(len(works), len(works), "")
        return unmeasured, True
    return unmeasured, False


def could_not(part: str, what: str, error: Exception) -> Unmeasured:
    """Something that failed. An error that is none of ours goes to the log with its traceback."""
    if isinstance(error, AutoPromptSAMError):
        return Unmeasured(part, what, str(getattr(error, "reason", error)))
    logger.warning("%s could not be measured.", what, exc_info=error)
    return Unmeasured(part, what, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def about(content: Mapping[str, Any], sentence: str, weights: Mapping[str, str]) -> list[str]:
    """The head of a report: the commands, a ``sentence`` about the settings, the machine, and each model's weights."""
    found = content["environment"]
    lines = [
        *run_folder.call_lines(content),
        f"{sentence} {machine_text(found['machine'])}",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()) + ".",
        "",
    ]
    for name, text in weights.items():
        engine = found.get("engines", {}).get(name)
        lines.append(f"- {name}: {text}{f', engine {engine}' if engine else ''}")
    return lines


def sections(
    parts: Mapping[str, Sequence[str]], pictures: Mapping[str, str], unmeasured: Sequence[Mapping[str, str]]
) -> list[str]:
    """The body of a report: the lines of each part that has any, its picture, and what was not measured."""
    lines = list[str]()
    for part, section in parts.items():
        if section:
            lines += [*section, ""]
            if part in pictures:
                lines += [f"![{part}]({pictures[part]})", ""]
    if unmeasured:
        body = [[entry["part"], entry["what"], entry["reason"]] for entry in unmeasured]
        lines += ["## Not measured", "", *table(["part", "what", "why"], body), ""]
    return lines

"""A benchmark's folder: one JSON file a run, kept as soon as there is one, so that nothing is measured twice.

``settings.json`` holds what decides the figures, ``calls.json`` the commands that measured into the folder, ``runs/``
a file for every run, ``results.json`` and ``report.md`` what came of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from AutoPromptSAMLib.atomic import atomic_path, storage_error
from AutoPromptSAMLib.evaluation import environment
from AutoPromptSAMLib.evaluation.errors import BenchError

SETTINGS_NAME, RESULTS_NAME, REPORT_NAME = "settings.json", "results.json", "report.md"
CALLS_NAME = "calls.json"


@dataclass(frozen=True)
class Unmeasured:
    """Something that was asked for and could not be measured, and why."""

    part: str
    what: str
    reason: str


class AnyRecord(Protocol):
    """What was measured in a run."""

    @property
    def run(self) -> Any:
        """Which run; it has a ``dataset``."""

    @property
    def source(self) -> str:
        """Hash of the dataset's description."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object."""


R = TypeVar("R", bound=AnyRecord)


class RunFolder(ABC, Generic[R]):
    """A folder of runs, opened anew or gone on with; a benchmark says where a run's file is and how it is read.

    Of its ``settings`` (JSON-ready) only ``models``, what tells the weights of each model, may get more entries.
    Raises BenchError when it holds results of other settings, StorageError when it cannot be written.
    """

    def __init__(self, path: Path, schema: str, settings: Mapping[str, Any]) -> None:
        self.path = path
        make_folder(path)
        known = path / SETTINGS_NAME
        now = {"schema": schema, **settings}
        if known.is_file():
            now["models"] = self._models(read_json(known), now)
        write_json(known, now)

    def begin(self, command: str) -> None:
        """Note that a command measures into the folder: as one that was interrupted, until ``publish`` says more."""
        _note(self.path, command, complete=False)

    def _models(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """The models so far and now; BenchError when something else differs than that there are more of them."""
        if before.get("schema") != now["schema"]:
            raise BenchError(f"{self.path} holds results of another version; choose another folder with --out.")
        models = {**before["models"], **now["models"]}
        wrong = [name for name in now if name != "models" and before.get(name) != now[name]]
        wrong += [name for name, weights in before["models"].items() if models[name] != weights]
        if wrong:
            raise BenchError(
                f"{self.path} has results of other settings ({wrong[0]}: {before.get(wrong[0], 'other weights')}, now "
                f"{now.get(wrong[0], 'these')}); give the same ones to go on, or another folder with --out."
            )
        return models

    @abstractmethod
    def file(self, run: Any) -> Path:
        """Where a run is kept."""

    @abstractmethod
    def parse(self, content: Mapping[str, Any]) -> R:
        """The record in a file's content."""

    def read(self, run: Any, source: str) -> R | None:
        """The record of a run; None when there is none.

        Raises BenchError when it was measured on another ``source``, that is, the dataset was described differently.
        """
        path = self.file(run)
        if not path.is_file():
            return None
        record = self.parse(read_json(path))
        if record.source != source:
            raise BenchError(
                f"{run.dataset} is described differently than when {path} was measured; choose another folder with "
                "--out."
            )
        return record

    def write(self, record: R) -> None:
        """Keep what was measured of a run. Raises StorageError."""
        path = self.file(record.run)
        make_folder(path.parent)
        write_json(path, record.to_json())

    def records(self) -> Iterator[R]:
        """All runs, of this call and of earlier ones, in the order of their files' names."""
        for path in sorted((self.path / "runs").rglob("*.json")):
            yield self.parse(read_json(path))


def publish(
    folder: Path,
    content: Mapping[str, Any],
    engines: Mapping[str, str],
    markdown: Callable[[Mapping[str, Any], Mapping[str, str]], str],
    draw: Callable[[], Mapping[str, str]] | None,
) -> str:
    """Write ``results.json``, the plots that ``draw`` makes, and the report, which is returned.

    ``content`` of the results gets what is known of this machine, and all commands that measured into the folder: its
    "command" is complete or not as it says. Raises StorageError.
    """
    calls = _note(folder, content["command"], content["complete"])
    found = {"machine": environment.machine(), "versions": environment.versions(), "engines": dict(engines)}
    content = {**content, "environment": found, "calls": calls}
    with atomic_path(folder / RESULTS_NAME) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    text = markdown(content, {} if draw is None else draw())
    with atomic_path(folder / REPORT_NAME) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def call_lines(content: Mapping[str, Any]) -> list[str]:
    """The commands that measured what is in ``results.json``, a paragraph each, the last one last.

    Those that were interrupted, or made by other code or on another machine than the last, say so.
    """
    calls = content.get("calls") or [{"command": content["command"], "complete": content["complete"]}]
    last, lines = calls[-1], []
    for call in calls:
        remarks = [] if call["complete"] else ["interrupted: give it again to finish it"]
        remarks += [f"{what} {call[what]}" for what in ("code", "machine") if call.get(what) != last.get(what)]
        lines += [f"`{call['command']}`" + (f" ({'; '.join(remarks)})" if remarks else ""), ""]
    return [*lines, f"Code {last['code']}.", ""] if "code" in last else lines


def _note(folder: Path, command: str, complete: bool) -> list[dict[str, Any]]:
    """Keep a command as the last one of the folder; all of them."""
    path = folder / CALLS_NAME
    calls = read_json(path)["calls"] if path.is_file() else []
    machine = environment.machine_line()
    now = {"command": command, "complete": complete, "code": environment.code(), "machine": machine}
    calls = [*(call for call in calls if call["command"] != command), now]
    write_json(path, {"calls": calls})
    return calls


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error


def slug(text: str) -> str:
    """A file name; names that would become the same one are told apart by a piece of their hash."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", text) or "_"
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file. Raises BenchError when it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise BenchError(f"{path} cannot be read; remove it, and it is measured again.")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all. Raises StorageError."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

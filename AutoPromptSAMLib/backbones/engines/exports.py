"""Exported networks on disk: made once for a model and a machine, checked before use, discarded when old.

A folder ``<home>/engines/<key>`` holds what an engine's exporter wrote and ``verdict.json``, written last: the sizes
and checksums of the files, and how far their output was from PyTorch's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.zoo.store import home

_VERDICT = "verdict.json"
# An export of another version of the packages, or of weights that are gone, is not used again. A choice.
_KEPT_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True)
class Verdict:
    """What came of an export: the largest difference of a logit from PyTorch's, and its files' size and CRC-32."""

    difference: float
    files: dict[str, tuple[int, int]]


def export_folder(*parts: str) -> Path:
    """Where the export of what ``parts`` name (weights, versions, processor) belongs."""
    return home() / "engines" / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Only one process at a time is inside for a folder, which exists then. OSError when it cannot be made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_name(f"{folder.name}.lock")):
        folder.mkdir(exist_ok=True)
        yield


def read_verdict(folder: Path) -> Verdict | None:
    """The verdict on the export in ``folder``; None when there is none or a file of it is missing or damaged."""
    path = folder / _VERDICT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): (int(size), int(crc)) for name, (size, crc) in content["files"].items()}
        verdict = Verdict(float(content["difference"]), files)
        if any(_content(folder / name) != expected for name, expected in files.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # in use: see discard_old
    return verdict


def write_verdict(folder: Path, files: Sequence[str], difference: float) -> Verdict:
    """Declare the export in ``folder`` complete. Raises StorageError."""
    verdict = Verdict(difference, {name: _content(folder / name) for name in files})
    with atomic_path(folder / _VERDICT) as path:
        path.write_text(json.dumps(asdict(verdict)), encoding="utf-8")
    return verdict


def discard_old(folder: Path) -> None:
    """Delete the exports beside ``folder`` that nothing has used for a month."""
    for verdict in folder.parent.glob(f"*/{_VERDICT}"):
        with contextlib.suppress(OSError):
            if verdict.parent != folder and time.time() - verdict.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(verdict.parent)


def _content(path: Path) -> tuple[int, int]:
    """Size and CRC-32."""
    size = crc = 0
    with open(path, "rb") as stream:
        while block := stream.read(2**20):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc

from __future__ import annotations

from pathlib import Path

import pytest

from AutoPromptSAMLib.supports import SupportLibrary, SupportObject, SupportSet

from .kept import RED, pair, task_file


@pytest.fixture
def library(tmp_path: Path) -> SupportLibrary:
    return SupportLibrary(tmp_path / "supports")


@pytest.fixture
def filled(library: SupportLibrary, tmp_path: Path) -> SupportSet:
    made = library.create("eyes", [SupportObject("disc", RED, "SCT^1")])
    made = library.add_pairs(made.id, [pair(0), pair(1, cup=False)])
    return library.attach_task(made.id, task_file(tmp_path / "task.safetensors"))

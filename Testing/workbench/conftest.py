"""Hosts without a widget, on the real slicer-core."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("slicer")
from AutoPromptSAMLib.supports import SupportLibrary
from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk

from ..mrml.conftest import host, person, reader, scene

__all__ = ["host", "person", "reader", "scene"]


@pytest.fixture
def desk(tmp_path: Path) -> ExamplesDesk:
    """An empty library."""
    return ExamplesDesk(SupportLibrary(tmp_path / "supports"))

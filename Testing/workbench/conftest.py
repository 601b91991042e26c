"""Hosts without a widget, on the real slicer-core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer")
from AutoPromptSAMLib.supports import SupportLibrary
from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk

from ..mrml.conftest import host, reader, scene
from ..mrml.test_automatic import Person

__all__ = ["host", "reader", "scene"]


@pytest.fixture
def person(scene: Any) -> Iterator[Person]:
    """A host whose session finds what is bright in place of what examples show."""
    person = Person(scene)
    yield person
    person.session.pause.set()
    person.close()


@pytest.fixture
def desk(tmp_path: Path) -> ExamplesDesk:
    """An empty library."""
    return ExamplesDesk(SupportLibrary(tmp_path / "supports"))

"""What the tests in a real browser share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .served import browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


@pytest.fixture
def home(model_home: Path, tmp_path: Path) -> Path:
    """A home folder with the model and the sample, and no work of anybody."""
    return own_home(model_home, tmp_path / "home")


@pytest.fixture(scope="module")
def shared_home(model_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for all tests of a file."""
    return own_home(model_home, tmp_path_factory.mktemp("web") / "home")


def own_home(model_home: Path, own: Path) -> Path:
    own.mkdir()
    for part in model_home.iterdir():
        if part.is_symlink():
            (own / part.name).symlink_to(part.resolve())
    return own

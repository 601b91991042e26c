"""What the tests in a real browser share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .served import Desk, Served, browser, browser_path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if browser_path() is None and not os.environ.get("AUTOPROMPTSAM_NEED_BROWSER"):
        pytest.skip("there is no Chromium here; install the package chromium")
    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def desk(chromium: Any, shared_home: Path) -> Iterator[Desk]:
    """A page for all tests of a file, on which each opens an image of its own."""
    served = Served(home=shared_home)
    desk = Desk(chromium, served.address)
    yield desk
    assert desk.errors == []
    desk.close()
    served.stop()
    assert "Traceback" not in "".join(served.output)


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

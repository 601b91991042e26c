"""The desktop for each test, with a home folder of its own: no model, no examples, no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .double import Desktop
    from .hands import Hands

try:
    import trame_slicer  # noqa: F401
    from PySide6 import QtWidgets  # noqa: F401
except ImportError:  # of the system's libegl1 and libgl1, too
    if os.environ.get("AUTOPROMPTSAM_NEED_DESKTOP"):
        raise
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def desktop(tmp_path: Path, home: Path) -> Iterator[Desktop]:
    from .double import Desktop

    with Desktop(tmp_path / "slicer") as opened:
        yield opened


@pytest.fixture
def hands(desktop: Desktop) -> Hands:
    """The module with nothing chosen."""
    from .hands import Hands

    return Hands(desktop)


@pytest.fixture
def two_balls(hands: Hands) -> Hands:
    """The module with an image of two balls that touch nothing, and a network that finds what is bright in a box."""
    from ..threshold_backbone import ThresholdBackbone
    from .hands import AFFINE, LEFT, RIGHT, balls

    hands.open(hands.desktop.add_volume(balls(LEFT, RIGHT), AFFINE, "balls"), ThresholdBackbone())
    return hands

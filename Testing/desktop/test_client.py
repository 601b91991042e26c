"""The module as the client of a server: nothing that computes models is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

from ..remote_server import TOKEN, Town
from ..server.conftest import Line
from ..threshold_backbone import ThresholdBackbone
from .double import Desktop
from .hands import AFFINE, LEFT, RIGHT, Hands, balls
from .test_prompting import on_slice

COMPUTES = ("torchvision", "timm", "segment_anything", "kornia", "openvino", "mambapy", "safetensors")


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    town = Town()
    yield town
    town.close()


@pytest.fixture
def line(town: Town) -> Iterator[Line]:
    line = Line(town.port)
    yield line
    line.close()


@pytest.fixture
def client(tmp_path: Path, home: Path, town: Town) -> Iterator[tuple[Hands, Any]]:
    """The module of a client, and the server that it does not know yet."""
    site = town.open(ThresholdBackbone())
    with Desktop(tmp_path / "slicer") as desktop, desktop.missing(*COMPUTES):
        hands = Hands(desktop)
        desktop.find("InstallPanel/clientOnlyCheck").click()
        desktop.raise_errors()
        yield hands, site


def connect(hands: Hands, address: str, token: str = TOKEN) -> None:
    hands.desktop.find("ModelsPanel/serverEdit").text = address
    hands.desktop.find("ModelsPanel/tokenEdit").text = token
    hands.press("ModelsPanel/useServerButton")
    hands.wait(lambda: not hands.desk.page.models.models.busy)


def test_a_box_becomes_a_segment_on_the_server(client: tuple[Hands, Any]) -> None:
    hands, site = client
    assert hands.desk.ready
    connect(hands, site.address)
    assert hands.text("StatusPanel/deviceTag") == "Server"
    assert "images are sent there" in hands.text("ModelsPanel/deviceLabel")
    hands.open(hands.desktop.add_volume(balls(LEFT, RIGHT), AFFINE, "balls"))
    hands.around(LEFT)
    hands.wait(lambda: hands.voxels().any())
    assert np.array_equal(hands.voxels()[LEFT[2]], on_slice(hands, LEFT))
    hands.press("AutomaticPanel/runButton")
    hands.settle(60)
    assert hands.voxels()[8:13].any(axis=(1, 2)).all()
    hands.press("StatusPanel/undoButton")
    hands.settle()
    assert hands.voxels().any(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize(("token", "address"), [("wrong", None), (TOKEN, "http://127.0.0.1:9")])
def test_a_server_that_refuses_or_is_not_there_says_so(
    client: tuple[Hands, Any], token: str, address: str | None
) -> None:
    hands, site = client
    connect(hands, address or site.address, token)
    assert hands.message.endswith(".")
    assert "went wrong" not in hands.message
    assert hands.desktop.find("ModelsPanel/useServerButton").enabled
    assert hands.desk.engine is None


def test_a_server_that_is_lost_loses_nothing_here(client: tuple[Hands, Any], line: Line) -> None:
    hands, site = client
    connect(hands, site.address_at(line.port))
    hands.open(hands.desktop.add_volume(balls(LEFT, RIGHT), AFFINE, "balls"))
    hands.around(LEFT)
    hands.wait(lambda: hands.voxels().any())
    voxels = hands.voxels()
    line.cut()
    hands.around(RIGHT)
    hands.wait(lambda: hands.message.endswith("."))
    assert "went wrong" not in hands.message
    assert np.array_equal(hands.voxels(), voxels)
    assert len(hands.segmenter.prompts()) == 2
    line.mend()
    hands.desktop.key("Del")
    hands.around(RIGHT)
    hands.wait(lambda: hands.voxels()[RIGHT[2], RIGHT[1], RIGHT[0]])


def test_models_can_be_run_here_after_all(client: tuple[Hands, Any]) -> None:
    hands, _ = client
    hands.press("ModelsPanel/runHereButton")
    assert not hands.desk.client_only
    assert hands.desktop.find("InstallPanel").visible
    assert hands.desktop.installed == []

"""A noisy image with two ellipsoids for the real LiteMedSAM, and sessions that share what it encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from AutoPromptSAMLib.backbones import Backbone
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.geometry import Plane, Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.prompts import Box
from AutoPromptSAMLib.session.local import LocalSession

from ..threshold_backbone import ThresholdBackbone

if TYPE_CHECKING:
    from ..remote_server import Town

MakeSession = Callable[..., LocalSession]


@dataclass(frozen=True)
class Phantom:
    """``volume`` and the masks (k, j, i) of what is in it."""

    volume: Volume
    truth: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """7 oblique slices of 128 x 128 with a bright and a middling ellipsoid on a ramp."""
    k, j, i = np.mgrid[:7, :128, :128]
    array = 300 + i + np.random.default_rng(0).normal(0, 12, k.shape)
    large = ((k - 3) / 4) ** 2 + ((j - 60) / 28) ** 2 + ((i - 46) / 22) ** 2 < 1
    small = ((k - 3) / 2.5) ** 2 + ((j - 66) / 14) ** 2 + ((i - 98) / 16) ** 2 < 1
    array[large] += 400
    array[small] += 250
    turn = np.radians(20)
    affine = np.eye(4)
    axes = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, -1, 0], [np.sin(turn), 0, np.cos(turn)]])
    affine[:3, :3] = axes * [1, 1, 3]
    affine[:3, 3] = [-50, 80, 1200]
    volume = Volume(np.rint(array).astype(np.int16), VolumeGeometry(array.shape, affine), "MR", "phantom")
    return Phantom(volume, {"large": large, "small": small})


@pytest.fixture(scope="session")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embeddings")


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    pytest.importorskip("uvicorn", reason="the extra `server` is not installed")
    from ..remote_server import Town

    town = Town()
    yield town
    town.close()


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the model is: all that a session promises holds for both."""
    return str(request.param)


@pytest.fixture
def open_session(place: str, request: pytest.FixtureRequest) -> Iterator[MakeSession]:
    """Makes sessions without an image, as ``LocalSession`` does; ``session.backbone`` is the one that computes."""
    sessions: list[LocalSession] = []

    def make(
        backbone: Backbone | None = None, cache: EmbeddingCache | None = None, runs_folder: Path | None = None
    ) -> LocalSession:
        backbone = ThresholdBackbone() if backbone is None else backbone
        if place == "local":
            session = LocalSession(backbone, cache, runs_folder)
        else:
            town: Town = request.getfixturevalue("town")
            session = town.open(backbone, cache=cache, runs_folder=runs_folder).client()
            session.backbone = backbone  # for tests that count; it has none of its own
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.close(cancel=True)


@pytest.fixture
def lite_session(
    open_session: MakeSession, lite: Backbone, phantom: Phantom, embeddings: Path
) -> Callable[..., LocalSession]:
    """Makes sessions on the phantom, with LiteMedSAM, as a process would that was just started."""

    def make(runs: Path | None = None) -> LocalSession:
        session = open_session(lite, EmbeddingCache(embeddings), runs)
        session.set_image(phantom.volume)
        return session

    return make


@pytest.fixture
def threshold_session(open_session: MakeSession) -> Callable[..., LocalSession]:
    """Makes sessions on an image for the network that is none."""

    def make(volume: Volume, runs: Path | None = None) -> LocalSession:
        session = open_session(runs_folder=runs)
        session.set_image(volume)
        return session

    return make


def box_around(mask: np.ndarray, plane: Plane) -> Box:
    """The tight box around a mask (rows, cols) of a plane."""
    rows, cols = np.nonzero(mask)
    return Box.on_plane(plane, (cols.min(), rows.min(), cols.max(), rows.max()))


def slice_box(volume: Volume, truth: np.ndarray, axis: int, index: int) -> Box:
    """The tight box around what ``truth`` (k, j, i) has on one slice."""
    plane = slice_plane(volume.geometry, axis, index, square_pixels=False)
    return box_around(truth.take(index, axis=axis), plane)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())

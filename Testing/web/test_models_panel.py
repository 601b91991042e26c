"""The dialog of models without a browser: downloads that are stopped, that fail and that end, and loading."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("trame_slicer")

from AutoPromptSAMLib import backbones, zoo
from AutoPromptSAMLib.errors import Cancelled, DownloadError, ModelError
from AutoPromptSAMLib.web.app import WebApp
from AutoPromptSAMLib.zoo import DEFAULT_MODEL

from ..threshold_backbone import ThresholdBackbone
from .pages import application, do, settle, told


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with application("models-test", tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(autouse=True)
def fresh(app: WebApp) -> None:
    app.state.update({"toasts": [], "model": "", "model_title": "", "models_open": True})


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were loaded; loading gives a network that needs no weights."""
    names: list[str] = []

    def load(card: Any, device: str) -> ThresholdBackbone:
        names.append(card.name)
        return ThresholdBackbone()

    monkeypatch.setattr(backbones, "load_backbone", load)
    return names


def fetching(monkeypatch: pytest.MonkeyPatch, come: Callable[[Callable[[], bool]], None]) -> None:
    """Weights come as ``come(is_cancelled)`` does, after half of them were there."""

    def ensure(card: Any, progress: Callable[[int, int | None], None], cancelled: Callable[[], bool]) -> None:
        progress(1, 2)
        come(cancelled)

    monkeypatch.setattr(zoo, "ensure", ensure)


def test_a_download_shows_how_far_it_is_and_the_first_model_is_used(
    app: WebApp, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = threading.Event()
    fetching(monkeypatch, lambda _: arrived.wait(10) or None)
    do(app, "model_fetch", DEFAULT_MODEL)
    settle(app, lambda: app.state.model_fetched == 50)
    assert app.state.model_fetching == DEFAULT_MODEL
    arrived.set()
    settle(app, lambda: app.state.model == DEFAULT_MODEL)
    assert loads == [DEFAULT_MODEL]
    assert not app.state.model_fetching
    assert not app.state.models_open


def test_a_stopped_download_loads_nothing(app: WebApp, loads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def come(cancelled: Callable[[], bool]) -> None:
        for _ in range(200):
            if cancelled():
                raise Cancelled("Stopped.")
            threading.Event().wait(0.02)
        raise AssertionError("nobody stopped it")

    fetching(monkeypatch, come)
    do(app, "model_fetch", DEFAULT_MODEL)
    settle(app, lambda: app.state.model_fetched == 50)
    do(app, "model_cancel")
    settle(app, lambda: not app.state.model_fetching)
    assert "go on from there" in told(app)
    assert loads == []
    assert len(app.state.toasts) == 1


def test_a_download_that_fails_says_why_once(app: WebApp, loads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def come(cancelled: Callable[[], bool]) -> None:
        raise DownloadError("The server does not answer; try again later.")

    fetching(monkeypatch, come)
    do(app, "model_fetch", DEFAULT_MODEL)
    settle(app, lambda: bool(app.state.toasts))
    settle(app, lambda: not app.state.model_fetching)
    assert [toast["text"] for toast in app.state.toasts] == ["The server does not answer; try again later."]
    assert loads == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ModelError("These weights are damaged; download them again."), "These weights are damaged"),
        (MemoryError(), "Something went wrong"),
    ],
)
def test_a_model_that_cannot_be_loaded_leaves_the_one_before(
    app: WebApp, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    app.state.update({"model": DEFAULT_MODEL, "model_title": "LiteMedSAM · CPU"})

    def load(card: Any, device: str) -> ThresholdBackbone:
        raise error

    monkeypatch.setattr(backbones, "load_backbone", load)
    do(app, "model_use", "mobile-sam")
    settle(app, lambda: bool(app.state.toasts))
    assert told(app).startswith(text)
    assert (app.state.model, app.state.model_title) == (DEFAULT_MODEL, "LiteMedSAM · CPU")

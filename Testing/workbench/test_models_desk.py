"""Models that are loaded and downloaded, without a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from AutoPromptSAMLib.errors import Cancelled, ModelError
from AutoPromptSAMLib.workbench import model_rows
from AutoPromptSAMLib.workbench.engines import engine_here
from AutoPromptSAMLib.workbench.models_desk import ModelsDesk, Offers

from ..threshold_backbone import ThresholdBackbone

HERE = ("lite-medsam", "mobile-sam")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> ModelsDesk:
    """A desk of a computer with two models; loading gives a stand-in."""
    monkeypatch.setattr(model_rows, "is_installed", lambda card: card.name in HERE)
    monkeypatch.setattr("AutoPromptSAMLib.backbones.load_backbone", lambda card, device: (card.name, device))
    desk = ModelsDesk()
    desk.list()
    return desk


def test_the_chosen_model_is_wanted_until_it_was_tried(desk: ModelsDesk) -> None:
    assert desk.wanted("mobile-sam", "auto") == "mobile-sam"
    assert desk.wanted("sam-vit-h", "auto") == "lite-medsam"  # it is not here: the default
    load = desk.load("mobile-sam", "auto")
    assert desk.wanted("mobile-sam", "cpu") == ""  # not two at a time
    with pytest.raises(ModelError, match="being loaded already"):
        desk.load("lite-medsam")
    assert load() == ("mobile-sam", "auto")
    desk.loaded(True)
    assert (desk.used, desk.loading) == ("mobile-sam", "")
    assert desk.wanted("mobile-sam", "auto") == ""
    assert desk.wanted("", "auto") == ""  # a scene that names none keeps it
    assert desk.wanted("mobile-sam", "cpu") == "mobile-sam"


def test_a_model_that_could_not_be_loaded_leaves_the_one_before_in_use(desk: ModelsDesk) -> None:
    desk.load("lite-medsam")
    desk.loaded(True)
    desk.load("mobile-sam")
    assert desk.busy
    desk.loaded(False)
    assert desk.used == "lite-medsam"
    assert desk.wanted("mobile-sam", "auto") == ""  # not again by itself
    assert desk.offers("mobile-sam", False).use  # but by the person
    with pytest.raises(ModelError, match="in use"):
        desk.delete("lite-medsam")


def test_a_server_takes_the_place_of_the_model(desk: ModelsDesk) -> None:
    desk.load("lite-medsam")
    desk.loaded(True)
    with pytest.raises(ModelError, match="Type the server's address"):
        desk.ask_server("", "token", print)
    assert not desk.busy
    desk.ask_server("http://there", "token", print)
    desk.loaded(False)
    assert desk.used == "lite-medsam"
    desk.ask_server("http://there", "token", print)
    desk.loaded(True)
    assert desk.used == ""
    assert desk.wanted("lite-medsam", "auto") == "lite-medsam"


def test_what_is_offered(desk: ModelsDesk) -> None:
    assert desk.offers(None, True) == Offers(False, False, False, False, False)
    assert desk.offers("mobile-sam", False) == Offers(True, True, False, False, False)
    assert not desk.offers("mobile-sam", False, computes=False).use
    assert desk.offers("sam-vit-b", False) == Offers(False, False, True, False, False)
    assert desk.offers("sam-vit-b", True) == Offers(False, False, True, True, False)
    desk.fetch("sam-vit-b", print)
    assert desk.offers("sam-vit-b", True) == Offers(False, False, False, False, True)
    assert not desk.offers("mobile-sam", False).use


def test_a_download_tells_each_percent_once_and_can_be_stopped(
    desk: ModelsDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(card: Any, progress: Any, cancel: Any) -> Path:
        for done, total in ((0, None), (5, None), (0, 1000), (1, 1000), (500, 1000)):
            progress(done, total)
        if cancel():
            raise Cancelled("Stopped.")
        return Path(card.name)

    monkeypatch.setattr("AutoPromptSAMLib.zoo.ensure", ensure)
    seen: list[int | None] = []
    fetch = desk.fetch("sam-vit-b", seen.append)
    assert desk.fetching == "sam-vit-b"
    fetch()
    assert seen == [None, 0, 50]
    desk.fetched()
    assert not desk.busy
    fetch = desk.fetch("sam-vit-b", seen.append)
    desk.stop()
    with pytest.raises(Cancelled):
        fetch()


def test_a_model_in_this_process_in_words() -> None:
    engine = engine_here(ThresholdBackbone())
    assert (engine.word, engine.is_far) == ("CPU", False)
    assert engine.text.endswith("runs on the CPU (a threshold; slower than on a GPU).")


def test_a_card_as_rich_text(desk: ModelsDesk) -> None:
    text = model_rows.card_text(desk.rows["lite-medsam"])
    assert text.startswith("<b>Takes</b> boxes · <b>sees</b> 256 pixels<br>")
    assert desk.rows["lite-medsam"].licence_url in text
    assert model_rows.where_text(desk.rows["lite-medsam"]).endswith("· here")
    assert model_rows.where_text(desk.rows["sam-vit-b"]).endswith(" MB")

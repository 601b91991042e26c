"""``autopromptsam learn`` on pictures from disk, with a small random model in place of a real one."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from AutoPromptSAMLib import learning_commands
from AutoPromptSAMLib.backbones.lora import RANK, rank_of
from AutoPromptSAMLib.backbones.multi_prompt_adapter import load_adapted
from AutoPromptSAMLib.backbones.tensor_file import content_sha256
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.weights import load_task
from AutoPromptSAMLib.training import adapter, general
from AutoPromptSAMLib.training.preview import Preview

from .conftest import Run
from .prompters.scenes import TINY, random_backbone, scene
from .training.sets import picture_set

FEW = ("--object", "disc", "--shots", 4, "--steps", 1, "--from-scratch")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four pictures with a disc each, in a home of the test's own."""
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(learning_commands, "_backbone", lambda model, device: random_backbone())
    picture_set(tmp_path / "data", 4)
    return tmp_path / "data"


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when a command gets so far as to need its model."""
    monkeypatch.setattr(learning_commands, "_backbone", lambda *_: pytest.fail("the model was loaded"))


def test_what_was_left_out_is_told_and_the_rest_is_learned(run: Run, data: Path, tmp_path: Path) -> None:
    (data / "1.png").unlink()
    (data / "2_label.png").write_bytes(b"no image")
    output = tmp_path / "disc [x].safetensors"
    outcome = run("learn", "--data", data, *FEW, "--object", "disc", "-o", output)
    assert outcome.code == 0, outcome.err
    said = [line for line in outcome.err.splitlines() if "left out" in line]
    assert len(said) == 2
    assert sum('"1"' in line and "1.png does not exist" in line for line in said) == 1
    assert sum('"2"' in line and "2_label.png is damaged" in line for line in said) == 1
    assert outcome.out.strip() == str(output)
    assert "[x].safetensors" in outcome.err
    assert output.is_file()
    with Image.open(output.with_suffix(".preview.png")) as picture:
        assert picture.width > 0
    assert not output.with_suffix(".part").exists()


def test_the_model_learns_too_where_somebody_asks_for_it(run: Run, data: Path, tmp_path: Path) -> None:
    for option, rank in (("--lora", RANK), ("--no-lora", 0)):
        output = tmp_path / f"disc{option}.safetensors"
        outcome = run("learn", "--data", data, *FEW, option, "-o", output)
        assert outcome.code == 0, outcome.err
        assert rank_of(load_task(output, random_backbone()).additions) == rank
        assert ("nine times as long" in outcome.err) == bool(rank)


def test_a_place_that_takes_no_file_is_told_before_the_work(
    run: Run, data: Path, tmp_path: Path, no_work: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (["learn", *FEW], ["train"]):
        outcome = run(*command, "--data", data, "-o", tmp_path / "nowhere" / "disc.safetensors")
        assert (outcome.code, outcome.err.count("Error:")) == (1, 1)
        assert "could not be written" in outcome.err
    taken = tmp_path / "disc.preview.png"
    taken.mkdir()
    outcome = run("learn", "--data", data, *FEW, "-o", tmp_path / "disc.safetensors")
    assert (outcome.code, outcome.err.count("Error:")) == (1, 1)
    assert "disc.preview.png could not be written" in outcome.err
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=99_000_000))
    outcome = run("learn", "--data", data, *FEW, "-o", tmp_path / "other.safetensors")
    assert (outcome.code, outcome.err.count("Error:")) == (1, 1)
    assert "99 MB free" in outcome.err


def test_wrong_use_is_one_sentence(run: Run, data: Path, tmp_path: Path, no_work: None) -> None:
    output = tmp_path / "disc.safetensors"
    outcome = run("learn", "--data", data, "--object", "[/red]", "-o", output)
    assert (outcome.code, outcome.err.count("Error:")) == (1, 1)
    assert "0 images of [/red]" in outcome.err
    assert run("learn", "--data", tmp_path / "nowhere", *FEW, "-o", output).code == 1
    assert run("learn", "--data", data, *FEW, "-o", tmp_path / "disc.pt").code == 2


def test_a_picture_that_cannot_be_written_stops_nothing_and_is_told_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, masks = scene(0)
    truth = np.stack(list(masks.values()))
    write = learning_commands._preview_writer(tmp_path / "nowhere" / "disc.preview.png")
    write(Preview(1, 2, 0.5, "a", image, truth, truth))
    write(Preview(2, 2, 0.5, "a", image, truth, truth))
    assert capsys.readouterr().err.count("without its picture") == 1


@pytest.mark.parametrize("ended", [False, True])
def test_an_adapter_is_trained_and_loads_again(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    train = adapter.train_adapter

    def short(*given: Any) -> Any:
        backbone, sources, settings, control = given
        control.cancelled = False
        history = train(backbone, sources, replace(settings, steps=2, images=1, prompts=2), control)
        control.cancelled = ended  # as Ctrl-C sets it
        return history

    monkeypatch.setattr(adapter, "train_adapter", short)
    output = tmp_path / "mpa.safetensors"
    outcome = run("train-adapter", "--data", data, "-o", output)
    assert outcome.code == (130 if ended else 0), outcome.err
    assert outcome.out.strip() == str(output)
    assert ("what was trained so far is in the file" in outcome.err) == ended
    assert "Interrupted" not in outcome.err
    plain = random_backbone()
    digest = re.search(r"[0-9a-f]{64}", outcome.err)
    assert digest is not None
    own = load_adapted(output, plain, plain.card, digest[0])
    assert own.fingerprint != plain.fingerprint


def test_general_weights_go_on_from_others_and_say_so(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, given = general.train_general, []

    def short(backbone: Any, sources: Any, settings: Any, control: Any, checkpoint: Any, start: Any) -> Any:
        given.append(start)
        return train(backbone, sources, replace(settings, steps=1), control, checkpoint, start)

    monkeypatch.setattr(general, "train_general", short)
    monkeypatch.setattr(ProxyPromptConfig, "small", classmethod(lambda cls, memory=False: TINY))
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    for output, more in ((first, ()), (second, ("--start", first))):
        outcome = run("train", "--data", data, "-o", output, *more)
        assert outcome.code == 0, outcome.err
    header = load_task(second, random_backbone()).header
    assert given[0] is None
    assert content_sha256(given[1].state_dict()) == load_task(first, random_backbone()).header.sha256
    assert header.info["started_from"] == "first.safetensors"
    assert any((tmp_path / "home" / "training").iterdir()), "what was encoded stays for the next run"
    outcome = run("train", "--data", data, "-o", second, "--start", tmp_path / "nowhere.safetensors")
    assert (outcome.code, outcome.err.count("Error:")) == (1, 1)
    assert "nowhere.safetensors" in outcome.err

from __future__ import annotations

import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones import lora
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.backbones.lora import rank_of
from AutoPromptSAMLib.errors import Cancelled, PromptError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.prompters.proxy_prompt.weights import Task, load_task
from AutoPromptSAMLib.prompts import Box
from AutoPromptSAMLib.session.learning import learn_from
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.supports.pairs import SupportObject, SupportPair, SupportSet
from AutoPromptSAMLib.training.episodes import Teacher

from ..prompters.scenes import random_backbone, scene

BRIEF = 0.0005  # minutes: one step


@pytest.fixture(scope="module")
def backbone():  # type: ignore[no-untyped-def]
    return random_backbone()


def pictures(count: int) -> SupportSet:
    pairs = []
    for seed in range(count):
        image, masks = scene(seed)
        pairs.append(SupportPair.of(f"picture {seed}", image, masks))
    objects = tuple(SupportObject(name, (1.0, 0.5, 0.0)) for name in ("disc", "square"))
    return SupportSet("0" * 8, "pictures", objects, tuple(pairs))


def test_a_set_of_examples_becomes_a_task(backbone, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    previews, said = [], []
    control = Control(lambda progress: said.append(progress.text))
    result = learn_from(pictures(8), backbone, EmbeddingCache(None), tmp_path, BRIEF, control, previews.append)
    assert result.complete
    assert result.steps == 1
    assert result.dice is not None
    task = load_task(result.task, backbone)
    network, header = task.network, task.header
    assert header.info["objects"] == ["disc", "square"]
    assert header.info["supports"] == 8
    assert previews[0].mask.shape[0] == 2
    assert said[0].startswith("Preparing view 1 of")
    again = SupportSet("0" * 8, "pictures", pictures(3).objects, pictures(3).pairs, {backbone.card.name: result.task})
    other = learn_from(again, backbone, EmbeddingCache(None), tmp_path, BRIEF, Control(), None)
    changed = load_task(other.task, backbone).network
    # It went on from the set's own task: one more step is a small one.
    for name, value in network.state_dict().items():
        assert np.allclose(value.numpy(), changed.state_dict()[name].numpy(), atol=0.01)


def test_with_a_gpu_the_model_learns_too_and_without_one_learning_starts_anew(  # type: ignore[no-untyped-def]
    backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learned(task: Path | None, rank: int, folder: str) -> Task:
        monkeypatch.setattr(lora, "rank_for", lambda backbone: rank)
        examples = replace(pictures(4), tasks={} if task is None else {backbone.card.name: task})
        result = learn_from(examples, backbone, EmbeddingCache(None), tmp_path / folder, BRIEF, Control(), None)
        shutil.copy(result.task, tmp_path / f"{folder}.safetensors")
        return load_task(tmp_path / f"{folder}.safetensors", backbone)

    first = learned(None, 2, "first")
    assert rank_of(first.additions) == 2
    # The rank is that of the task that learning goes on from.
    assert rank_of(learned(tmp_path / "first.safetensors", 4, "second").additions) == 2
    without = learned(tmp_path / "first.safetensors", 0, "third")
    assert without.additions == {}
    anew = learned(None, 0, "fourth").network.state_dict()
    for name, value in without.network.state_dict().items():
        torch.testing.assert_close(value, anew[name], atol=2e-5, rtol=0)  # another step would be five times that


def test_a_gpu_that_is_too_small_learns_without_changing_the_model(  # type: ignore[no-untyped-def]
    backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loss = Teacher.loss

    def full(self: Teacher, *given: object) -> torch.Tensor:
        if self.backbone is not backbone:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        assert sys.exc_info()[0] is None, "the error still holds what filled the memory"
        return loss(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(lora, "rank_for", lambda backbone: 2)
    monkeypatch.setattr(Teacher, "loss", full)
    result = learn_from(pictures(4), backbone, EmbeddingCache(None), tmp_path, BRIEF, Control(), None)
    assert load_task(result.task, backbone).additions == {}
    assert "too little memory" in caplog.text


def test_too_few_examples_are_said_and_a_cancel_leaves_nothing(backbone, tmp_path: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(PromptError, "two annotated images, not 1"):
        learn_from(pictures(1), backbone, EmbeddingCache(None), tmp_path, BRIEF, Control(), None)
    control = Control()
    control.cancel()
    with one_sentence(Cancelled, "before anything was learned"):
        learn_from(pictures(3), backbone, EmbeddingCache(None), tmp_path, BRIEF, control, None)
    assert list(tmp_path.iterdir()) == []


def test_a_click_is_answered_while_a_session_learns(backbone, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    image, _ = scene(50)
    with_runs = LocalSession(backbone, runs_folder=tmp_path / "runs")
    try:
        with_runs.set_image(Volume(image[None, ..., 0], VolumeGeometry((1, *image.shape[:2]), np.eye(4))))
        plane = slice_plane(with_runs.volume.geometry, 0, 0)
        with_runs.add_prompt("disc", Box.on_plane(plane, (10, 10, 40, 40)))
        reached = threading.Event()
        order: list[str] = []
        learning = with_runs.learn(
            pictures(4),
            minutes=60.0,
            on_progress=lambda progress: reached.set() if progress.text.startswith("Learning") else None,
            on_done=lambda job: order.append("learned"),
        )
        assert reached.wait(60)
        with_runs.segment("disc", plane, on_done=lambda job: order.append("segmented")).result()
        learning.cancel()
        result = learning.result()
        assert order[0] == "segmented"
        assert not result.complete
        assert result.task.parent == tmp_path / "tasks"
        load_task(result.task, backbone)
    finally:
        with_runs.close(cancel=True)

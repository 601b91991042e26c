"""Learning in which the model itself learns, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones.lora import Lora
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompters.proxy_prompt.weights import load_task
from AutoPromptSAMLib.training.episodes import Teacher, draw_episode
from AutoPromptSAMLib.training.learn import learn
from AutoPromptSAMLib.training.run import GpuMemoryError, Run
from AutoPromptSAMLib.training.shots import shots_of

from ..prompters.scenes import TINY, random_backbone, scene, tiny_network
from .test_learn import QUICK, Stop, pictures

LORA = replace(QUICK, lora=2)


def test_the_model_learns_with_the_network_and_the_task_has_both(tmp_path: Path) -> None:
    backbone, path = random_backbone(), tmp_path / "disc.safetensors"
    before = backbone.encode([scene(0)[0]]).embedding
    learned = learn(backbone, pictures(5, "disc"), ["disc"], replace(LORA, learning_rate=1e-2), tiny_network())
    assert learned.additions
    assert all(tensor.any() for tensor in learned.additions.values())  # what starts at zero was reached
    assert torch.equal(backbone.encode([scene(0)[0]]).embedding, before)
    learned.save(path, backbone)
    task = load_task(path, backbone)
    assert task.backbone is not backbone
    assert all(torch.equal(tensor, learned.additions[name]) for name, tensor in task.additions.items())
    assert not torch.allclose(task.backbone.encode([scene(0)[0]]).embedding, before, atol=1e-5)
    # The file answers as what was judged did.
    lora = Lora(backbone, 2)
    lora.load(learned.additions)
    found = []
    for network, by in ((learned.network, lora.backbone), (task.network, task.backbone)):
        teacher = Teacher(network, by)
        shots = shots_of(by, pictures(4, "disc"), ["disc"], TINY.canvas_size, 1, 0, keep_pixels=True)
        with torch.no_grad():
            memory = teacher.remember([shot.views[0] for shot in shots[:2]], [(0,)] * 2)
            found.append(teacher.ask(shots[3].views[0], memory).final)
    torch.testing.assert_close(found[1], found[0], atol=1e-3, rtol=1e-3)


def test_a_frozen_model_adds_nothing(tmp_path: Path) -> None:
    backbone = random_backbone()
    learned = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network())
    assert learned.additions == {}
    learned.save(tmp_path / "disc.safetensors", backbone)
    assert load_task(tmp_path / "disc.safetensors", backbone).backbone is backbone


def test_pixels_give_the_features_that_were_kept() -> None:
    backbone = random_backbone()
    shots = shots_of(backbone, pictures(4, "disc"), ["disc"], TINY.canvas_size, 2, 0, keep_pixels=True)
    frozen = shots_of(backbone, pictures(4, "disc"), ["disc"], TINY.canvas_size, 2, 0)
    assert all(view.pixels is None for shot in frozen for view in shot.views)
    teacher = Teacher(tiny_network(), backbone)
    losses = []
    for each in (shots, frozen):
        torch.manual_seed(0)
        episode = draw_episode(each, np.random.default_rng(3), supports=2, targets=1, glances=2)
        losses.append(teacher.loss(episode, False))
    torch.testing.assert_close(losses[0], losses[1], atol=2e-2, rtol=2e-3)  # kept in half precision


def test_a_killed_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    backbone, part = random_backbone(), tmp_path / "task.part"
    whole = learn(backbone, pictures(4, "disc"), ["disc"], LORA, tiny_network())
    stopped = learn(backbone, pictures(4, "disc"), ["disc"], LORA, tiny_network(), Stop(4, "Learning"), part)
    assert stopped.stopped == "cancelled"
    assert stopped.steps < whole.steps
    rest = learn(backbone, pictures(4, "disc"), ["disc"], LORA, tiny_network(), None, part)
    assert rest.steps == whole.steps
    for name, tensor in whole.additions.items():
        torch.testing.assert_close(rest.additions[name], tensor, atol=1e-5, rtol=1e-4)
    # Without LoRA it is another run, which does not go on from there.
    assert learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), None, part).additions == {}


def test_a_run_that_holds_nothing_back_goes_on_with_what_the_model_learned(tmp_path: Path) -> None:
    backbone, part = random_backbone(), tmp_path / "task.part"
    settings = replace(LORA, held_back=0)
    whole = learn(backbone, pictures(4, "disc"), ["disc"], settings, tiny_network(), None, part)
    again = learn(backbone, pictures(4, "disc"), ["disc"], settings, tiny_network(), None, part)  # nothing left to do
    assert all(tensor.any() for tensor in whole.additions.values())
    assert all(torch.equal(again.additions[name], tensor) for name, tensor in whole.additions.items())


def test_what_the_model_learned_is_kept_with_the_network_that_was_best() -> None:
    lora = Lora(random_backbone(), 2)
    run = Run(tiny_network(), lora.plain, LORA, None, "", lora)
    for number, score in enumerate((0.5, 0.9, 0.2)):
        with torch.no_grad():
            lora.parameters()[0].fill_(number)
        run._evaluated(lambda _teacher, score=score: score)
    first = next(iter(run._best_additions.values()))
    assert torch.equal(first, torch.ones_like(first))


def test_learning_starts_from_what_the_task_added_before() -> None:
    backbone = random_backbone()
    first = learn(backbone, pictures(4, "disc"), ["disc"], replace(LORA, learning_rate=1e-2), tiny_network())
    still = replace(LORA, steps=1, learning_rate=1e-12)
    again = learn(backbone, pictures(4, "disc"), ["disc"], still, first.network, additions=first.additions)
    for name, tensor in first.additions.items():
        torch.testing.assert_close(again.additions[name], tensor, atol=1e-6, rtol=1e-5)


def test_a_small_gpu_is_told(monkeypatch: pytest.MonkeyPatch, one_sentence) -> None:  # type: ignore[no-untyped-def]
    def full(self: Teacher, *_: object) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Teacher, "loss", full)
    with one_sentence(GpuMemoryError, "too little memory", "--no-lora"):
        learn(random_backbone(), pictures(4, "disc"), ["disc"], LORA, tiny_network())
    with one_sentence(ModelError, "a smaller one"):
        learn(random_backbone(), pictures(4, "disc"), ["disc"], QUICK, tiny_network())

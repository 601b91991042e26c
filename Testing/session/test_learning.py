from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.errors import Cancelled, PromptError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.prompters.proxy_prompt.weights import load_network
from AutoPromptSAMLib.prompts import Box
from AutoPromptSAMLib.session.learning import learn_from
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.supports.pairs import SupportObject, SupportPair, SupportSet

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
    return SupportSet("0" * 8, "pictures", objects, tuple(pairs), None)


def test_a_set_of_examples_becomes_a_task(backbone, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    previews, said = [], []
    control = Control(lambda progress: said.append(progress.text))
    result = learn_from(pictures(8), backbone, EmbeddingCache(None), tmp_path, BRIEF, control, previews.append)
    assert result.complete
    assert result.steps == 1
    assert result.dice is not None
    network, header = load_network(result.task, backbone)
    assert header.info["objects"] == ["disc", "square"]
    assert header.info["supports"] == 8
    assert previews[0].mask.shape[0] == 2
    assert said[0].startswith("Preparing image 1 of")
    again = SupportSet("0" * 8, "pictures", pictures(3).objects, pictures(3).pairs, result.task)
    other = learn_from(again, backbone, EmbeddingCache(None), tmp_path, BRIEF, Control(), None)
    changed = load_network(other.task, backbone)[0]
    # It went on from the set's own task: one more step is a small one.
    for name, value in network.state_dict().items():
        assert np.allclose(value.numpy(), changed.state_dict()[name].numpy(), atol=0.01)


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
        load_network(result.task, backbone)
    finally:
        with_runs.close(cancel=True)

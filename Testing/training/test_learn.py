from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones import tensor_file
from AutoPromptSAMLib.errors import Cancelled, ModelError, PromptError, StorageError
from AutoPromptSAMLib.prompters.proxy_prompt.weights import load_task
from AutoPromptSAMLib.training import learn as learn_module
from AutoPromptSAMLib.training import run as run_module
from AutoPromptSAMLib.training.episodes import Teacher, draw_episode
from AutoPromptSAMLib.training.learn import learn
from AutoPromptSAMLib.training.losses import coarse_loss
from AutoPromptSAMLib.training.run import Run, schedule
from AutoPromptSAMLib.training.settings import Settings
from AutoPromptSAMLib.training.shots import Example, shots_of

from ..prompters.scenes import TINY, random_backbone, random_sam2_backbone, scene, tiny_network

QUICK = Settings(steps=6, minutes=None, supports=2, targets=1, views=2, held_back=2, evaluate_every=2, glances=1)


@pytest.fixture(scope="module")
def backbone():  # type: ignore[no-untyped-def]
    return random_backbone()


def pictures(count: int, *objects: str) -> list[Example]:
    found = []
    for seed in range(count):
        image, masks = scene(seed)
        found.append(Example(f"picture {seed}", str(seed), image, {n: m for n, m in masks.items() if n in objects}))
    return found


class Stop:
    """Cancels at the n-th report whose text begins with ``text``."""

    def __init__(self, n: int, text: str = "") -> None:
        self.left, self.text, self.cancelled, self.said = n, text, False, []

    def report(self, done: int, total: int, text: str) -> None:
        assert 0 <= done <= total
        self.said.append(text)
        if text.startswith(self.text):
            self.left -= 1
            self.cancelled = self.left <= 0


def test_it_learns_the_square_from_eight_pictures(backbone) -> None:  # type: ignore[no-untyped-def]
    start = tiny_network(config=replace(TINY, detail_size=64))
    settings = replace(QUICK, steps=50, supports=2, targets=2, learning_rate=3e-3, evaluate_every=10)
    seen = []
    learned = learn(backbone, pictures(8, "square"), ["square"], settings, start, on_preview=seen.append)
    assert learned.stopped == "done"
    assert learned.steps == 50
    assert learned.best_dice > 0.75 > seen[0].dice
    assert learned.held_back == 2
    highest = max(preview.dice for preview in seen)
    about_as_good = [preview.dice for preview in seen if preview.dice >= highest - 0.03]
    assert learned.best_dice == pytest.approx(about_as_good[-1], abs=1e-6)
    last = seen[-1]
    assert last.image.shape == (64, 64, 3)
    assert last.mask.shape[0] == last.truth.shape[0] == 1
    assert len(learned.history) == 50
    assert not learned.network.training


def test_with_nothing_held_back_there_is_a_picture_but_no_figure(backbone) -> None:  # type: ignore[no-untyped-def]
    seen = []
    settings = replace(QUICK, steps=2, held_back=0)
    learned = learn(backbone, pictures(3, "disc"), ["disc"], settings, tiny_network(), on_preview=seen.append)
    assert [preview.step for preview in seen] == [1, 2]
    assert all(math.isnan(preview.dice) for preview in seen)
    assert math.isnan(learned.best_dice)
    assert learned.held_back == 0


def test_the_start_is_left_as_it_was(backbone) -> None:  # type: ignore[no-untyped-def]
    start = tiny_network()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    learned = learn(backbone, pictures(4, "disc"), ["disc"], replace(QUICK, held_back=0), start)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in learned.network.state_dict().items())
    assert math.isnan(learned.best_dice)


def test_blocks_are_added_to_a_start_without_them(backbone) -> None:  # type: ignore[no-untyped-def]
    learned = learn(backbone, pictures(4, "disc"), ["disc"], replace(QUICK, steps=3), tiny_network())
    assert learned.network.config == replace(TINY, fusion_blocks=3, dropout=0.25)
    assert all(block.layers[-1].weight.any() for block in learned.network.surroundings)


def test_glances_teach_the_coarse_answer_alone(backbone) -> None:  # type: ignore[no-untyped-def]
    shots = shots_of(backbone, pictures(5, "disc"), ["disc"], TINY.canvas_size, 2, 0)
    rng = np.random.default_rng(0)
    episode = draw_episode(shots, rng, supports=2, targets=1, glances=4)
    assert len(episode.glances) == 4
    assert len(episode.chosen) == 2 + 1 + 4
    shown = {id(view): shot.name for shot in shots for view in shot.views}
    supports = {shown[id(view)] for view in episode.supports}
    assert not supports & {shown[id(view)] for view in (*episode.targets, *episode.glances)}

    network = tiny_network()
    teacher = Teacher(network, backbone)
    memory = teacher.remember(episode.supports, episode.chosen[:2])
    embedding = episode.glances[0].embedding[None].float()
    with torch.no_grad():
        whole = teacher.ask(episode.glances[0], memory).coarse
    torch.testing.assert_close(network.coarse(embedding, memory), whole)
    network.zero_grad()
    coarse_loss(network.coarse(embedding, memory), torch.zeros(1, 64, 64)).backward()
    taught = {name.split(".")[0] for name, value in network.named_parameters() if value.grad is not None}
    assert taught == {"fusion", "auxiliary"}
    without = replace(episode, glances=(), chosen=episode.chosen[:3])
    with torch.no_grad():
        assert teacher.loss(episode, False) > teacher.loss(without, False)


def test_one_patient_with_most_images_is_still_learned_from(backbone) -> None:  # type: ignore[no-untyped-def]
    made = pictures(12, "disc", "square")
    few = [replace(e, group="b", masks={"disc": e.masks["disc"]}) for e in made[9:]]
    shots = shots_of(backbone, [*(replace(e, group="a") for e in made[:9]), *few], ["disc", "square"], 64, 1, 0)
    for seed in range(5):
        held, learned_from = learn_module._hold_back(shots, replace(QUICK, held_back=1, seed=seed))
        assert len(held) == 1
        assert len(learned_from) == 11
        assert sum(shot.present[1] for shot in learned_from) >= 2


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_the_seed_decides_everything(backbone, optimiser) -> None:  # type: ignore[no-untyped-def]
    settings = replace(QUICK, optimiser=optimiser, dice_only=optimiser == "sgd")
    one, same, other = (
        learn(backbone, pictures(4, "disc"), ["disc"], replace(settings, seed=seed), tiny_network())
        for seed in (1, 1, 2)
    )
    assert [entry[2] for entry in one.history] == [entry[2] for entry in same.history]
    assert [entry[2] for entry in one.history] != [entry[2] for entry in other.history]


def test_the_mean_of_the_weights_is_what_is_kept(backbone, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    settings = replace(QUICK, averaging=0.5)
    plain = learn(backbone, pictures(4, "disc"), ["disc"], replace(QUICK, held_back=0), tiny_network())
    mean = learn(backbone, pictures(4, "disc"), ["disc"], replace(settings, held_back=0), tiny_network())
    assert [entry[2] for entry in mean.history] == [entry[2] for entry in plain.history]  # the same steps
    name = "key.weight"
    assert not torch.equal(mean.network.state_dict()[name], plain.network.state_dict()[name])
    # A killed run has the same mean at the end.
    part = tmp_path / "task.part"
    learn(backbone, pictures(4, "disc"), ["disc"], settings, tiny_network(), Stop(4, "Learning"), part)
    rest = learn(backbone, pictures(4, "disc"), ["disc"], settings, tiny_network(), None, part)
    whole = learn(backbone, pictures(4, "disc"), ["disc"], settings, tiny_network())
    assert torch.equal(rest.network.state_dict()[name], whole.network.state_dict()[name])


def test_cancelled_while_learning_keeps_the_best(backbone) -> None:  # type: ignore[no-untyped-def]
    learned = learn(
        backbone, pictures(5, "disc"), ["disc"], replace(QUICK, steps=1000), tiny_network(), Stop(5, "Learning")
    )
    assert learned.stopped == "cancelled"
    assert learned.steps == 5
    assert learned.best_dice >= 0


def test_cancelled_while_encoding_says_so(backbone, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(Cancelled, "before anything was learned"):
        learn(backbone, pictures(5, "disc"), ["disc"], QUICK, tiny_network(), Stop(2, "Preparing"))


def test_a_killed_run_goes_on_to_the_same_end(backbone, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    part = tmp_path / "task.part"
    whole = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network())
    first = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), Stop(5, "Learning"), part)
    assert first.stopped == "cancelled"
    assert part.is_file()
    rest = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), None, part)
    assert rest.stopped == "done"
    assert part.is_file()  # until what was learned is on the disk
    rest.save(tmp_path / "task.safetensors", backbone)
    assert not part.exists()
    assert [entry[2] for entry in rest.history] == [entry[2] for entry in whole.history]
    assert all(
        torch.equal(value, rest.network.state_dict()[name]) for name, value in whole.network.state_dict().items()
    )


def test_another_task_does_not_go_on_from_a_checkpoint(backbone, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    part = tmp_path / "task.part"
    stopped = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), Stop(5, "Learning"), part)
    stopped.save(tmp_path / "task.safetensors", backbone)
    assert part.is_file()  # cancelled: it may be wanted to go on
    both = pictures(4, "disc", "square")
    for examples, objects, start in (
        (both, ["square"], tiny_network()),
        (pictures(5, "disc")[1:], ["disc"], tiny_network()),
        (pictures(4, "disc"), ["disc"], tiny_network(seed=1)),
    ):
        learned = learn(backbone, examples, objects, replace(QUICK, steps=2), start, None, part)
        assert [entry[0] for entry in learned.history] == [1, 2]
        fresh = learn(backbone, examples, objects, replace(QUICK, steps=2), start)
        assert [entry[2] for entry in learned.history] == [entry[2] for entry in fresh.history]


def test_a_full_disk_does_not_end_learning_and_loses_nothing(  # type: ignore[no-untyped-def]
    backbone, tmp_path: Path, monkeypatch, caplog, one_sentence
) -> None:
    part, task = tmp_path / "task.part", tmp_path / "task.safetensors"
    learned = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), None, part)

    def full(path: Path) -> None:
        raise StorageError(f"There is no room for {path}; free some.")

    monkeypatch.setattr(tensor_file, "atomic_path", full)
    with one_sentence(StorageError, "no room"):
        learned.save(task, backbone)
    assert part.is_file()
    monkeypatch.undo()
    again = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), None, part)
    assert again.steps == learned.steps  # nothing was learned anew
    again.save(task, backbone)
    assert task.is_file()
    monkeypatch.setattr(run_module, "atomic_path", full)
    on_a_full_disk = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), None, part)
    assert on_a_full_disk.stopped == "done"
    assert len([record for record in caplog.records if "no room" in record.message]) == 1


def test_cancelled_before_the_first_step_is_not_learned(backbone, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(Cancelled, "before anything was learned"):
        learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), Stop(8, "Preparing"))


def test_a_damaged_checkpoint_is_named(backbone, tmp_path: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    part = tmp_path / "task.part"
    part.write_bytes(b"nonsense")
    with one_sentence(ModelError, "task.part", "delete"):
        learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network(), None, part)


def test_it_stops_when_it_gets_no_better(backbone) -> None:  # type: ignore[no-untyped-def]
    settings = replace(QUICK, steps=400, learning_rate=1e-12, patience=3, earliest=0.0)
    learned = learn(backbone, pictures(5, "disc"), ["disc"], settings, tiny_network())
    assert learned.stopped == "early"
    assert learned.steps == 6  # the first look is the best so far, three more are not better


def test_a_later_network_that_is_about_as_good_is_kept(backbone) -> None:  # type: ignore[no-untyped-def]
    run = Run(tiny_network(), backbone, QUICK, None, "")
    kept = []
    for score in (0.5, 0.70, 0.68, 0.69, 0.60):
        run._evaluated(lambda _teacher, score=score: score)
        kept.append(run.best_dice)
    assert kept == [0.5, 0.70, 0.68, 0.69, 0.69]


def test_minutes_end_it(backbone) -> None:  # type: ignore[no-untyped-def]
    settings = replace(QUICK, steps=100000, minutes=0.02)
    assert learn(backbone, pictures(4, "disc"), ["disc"], settings, tiny_network()).steps < 1000


def test_what_was_learned_can_be_saved_and_loaded(backbone, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    learned = learn(backbone, pictures(4, "disc"), ["disc"], QUICK, tiny_network())
    learned.save(tmp_path / "disc.safetensors", backbone, {"data": "pictures"})
    task = load_task(tmp_path / "disc.safetensors", backbone)
    network, header = task.network, task.header
    assert header.info["objects"] == ["disc"]
    assert header.info["data"] == "pictures"
    assert header.info["settings"]["seed"] == 0
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in learned.network.state_dict().items())


def test_too_little_to_learn_from_is_said(backbone, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(PromptError, "two annotated images, not 1"):
        learn(backbone, pictures(1, "disc"), ["disc"], QUICK, tiny_network())
    with one_sentence(PromptError, "'square'", "in 0"):
        learn(backbone, pictures(4, "disc"), ["square"], QUICK, tiny_network())
    with one_sentence(PromptError, "No object"):
        learn(backbone, pictures(4, "disc"), [], QUICK, tiny_network())


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"optimiser": "magic"},
        {"learning_rate": 0.0},
        {"minutes": -1.0},
        {"glances": -1},
        {"lora": -1},
        {"lora": 4, "averaging": 0.9},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(PromptError, *(str(value) for value in wrong.values() if isinstance(value, str))):
        Settings(**wrong)


def test_the_rate_rises_and_falls() -> None:
    rates = [schedule(p) for p in np.linspace(0, 1, 101)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(1)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) > 0


def test_it_learns_through_sam_2s_memory() -> None:
    backbone = random_sam2_backbone()
    start = tiny_network(config=replace(TINY, memory="learned"))
    learned = learn(backbone, pictures(4, "disc"), ["disc"], replace(QUICK, steps=2), start)
    before = start.state_dict()["narrow.weight"]
    assert not torch.equal(learned.network.state_dict()["narrow.weight"], before)
    assert np.isfinite([entry[2] for entry in learned.history]).all()

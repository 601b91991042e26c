from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.datasets import Case, LabelMasks, Pair
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.training import general
from AutoPromptSAMLib.training.general import draw_general, train_general
from AutoPromptSAMLib.training.pool import REGION, Source, gather, regions, reserved, slices_through
from AutoPromptSAMLib.training.settings import Settings

from ..prompters.scenes import SIZE, TINY, random_backbone, scene, tiny_network
from .sets import picture_set


@pytest.fixture(scope="module")
def backbone():  # type: ignore[no-untyped-def]
    return random_backbone()


@pytest.fixture(scope="module")
def source(backbone, tmp_path_factory) -> Source:  # type: ignore[no-untyped-def]
    dataset = picture_set(tmp_path_factory.mktemp("sets") / "pictures", 10)
    (gathered,) = gather(backbone, [dataset], SIZE, views=2, seed=0)
    return gathered


def _volume_case(spacing: tuple[float, float, float]) -> Case:
    labels = np.zeros((20, 30, 40), np.uint8)
    labels[4:16, 5:25, 5:20] = 1
    labels[10:18, 5:25, 25:35] = 2
    volume = Volume((labels * 50).astype(np.uint8), VolumeGeometry(labels.shape, np.diag([*spacing, 1.0])))
    return Case("set", Pair("a", "g", "MR"), volume, LabelMasks(labels, {"one": (1,), "two": (2,)}), True)


def test_volumes_are_cut_from_the_sides_that_are_fine_enough() -> None:
    thick = list(slices_through(_volume_case((1, 1, 5)), 6))
    assert {example.name[-3:-1].strip("0123456789") for example in thick} <= {":k", "k"}
    assert len(thick) == 6
    even = list(slices_through(_volume_case((1, 1, 1)), 6))
    assert Counter(example.name.split(":")[-1][0] for example in even) == {"k": 2, "j": 2, "i": 2}
    for example in (*thick, *even):
        assert all(mask.any() for mask in example.masks.values())
        assert example.image.shape[:2] == next(iter(example.masks.values())).shape


def test_regions_are_apart_and_neither_specks_nor_the_background() -> None:
    image, masks = scene(3, 200, 150)
    overlaps = []
    for seed in range(8):
        found = regions(image, seed)
        assert len(found) <= 4  # three regions, and lines
        for mask in found.values():
            assert mask.shape == (200, 150)
            assert 0.005 < mask.mean() < 0.35
            overlaps.append(2 * (mask & masks["disc"]).sum() / (mask.sum() + masks["disc"].sum()))
        areas = [mask.astype(int) for name, mask in found.items() if not name.endswith("thin")]
        assert (np.sum(areas, axis=0) <= 1).all()
    # The disc is of one brightness, so it is a region of its own for some seed.
    assert max(overlaps) > 0.8


def test_thin_lines_are_an_object() -> None:
    image = np.full((200, 200, 3), 60, np.uint8)
    line = np.zeros((200, 200), bool)
    line[:, 100:103] = line[50:53, :] = True
    image[line] = 160
    found = [regions(image, seed).get(f"{REGION}thin") for seed in range(8)]
    overlaps = [2 * (mask & line).sum() / (mask.sum() + line.sum()) for mask in found if mask is not None]
    assert max(overlaps) > 0.7


def test_a_part_of_a_large_set_is_kept_for_tests(tmp_path: Path, backbone) -> None:  # type: ignore[no-untyped-def]
    dataset = picture_set(tmp_path / "many", 40)
    kept = reserved(dataset)
    assert 4 <= len(kept) <= 16
    assert kept == reserved(replace(dataset, pairs=dataset.pairs[::-1]))
    (gathered,) = gather(backbone, [dataset], SIZE, views=1, seed=0)
    assert {shot.group for shot in gathered.shots} == {pair.group for pair in dataset.pairs} - kept
    assert reserved(replace(dataset, pairs=dataset.pairs[:10])) == frozenset()


def test_the_part_that_is_kept_is_that_of_the_set_whatever_its_modalities(tmp_path: Path, backbone) -> None:  # type: ignore[no-untyped-def]
    dataset = picture_set(tmp_path / "mixed", 40)
    modalities = ("CT", "MR")
    pairs = tuple(replace(pair, modality=modalities[n % 2]) for n, pair in enumerate(dataset.pairs))
    mixed = replace(dataset, pairs=pairs)
    sources = gather(backbone, [mixed], SIZE, views=1, seed=0)
    assert [source.name for source in sources] == ["pictures CT", "pictures MR"]
    trained_on = {shot.group for source in sources for shot in source.shots}
    assert not trained_on & reserved(mixed)
    assert trained_on == {pair.group for pair in pairs} - reserved(mixed)


def test_images_that_cannot_be_used_are_named_and_none_is_an_error(tmp_path: Path, backbone) -> None:  # type: ignore[no-untyped-def]
    dataset = picture_set(tmp_path / "broken", 4)
    for path in (tmp_path / "broken").glob("[01].png"):
        path.write_bytes(b"no picture")
    said: list[str] = []
    (found,) = gather(backbone, [dataset], SIZE, 1, 0, on_unusable=lambda unusable: said.append(unusable.pair.id))
    assert len(said) == 2
    assert len(found.shots) == 2
    for path in (tmp_path / "broken").glob("[23].png"):
        path.write_bytes(b"no picture")
    with pytest.raises(PromptError, match="No image of these sets can be used"):
        gather(backbone, [dataset], SIZE, 1, 0)


@pytest.mark.parametrize("sources", [[], [Source("nothing", ())]])
def test_without_an_object_there_is_nothing_to_train_on(backbone, sources: list[Source]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PromptError, match="No two images show the same object"):
        train_general(backbone, sources, Settings(steps=1, minutes=None))


def test_an_episode_is_a_task_of_one_set(source: Source) -> None:
    assert source.objects == ("disc", "square")
    by_view = {id(view): shot for shot in source.shots for view in shot.views}
    rng = np.random.default_rng(0)
    kinds: Counter[str] = Counter()
    for _ in range(200):
        episode = draw_general([source], rng, 2)
        images = [by_view[id(view)] for view in (*episode.supports, *episode.targets)]
        count = len(episode.supports)
        assert 1 <= count <= 4
        assert len(episode.chosen) == len(images)
        names = [tuple(shot.objects[n] for n in numbers) for shot, numbers in zip(images, episode.chosen, strict=True)]
        assert len(set(names)) == 1  # everywhere the same objects, wherever they are in a shot's list
        if names[0][0].startswith(REGION):
            kinds["made up"] += 1
            assert len({shot.name for shot in images}) == 1
            assert episode.supports[0] is not episode.targets[0]
        else:
            kinds["objects" if len(names[0]) == 2 else "object"] += 1
            assert {shot.group for shot in images[:count]}.isdisjoint(shot.group for shot in images[count:])
    assert 30 <= kinds["made up"] <= 70
    assert kinds["object"] > kinds["objects"] > 15


def test_an_object_that_an_image_lacks_is_empty_there(source: Source) -> None:
    bare = [replace(shot, objects=("disc", "other"), present=(True, False)) for shot in source.shots[:5]]
    mixed = Source("mixed", (*bare, *source.shots[5:]))
    rng = np.random.default_rng(0)
    numbers = {n for _ in range(100) for chosen in draw_general([mixed], rng, 2, made_up=0.0).chosen for n in chosen}
    assert -1 in numbers


def test_general_weights_are_trained_and_judged_on_other_patients(source: Source, backbone, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(general.ProxyPromptConfig, "small", classmethod(lambda cls, memory: TINY))
    settings = Settings(steps=60, minutes=None, targets=2, learning_rate=3e-3, evaluate_every=20, patience=100)
    learned = train_general(backbone, [source], settings)
    scores = [entry[3] for entry in learned.history if not np.isnan(entry[3])]
    assert len(scores) == 4  # after the first step, too
    assert learned.best_dice > 0.5
    assert max(scores) == pytest.approx(learned.best_dice, abs=2e-3)
    assert not learned.network.training


def test_training_goes_on_from_a_network_and_leaves_it_as_it_is(source: Source, backbone) -> None:  # type: ignore[no-untyped-def]
    start = tiny_network()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    settings = Settings(steps=1, minutes=None, targets=1, learning_rate=1e-12, evaluate_every=1)
    learned = train_general(backbone, [source], settings, start=start)
    after = learned.network.state_dict()
    assert learned.network is not start
    for name, value in start.state_dict().items():
        assert torch.equal(value, before[name])
        torch.testing.assert_close(after[name], value)

"""What is tested: no image that weights may be trained on, one object an image, halves that share no patient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from AutoPromptSAMLib.datasets import DatasetError, find_datasets, sample_pairs
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.uncertainty import draws
from AutoPromptSAMLib.training.pool import reserved

from ...conftest import SentenceCheck
from ..proxy.fakes import make_pictures


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_pictures(folder / "tested", 8)
    make_pictures(folder / "large", 40, use="train")
    make_pictures(folder / "small", 6, use="train")
    return folder


def test_of_sets_for_training_only_the_groups_kept_from_it_are_tested(data: Path) -> None:
    datasets = find_datasets(data)
    found = {dataset.name: dataset for dataset in draws.tested_sets(datasets)}
    assert set(found) == {"tested", "large" + draws.RESERVED}
    kept = {pair.group for pair in found["large" + draws.RESERVED].pairs}
    large = next(dataset for dataset in datasets if dataset.name == "large")
    assert kept == reserved(large)
    assert kept < {pair.group for pair in large.pairs}


def test_without_a_set_for_testing_it_is_said(data: Path, one_sentence: SentenceCheck) -> None:
    with one_sentence(BenchError, "evaluation"):
        draws.tested_sets([one for one in find_datasets(data) if one.name == "small"])


def test_halves_share_no_patient(data: Path) -> None:
    dataset = next(one for one in find_datasets(data) if one.name == "tested")
    parts = [draws.half(dataset, part, 3) for part in (draws.FITTED, draws.TESTED)]
    groups = [{pair.group for pair in part.pairs} for part in parts if part is not None]
    assert len(groups) == 2
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == {pair.group for pair in dataset.pairs}
    alone = replace(dataset, pairs=dataset.pairs[:1])
    assert draws.half(alone, draws.TESTED, 3) == alone
    assert draws.half(alone, draws.FITTED, 3) is None


def test_one_object_is_drawn_by_seed(data: Path) -> None:
    dataset = next(one for one in find_datasets(data) if one.name == "tested")
    seen: dict[int, list[str]] = {}
    for seed in (0, 0, 1, 2):
        found = [draws.drawn_samples(dataset, pair, seed) for pair in sample_pairs(dataset, None, 0)]
        assert all(len(samples) == 1 for samples in found)
        objects = [samples[0].object for samples in found]
        assert objects == seen.setdefault(seed, objects)
    assert set(seen[0]) == {"disc", "square"}
    assert len({tuple(objects) for objects in seen.values()}) > 1


def test_an_object_of_a_few_pixels_is_not_drawn(data: Path, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    folder = make_pictures(tmp_path / "specks", 1)
    labels = np.zeros((64, 64), np.uint8)
    labels[3:5, 3:5] = 1
    Image.fromarray(labels).save(folder / "mask00.png")
    (dataset,) = find_datasets(folder)
    with pytest.raises(DatasetError, match="few pixels"):
        draws.drawn_samples(dataset, dataset.pairs[0], 0)
    labels[20:40, 20:40] = 2
    Image.fromarray(labels).save(folder / "mask00.png")
    assert [draws.drawn_samples(dataset, dataset.pairs[0], seed)[0].object for seed in range(4)] == ["square"] * 4

"""Which images prompt and which are tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from AutoPromptSAMLib.datasets import read_dataset
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.proxy.draws import (
    Draw,
    chosen_tasks,
    examples_of_pair,
    general_sets,
    objects_of,
    source_hash,
)
from AutoPromptSAMLib.training.pool import reserved

from ...conftest import SentenceCheck
from ..quality.bright_sets import make_volumes
from .fakes import make_pictures


def drawn(folder: Path, seed: int, most: int, limit: int = 0, objects: tuple[str, ...] = ("disc",)) -> Draw:
    return Draw(read_dataset(folder), objects, seed, most, limit, examples_of_pair)


def test_no_patient_is_in_shots_and_tests_and_seeds_differ(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "set", count=12, each=2)
    seen = set()
    for seed in range(4):
        draw = drawn(folder, seed, 3)
        tests = list(draw.tests())
        assert len(draw.shots) == 3
        assert len(tests) == 6  # three patients with two pictures each are shots or beside one
        assert not {shot.group for shot in draw.shots} & {test.group for test in tests}
        assert len({shot.group for shot in draw.shots}) == 3
        seen.add(tuple(shot.name for shot in draw.shots))
    assert len(seen) > 1
    assert [shot.name for shot in drawn(folder, 1, 3).shots] == [shot.name for shot in drawn(folder, 1, 3).shots]


def test_a_limit_takes_the_first_and_a_smaller_draw_is_the_beginning_of_a_larger_one(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "set", count=12)
    few, many = drawn(folder, 0, 2, limit=2), drawn(folder, 0, 5)
    assert [shot.name for shot in few.shots] == [shot.name for shot in many.shots[:2]]
    assert len(list(few.tests())) == 2
    assert len(list(few.tests())) == 2  # again
    assert len(list(many.tests())) == 7


def test_what_general_weights_were_trained_on_is_not_tested(tmp_path: Path) -> None:
    dataset = read_dataset(make_pictures(tmp_path / "set", count=40, use="train"))
    kept = reserved(dataset)
    assert kept
    draw = Draw(dataset, ("disc",), 0, 5, 0, examples_of_pair)
    assert not {shot.group for shot in draw.shots} & kept
    assert {test.group for test in draw.tests()} == kept


def test_too_few_images_are_said_to_be(tmp_path: Path, one_sentence: SentenceCheck) -> None:
    folder = make_pictures(tmp_path / "set", count=4)
    with one_sentence(BenchError, "5", "4", "disc in set"):
        drawn(folder, 0, 5)
    with one_sentence(BenchError, "No group is left"):
        drawn(folder, 0, 4)


def test_volumes_give_one_slice_as_a_shot_and_three_to_test(tmp_path: Path) -> None:
    folder = make_volumes(tmp_path / "volumes")
    draw = drawn(folder, 0, 1, objects=("rod",))
    assert len(draw.shots) == 1
    assert len(list(draw.tests())) == 3


def test_tasks_are_the_known_ones_or_all_that_is_named(tmp_path: Path, one_sentence: SentenceCheck) -> None:
    own = read_dataset(make_pictures(tmp_path / "own", count=2))
    assert [(task.object, task.target) for task in chosen_tasks([own])] == [("disc", None), ("square", None)]
    vessels = replace(own, name="drive_vessels")
    assert [(task.object, task.target) for task in chosen_tasks([own, vessels])] == [("vessel", 0.72)]
    assert [task.dataset for task in chosen_tasks([own, vessels], ["square"])] == ["own", "drive_vessels"]
    with one_sentence(BenchError, "liver"):
        chosen_tasks([own], ["liver"])


def test_general_weights_see_evaluation_sets_of_one_kind_of_image(tmp_path: Path) -> None:
    pictures = read_dataset(make_pictures(tmp_path / "pictures", count=6, each=3))
    trained = read_dataset(make_pictures(tmp_path / "trained", count=2, use="train"))
    pairs = pictures.pairs
    channels = replace(
        pictures, name="channels", pairs=tuple(replace(p, channel=c) for p in pairs for c in ("flair", "t1"))
    )
    several = replace(pictures, name="medscribble")
    found = {dataset.name: dataset for dataset in general_sets([pictures, trained, channels, several])}
    assert sorted(found) == ["channels", "medscribble/patient0", "medscribble/patient1", "pictures"]
    assert {pair.channel for pair in found["channels"].pairs} == {"flair"}
    assert len({pair.group for pair in found["medscribble/patient0"].pairs}) == 3  # images of different patients
    assert objects_of(pictures) == ["disc", "square"]
    unnamed = replace(pictures, objects=replace(pictures.objects, named=(), each=True))
    assert sorted(objects_of(unnamed)) == ["label 1", "label 2"]


def test_where_a_dataset_lies_does_not_change_its_hash(tmp_path: Path) -> None:
    one, other = (read_dataset(make_pictures(tmp_path / place / "set", count=3)) for place in ("a", "b"))
    assert source_hash(one) == source_hash(other)
    assert source_hash(one) != source_hash(replace(other, pairs=other.pairs[:2]))


@pytest.mark.parametrize("objects", [("disc", "square")])
def test_shots_show_all_objects(tmp_path: Path, objects: tuple[str, ...]) -> None:
    for shot in drawn(make_pictures(tmp_path / "set", count=5), 0, 3, objects=objects).shots:
        assert set(shot.masks) == set(objects)

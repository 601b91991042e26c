"""Learning a set of examples while the host goes on: what is told, what is attached to the set, what ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.supports import SupportLibrary, SupportSet

from ..finds_bright import FindsBright, Learns, examples
from .person import Person


def test_what_was_learned_is_attached_to_the_set(person: Person, tmp_path: Path) -> None:
    attached: list[tuple[str, Path | None]] = []

    class Library(SupportLibrary):
        def attach_task(self, set_id: str, path: Path) -> SupportSet:
            attached.append((set_id, path))
            return examples("rod")

    person.session.close()
    person.segmenter.session = person.session = Learns()
    person.session.set_image(person.volume)
    person.session.pause.clear()
    person.segmenter.learner.learn(examples("rod"), Library(tmp_path))
    for _ in range(2):
        person.calls.get(timeout=20)()
    assert person.segmenter.learner.learning is not None
    assert (person.segmenter.learner.learning.done, person.segmenter.learner.learning.total) == (1, 100)
    picture = person.segmenter.learner.learning.preview
    assert picture is not None
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[7, 7].tolist() == [60, 60, 60]
    person.segmenter.examples.run(examples("rod"))
    assert "Learning is going on" in person.said[-1]
    assert person.segmenter.segments == []
    person.segmenter.learner.cancel()
    person.session.pause.set()
    while person.segmenter.learner.learning is not None:
        person.calls.get(timeout=20)()
    assert attached == [("0123456789ab", Path("task"))]
    assert "best so far" in person.said[-1]
    assert "0.91" in person.said[-1]


def test_what_was_learned_better_before_stays(person: Person, tmp_path: Path) -> None:
    class Library(SupportLibrary):
        def attach_task(self, set_id: str, path: Path) -> SupportSet:
            raise AssertionError("the set has a better network")

    person.session.close()
    session = person.segmenter.session = person.session = Learns()
    session.better, session.task = False, tmp_path / "worse.safetensors"
    session.task.write_bytes(b"worse")
    session.set_image(person.volume)
    session.pause.clear()
    person.segmenter.learner.learn(examples("rod"), Library(tmp_path))
    person.calls.get(timeout=20)()
    person.segmenter.learner.cancel()
    session.pause.set()
    while person.segmenter.learner.learning is not None:
        person.calls.get(timeout=20)()
    assert "learned before is better and stays" in person.said[-1]
    assert not session.task.exists()


@pytest.mark.parametrize("early", [False, True])
def test_learning_that_another_image_ends_loses_nothing(person: Person, tmp_path: Path, early: bool) -> None:
    attached: list[Path | None] = []

    class Library(SupportLibrary):
        def attach_task(self, set_id: str, path: Path) -> SupportSet:
            attached.append(path)
            return examples("rod")

    old = person.segmenter
    person.session.close()
    session = old.session = Learns()
    session.set_image(person.volume)
    session.pause.clear()
    if early:
        session.error = Cancelled("Cancelled before anything was learned.")
    old.learner.learn(examples("rod"), Library(tmp_path))
    person.calls.get(timeout=20)()
    old.close()
    session.pause.set()
    session.close(cancel=True)
    person.session = FindsBright()
    person.segmenter = InteractiveSegmenter(
        person.session, person.volume_node, person.segmentation_node, person.calls.put
    )
    person.settle()
    assert attached == ([] if early else [Path("task")])
    expected = (
        "before anything was learned"
        if early
        else 'the best so far is kept in "Rods" (Dice 0.91 on 2 examples that were held back, a rough guess)'
    )
    assert expected in person.said[-1]
    assert old.learner.learning is None


def test_a_set_that_was_removed_while_it_was_learned_is_said(person: Person, tmp_path: Path) -> None:
    person.session.close()
    person.segmenter.session = person.session = Learns()
    person.session.set_image(person.volume)
    person.segmenter.learner.learn(examples("rod"), SupportLibrary(tmp_path))
    while person.segmenter.learner.learning is not None:
        person.calls.get(timeout=20)()
    assert "There is no set of supports" in person.said[-1]

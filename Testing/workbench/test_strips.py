"""What is marked along the slices of a view."""

from __future__ import annotations

from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.workbench.strips import Mark, strip_marks

from ..mrml.reviewing import WORST, Reader
from ..mrml.segmenting import Host


def test_runs_and_prompts_are_marked(host: Host) -> None:
    assert strip_marks(host.segmenter, 0) == []
    id = host.segmenter.add_segment("rod")
    host.segmenter.add_prompt(host.box(4))
    host.settle()
    assert strip_marks(host.segmenter, 0) == [Mark(4, 4, "seed", "slice 4: prompted")]
    host.segmenter.runs[id] = Propagation(0, {2: 0.95, 3: 0.95, 5: 0.1}, (4,))
    assert strip_marks(host.segmenter, 0) == [
        Mark(2, 3, "done", "slices 2-3: propagated"),
        Mark(5, 5, "weak", "slice 5: worth a look"),
        Mark(4, 4, "seed", "slice 4: prompted"),
    ]
    assert all(mark.kind == "seed" for mark in strip_marks(host.segmenter, 1))


def test_how_sure_examples_are(host: Host) -> None:
    id = host.segmenter.add_segment("rod")
    host.segmenter.runs[id] = Propagation(0, {2: 0.97, 3: 0.94, 4: 0.3}, automatic=True)
    assert strip_marks(host.segmenter, 0) == [
        Mark(2, 3, "sure", "slices 2-3: at least 94 % sure", 0),
        Mark(4, 4, "sure", "slice 4: 30 % sure", 4),
    ]


def test_a_review_is_marked_only_while_reviewing(reader: Reader) -> None:
    reader.review()
    assert strip_marks(reader.segmenter, 0) == []
    marks = strip_marks(reader.segmenter, 0, reviewing=True)
    assert {mark.kind for mark in marks} == {"sure"}
    assert max(marks, key=lambda mark: mark.level).first == WORST
    assert all(mark.text.endswith("% expected Dice") for mark in marks)

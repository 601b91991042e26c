"""The review of a segment that is wrong on two slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.reports import sure_level
from AutoPromptSAMLib.workbench.review_desk import ReviewDesk, ReviewSummary

from ..mrml.reviewing import BAD, WORST, Reader


@pytest.fixture
def desk(reader: Reader) -> ReviewDesk:
    desk = ReviewDesk(reader.segmenter)
    desk.run(0, 11, 0)
    reader.settle()
    return desk


def summary(desk: ReviewDesk, index: int = WORST) -> ReviewSummary:
    found = desk.summary(0, index)
    assert found is not None
    return found


def test_the_least_sure_slices_come_first(desk: ReviewDesk, reader: Reader) -> None:
    found = summary(desk)
    assert [row.index for row in found.rows[:2]] == [WORST, BAD]
    wrong, truth = reader.wrong[WORST], reader.truth[WORST]
    dice = 2 * wrong.sum() / (wrong.sum() + truth.sum())
    first = found.rows[0]
    assert (first.percent, first.level, first.beside) == (round(100 * dice), sure_level(dice), False)
    assert first.position == "S 512.0 mm"
    assert first.text == f"Expected Dice {first.percent} %"
    assert found.about.endswith("% on average of 7 slices.")
    assert (found.corrected, found.changed, found.suggested, found.steps) == ((), 0, "a box", None)
    assert summary(desk, 0).suggested == ""


def test_slices_of_pictures_have_no_position(desk: ReviewDesk, reader: Reader) -> None:
    reader.segmenter.volume = replace(reader.segmenter.volume, has_size=False)
    assert {row.position for row in summary(desk).rows} == {""}


def test_nothing_is_known_along_other_slices(desk: ReviewDesk, reader: Reader) -> None:
    assert desk.known(0) is not None
    assert desk.known(1) is None
    assert desk.summary(1, WORST) is None
    for act in (desk.accept, desk.take):
        with pytest.raises(PromptError, match="not looked at along these slices"):
            act(1, WORST)
    with pytest.raises(PromptError, match="No slice is unsure"):
        desk.next_slice(1, False)


def test_each_unsure_slice_is_led_to_before_the_first_comes_again(desk: ReviewDesk, reader: Reader) -> None:
    ranked = reader.ranked
    assert [desk.next_slice(0, False) for _ in ranked] == ranked
    assert desk.next_slice(0, False) == WORST
    desk.forget()
    assert desk.next_slice(0, False) == WORST
    desk.accept(0, BAD)
    assert reader.segmenter.undo_text == f"Accept slice {BAD}"
    assert desk.next_slice(0, False) not in (WORST, BAD)


def test_corrections_go_to_their_neighbours_first(desk: ReviewDesk, reader: Reader) -> None:
    desk.take(0, WORST)
    reader.settle()
    reader.rest()
    assert np.array_equal(reader.voxels()[WORST], reader.truth[WORST])
    assert summary(desk).corrected == (WORST,)
    assert desk.next_slice(0, carry=False) == BAD
    assert desk.next_slice(0, carry=True) is None  # all of them are near
    reader.settle()
    assert summary(desk).corrected == ()
    assert ("carry", 0, WORST) in reader.session.asked


def test_steps_of_a_refined_slice_are_told_and_gone_through(desk: ReviewDesk, reader: Reader) -> None:
    with pytest.raises(PromptError, match=f"Slice {WORST} was not refined"):
        desk.step(0, WORST, -1)
    desk.refine(WORST, WORST, 0)
    reader.settle()
    steps = summary(desk).steps
    assert steps is not None
    assert (steps.index, steps.number, steps.count, steps.title) == (WORST, 1, 3, "step 1 of 2")
    assert steps.reason == "Accepted: uncertainty fell. Mean uncertainty 0.010 bits."
    desk.step(0, WORST, -1)
    steps = summary(desk).steps
    assert steps is not None
    assert (steps.title, steps.reason[:22]) == ("as it was", "Before it was refined.")
    assert np.array_equal(reader.voxels(), reader.wrong)
    spot = np.zeros_like(reader.truth)
    spot[WORST, 2:4, 2:4] = True
    reader.paint(reader.id, spot)
    steps = summary(desk).steps
    assert steps is not None
    assert steps.title == "changed since it was refined"


def test_slices_that_others_changed_are_counted(desk: ReviewDesk, reader: Reader) -> None:
    spot = np.zeros_like(reader.truth)
    spot[2:4, 2:4, 2:4] = True
    with reader.segmenter.kept.own_changes():
        reader.segmenter.kept.write(reader.id, Crop.from_full(spot), Crop.from_full(spot))
    assert summary(desk).changed == 2

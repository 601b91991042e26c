"""Reviewing a segment on a real scene: suggestions, refinement, corrections carried on, what is remembered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.kept_segments import crop_slice
from AutoPromptSAMLib.mrml.review_state import Reviewed, SliceSteps, same_mask, spans
from AutoPromptSAMLib.mrml.suggestion_nodes import NAME, SuggestionNodes
from AutoPromptSAMLib.prompts import Box, MaskPrompt
from AutoPromptSAMLib.session.grey import GreyCrop
from AutoPromptSAMLib.session.protocol import RefinedSlice, RefinedStep, SliceReview

from .reviewing import BAD, WORST, Reader

# -- suggestions ------------------------------------------------------------------------------------------------------


def test_suggestions_are_markups_of_the_shown_slice_that_can_be_changed_and_taken(reader: Reader, scene: Any) -> None:
    nodes = SuggestionNodes(reader.segmenter, scene)
    reader.review()
    assert nodes.nodes == []
    reader.segmenter.show_plane(reader.plane(WORST))
    (node,) = nodes.nodes
    assert node.GetName() == NAME
    assert not node.GetSaveWithScene()
    (suggested,) = reader.segmenter.looks.suggestions()
    assert isinstance(suggested, Box)
    assert suggested.source.name == "UGPA"
    node.SetSize(*np.add(node.GetSize(), [3.2, 0, 0]))  # a handle is dragged and let go
    node.InvokeEvent(node.PointEndInteractionEvent)
    (dragged,) = reader.segmenter.looks.suggestions()
    assert isinstance(dragged, Box)
    assert dragged.size_mm == pytest.approx(np.add(suggested.size_mm, [3.2, 0, 0]))
    assert len(nodes.nodes) == 1

    reader.segmenter.mending.take_suggestions(WORST)
    reader.settle()
    (prompt,) = reader.segmenter.prompts()
    assert isinstance(prompt, Box)
    assert prompt.source.kind == "person"
    assert prompt.size_mm == pytest.approx(dragged.size_mm)
    expected = reader.wrong.copy()
    expected[WORST] = reader.truth[WORST]
    assert np.array_equal(reader.voxels(), expected)
    assert reader.segmenter.undo_text == f"Take suggestion on slice {WORST}"
    assert reader.segmenter.looks.corrected_slices() == [WORST]
    reader.segmenter.undo()
    assert reader.segmenter.prompts() == ()
    assert np.array_equal(reader.voxels(), reader.wrong)
    nodes.close()
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0


def test_a_suggested_box_replaces_the_boxes_of_its_slice_only(reader: Reader) -> None:
    reader.segmenter.add_prompt(reader.box(WORST, grow=-4))
    reader.segmenter.add_prompt(reader.box(BAD))
    reader.settle()
    reader.review()
    reader.segmenter.mending.take_suggestions(WORST)
    reader.settle()
    first, second = reader.segmenter.prompts()
    assert isinstance(first, Box)
    assert isinstance(second, Box)
    assert second.size_mm == pytest.approx(reader.box(WORST).size_mm)
    reader.segmenter.undo()
    reader.settle()
    assert [p.size_mm[0] for p in reader.segmenter.prompts() if isinstance(p, Box)] == pytest.approx(
        [reader.box(WORST, grow=-4).size_mm[0], reader.box(BAD).size_mm[0]]
    )


def test_nothing_is_suggested_for_a_slice_that_nobody_looked_at(reader: Reader) -> None:
    reader.segmenter.mending.take_suggestions(3)
    assert "Where is it unsure" in reader.said[-1]
    reader.review(5, 5)
    reader.segmenter.mending.take_suggestions(3)
    assert "Nothing is suggested for slice 3" in reader.said[-1]


# -- refinement -------------------------------------------------------------------------------------------------------


def test_refining_is_one_step_and_what_changed_is_looked_at_anew(reader: Reader) -> None:
    reader.review()
    reader.session.asked.clear()
    reader.refine()
    assert np.array_equal(reader.voxels(), reader.truth)
    assert reader.segmenter.undo_text == "Refine rod"
    assert reader.session.asked == [
        ("refine", 0, 0, None), ("review", 0, WORST, WORST), ("review", 0, BAD, BAD),
    ]  # fmt: skip
    assert "2 of 7 slices became surer" in reader.said[-1]
    run = reader.segmenter.looks.expected_dice()
    assert run is not None
    assert run.agreement[WORST] == run.agreement[BAD] == 1
    assert not reader.uncertain().any()
    reader.segmenter.undo()
    assert np.array_equal(reader.voxels(), reader.wrong)
    assert reader.ranked[0] == WORST  # as it is remembered
    assert reader.uncertain()[WORST].any()
    reader.segmenter.redo()
    assert np.array_equal(reader.voxels(), reader.truth)
    assert not reader.uncertain().any()


def test_painted_and_accepted_slices_stay(reader: Reader) -> None:
    reader.review()
    spot = np.zeros_like(reader.truth)
    spot[BAD, 2:6, 2:6] = True
    reader.paint(reader.id, spot)
    reader.rest()
    reader.segmenter.mending.accept(WORST)
    assert reader.segmenter.undo_text == f"Accept slice {WORST}"
    assert WORST not in reader.ranked
    reader.refine()
    assert np.array_equal(reader.voxels(), reader.wrong | spot)
    assert sum(isinstance(prompt, MaskPrompt) for prompt in reader.segmenter.prompts()) == 1
    assert "No slice became surer" in reader.said[-1]
    assert reader.segmenter.undo_text == f"Accept slice {WORST}"  # a run of which nothing came is no step


def test_a_slice_is_gone_through_step_by_step(reader: Reader) -> None:
    reader.review()
    reader.refine(WORST, WORST)
    known = reader.segmenter.looks.of()
    assert known is not None
    assert set(known.steps) == {WORST}
    assert known.shown_step(WORST) == 1
    mended = reader.voxels()
    for number, count in ((0, reader.wrong[WORST].sum()), (2, 0), (1, reader.truth[WORST].sum())):
        reader.segmenter.mending.choose_step(WORST, number)
        assert known.shown_step(WORST) == number
        assert reader.voxels()[WORST].sum() == count
        assert reader.segmenter.undo_text == f"Step {number} of slice {WORST}"
    assert np.array_equal(reader.voxels(), mended)
    assert reader.segmenter.looks.corrected_slices() == []
    reader.segmenter.undo()
    reader.segmenter.undo()
    assert known.shown_step(WORST) == 0
    assert np.array_equal(reader.voxels(), reader.wrong)
    reader.segmenter.mending.choose_step(WORST, 7)  # there are three
    assert known.shown_step(WORST) == 2
    reader.refine(5, 5)  # which was right: the first two steps are equal
    count = reader.segmenter.undo_stack.n_commands()
    for number in (1, 0, 1):
        reader.segmenter.mending.choose_step(5, number)
        assert known.shown_step(5) == number
    assert reader.segmenter.undo_stack.n_commands() == count
    reader.segmenter.mending.choose_step(BAD, 1)  # which was not refined
    assert np.array_equal(np.delete(reader.voxels(), WORST, 0), np.delete(reader.wrong, WORST, 0))


def test_going_to_a_step_is_no_correction_of_a_slice_with_a_prompt(reader: Reader) -> None:
    reader.segmenter.add_prompt(reader.box(WORST, grow=-4))
    reader.settle()
    reader.review()
    reader.refine(WORST, WORST)
    for number in (0, 2):
        reader.segmenter.mending.choose_step(WORST, number)
        reader.rest()
        assert reader.segmenter.looks.corrected_slices() == []
    reader.segmenter.add_prompt(reader.box(WORST, grow=-2))
    reader.settle()
    reader.rest()
    assert reader.segmenter.looks.corrected_slices() == [WORST]


def test_a_slice_that_a_person_prompts_during_the_run_is_theirs(reader: Reader) -> None:
    reader.session.pause.clear()
    reader.segmenter.mending.refine(0, None, 0)
    while reader.segmenter.looks.of() is None:
        reader.calls.get(timeout=20)()
    small = reader.box(BAD, grow=-5)
    reader.segmenter.add_prompt(small)
    reader.session.pause.set()
    reader.settle()
    assert np.array_equal(reader.voxels()[WORST], reader.truth[WORST])
    assert 0 < reader.voxels()[BAD].sum() < reader.wrong[BAD].sum()


def test_a_run_that_fails_leaves_everything_and_can_be_repeated(reader: Reader) -> None:
    reader.session.error = ModelError("The model file is damaged; load it again.")
    steps = reader.segmenter.undo_text
    reader.refine()
    assert reader.said == ["The model file is damaged; load it again."]
    assert reader.segmenter.undo_text == steps
    assert np.array_equal(reader.voxels(), reader.wrong)
    reader.session.error = None
    reader.refine()
    assert np.array_equal(reader.voxels(), reader.truth)


def test_a_locked_segment_is_looked_at_but_not_changed(reader: Reader) -> None:
    reader.segmenter.set_segment_locked(reader.id, True)
    reader.review()
    assert reader.ranked[0] == WORST
    reader.refine()
    reader.segmenter.mending.take_suggestions(WORST)
    assert all("locked" in text for text in reader.said)
    assert len(reader.said) == 2
    assert np.array_equal(reader.voxels(), reader.wrong)


# -- corrections ------------------------------------------------------------------------------------------------------


def test_a_correction_is_carried_to_the_neighbours_and_only_they_are_looked_at_anew(reader: Reader) -> None:
    reader.review()
    reader.session.asked.clear()
    reader.segmenter.add_prompt(reader.box(WORST))
    reader.settle()
    reader.rest()
    assert reader.session.asked == [("review", 0, WORST, WORST)]  # beside what else goes on
    assert reader.segmenter.looks.corrected_slices() == [WORST]
    assert reader.ranked[0] == BAD  # what a person corrected is not unsure
    assert reader.segmenter.mending.carry(reach=2) == [WORST]
    reader.settle()
    assert reader.session.asked[1:] == [("carry", 0, WORST), ("review", 0, 2, 3), ("review", 0, 5, 6)]
    assert np.array_equal(reader.voxels(), reader.truth)
    assert reader.segmenter.undo_text == f"Carry slice {WORST} to the neighbours"
    assert reader.segmenter.looks.corrected_slices() == []
    assert reader.segmenter.mending.carry() == []
    assert WORST not in reader.ranked
    reader.segmenter.undo()
    expected = reader.wrong.copy()
    expected[WORST] = reader.truth[WORST]
    assert np.array_equal(reader.voxels(), expected)
    assert reader.ranked[0] == BAD
    reader.segmenter.undo()
    assert reader.ranked[:2] == [WORST, BAD]


def test_a_painted_correction_is_carried_too(reader: Reader) -> None:
    reader.review()
    missing = (reader.truth & ~reader.wrong) & (np.arange(12) == WORST)[:, None, None]
    reader.paint(reader.id, missing)
    reader.rest()
    assert reader.segmenter.mending.carry() == [WORST]
    reader.settle()
    assert np.array_equal(reader.voxels(), reader.truth)
    (mask,) = reader.segmenter.prompts()
    assert isinstance(mask, MaskPrompt)


def test_what_is_painted_while_a_correction_is_carried_stays(reader: Reader) -> None:
    reader.review()
    reader.segmenter.add_prompt(reader.box(WORST))
    reader.settle()
    reader.rest()
    assert reader.segmenter.mending.carry(reach=2) == [WORST]
    spot = np.zeros_like(reader.truth)
    spot[WORST + 1, 2:6, 2:6] = True
    reader.paint(reader.id, spot)
    assert np.array_equal(reader.voxels()[WORST + 1], reader.truth[WORST + 1] | spot[WORST + 1])


def test_a_slice_without_neighbours_has_nothing_to_be_carried_to(reader: Reader) -> None:
    only = reader.segmenter.add_segment("one slice")
    reader.segmenter.add_prompt(reader.box(WORST, grow=-4))
    reader.settle()
    reader.review()
    reader.segmenter.replace_prompt(
        Box.on_plane(reader.plane(WORST), (14, 12, 30, 30), id=reader.segmenter.prompts()[0].id)
    )
    reader.settle()
    reader.rest()
    assert reader.segmenter.looks.corrected_slices() == [WORST]
    assert reader.segmenter.mending.carry() == []
    reader.settle()
    assert reader.segmenter.looks.corrected_slices() == []
    assert "carry" not in [asked[0] for asked in reader.session.asked]
    assert np.flatnonzero(reader.voxels(only).any(axis=(1, 2))).tolist() == [WORST]


# -- what is remembered -----------------------------------------------------------------------------------------------


def test_looks_are_found_by_what_is_on_the_slice() -> None:
    masks = [np.zeros((3, 4, 4), bool) for _ in range(3)]
    masks[1][1, 1, 1] = masks[2][1, 2:, 2:] = True
    crops = [Crop.from_full(mask) for mask in masks]
    present = [crops[1]]
    known = Reviewed(0, lambda index: crop_slice(present[0], 0, index))
    for dice, crop in zip((0.1, 0.2), crops[:2], strict=True):
        known.add(crop, SliceReview(1, dice, GreyCrop.empty()))
    assert known.now()[1].review.expected_dice == 0.2
    present[0] = crops[0]
    assert known.now()[1].review.expected_dice == 0.1
    present[0] = crops[2]
    assert known.now() == {}
    assert known.is_own(1)
    known.add(crops[2], SliceReview(1, 0.3, GreyCrop.empty()), by_person=True)
    assert known.is_own(1)
    assert same_mask(known.now()[1].mask, crops[2])


def test_of_equal_steps_the_one_that_was_gone_to_is_shown() -> None:
    mask = Crop.from_full(np.ones((1, 2, 2), bool))
    step = RefinedStep(mask, GreyCrop.empty(), 0.1, (), True, "as it was")
    steps = SliceSteps.of(RefinedSlice(0, (step, step, step), 1, True), mask)
    assert steps.shown(mask) == 1
    steps.chosen = 2
    assert steps.shown(mask) == 2
    assert steps.shown(Crop.empty()) is None


def test_neighbouring_slices_go_together() -> None:
    assert spans([7, 3, 4, 4, 9, 5]) == [(3, 5), (7, 7), (9, 9)]
    assert spans([]) == []

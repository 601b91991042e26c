"""Segments found by examples on a real scene: names, one step, corrections, acceptance, new examples, learning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import ModelError, PromptError
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.examples import matched
from AutoPromptSAMLib.mrml.reports import SURE_COLORS, SURE_LEVELS, Propagation
from AutoPromptSAMLib.supports import SupportError, SupportObject, SupportPair, SupportSet

from ..finds_bright import SURE, examples
from ..threshold_backbone import DARK
from .person import Person
from .segmenting import SLICES


def test_objects_become_segments_of_their_name_and_colour_in_one_step(person: Person) -> None:
    old = person.segmenter.add_segment("rod")
    count = person.segmenter.undo_stack.n_commands()
    person.run(examples("rod", "other rod"))
    assert person.names() == ["rod", "other rod"]
    voxels = person.all_voxels()
    assert all(np.array_equal(mask, person.truth) for mask in voxels.values())
    (other,) = set(voxels) - {old}
    assert person.segmenter.segments[1].color == pytest.approx((0.25, 0.5, 1.0), abs=0.01)
    assert person.segmenter.undo_stack.n_commands() == count + 1
    assert person.segmenter.undo_text == "Prompt from Rods"
    person.segmenter.undo()
    assert person.names() == ["rod"]
    assert not person.voxels(old).any()
    assert person.segmenter.propagation(old) is None
    person.segmenter.redo()
    assert person.names() == ["rod", "other rod"]
    assert np.array_equal(person.voxels(other), person.truth)
    assert person.segmenter.propagation(old) is not None
    assert person.said == []


def test_the_session_gets_the_set_by_segment_ids_and_only_once(person: Person) -> None:
    supports = examples("rod", "other rod")
    person.run(supports, ["other rod"], 3, 4)
    (given,) = person.session.given
    assert given is not None
    (info,) = person.segmenter.segments
    assert given.objects[1].name == info.id
    assert given.pairs[0].objects[1] == info.id
    assert np.array_equal(given.pairs[0].masks[info.id], supports.pairs[0].masks["other rod"])
    assert np.array_equal(person.voxels(info.id), person.only(3, 4))
    person.run(supports, ["other rod"], 5, 5)
    assert len(person.session.given) == 1
    assert np.array_equal(person.voxels(info.id), person.only(3, 4, 5))


def test_confidence_is_kept_by_segment_and_leads_to_the_least_sure_slice(person: Person) -> None:
    person.run(examples("rod"))
    (info,) = person.segmenter.segments
    run = person.segmenter.propagation(info.id)
    assert run is not None
    assert run.automatic
    assert run.agreement == {n: SURE[n] for n in SLICES}
    assert [row[1] for row in person.segmenter.examples.unsure_slices()[:2]] == [3, 7]
    person.segmenter.examples.accept(0, 3)
    assert [row[1] for row in person.segmenter.examples.unsure_slices()[:2]] == [7, 2]


def test_accepted_and_painted_slices_stay_when_it_runs_again(person: Person) -> None:
    supports = examples("rod")
    person.run(supports)
    (info,) = person.segmenter.segments
    person.segmenter.examples.accept(0, 3)
    assert person.segmenter.undo_text == "Accept slice 3"
    spot = np.zeros_like(person.truth)
    spot[5, 2:6, 2:6] = True
    person.paint(info.id, spot)
    assert list(person.segmenter.examples.vouched_slices(0, [info.id])) == [3, 5]
    person.run(supports)
    expected = person.truth | spot
    assert np.array_equal(person.voxels(info.id), expected)
    run = person.segmenter.propagation(info.id)
    assert run is not None
    assert list(run.seeds) == [3, 5]
    assert run.agreement[5] == 1
    for _ in range(3):
        person.segmenter.undo()
    assert person.segmenter.prompts(info.id) == ()
    assert np.array_equal(person.voxels(info.id), person.truth)


def test_a_prompt_that_is_moved_on_an_accepted_slice_takes_the_acceptance_back(person: Person) -> None:
    segmenter = person.segmenter
    person.run(examples("rod"))
    (info,) = segmenter.segments
    small = person.box(4, -4)
    segmenter.add_prompt(small)
    person.settle()
    accepted = person.voxels(info.id)
    assert accepted[4].sum() < person.truth[4].sum()
    assert segmenter.examples.accepted_slices(0) == []
    for index in (4, 5):
        segmenter.examples.accept(0, index)
    assert segmenter.examples.accepted_slices(0) == [4, 5]
    prompts = segmenter.prompts(info.id)
    for grow in (-3, -1, 0):
        segmenter.replace_prompt(replace(person.box(4, grow), id=small.id), final=False)
        person.settle()
    segmenter.replace_prompt(replace(person.box(4), id=small.id))
    person.settle()
    assert segmenter.undo_text == "Move box"
    assert np.array_equal(person.voxels(info.id), person.truth)
    assert segmenter.examples.accepted_slices(0) == [5]
    assert [prompt.type for prompt in segmenter.prompts(info.id)] == ["box", "mask"]
    segmenter.undo()
    assert segmenter.prompts(info.id) == prompts
    assert segmenter.examples.accepted_slices(0) == [4, 5]
    assert np.array_equal(person.voxels(info.id), accepted)
    segmenter.redo()
    assert segmenter.examples.accepted_slices(0) == [5]
    assert np.array_equal(person.voxels(info.id), person.truth)
    segmenter.undo()
    assert segmenter.undo_text == "Accept slice 5"


def test_a_new_box_on_an_accepted_slice_takes_the_acceptance_back_and_a_click_corrects_it(person: Person) -> None:
    segmenter = person.segmenter
    person.run(examples("rod"))
    (info,) = segmenter.segments
    for index in (3, 4):
        segmenter.examples.accept(0, index)
    segmenter.add_prompt(person.box(4, -4))
    person.settle()
    assert segmenter.examples.accepted_slices(0) == [3]
    assert person.voxels(info.id)[4].sum() < person.truth[4].sum()
    rows, cols = np.nonzero(person.truth[3])
    click = person.point(int(cols.min()) - 6, int(rows.min()) - 6, 3)
    segmenter.add_prompt(click)
    person.settle()
    moved = person.point(int(cols.max()) + 6, int(rows.max()) + 6, 3)
    segmenter.replace_prompt(replace(moved, id=click.id))
    person.settle()
    corrected = person.voxels(info.id)[3]
    assert corrected[rows.max() + 6, cols.max() + 6]
    assert (corrected & person.truth[3]).sum() == person.truth[3].sum()
    assert segmenter.examples.accepted_slices(0) == [3]


def test_a_prompt_that_cannot_be_moved_there_leaves_the_acceptance(person: Person) -> None:
    segmenter = person.segmenter
    person.run(examples("rod"))
    (info,) = segmenter.segments
    box = person.box(4, -4)
    segmenter.add_prompt(box)
    person.settle()
    segmenter.examples.accept(0, 4)
    segmenter.replace_prompt(replace(box, center_ras=box.center_ras + 1000))
    assert "outside the image" in person.said[-1]
    assert segmenter.examples.accepted_slices(0) == [4]
    assert segmenter.undo_text == "Accept slice 4"
    segmenter.undo()
    assert segmenter.prompts(info.id) == (box,)


def test_what_was_painted_while_it_ran_stays(person: Person) -> None:
    person.session.pause.clear()
    segment_id = person.segmenter.add_segment("rod")
    person.segmenter.examples.run(examples("rod"))
    spot = np.zeros_like(person.truth)
    spot[7, 2:6, 2:6] = True
    person.segmenter.writer.write(segment_id, Crop.from_full(spot), region=Crop.empty())
    person.session.pause.set()
    person.settle()
    voxels = person.voxels(segment_id)
    assert np.array_equal(voxels[7], spot[7])
    assert np.array_equal(voxels[6], person.truth[6])


def test_cancel_keeps_what_is_done(person: Person) -> None:
    person.session.pause.clear()
    person.segmenter.examples.run(examples("rod"), first=2)
    person.calls.get(timeout=20)()
    person.segmenter.cancel()
    person.session.pause.set()
    person.settle()
    (info,) = person.segmenter.segments
    assert np.array_equal(person.voxels(info.id), person.only(2))
    assert "Cancelled; the slices that were finished are kept." in person.said
    run = person.segmenter.propagation(info.id)
    assert run is not None
    assert not run.complete


def test_a_run_that_fails_leaves_no_trace(person: Person) -> None:
    person.session.error = ModelError("There is no network for this model; choose another one.")
    person.run(examples("rod"))
    assert person.segmenter.segments == []
    assert person.segmenter.undo_text == person.segmenter.redo_text == ""
    assert person.said == ["There is no network for this model; choose another one."]


def test_locked_segments_are_left_alone_and_said(person: Person) -> None:
    locked = person.segmenter.add_segment("rod")
    person.segmenter.set_segment_locked(locked, True)
    person.run(examples("rod", "other rod"))
    voxels = person.all_voxels()
    assert not voxels.pop(locked).any()
    assert np.array_equal(*voxels.values(), person.truth)
    assert any("locked" in text for text in person.said)
    person.run(examples("rod"))
    assert "unlock one" in person.said[-1]


def test_a_set_without_pairs_and_a_slice_without_result_are_said(person: Person) -> None:
    person.run(SupportSet("0123456789ab", "Nothing", (SupportObject("rod", (0, 0, 1)),)))
    assert '"Nothing" has no annotated image' in person.said[-1]
    person.run(examples("rod"))
    person.segmenter.examples.accept(0, 0)
    assert "slice 0" in person.said[-1]


def test_slices_that_were_vouched_for_become_examples_with_what_was_vouched_for(person: Person) -> None:
    supports = examples("rod", "other rod")
    person.run(supports)
    rod, other = (info.id for info in person.segmenter.segments)
    person.segmenter.examples.accept(0, 4)
    spot = np.zeros_like(person.truth)
    spot[6, 2:6, 2:6] = True
    person.paint(other, spot)
    objects, make = person.segmenter.examples.new_pairs([rod, other], 0)
    assert [(each.name, each.colour[0]) for each in objects] == [
        ("rod", pytest.approx(0.0)), ("other rod", pytest.approx(0.25, abs=0.01)),
    ]  # fmt: skip
    four, six = make()
    assert four.objects == ("rod", "other rod")
    assert six.objects == ("other rod",)
    assert [pair.view for pair in (four, six)] == ["axial"] * 2
    assert four.masks["rod"].sum() == person.truth[4].sum()
    assert six.masks["other rod"].sum() == (person.truth | spot)[6].sum()
    assert four.group == six.group != ""
    assert person.volume.name not in four.source


def test_without_a_choice_examples_are_spread_over_the_segments(person: Person) -> None:
    person.run(examples("rod"))
    ids = [info.id for info in person.segmenter.segments]
    _, make = person.segmenter.examples.new_pairs(ids)
    pairs = make()
    assert {f"axial {n}" for n in SLICES} <= {pair.name for pair in pairs}
    assert all(pair.masks["rod"].any() for pair in pairs if pair.name in {f"axial {n}" for n in SLICES})


def test_a_run_over_some_slices_leaves_what_is_known_of_the_others(person: Person) -> None:
    supports = examples("rod")
    person.run(supports)
    (rod,) = (info.id for info in person.segmenter.segments)
    before = person.segmenter.propagation(rod)
    assert before is not None
    person.run(supports, None, 5, 6)
    after = person.segmenter.propagation(rod)
    assert after is not None
    assert set(after.agreement) == set(before.agreement) > {5, 6}
    assert after.complete
    person.segmenter.undo_stack.undo()
    assert person.segmenter.propagation(rod) == before


def test_hidden_segments_are_not_accepted(person: Person) -> None:
    person.run(examples("rod", "other rod"))
    rod, other = (info.id for info in person.segmenter.segments)
    person.segmentation_node.GetDisplayNode().SetSegmentVisibility(other, False)
    person.segmenter.examples.accept(0, 4)
    assert person.segmenter.examples.vouched_slices(0, [rod, other]) == {4: (rod,)}
    person.segmentation_node.GetDisplayNode().SetSegmentVisibility(rod, False)
    person.segmenter.examples.accept(0, 5)
    assert "show the segment" in person.said[-1]


def test_a_name_in_other_letters_is_the_same_object(person: Person) -> None:
    old = person.segmenter.add_segment("Rod ")
    person.run(examples("rod"))
    assert [info.id for info in person.segmenter.segments] == [old]
    assert np.array_equal(person.all_voxels()[old], person.truth)


def test_examples_in_colour_are_said_to_be_unlike_a_grey_image(person: Person) -> None:
    supports = examples("rod")
    person.run(supports)
    assert not any("what is found may well be wrong" in text for text in person.said)
    first = supports.pairs[0]
    red = first.image + np.array([200, 0, 0], np.uint8)
    pairs = (SupportPair.of("eye", red, first.masks), *supports.pairs)
    person.run(replace(supports, pairs=pairs))
    assert any("are in colour and this image is grey" in text for text in person.said)


def test_a_stroke_across_leaves_what_was_painted_before(person: Person) -> None:
    """Painted slices of either direction are kept by runs along it."""
    rod = person.segmenter.add_segment("rod")
    axial, coronal = np.zeros_like(person.truth), np.zeros_like(person.truth)
    axial[4, 2:6, 2:6] = True
    coronal[:, 40, 2:5] = True
    person.paint(rod, axial)
    person.paint(rod, coronal)
    kept = person.segmenter.kept
    assert (kept.painted_slices(rod, 0), kept.painted_slices(rod, 1), kept.painted_slices(rod, 2)) == ([4], [40], [])
    person.run(examples("rod"), None, 3, 6)
    assert np.array_equal(person.all_voxels()[rod][4], axial[4] | coronal[4])


def test_objects_go_by_their_own_names_first() -> None:
    segments = {"a": "Spleen", "b": "spleen", "c": "Liver ", "d": "liver"}
    assert matched(["spleen", "liver", "aorta"], segments) == {"spleen": "b", "liver": "d"}
    assert matched(["SPLEEN", "spleen"], segments) == {"spleen": "b", "SPLEEN": "a"}
    assert matched(["SPLEEN", "spleen"], {"b": "spleen"}) == {"spleen": "b"}


def test_a_damaged_example_starts_no_run(person: Person) -> None:
    def damaged() -> Any:
        raise SupportError("The pair is damaged; add it again.")

    supports = examples("rod")
    person.run(replace(supports, pairs=(replace(supports.pairs[0], read=damaged),)))
    assert person.said == ["The pair is damaged; add it again."]
    assert person.segmenter.segments == []
    assert person.segmenter.undo_stack.n_commands() == 0


def test_slices_across_those_that_were_vouched_for_are_not(person: Person) -> None:
    person.run(examples("rod", "other rod"))
    rod, other = (info.id for info in person.segmenter.segments)
    person.segmenter.examples.accept(0, 4)
    for index in (6, 7):  # slices side by side: a block, drawn axially
        spot = np.zeros_like(person.truth)
        spot[index, 2:6, 2:6] = True
        person.paint(other, spot)
    assert set(person.segmenter.examples.vouched_slices(0, [rod, other])) == {4, 6, 7}
    for axis in (1, 2):
        assert person.segmenter.examples.vouched_slices(axis, [rod, other]) == {}
        with pytest.raises(PromptError, match="No slice of this image was prompted"):
            person.segmenter.examples.new_pairs([rod, other], axis)


def test_slices_that_are_about_as_sure_are_one_span() -> None:
    run = Propagation(0, {1: 0.97, 2: 0.92, 3: 0.7, 5: 0.72, 6: 0.1}, automatic=True)
    assert run.sure_spans == [(1, 2, 0, 0.92), (3, 3, 2, 0.7), (5, 5, 2, 0.72), (6, 6, 4, 0.1)]
    assert len(SURE_COLORS) == len(SURE_LEVELS) + 1


def test_examples_are_made_in_the_window_that_the_model_sees(person: Person) -> None:
    from AutoPromptSAMLib.intensity import WindowLevel

    person.run(examples("rod"))
    ids = [info.id for info in person.segmenter.segments]
    default = person.segmenter.examples.new_pairs(ids)[1]()[0].image
    person.segmenter.set_mapping(WindowLevel(DARK, 10))
    assert not np.array_equal(person.segmenter.examples.new_pairs(ids)[1]()[0].image, default)

"""Examples: sets, new ones, what is looked for, where a person is led, learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.mrml.learning import Learning
from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.supports import SupportObject, SupportSet
from AutoPromptSAMLib.workbench.example_rows import ObjectColour, object_row
from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk

from ..finds_bright import SURE
from ..mrml.person import Person


@pytest.fixture
def chosen(desk: ExamplesDesk, person: Person) -> SupportSet:
    """A set of the image, whose segments are gone again."""
    id = person.segmenter.add_segment("rod", (0, 1, 0))
    person.paint(id, person.truth)
    added = desk.add(desk.from_scene(person.segmenter, [id], None), "Rods")()
    person.segmenter.remove_segment(id)
    return desk.choose(added.set.id)


def test_sets_are_listed_renamed_and_removed(desk: ExamplesDesk, chosen: SupportSet) -> None:
    desk.rename("Round things")
    desk.rename_object("rod", "bar")
    desk.recolour("bar", "#ff8000")
    (row,), problems = desk.sets()
    assert problems == []
    assert (row.id, row.name, row.about) == (chosen.id, "Round things", f"{len(chosen.pairs)} examples")
    assert row.objects == (ObjectColour("bar", "#FF8000"),)
    assert not row.learned
    assert row.thumbnail is not None
    assert row.thumbnail.is_file()
    assert desk.free_name("Round things") == "Round things 2"
    assert desk.free_name([]) == "Examples"
    assert desk.free_name(["liver", "spleen", "kidney"]) == "liver, spleen and kidney"
    desk.remove_set(None)
    assert desk.sets() == ([], [])
    assert desk.chosen is None
    with pytest.raises(PromptError, match="no examples yet"):
        desk.rename("Nothing")


def test_an_example_that_was_removed_can_come_back(desk: ExamplesDesk, chosen: SupportSet) -> None:
    gone = desk.pairs()[1]
    assert gone.text == f"{gone.name}: rod"
    assert gone.colours == ("#00FF00",)
    desk.remove_pair(gone.id)
    assert gone.id not in [row.id for row in desk.pairs()]
    assert desk.removed == gone.name
    desk.unremove_pair()
    assert desk.removed == ""
    back = next(pair for pair in desk.need().pairs if pair.id == gone.id)
    assert np.array_equal(back.masks["rod"], chosen.pairs[1].masks["rod"])
    desk.remove_pair(gone.id)
    desk.choose(chosen.id)
    assert desk.removed == ""


def test_what_is_there_is_not_added_again(desk: ExamplesDesk, person: Person, chosen: SupportSet) -> None:
    person.run(chosen, None, 3, 4, 0)
    person.segmenter.examples.accept(0, 3)
    work = desk.add(desk.vouched(person.segmenter, 0), None)
    first, again = work(), work()
    assert (first.added + first.there, again.added, again.there) == (1, 0, 1)
    assert again.text == '"Rods" has these examples already.'
    wide = np.zeros_like(person.truth)
    wide[4, 2:8, 2:8] = True
    person.paint(person.segmenter.segments[0].id, wide)
    added = desk.add(desk.vouched(person.segmenter, 0), None)()
    assert added.text == '1 example joined "Rods"; 1 was in it already.'


def test_examples_come_from_files_and_go_out_as_one(desk: ExamplesDesk, tmp_path: Path) -> None:
    labels = np.zeros((60, 80), np.uint8)
    labels[10:20, 10:30], labels[30:40, 40:60] = 1, 2
    Image.fromarray(labels * 90).save(tmp_path / "photo.png")
    Image.fromarray(labels).save(tmp_path / "labels.png")
    found = desk.from_files(tmp_path / "photo.png", tmp_path / "labels.png", " disc, cup,")
    with pytest.raises(PromptError, match="no examples yet"):
        desk.add(found, None)
    added = desk.add(found, " ")()
    assert (added.set.name, added.set.names) == ("disc and cup", ("disc", "cup"))
    assert added.text == '1 example joined "disc and cup".'
    file = desk.export(added.set.id, tmp_path / "out")
    new = desk.import_(file)
    assert desk.imported_text(new) == '"disc and cup (2)" with 1 example was imported.'
    assert desk.chosen is None
    assert desk.choose(new.id).pairs[0].id == added.set.pairs[0].id
    assert desk.view_of_examples() is None


def test_only_what_is_annotated_and_ticked_is_looked_for(desk: ExamplesDesk, person: Person) -> None:
    with pytest.raises(PromptError, match="no examples to go by"):
        desk.objects_to_find([])
    id = person.segmenter.add_segment("rod")
    person.paint(id, person.truth)
    empty = desk.library.create("Rods", ["rod", "never drawn"])
    desk.choose(empty.id)
    with pytest.raises(PromptError, match="no examples to go by"):
        desk.objects_to_find([])
    desk.add(desk.from_scene(person.segmenter, [id], None), None)()
    assert desk.objects_to_find([]) == ["rod"]  # as it is on disk now
    with pytest.raises(PromptError, match="No object is ticked"):
        desk.objects_to_find(["rod"])


def test_slices_that_a_person_drew_say_nothing_of_how_well_an_object_was_found() -> None:
    rod = SupportObject("rod", (0.0, 1.0, 0.0))
    row = object_row(rod, Propagation(0, {3: 1.0, 4: 0.5, 5: 0.25}, (3,), automatic=True))
    assert (row.sure, row.text[:17]) == (38, "Found on 2 slices")
    row = object_row(rod, Propagation(0, {3: 1.0}, (3,), automatic=True))
    assert (row.sure, row.text, row.ran) == (None, "Only on slices that you prompted", True)


def test_a_run_is_told_and_leads_to_the_least_sure_slices(
    desk: ExamplesDesk, person: Person, chosen: SupportSet
) -> None:
    segmenter = person.segmenter
    (row,) = desk.object_rows(None)
    assert (row.name, row.colour, row.sure, row.text, row.ran) == ("rod", "#00FF00", None, "", False)
    with pytest.raises(PromptError, match="prompt automatically first"):
        desk.next_unsure(segmenter, 0)
    assert desk.view_of_examples() == desk.view_of_examples(segmenter) == "axial"
    desk.run(segmenter, [], 3, 7, 0)
    person.settle()
    assert desk.view_of_examples(segmenter) is None  # the person chose
    found = desk.summary(segmenter, 0)
    sure = round(100 * float(np.mean([SURE[n] for n in range(3, 8)])))
    (row,) = found.objects
    assert (row.sure, row.ran, found.ran) == (sure, True, True)
    assert row.text == f"Found on 5 slices, {sure} % sure on average; least sure: slice 3, 65 %"
    assert found.unsure is not None
    assert (found.unsure.name, found.unsure.slice, found.unsure.sure) == ("rod", 3, 65)
    (info,) = segmenter.segments
    assert desk.next_unsure(segmenter, 9) == (info.id, 0, 3)
    assert desk.next_unsure(segmenter, 9) == (info.id, 0, 3)  # the person went elsewhere
    assert [desk.next_unsure(segmenter, n, "rod")[2] for n in (3, 7, 6)] == [7, 6, 5]
    with pytest.raises(PromptError, match="No slice is unsure"):
        desk.next_unsure(segmenter, 5, "nobody")
    segmenter.examples.accept(0, 3)
    found = desk.summary(segmenter, 0)
    assert (found.vouched, found.accepted) == (1, (3,))
    assert desk.next_unsure(segmenter, 0) == (info.id, 0, 7)


def test_what_was_found_of_other_sets_is_not_shown(desk: ExamplesDesk, person: Person, chosen: SupportSet) -> None:
    desk.run(person.segmenter, [], 3, 7, 0)
    person.settle()
    desk.choose(desk.library.create("Other", ["other"]).id)
    found = desk.summary(person.segmenter, 0)
    assert (found.ran, [row.name for row in found.objects]) == (False, ["other"])
    desk.remove_set(None)
    assert desk.summary(person.segmenter, 0).objects == ()


def test_without_a_set_all_that_examples_found_is_led_to(
    desk: ExamplesDesk, person: Person, chosen: SupportSet
) -> None:
    person.run(chosen)
    led = desk.next_unsure(person.segmenter, -1)
    desk.remove_set(None)
    assert desk.chosen is None
    desk.forget()
    assert desk.next_unsure(person.segmenter, -1) == led
    with pytest.raises(PromptError, match="No slice is unsure"):
        desk.next_unsure(person.segmenter, -1, "rod")  # no row of the list has this name now


def test_learning_needs_two_examples_and_says_how_long(desk: ExamplesDesk, person: Person, chosen: SupportSet) -> None:
    assert desk.learning_text(Learning("x"), 5) == desk.learning_text(Learning("x", done=3), 5)
    preview = np.zeros((4, 4, 3), np.uint8)
    text = desk.learning_text(Learning("x", "Learning", 25, 200, preview), 15)
    assert (text.text, text.left, text.percent) == ("Learning", "at most 14 min left", 12)
    assert desk.minutes_left(5, 100) == "almost done"
    for pair in chosen.pairs[1:]:
        desk.remove_pair(pair.id)
    with pytest.raises(PromptError, match='add more to "Rods"'):
        desk.learn(person.segmenter, 5)

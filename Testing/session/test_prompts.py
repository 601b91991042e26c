"""Prompts of a session: undo over several objects, export and replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.errors import GeometryError, ImageError, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.intensity import WindowLevel
from AutoPromptSAMLib.prompts import Doodle, MaskPrompt, Point, PromptSet
from AutoPromptSAMLib.prompts.file import PromptFile, load_prompts, save_prompts
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.prompted_image import VOLUME_LOOP

from ..threshold_backbone import rod
from .conftest import slice_box

MakeSession = Callable[..., LocalSession]


def point(volume: Volume, i: float, j: float, k: float, positive: bool = True) -> Point:
    return Point(volume.geometry.ras_from_ijk([[i, j, k]])[0], positive)


def ids(session: LocalSession) -> dict[str, list[str]]:
    return {name: [prompt.id for prompt in prompts] for name, prompts in session.objects.items()}


def test_undo_and_redo_follow_the_order_over_all_objects(threshold_session: MakeSession) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    a, b, c = (point(volume, 20, 20, k) for k in (1, 2, 3))
    states = [ids(session)]
    for name, prompt in (("liver", a), ("spleen", b), ("liver", c)):
        session.add_prompt(name, prompt)
        states.append(ids(session))
    session.remove_prompt("liver", a.id)
    states.append(ids(session))
    assert states[-1] == {"liver": [c.id], "spleen": [b.id]}

    assert [session.undo() for _ in range(5)] == ["Remove point", "Add point", "Add point", "Add point", None]
    assert ids(session) == {"liver": [], "spleen": []}
    assert [session.redo() for _ in range(5)] == ["Add point", "Add point", "Add point", "Remove point", None]
    assert ids(session) == states[-1]
    for expected in reversed(states[1:-1]):
        session.undo()
        assert {name: found for name, found in ids(session).items() if found} == expected


def test_a_new_step_ends_what_could_be_redone(threshold_session: MakeSession) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    a, b, c = (point(volume, 20, 20, k) for k in (1, 2, 3))
    session.add_prompt("liver", a)
    session.add_prompt("liver", b)
    session.undo()
    session.add_prompt("spleen", c)
    assert session.redo() is None
    assert ids(session) == {"liver": [a.id], "spleen": [c.id]}
    assert session.undo() == "Add point"
    assert ids(session) == {"liver": [a.id], "spleen": []}


@pytest.mark.parametrize("kind", ["point", "doodle"])
def test_a_click_on_a_propagated_slice_is_one_step_with_the_slice_it_keeps(
    threshold_session: MakeSession, kind: str
) -> None:
    volume, truth = rod(range(2, 9))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    session.propagate("rod").result()
    at = volume.geometry.ras_from_ijk([[22, 14, 7], [24, 14, 7]])
    session.add_prompt("rod", Point(at[0], False) if kind == "point" else Doodle(at, False))
    box, kept, click = session.objects["rod"]
    assert (box.type, click.type) == ("box", kind)
    assert isinstance(kept, MaskPrompt)
    assert kept.source == VOLUME_LOOP
    expected = np.zeros_like(truth)
    expected[7] = truth[7]
    np.testing.assert_array_equal(kept.crop.to_full(truth.shape), expected)

    # A second click on that slice corrects the first; it keeps nothing more.
    session.add_prompt("rod", point(volume, 22, 30, 7, positive=False))
    assert len(session.objects["rod"]) == 4

    assert session.undo() == "Add point"
    assert session.objects["rod"].prompts == (box, kept, click)
    assert session.undo() == f"Add {kind}"
    assert session.objects["rod"].prompts == (box,)
    assert session.redo() == f"Add {kind}"
    assert session.objects["rod"].prompts == (box, kept, click)


def test_what_keeps_no_slice(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(2, 9))
    session = threshold_session(volume)

    def types(name: str = "rod") -> list[str]:
        return [prompt.type for prompt in session.objects[name]]

    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    session.propagate("rod").result()
    session.add_prompt("rod", point(volume, 22, 22, 5))  # on the seed itself
    session.add_prompt("rod", point(volume, 22, 22, 10))  # where the object is not
    session.add_prompt("rod", slice_box(volume, truth, 0, 7))  # a box starts anew
    session.add_prompt("other", point(volume, 22, 22, 6))  # another object
    assert types() == ["box", "point", "point", "box"]
    assert types("other") == ["point"]
    for _ in range(5):
        session.undo()
    session.add_prompt("rod", point(volume, 22, 22, 6))  # all prompts were taken back: a new start
    assert types() == ["point"]


def test_a_refused_prompt_leaves_no_trace(threshold_session: MakeSession, one_sentence: Callable) -> None:
    volume, truth = rod(range(2, 9))
    session = threshold_session(volume)
    box = slice_box(volume, truth, 0, 5)
    session.add_prompt("rod", box)
    session.propagate("rod").result()
    before = ids(session)
    with one_sentence(PromptError, box.id):
        session.add_prompt("rod", Point(volume.geometry.ras_from_ijk([[22, 22, 7]])[0], id=box.id))
    with one_sentence(PromptError, "name"):
        session.add_prompt("", point(volume, 22, 22, 7))
    with one_sentence(PromptError, "outside"):
        session.add_prompt("new", point(volume, 22, 22, 99))
    with one_sentence(PromptError, "nobody"):
        session.remove_prompt("nobody", box.id)
    with one_sentence(PromptError, "0815"):
        session.remove_prompt("rod", "0815")
    assert ids(session) == before
    assert [session.undo(), session.undo()] == ["Add box", None]


def test_export_and_replay_give_the_same_masks(threshold_session: MakeSession, tmp_path: Path) -> None:
    volume, truth = rod(range(2, 9))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    session.propagate("rod").result()
    session.add_prompt("rod", point(volume, 22, 15, 7, positive=False))
    session.add_prompt("clicked", point(volume, 22, 22, 4))
    file = session.export_prompts()
    assert file.model == {"name": "lite-medsam", "sha256": "threshold"}
    assert file.geometry == volume.geometry
    save_prompts(tmp_path / "p.json", file.objects, file.model, file.geometry)

    other = threshold_session(volume)
    other.add_prompt("old", point(volume, 1, 1, 1))
    assert other.replay(load_prompts(tmp_path / "p.json")) == []
    assert ids(other) == ids(session)
    assert other.undo() is None, "what was loaded is the start"
    for name in ("rod", "clicked"):
        one, two = (each.propagate(name).result().mask for each in (session, other))
        assert not one.is_empty
        assert one.lower == two.lower
        np.testing.assert_array_equal(one.mask, two.mask)


def test_an_export_does_not_change_with_the_session(threshold_session: MakeSession) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", point(volume, 20, 20, 1))
    file = session.export_prompts()
    other = threshold_session(volume)
    other.replay(file)
    session.add_prompt("rod", point(volume, 20, 20, 2))
    other.add_prompt("rod", point(volume, 20, 20, 3))
    other.add_prompt("rod", point(volume, 20, 20, 4))
    assert [len(prompts["rod"]) for prompts in (file.objects, session.objects, other.objects)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (None, None),
        ({"name": "lite-medsam", "sha256": "threshold"}, None),
        ({"name": "lite-medsam", "sha256": "other"}, "other weights of lite-medsam"),
        ({"name": "sam-vit-b", "sha256": "other"}, "sam-vit-b"),
    ],
)
def test_replay_remarks_on_another_model(
    threshold_session: MakeSession, model: dict[str, str] | None, words: str | None
) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    remarks = session.replay(PromptFile({"rod": PromptSet([point(volume, 20, 20, 1)])}, model))
    assert len(remarks) == (words is not None)
    assert all(words in remark and remark.endswith(".") for remark in remarks if words)


def test_replay_on_another_image_is_refused_and_changes_nothing(
    threshold_session: MakeSession, one_sentence: Callable
) -> None:
    volume, _ = rod(range(12))
    moved = np.eye(4)
    moved[0, 3] = 1.5
    shifted = volume.geometry.transformed(moved)
    other = VolumeGeometry((6, 48, 48), volume.geometry.ijk_to_ras)
    session = threshold_session(volume)
    session.add_prompt("rod", point(volume, 20, 20, 1))
    before = ids(session)
    good = point(volume, 20, 20, 2)
    for geometry in (shifted, other):
        with one_sentence(GeometryError, "load the image they belong to"):
            session.replay(PromptFile({"rod": PromptSet([good])}, None, geometry))
    outside = point(volume, 20, 20, 40)
    foreign = MaskPrompt(Crop(np.ones((1, 1, 1), bool)), shifted)
    for wrong, words in ((outside, "outside"), (foreign, "another geometry")):
        with one_sentence(PromptError, words):
            session.replay(PromptFile({"rod": PromptSet([good, wrong])}))
    assert ids(session) == before
    assert session.undo() == "Add point"


def test_without_an_image_there_is_one_sentence(open_session: MakeSession, one_sentence: Callable) -> None:
    volume, _ = rod(range(12))
    session = open_session()
    plane = slice_plane(volume.geometry, 0, 5)
    for ask in (
        lambda: session.volume,
        lambda: session.add_prompt("rod", point(volume, 20, 20, 2)),
        lambda: session.segment("rod", plane),
        lambda: session.propagate("rod"),
        lambda: session.export_prompts(),
        lambda: session.replay(PromptFile({})),
    ):
        with one_sentence(ImageError, "no image"):
            ask()
    assert session.undo() is None
    assert session.redo() is None


def test_a_new_image_starts_without_prompts(threshold_session: MakeSession) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", point(volume, 20, 20, 1))
    session.add_prompt("rod", point(volume, 20, 20, 2))
    session.undo()
    session.set_image(volume)
    assert dict(session.objects) == {}
    assert session.undo() is None
    assert session.redo() is None


def test_replacing_and_clearing_are_steps_too(threshold_session: MakeSession) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    a = point(volume, 20, 20, 1)
    session.add_prompt("liver", a)
    moved = Point(point(volume, 21, 20, 1).ras, id=a.id)
    session.replace_prompt("liver", moved)
    assert session.objects["liver"].prompts == (moved,)
    session.clear_prompts("liver")
    session.clear_prompts("liver")  # nothing left: no step
    session.clear_prompts("spleen")
    assert not session.objects["liver"]
    assert [session.undo() for _ in range(3)] == ["Clear prompts", "Change point", "Add point"]
    assert [session.redo() for _ in range(2)] == ["Add point", "Change point"]
    assert session.objects["liver"].prompts == (moved,)


def test_a_prompt_is_replaced_by_one_that_fits_or_not_at_all(threshold_session: MakeSession) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    a = point(volume, 20, 20, 1)
    session.add_prompt("liver", a)
    with pytest.raises(PromptError, match="outside the image"):
        session.replace_prompt("liver", Point(point(volume, 900, 20, 1).ras, id=a.id))
    with pytest.raises(PromptError, match="There is no prompt"):
        session.replace_prompt("liver", point(volume, 20, 20, 1))
    with pytest.raises(PromptError, match="There is no object"):
        session.replace_prompt("spleen", a)
    assert session.objects["liver"].prompts == (a,)
    assert session.undo() == "Add point"


def test_a_prepared_slice_is_not_encoded_again(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.prepare(slice_plane(volume.geometry, 0, 5)).result(20)
    assert session.backbone.encoded == 1
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    session.segment("rod", slice_plane(volume.geometry, 0, 5)).result(20)
    assert session.backbone.encoded == 1


def test_prompts_come_back_on_the_same_voxels_in_another_order(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    kept = np.zeros_like(truth)
    kept[7, 10:14, 12:15] = True
    session.add_prompt("rod", MaskPrompt(Crop.from_full(kept), volume.geometry))
    file = session.export_prompts()
    reverse = np.diag([1.0, 1.0, -1.0, 1.0])
    reverse[2, 3] = volume.geometry.shape[0] - 1
    flipped = Volume(volume.array[::-1], VolumeGeometry(volume.geometry.shape, volume.geometry.ijk_to_ras @ reverse))
    session.set_image(flipped)
    assert session.replay(file) == []
    box, mask = session.objects["rod"]
    assert box == file.objects["rod"].prompts[0]
    assert isinstance(mask, MaskPrompt)
    assert np.array_equal(mask.crop.to_full(kept.shape), kept[::-1])


def test_the_model_sees_the_image_as_the_mapping_says_and_prompts_stay(
    threshold_session: MakeSession, one_sentence: Callable
) -> None:
    grey, truth = rod(range(12))
    volume = Volume(grey.array.astype(np.int16), grey.geometry)
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    plane = slice_plane(volume.geometry, 0, 5)
    assert session.segment("rod", plane).result(20).mask.count == truth[5].sum()
    session.set_mapping(WindowLevel(3000, 1000))  # all is black in this window
    assert session.segment("rod", plane).result(20).mask.is_empty
    with one_sentence(ImageError, "colour"):
        threshold_session(Volume(np.zeros((2, 3, 4, 3), np.uint8), VolumeGeometry((2, 3, 4), np.eye(4)))).set_mapping(
            WindowLevel(40, 400)
        )
    session.set_mapping(None)
    assert session.segment("rod", plane).result(20).mask.count == truth[5].sum()
    assert len(session.objects["rod"]) == 1

"""Review, refinement and carried corrections of a session, by a network that finds what is bright in a box."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, ImageError, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.prompts import Box, MaskPrompt, Point, Source, on_plane
from AutoPromptSAMLib.session import RefinedSlice, Review, SliceReview
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.review import UGPA, exchanged

from ..conftest import SentenceCheck
from ..threshold_backbone import rod
from .conftest import MakeSession, Phantom, dice, slice_box

COUNT = 14


def at(geometry: VolumeGeometry, axis: int, index: int, row: int, col: int) -> np.ndarray:
    """RAS of a voxel of a slice; row and column are those of ``rod``."""
    kji = [row, col]
    kji.insert(axis, index)
    return geometry.ras_from_ijk([kji[::-1]])[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_review_says_where_a_mask_is_wrong(threshold_session: MakeSession, axis: int) -> None:
    volume, truth = rod(range(3, 11), COUNT, axis=axis)
    session = threshold_session(volume)
    mask = np.moveaxis(truth.copy(), axis, 0)
    mask[6, 30:36, 32:38] = True
    mask[9:] = False
    mask = np.moveaxis(mask, 0, axis)
    seen: list[SliceReview] = []
    progress = []
    review = session.review("rod", Crop.from_full(mask), axis, on_slice=seen.append, on_progress=progress.append)
    found = review.result()
    assert (found.name, found.axis, found.complete) == ("rod", axis, True)
    assert list(found.slices) == [s.index for s in seen] == list(range(2, 10))
    assert found.ranked[:2] == [9, 6], "it goes on at 9, and too much is on 6"
    assert [s.index for s in seen if s.is_empty] == [2, 9]
    assert found.slices[2].expected_dice > 0.9
    assert found.slices[9].expected_error == pytest.approx(truth.take(9, axis).sum(), rel=0.1)
    assert progress[-1].done == progress[-1].total == 8
    # Jittered boxes disagree at the border of the rod, and the crops hold it in the right place.
    whole = found.volume(volume.geometry)
    full = whole.to_full(volume.geometry.shape)
    assert full.max() > 200
    near = np.moveaxis(full, axis, 0)[5]
    rows, cols = np.nonzero(near > 60)
    bright_rows, bright_cols = np.nonzero(truth.take(5, axis))
    assert rows.min() >= bright_rows.min()
    assert cols.max() <= bright_cols.max()
    for index, each in found.slices.items():
        part = each.uncertainty
        assert part.is_empty or (part.lower[axis], part.upper[axis]) == (index, index + 1)
        np.testing.assert_array_equal(full[part.slices], part.values)


def test_suggestions_are_prompts_of_the_slice(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(3, 11), COUNT)
    session = threshold_session(volume)
    found = session.review("rod", Crop.from_full(truth), 0).result()
    (box,) = found.slices[6].suggestions
    assert isinstance(box, Box)
    assert box.source == UGPA
    plane = slice_plane(volume.geometry, 0, 6)
    rows, cols = np.nonzero(truth[6])
    given = on_plane([box], plane, 3.0).box
    assert given is not None
    np.testing.assert_allclose(given, [cols.min(), rows.min(), cols.max(), rows.max()], atol=3)


def test_a_row_of_pixels_has_a_box_too(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(3, 11), COUNT)
    array = volume.array.copy()
    array[6] = array[0]
    array[6, 20, 15:30] = array.max()
    session = threshold_session(Volume(array, volume.geometry))
    line = np.zeros_like(truth)
    line[6, 20, 15:30] = True
    found = session.review("line", Crop.from_full(line), 0).result()
    assert len(found.slices[6].suggestions) == 1


def test_slices_mend_themselves_and_can_be_stepped_through(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(3, 11), COUNT)
    session = threshold_session(volume)
    plane = slice_plane(volume.geometry, 0, 6)
    # A bad box, and what it made of the slice.
    box = Box.on_plane(plane, (20, 14, 40, 40))
    session.add_prompt("rod", box)
    bad = session.segment("rod", plane).result().mask
    seen: list[RefinedSlice] = []
    result = session.refine("rod", bad, on_slice=seen.append).result()
    assert (result.name, result.axis, result.complete) == ("rod", 0, True)
    assert list(result.slices) == [6] == [s.index for s in seen]
    refined = result.slices[6]
    assert refined.improved
    assert refined.chosen > 0
    assert refined.best is refined.steps[refined.chosen]
    assert refined.steps[0].prompts == (box,)
    np.testing.assert_array_equal(refined.steps[0].mask.to_full(truth.shape), bad.to_full(truth.shape))
    assert refined.steps[1].prompts == (box,), "it is asked once more before anything is changed"
    assert all(p.source == UGPA for step in refined.steps[2:] for p in step.prompts)
    wrong = [int((step.mask.to_full(truth.shape)[6] ^ truth[6]).sum()) for step in refined.steps]
    assert wrong[refined.chosen] < wrong[0]
    scores = [step.score for step in refined.steps[1:] if step.accepted]
    assert (np.diff(scores) < 0).all()
    better = exchanged(bad, 0, {6: refined.best.mask}).to_full(truth.shape)
    np.testing.assert_array_equal(better, refined.best.mask.to_full(truth.shape))
    assert session.objects["rod"].prompts == (box,), "nothing was changed by itself"


def test_slices_that_a_person_vouched_for_are_left(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(3, 11), COUNT)
    session = threshold_session(volume)
    mask = Crop.from_full(truth)
    for index, source in ((5, Source()), (7, Source("prompter", "volume loop"))):
        alone = np.zeros_like(truth)
        alone[index] = truth[index]
        session.add_prompt("rod", MaskPrompt(Crop.from_full(alone), volume.geometry, source=source))
    result = session.refine("rod", mask, 0).result()
    assert sorted(result.slices) == [3, 4, 6, 7, 8, 9, 10]
    assert session.refine("rod", mask, 0, 5, 5).result().slices == {}


@pytest.mark.parametrize("positive", [True, False])
def test_clicks_that_the_model_cannot_take_stay_obeyed(threshold_session: MakeSession, positive: bool) -> None:
    volume, truth = rod(range(3, 11), COUNT)
    session = threshold_session(volume)
    mask = truth[6].copy()
    cols = np.nonzero(mask)[1]
    mask[:, cols.max() - 2 :] = False  # a person cut something off, or let it be
    click = at(volume.geometry, 0, 6, 22, int(cols.max()) - 1)
    assert truth[6, 22, cols.max() - 1]
    present = np.zeros_like(truth)
    present[6] = mask | (truth[6] if positive else False)
    session.add_prompt("rod", Point(click, positive))
    refined = session.refine("rod", Crop.from_full(present), 0).result().slices[6]
    for step in refined.steps:
        inside = step.mask.to_full(truth.shape)[6, 22, cols.max() - 1]
        assert inside == positive or not step.accepted
        assert any(isinstance(p, Point) and p.source.kind == "person" for p in step.prompts)


def test_a_solid_box_speaks_for_its_middle_slice_only(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(3, 11), COUNT)
    session = threshold_session(volume)
    middle = at(volume.geometry, 0, 6, 22, 22)
    solid = Box(middle, np.eye(3), np.array([32.0, 32.0, 21.0]))
    session.add_prompt("rod", solid)
    result = session.refine("rod", Crop.from_full(truth), 0).result()
    assert [solid in result.slices[n].steps[0].prompts for n in (5, 6, 7)] == [False, True, False]


def test_a_correction_is_carried_and_the_rest_stays(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(1, 13), COUNT)
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 2))
    session.propagate("rod").result()
    mask = truth.copy()
    mask[4:11] &= np.arange(48) < 20
    mask[7] = truth[7]
    accepted = np.zeros_like(truth)
    accepted[7] = truth[7]
    session.add_prompt("rod", MaskPrompt(Crop.from_full(accepted), volume.geometry))
    seen: dict[int, Crop] = {}
    result = session.carry("rod", Crop.from_full(mask), 7, reach=2, on_slice=seen.__setitem__).result()
    full = result.mask.to_full(truth.shape)
    assert (result.name, result.axis, result.complete) == ("rod", 0, True)
    assert sorted(seen) == [5, 6, 8, 9]
    for index, crop in seen.items():
        np.testing.assert_array_equal(crop.to_full(truth.shape)[index], full[index])
    rest = [n for n in range(COUNT) if n not in seen]
    np.testing.assert_array_equal(full[rest], mask[rest])
    assert dice(full[6], truth[6]) > 0.9 > dice(mask[6], truth[6])
    assert sorted(result.agreement) == list(range(1, 13))
    assert result.agreement[7] == 1
    assert result.seeds == (2, 7)
    # A click on a slice that was found anew corrects what is there now.
    session.add_prompt("rod", Point(at(volume.geometry, 0, 6, 22, 22)))
    kept = session.objects["rod"].prompts[-2]
    assert isinstance(kept, MaskPrompt)
    np.testing.assert_array_equal(kept.crop.to_full(truth.shape)[6], full[6])


@pytest.mark.parametrize("kind", ["review", "refine", "carry"])
def test_cancelling_keeps_the_slices_that_are_done(threshold_session: MakeSession, kind: str) -> None:
    volume, truth = rod(range(1, 13), COUNT)
    session = threshold_session(volume)
    jobs = []

    def stop(progress: object) -> None:
        if progress.done >= 3:  # type: ignore[attr-defined]
            jobs[0].cancel()

    # The worker is kept busy until the job is known here.
    session.prepare(slice_plane(volume.geometry, 0, 0))
    arguments = (7,) if kind == "carry" else ()
    jobs.append(getattr(session, kind)("rod", Crop.from_full(truth), *arguments, axis=0, on_progress=stop))
    result = jobs[0].result()
    assert not result.complete
    if kind == "carry":
        np.testing.assert_array_equal(result.mask.to_full(truth.shape)[1:3], truth[1:3])
    else:
        assert 0 < len(result.slices) < 12


def bad_inputs(session: LocalSession, mask: Crop) -> dict[str, Callable[[], object]]:
    empty, outside = Crop.empty(), Crop(np.ones((1, 1, 1), dtype=bool), (99, 0, 0))
    return {
        "empty": lambda: session.review("rod", empty),
        "empty refine": lambda: session.refine("rod", empty),
        "empty carry": lambda: session.carry("rod", empty, 5),
        "other geometry": lambda: session.review("rod", outside),
        "other geometry refine": lambda: session.refine("rod", outside),
        "other geometry carry": lambda: session.carry("rod", outside, 5),
        "axis": lambda: session.review("rod", mask, 3),
        "range": lambda: session.review("rod", mask, 0, 9, 4),
        "range beyond": lambda: session.refine("rod", mask, 0, 50, 60),
        "nothing there": lambda: session.refine("rod", mask, 0, 0, 1),
        "slice": lambda: session.carry("rod", mask, COUNT, 0),
        "reach": lambda: session.carry("rod", mask, 5, 0, 0),
    }


@pytest.mark.parametrize("case", list(bad_inputs(None, None)))  # type: ignore[arg-type]
def test_bad_input_is_one_sentence(threshold_session: MakeSession, case: str, one_sentence: SentenceCheck) -> None:
    volume, truth = rod(range(3, 11), COUNT)
    session = threshold_session(volume)
    with one_sentence(AutoPromptSAMError):
        bad_inputs(session, Crop.from_full(truth))[case]()
    kind = PromptError if case.startswith(("empty", "nothing", "reach")) else GeometryError
    with pytest.raises(kind):
        bad_inputs(session, Crop.from_full(truth))[case]()


def test_without_an_image_there_is_nothing_to_review(open_session: MakeSession) -> None:
    with pytest.raises(ImageError):
        open_session().review("rod", Crop(np.ones((1, 1, 1), dtype=bool)))


def test_the_worst_slice_of_a_real_network_comes_first(lite_session: MakeSession, phantom: Phantom) -> None:
    session, truth = lite_session(), phantom.truth["large"]
    session.add_prompt("large", slice_box(phantom.volume, truth, 0, 3))
    good = session.propagate("large").result().mask
    mask = good.to_full(truth.shape)
    mask[2, 30:60, 40:110] = True  # spilt over the other object
    review: Review = session.review("large", Crop.from_full(mask)).result()
    there = [n for n in review.ranked if not review.slices[n].is_empty]
    assert there[0] == 2
    assert review.slices[2].expected_dice < 0.8 < review.slices[3].expected_dice
    assert all(review.slices[n].uncertainty.values.max() > 200 for n in there)
    # A bad box mends itself, and a correction is carried to where the mask was spilt.
    plane = slice_plane(phantom.volume.geometry, 0, 3)
    rows, cols = np.nonzero(truth[3])
    box = Box.on_plane(plane, (cols.min() + 5, rows.min() + 6, cols.max() + 9, rows.max() + 9))
    other = lite_session()
    other.add_prompt("large", box)
    bad = other.segment("large", plane).result().mask
    refined = other.refine("large", bad).result().slices[3]
    before, after = (dice(step.mask.to_full(truth.shape)[3], truth[3]) for step in (refined.steps[0], refined.best))
    assert refined.improved
    assert after > before
    carried = session.carry("large", Crop.from_full(mask), 3, reach=1).result().mask.to_full(truth.shape)
    assert dice(carried[2], truth[2]) > dice(mask[2], truth[2]) + 0.1
    np.testing.assert_array_equal(carried[[0, 1, 5, 6]], mask[[0, 1, 5, 6]])

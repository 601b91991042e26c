"""The review loop on stacks of slices whose truth is known, by a network that finds what is bright in a box."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from AutoPromptSAMLib.backbones import Features
from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.loops.appearance import smooth
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.review import Carried, ReviewedSlice, around, refine_slices, review, reviewed_slices
from AutoPromptSAMLib.loops.volume import Slices
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners import Refinement, estimate

from ..threshold_backbone import ThresholdBackbone, rod

Masks = np.ndarray


class Stack:
    """A rod on some of 16 slices, and what the loops want to know of it."""

    def __init__(self, slices: range) -> None:
        volume, self.truth = rod(slices, count=16)
        self.array = volume.array
        self.backbone = ThresholdBackbone()
        self.masks = self.truth.copy()  # the present ones

    def features(self, index: int) -> Features:
        return self.backbone.encode([np.repeat(self.array[index][..., None], 3, axis=2)])

    def mask(self, index: int) -> np.ndarray:
        return self.masks[index] if 0 <= index < len(self.masks) else np.zeros_like(self.masks[0])

    def slices(self) -> Slices:
        return Slices(len(self.array), self.features, lambda index: smooth(self.array[index]), "rod")

    def review(self, wanted: list[int], control: Control | None = None) -> tuple[dict[int, ReviewedSlice], bool]:
        known: dict[int, ReviewedSlice] = {}

        def show(found: ReviewedSlice) -> None:
            known[found.index] = found

        complete = review(self.backbone, self.features, self.mask, wanted, control or Control(), show)
        return known, complete

    def around(self, index: int, reach: int, fixed: tuple[int, ...] = (), control: Control | None = None) -> Carried:
        self.shown: dict[int, np.ndarray] = {}
        return around(
            self.backbone,
            self.slices(),
            self.mask,
            index,
            reach,
            fixed,
            SliceMemory(),
            control or Control(),
            lambda at, answer: self.shown.__setitem__(at, answer.mask),
        )

    def after(self, found: Carried) -> Masks:
        """The masks with those that were found anew; what was shown last is what was found."""
        assert set(self.shown) == set(found.slices)
        result = self.masks.copy()
        for at, answer in found.slices.items():
            np.testing.assert_array_equal(self.shown[at], answer.mask)
            result[at] = answer.mask
        return result


def stopping(after: int) -> Control:
    """A control that is cancelled as soon as ``after`` slices are done."""

    def watch(progress: object) -> None:
        if progress.done >= after:  # type: ignore[attr-defined]
            control.cancel()

    control = Control(watch)
    return control


def test_slices_beside_the_ends_of_a_mask_are_looked_at_too() -> None:
    assert reviewed_slices([4, 5, 6, 10], 0, 15) == [3, 4, 5, 6, 7, 9, 10, 11]
    assert reviewed_slices([0, 15], 0, 15) == [0, 1, 14, 15]
    assert reviewed_slices([4, 5, 6], 5, 6) == [5, 6]


def test_wrong_masks_are_expected_to_be_wrong() -> None:
    stack = Stack(range(3, 13))
    stack.masks[7, 18:26, 18:26] = False  # its middle is missing
    stack.masks[9, 30:36, 30:36] = True  # and here a dark corner is taken in
    known, complete = stack.review(reviewed_slices(range(3, 13), 0, 15))
    assert complete
    assert list(known) == list(range(2, 14))
    ranked = sorted(range(3, 13), key=lambda n: known[n].expected_dice)
    assert set(ranked[:2]) == {7, 9}
    assert all(known[n].expected_dice > 0.97 for n in ranked[2:])
    assert known[9].expected_error > 20
    assert not known[9].is_empty


def test_an_object_that_goes_on_beside_the_end_is_missed() -> None:
    stack = Stack(range(3, 13))
    stack.masks[10:] = False
    known, _ = stack.review([2, 10])
    assert [known[n].is_empty for n in (2, 10)] == [True, True]
    assert known[10].expected_dice < 0.1, "it goes on here"
    assert known[10].expected_error == pytest.approx(stack.truth[10].sum(), rel=0.1)
    assert known[10].suggestion is not None
    assert known[2].expected_dice > 0.95, "it does not here"


def test_the_larger_neighbour_says_what_may_be_in_a_gap() -> None:
    stack = Stack(range(3, 13))
    stack.masks[7] = False
    stack.masks[8] &= np.arange(48) < 15
    known, _ = stack.review([7])
    expected = estimate(stack.backbone, stack.features(7), PixelPrompts(mask=stack.truth[6]))
    np.testing.assert_array_equal(known[7].estimate.probability, expected.probability)


def test_a_suggestion_is_a_box_where_the_object_is() -> None:
    stack = Stack(range(3, 13))
    stack.masks[7, :, 24:] = False
    known, _ = stack.review([7])
    suggestion = known[7].suggestion
    assert suggestion is not None
    answer = estimate(stack.backbone, stack.features(7), suggestion).mask
    truth = stack.truth[7]
    assert (answer ^ truth).sum() < (stack.masks[7] ^ truth).sum()


@pytest.mark.parametrize("kind", ["review", "refine"])
def test_cancelling_keeps_what_is_done(kind: str) -> None:
    stack = Stack(range(3, 13))
    seen: list[int] = []

    def run(control: Control) -> bool:
        if kind == "review":
            return review(
                stack.backbone, stack.features, stack.mask, list(range(3, 13)), control, lambda s: seen.append(s.index)
            )
        return refine_slices(
            stack.backbone, stack.features, stack.mask, lambda n: PixelPrompts(mask=stack.mask(n)), list(range(3, 13)),
            control, lambda n, _: seen.append(n),
        )  # fmt: skip

    assert not run(stopping(2))
    assert seen == [3, 4, 5]
    early = Control()
    early.cancel()
    with pytest.raises(Cancelled):
        run(early)


def test_slices_mend_themselves_one_by_one() -> None:
    stack = Stack(range(3, 13))
    known: dict[int, Refinement] = {}
    reports: list[tuple[int, int]] = []
    control = Control(lambda p: reports.append((p.done, p.total)))
    box = PixelPrompts(box=[15, 14, 40, 40])

    def nothing(index: int) -> np.ndarray:
        return np.zeros_like(stack.truth[index])

    done = refine_slices(stack.backbone, stack.features, nothing, lambda _: box, [5, 8], control, known.__setitem__)
    assert done
    assert list(known) == [5, 8]
    assert reports == [(0, 2), (1, 2), (2, 2)]
    for index, found in known.items():
        assert found.improved
        wrong = [int((step.estimate.mask ^ stack.truth[index]).sum()) for step in (found.steps[0], found.best)]
        assert wrong[1] < wrong[0]


@pytest.mark.parametrize("there", ["as good", "worse"])
def test_what_is_there_stays_unless_it_is_clearly_worse(there: str) -> None:
    stack = Stack(range(3, 13))
    known: dict[int, Refinement] = {}
    box = PixelPrompts(box=[15, 14, 40, 40])

    def ask(mask: Callable[[int], np.ndarray]) -> Refinement:
        refine_slices(stack.backbone, stack.features, mask, lambda _: box, [5], Control(), known.__setitem__)
        return known[5]

    free = ask(lambda n: np.zeros_like(stack.truth[n]))
    present = free.best.estimate.mask.copy()
    if there == "worse":
        present[:, : np.flatnonzero(present.any(axis=0)).mean().astype(int)] = False
    found = ask(lambda n: present)
    assert found.improved == (there == "worse")
    assert [step.prompts.box.tolist() for step in found.steps] == [step.prompts.box.tolist() for step in free.steps]
    if there == "as good":
        assert any("about as good" in step.reason for step in found.steps)


def test_a_correction_reaches_so_far_and_nothing_beyond_changes() -> None:
    stack = Stack(range(1, 15))
    stack.masks[3:12] &= np.arange(48) < 20  # a run that lost half of it
    stack.masks[7] = stack.truth[7]  # corrected
    found = stack.around(7, 2)
    after = stack.after(found)
    assert found.complete
    assert sorted(found.slices) == [5, 6, 8, 9]
    assert found.seeds == (7,)
    for n in (6, 8):
        assert (after[n] ^ stack.truth[n]).sum() < 0.3 * (stack.masks[n] ^ stack.truth[n]).sum()
    far = [n for n in range(16) if not 5 <= n <= 9]
    np.testing.assert_array_equal(after[far], stack.masks[far])


def test_slices_that_a_person_decided_stay_and_stop_the_run() -> None:
    stack = Stack(range(1, 15))
    stack.masks[3:12] &= np.arange(48) < 20
    stack.masks[7] = stack.truth[7]
    found = stack.around(7, 4, fixed=(2, 5, 7))
    after = stack.after(found)
    assert found.seeds == (5, 7)
    assert 5 not in found.slices
    np.testing.assert_array_equal(after[5], stack.masks[5])
    assert after[8][:, 24:].any()


def test_a_slice_that_a_person_says_is_empty_stops_the_run() -> None:
    stack = Stack(range(1, 15))
    stack.masks[9:] = False
    assert stack.after(stack.around(7, 4))[10].any(), "the object goes on"
    after = stack.after(stack.around(7, 4, fixed=(9,)))
    assert after[8].any()
    assert not after[9:].any()


def test_a_wrong_end_goes_as_far_as_the_reach() -> None:
    stack = Stack(range(3, 9))
    stack.masks[9:13] = stack.truth[8]  # a run that went on past the end
    stack.masks[9] = False  # the person takes slice 9 away
    found = stack.around(9, 2)
    after = stack.after(found)
    np.testing.assert_array_equal(after[9], stack.masks[9])
    assert not after[[10, 11]].any(), "nothing bright is there"
    assert after[12].any(), "which is beyond the reach"
    np.testing.assert_array_equal(after[:7], stack.masks[:7])


def test_where_an_end_was_taken_away_the_rest_of_that_side_stays() -> None:
    stack = Stack(range(4, 8))
    stack.masks[7] = False
    found = stack.around(7, 5)
    np.testing.assert_array_equal(stack.after(found), stack.masks)
    assert found.slices == {}
    assert found.complete


def test_a_slice_where_the_object_is_not_comes_empty() -> None:
    stack = Stack(range(1, 15))
    stack.array[9:] = stack.array[15]  # the object ends at slice 8, the mask goes on
    found = stack.around(7, 4)
    after = stack.after(found)
    assert after[8].any()
    assert not after[[9, 10, 11]].any()
    assert set(found.slices) >= {9, 10, 11}
    np.testing.assert_array_equal(after[12:], stack.masks[12:])


@pytest.mark.parametrize("index", [0, 15])
def test_the_reach_ends_with_the_volume(index: int) -> None:
    stack = Stack(range(16))
    found = stack.around(index, 3)
    assert sorted(found.slices) == ([1, 2, 3] if index == 0 else [12, 13, 14])


def test_cancelling_a_correction_keeps_what_was_reached() -> None:
    stack = Stack(range(1, 15))
    found = stack.around(7, 4, control=stopping(4))
    assert not found.complete
    assert 0 < len(found.slices) < 8
    after = stack.after(found)
    untouched = [n for n in range(16) if n not in found.slices]
    np.testing.assert_array_equal(after[untouched], stack.masks[untouched])


def test_done_slices_are_remembered(tmp_path: object) -> None:
    stack, memory = Stack(range(1, 15)), SliceMemory()
    run: Callable[[], Carried] = lambda: around(  # noqa: E731
        stack.backbone, stack.slices(), stack.mask, 7, 3, (), memory, Control()
    )
    first, again = run(), run()
    assert first.decoded > 0
    assert again.decoded == 0

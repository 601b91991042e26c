"""The volume loop: which slices are decoded, kept, shown, and where runs end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.loops.appearance import smooth
from AutoPromptSAMLib.loops.job import Control, Progress
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.tracking import SliceMask
from AutoPromptSAMLib.loops.volume import Slices, VolumeResult, propagate, work

from ..threshold_backbone import BRIGHT, DARK, ThresholdBackbone, rod


@dataclass
class Case:
    """A rod on some slices, seeded with the truth of some, and everything that the loop tells."""

    on: Sequence[int]
    identity: str = "rod"
    backbone: ThresholdBackbone = field(default_factory=ThresholdBackbone)
    memory: SliceMemory = field(default_factory=SliceMemory)
    progress: list[Progress] = field(default_factory=list)
    shown: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        volume, self.truth = rod(self.on)
        self.images = [np.repeat(image[..., None], 3, axis=2) for image in volume.array]

    def seed(self, index: int) -> SliceMask:
        return SliceMask.from_logits(np.where(self.truth[index], 8, -8).astype(np.float32))

    def stack(self) -> Slices:
        return Slices(
            len(self.images),
            lambda index: self.backbone.encode([self.images[index]]),
            lambda index: smooth(self.images[index]),
            self.identity,
        )

    def run(
        self,
        seeds: Sequence[int],
        first: int = 0,
        last: int | None = None,
        control: Control | None = None,
        on_slice: Callable[[int, SliceMask], None] | None = None,
    ) -> VolumeResult:
        self.progress.clear()
        self.shown.clear()
        return propagate(
            self.backbone,
            self.stack(),
            {index: self.seed(index) for index in seeds},
            self.memory,
            control or Control(self.progress.append),
            first,
            last,
            on_slice or (lambda index, found: self.shown.append((index, found.mask))),
        )


def test_one_seed_finds_the_object_in_both_directions_and_stops_where_it_ends() -> None:
    case = Case(range(2, 9))
    result = case.run([5])
    assert sorted(result.slices) == list(range(2, 9))
    for index, found in result.slices.items():
        np.testing.assert_array_equal(found.mask, case.truth[index])
    assert result.seeds == (5,)
    assert result.complete
    assert result.slices[5].agreement == 1
    assert 0.8 < result.slices[2].agreement < 1  # the rod drifts from slice 2 to 3
    # Up: 6, 7, 8 and the empty 9; down: 4, 3, 2 and the empty 1. Nothing beyond an empty slice.
    assert result.decoded == 8
    assert case.backbone.decoded == 8


def test_first_and_last_limit_what_is_decoded() -> None:
    case = Case(range(12))
    result = case.run([5], first=4, last=8)
    assert sorted(result.slices) == [4, 5, 6, 7, 8]
    assert result.decoded == 4


def test_seeds_outside_the_range_are_not_used() -> None:
    case = Case(range(12))
    assert case.run([1, 5, 10], first=4, last=8).seeds == (5,)
    with pytest.raises(ValueError, match="between slices 6 and 8"):
        case.run([1, 5], first=6, last=8)


def test_from_several_seeds_runs_end_at_the_next_seed() -> None:
    case = Case(range(1, 11))
    result = case.run([3, 8])
    assert sorted(result.slices) == list(range(1, 11))
    for index, found in result.slices.items():
        np.testing.assert_array_equal(found.mask, case.truth[index])
    # 4-7 from both sides; 2, 1 and the empty 0 down from 3; 9, 10 and the empty 11 up from 8.
    assert result.decoded == 2 * 4 + 3 + 3


def test_an_empty_seed_stops_runs_and_starts_none() -> None:
    case = Case([*range(7), *range(8, 12)])  # a person says that the object is not on slice 7
    result = case.run([3, 7, 10])
    assert sorted(result.slices) == [*range(7), 8, 9, 10, 11]
    assert result.seeds == (3, 7, 10)
    # Down 2, 1, 0 and up 4, 5, 6 from slice 3; down 9, 8 and up 11 from slice 10.
    assert result.decoded == 6 + 3
    assert case.run([7]).slices == {}


def test_between_seeds_a_slice_that_one_run_missed_counts_by_nearness() -> None:
    # The run from slice 2 ends at the gap on slice 4; the one from slice 10 comes down to 5.
    case = Case([n for n in range(12) if n != 4])
    result = case.run([2, 10])
    assert sorted(result.slices) == [0, 1, 2, 3, 7, 8, 9, 10, 11]
    events = dict(case.shown)  # the last that a host was told about each slice
    assert {index for index, mask in events.items() if mask.any()} == set(result.slices) - {2, 10}
    assert not events[5].any(), "a slice that was shown and then dropped must be taken back"
    assert not events[6].any()


def test_where_two_runs_differ_and_nothing_grows_the_nearer_one_wins() -> None:
    case = Case(range(12))
    left = case.truth[0]  # on all slices, so that nothing moves
    both = left | np.roll(left, 22, axis=1)
    case.images = [np.where(both[..., None], [BRIGHT] * 3, DARK).astype(np.uint8)] * 12
    seeds = {n: SliceMask.from_logits(np.where(m, 8, -8).astype(np.float32)) for n, m in ((1, both), (10, left))}
    result = propagate(case.backbone, case.stack(), seeds, case.memory, Control())
    for index in range(12):
        np.testing.assert_array_equal(result.slices[index].mask, both if index < 5.5 else left)


def test_where_two_runs_differ_the_one_that_grew_less_wins() -> None:
    case = Case(range(12))
    whole = case.truth[0]
    tip = whole.copy()
    tip[:20] = False  # on slice 1 only half of it is there; a run from there has to find the rest
    images = np.where(whole, BRIGHT, DARK).astype(np.uint8)
    case.images = [np.repeat(image[..., None], 3, axis=2) for image in [images] * 12]
    seeds = {n: SliceMask.from_logits(np.where(m, 8, -8).astype(np.float32)) for n, m in ((1, tip), (10, whole))}
    from_tip = propagate(case.backbone, case.stack(), {1: seeds[1]}, case.memory, Control())
    result = propagate(case.backbone, case.stack(), seeds, case.memory, Control())
    assert from_tip.slices[2].mask.sum() < whole.sum()
    for index in range(2, 11):
        np.testing.assert_array_equal(result.slices[index].mask, whole)


def test_a_second_call_decodes_nothing_and_finds_the_same() -> None:
    case = Case(range(2, 9))
    once, again = case.run([4, 7]), case.run([4, 7])
    assert once.decoded > 0
    assert again.decoded == 0
    assert_same(again, once)


def test_a_corrected_slice_is_decoded_as_far_as_the_neighbouring_seeds_only() -> None:
    case = Case(range(12))
    case.run([2, 9])
    corrected = case.run([2, 5, 9])
    # Down 4, 3 and up 6, 7, 8 from slice 5; the runs from 2 and 9 are remembered.
    assert corrected.decoded == 5
    assert case.run([2, 9]).decoded == 0, "taking the correction back costs nothing"
    assert case.run([2, 5, 9]).decoded == 0


@pytest.mark.parametrize("change", ["identity", "seed", "index"])
def test_another_image_or_seed_is_not_mixed_up_with_what_is_remembered(change: str) -> None:
    case = Case(range(12))
    case.run([5])
    if change == "identity":
        case.identity = "another image"
    elif change == "seed":
        case.truth[5, 20, 22] = False
    assert case.run([6 if change == "index" else 5]).decoded == 11


def test_what_is_remembered_survives_a_restart(tmp_path) -> None:
    once = Case(range(2, 9), memory=SliceMemory(tmp_path)).run([5])
    again = Case(range(2, 9), memory=SliceMemory(tmp_path))
    result = again.run([5])
    assert (result.decoded, again.backbone.encoded) == (0, 0)
    assert_same(result, once)


@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_cancelling_keeps_finished_slices_and_the_next_call_goes_on(stop: int) -> None:
    case = Case(range(2, 9))
    whole = Case(range(2, 9)).run([5])
    control = Control()
    seen: list[int] = []

    def on_slice(index: int, found: SliceMask) -> None:
        seen.append(index)
        if len(seen) == stop:
            control.cancel()

    if stop == 0:
        control.cancel()
    first = case.run([5], control=control, on_slice=on_slice)
    assert not first.complete
    assert sorted(first.slices) == sorted([5, *seen])
    assert len(seen) == stop
    assert stop <= first.decoded <= stop + 1  # one more where the first run came to its empty end
    second = case.run([5])
    assert second.complete
    assert first.decoded + second.decoded == whole.decoded
    assert_same(second, whole)


def test_what_decoding_raises_comes_out_and_finished_slices_are_remembered() -> None:
    case = Case(range(2, 9))
    decode, case.backbone.decode = case.backbone.decode, None

    def fail_on_third(*args, **kwargs):
        if case.backbone.decoded == 2:
            raise MemoryError("no more")
        return decode(*args, **kwargs)

    case.backbone.decode = fail_on_third
    with pytest.raises(MemoryError, match="no more"):
        case.run([5])
    case.backbone.decode = decode
    assert case.run([5]).decoded == 8 - 2


@settings(max_examples=25)
@given(st.sets(st.integers(0, 11), min_size=1, max_size=4), st.sets(st.integers(0, 11), min_size=1), st.data())
def test_progress_grows_to_the_end_and_events_add_up_to_the_result(
    seeds: set[int], on: set[int], data: st.DataObject
) -> None:
    case = Case(sorted(on))
    first = data.draw(st.integers(0, min(seeds)))
    last = data.draw(st.integers(max(seeds), 11))
    result = case.run(sorted(seeds), first, last)
    total = work(sorted(seeds), first, last)
    done = [progress.done for progress in case.progress]
    assert {progress.total for progress in case.progress} == {total}
    assert done == sorted(done)
    assert done[0] >= len(seeds)
    assert done[-1] == total
    shown = dict(case.shown) | {index: case.truth[index] for index in seeds}
    expected = {index: mask for index, mask in shown.items() if mask.any()}
    assert expected.keys() == result.slices.keys()
    for index, mask in expected.items():
        np.testing.assert_array_equal(result.slices[index].mask, mask)


def assert_same(one: VolumeResult, other: VolumeResult) -> None:
    assert one.slices.keys() == other.slices.keys()
    for index, found in one.slices.items():
        np.testing.assert_array_equal(found.full_logits, other.slices[index].full_logits)
        assert found.agreement == other.slices[index].agreement

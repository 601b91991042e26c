"""Propagation through a session: axes, limits, corrections, cancelling."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.errors import Cancelled, GeometryError, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.loops.job import Progress
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point
from AutoPromptSAMLib.session.image import LIBRARY, rules
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.wire import RemoteError

from ..threshold_backbone import BRIGHT, DARK, ThresholdBackbone, rod
from .conftest import slice_box

MakeSession = Callable[..., LocalSession]


def counted(session: LocalSession) -> ThresholdBackbone:
    assert isinstance(session.backbone, ThresholdBackbone)
    return session.backbone


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_along_every_axis_which_a_flat_box_names(threshold_session: MakeSession, axis: int, given: bool) -> None:
    volume, truth = rod(range(2, 9), axis=axis)
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, axis, 5))
    result = session.propagate("rod", axis if given else None).result()
    assert result.axis == axis
    assert sorted(result.agreement) == list(range(2, 9))
    # Pixels are made square where the axes differ, which may move a border by less than a voxel.
    found = result.mask.to_full(truth.shape)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.98


def test_two_boxes_on_one_slice_are_two_pieces_of_one_object(threshold_session: MakeSession) -> None:
    row, col = np.mgrid[:48, :96]
    rods = [np.repeat(((row - 24) ** 2 + (col - at) ** 2 <= 81)[None], 9, axis=0) for at in (16, 48, 80)]
    affine = np.diag([0.8, 0.8, 3.0, 1.0])
    array = np.where(np.any(rods, axis=0), BRIGHT, DARK).astype(np.uint8)
    volume = Volume(array, VolumeGeometry(array.shape, affine))
    session = threshold_session(volume)
    for truth in (rods[0], rods[2]):
        session.add_prompt("rods", slice_box(volume, truth, 0, 4))
    both = rods[0] | rods[2]  # and not the one between
    plane = slice_plane(volume.geometry, 0, 4)
    np.testing.assert_array_equal(session.segment("rods", plane).result().mask.to_full(array.shape)[4], both[4])
    np.testing.assert_array_equal(session.propagate("rods").result().mask.to_full(array.shape), both)


def test_first_and_last(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    result = session.propagate("rod", first=4, last=7).result()
    np.testing.assert_array_equal(np.flatnonzero(result.mask.to_full(truth.shape).any(axis=(1, 2))), [4, 5, 6, 7])
    assert sorted(session.propagate("rod", first=-10, last=99).result().agreement) == list(range(12))


def test_a_solid_box_limits_the_slices(threshold_session: MakeSession) -> None:
    volume, _ = rod(range(12))
    session = threshold_session(volume)
    middle = volume.geometry.ras_from_ijk([[22, 21, 6]])[0]
    session.add_prompt("rod", Box(middle, np.eye(3), (18, 20, 4 * 3.0)))
    result = session.propagate("rod").result()
    assert result.seeds == (6,)
    assert sorted(result.agreement) == [4, 5, 6, 7, 8]
    assert sorted(session.propagate("rod", first=6).result().agreement) == [6, 7, 8]


def test_a_mask_prompt_of_several_slices_is_taken_as_it_is(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    painted = truth.copy()
    painted[[*range(3), *range(6, 12)]] = False
    session.add_prompt("rod", MaskPrompt(Crop.from_full(painted), volume.geometry))
    result = session.propagate("rod").result()
    assert result.seeds == (3, 4, 5)
    np.testing.assert_array_equal(result.mask.to_full(truth.shape), truth)


def test_a_doodle_that_ends_on_the_face_of_a_slice_is_no_problem(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 2))
    session.add_prompt("rod", Doodle(volume.geometry.ras_from_ijk([[22, 20, 2], [22, 22, 4.5]])))
    assert session.propagate("rod").result().seeds == (2, 3, 4)


def test_a_negative_click_beyond_the_object_ends_it(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 3))
    session.add_prompt("rod", Point(volume.geometry.ras_from_ijk([[22, 22, 7]])[0], positive=False))
    result = session.propagate("rod").result()
    assert result.seeds == (3, 7)
    assert sorted(result.agreement) == list(range(7))
    assert not result.mask.to_full(truth.shape)[7:].any()


def test_a_click_beside_a_box_corrects_what_the_box_found(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    plain, clicked = threshold_session(volume), threshold_session(volume)
    for session in (plain, clicked):
        session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    clicked.add_prompt("rod", Point(volume.geometry.ras_from_ijk([[22, 14, 5]])[0], positive=False))
    one, two = (s.propagate("rod", first=5, last=5).result().mask.to_full(truth.shape)[5] for s in (plain, clicked))
    np.testing.assert_array_equal(one, truth[5])
    assert not two[14, 22]
    assert not (two & ~one).any()
    assert two.sum() > 0.7 * one.sum()


def test_when_nothing_is_found_the_result_is_empty(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    dark = Volume(np.full_like(volume.array, DARK), volume.geometry)
    session = threshold_session(dark)
    session.add_prompt("rod", slice_box(volume, truth, 0, 3))
    result = session.propagate("rod").result()
    assert result.complete
    assert result.mask.is_empty
    assert (result.agreement, result.decoded) == ({}, 0)


def test_a_single_slice_is_a_volume_too(threshold_session: MakeSession) -> None:
    volume, truth = rod([0], count=1)
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 0))
    result = session.propagate("rod").result()
    np.testing.assert_array_equal(result.mask.to_full(truth.shape), truth)
    assert result.decoded == 0


def test_a_click_corrects_between_the_neighbouring_seeds_only(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    for index in (2, 9):
        session.add_prompt("rod", slice_box(volume, truth, 0, index))
    first = session.propagate("rod").result()
    assert first.decoded == 2 * 6 + 2 + 2
    session.add_prompt("rod", Point(volume.geometry.ras_from_ijk([[22, 14, 5]])[0], positive=False))
    assert [prompt.type for prompt in session.objects["rod"]] == ["box", "box", "mask", "point"]
    encoded = counted(session).encoded
    shown: dict[int, Crop] = {}
    second = session.propagate("rod", on_slice=shown.__setitem__).result()
    assert second.seeds == (2, 5, 9)
    assert second.decoded == 5  # 4, 3 and 6, 7, 8
    assert counted(session).encoded == encoded
    before, after = (result.mask.to_full(truth.shape) for result in (first, second))
    changed = np.flatnonzero((before != after).any(axis=(1, 2)))
    assert 5 in changed
    assert set(changed) <= set(range(3, 9))
    assert set(shown) == set(range(12)), "the host is told about all slices, it need not remember any"


def test_cancelling_keeps_the_finished_slices_and_the_next_call_goes_on(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    whole = threshold_session(volume)
    session = threshold_session(volume)
    for each in (whole, session):
        each.add_prompt("rod", slice_box(volume, truth, 0, 5))
    expected = whole.propagate("rod").result()
    third, go_on = threading.Event(), threading.Event()
    shown: dict[int, Crop] = {}

    def on_slice(index: int, crop: Crop) -> None:
        shown[index] = crop
        if len(shown) == 3:
            third.set()
            assert go_on.wait(30)

    job = session.propagate("rod", on_slice=on_slice)
    assert third.wait(30)
    job.cancel()
    go_on.set()
    cancelled = job.result()
    assert not cancelled.complete
    assert sorted(cancelled.agreement) == sorted(shown) == [5, 6, 7]
    assert cancelled.decoded == 2
    kept = cancelled.mask.to_full(truth.shape)
    np.testing.assert_array_equal(kept[5:8], truth[5:8])
    assert not kept[[*range(5), *range(8, 12)]].any()
    resumed = session.propagate("rod").result()
    assert resumed.complete
    assert resumed.decoded == expected.decoded - 2
    np.testing.assert_array_equal(resumed.mask.to_full(truth.shape), expected.mask.to_full(truth.shape))


def test_cancelling_among_the_seeds_keeps_those_that_are_done(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    for index in range(12):
        session.add_prompt("rod", slice_box(volume, truth, 0, index))
    holder: list = []
    ready = threading.Event()

    def on_slice(index: int, crop: Crop) -> None:
        assert ready.wait(30)
        if index == 4:
            holder[0].cancel()

    holder.append(session.propagate("rod", on_slice=on_slice))
    ready.set()
    result = holder[0].result()
    assert not result.complete
    assert sorted(result.agreement) == [0, 1, 2, 3, 4]
    complete = session.propagate("rod").result()
    assert complete.complete
    assert (complete.seeds, complete.decoded) == (tuple(range(12)), 0)


def test_cancelled_before_its_first_slice_it_raises(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    go_on = threading.Event()
    session.propagate("rod", on_slice=lambda *_: go_on.wait(30))
    waiting = session.propagate("rod")
    waiting.cancel()
    go_on.set()
    with pytest.raises(Cancelled, match="kept"):
        waiting.result()
    assert session.propagate("rod").result().complete


def test_progress_over_seeds_and_slices_only_grows(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(1, 11))
    session = threshold_session(volume)
    for index in (3, 6, 9):
        session.add_prompt("rod", slice_box(volume, truth, 0, index))
    told: list[Progress] = []
    session.propagate("rod", on_progress=told.append).result()
    done = [progress.done for progress in told]
    assert done[0] == 0
    assert done == sorted(done)
    assert {progress.total for progress in told} == {done[-1]}
    assert [progress.text for progress in told[:3]] == ["Slice 3", "Slice 6", "Slice 9"]


def test_all_jobs_of_a_session_run_on_one_thread_that_is_not_the_hosts(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    threads: set[int] = set()
    for _ in range(3):
        session.propagate("rod", on_slice=lambda *_: threads.add(threading.get_ident())).result()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_job_on_the_image_before_changes_nothing_of_the_new_one(
    threshold_session: MakeSession, tmp_path: Path
) -> None:
    old, truth = rod(range(12))
    new = Volume(np.full_like(old.array, DARK), old.geometry)
    session = threshold_session(old, tmp_path)
    session.add_prompt("rod", slice_box(old, truth, 0, 5))
    running, go_on = threading.Event(), threading.Event()

    def hold(index: int, crop: Crop) -> None:
        running.set()
        assert go_on.wait(30)

    job = session.propagate("rod", on_slice=hold)
    assert running.wait(30)
    session.set_image(new)
    session.add_prompt("rod", slice_box(old, truth, 0, 5))
    go_on.set()
    np.testing.assert_array_equal(job.result().mask.to_full(truth.shape), truth)
    session.add_prompt("rod", Point(old.geometry.ras_from_ijk([[22, 22, 7]])[0]))
    assert [prompt.type for prompt in session.objects["rod"]] == ["box", "point"], "no slice of the old image is kept"
    # What was remembered of the old image is not taken for the new one.
    session.undo()
    assert session.propagate("rod").result().mask.is_empty
    again = threshold_session(old, tmp_path)
    again.add_prompt("rod", slice_box(old, truth, 0, 5))
    assert again.propagate("rod").result().decoded == 0


def test_errors_on_the_worker_are_delivered(
    threshold_session: MakeSession, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))

    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError("the device is full")

    monkeypatch.setattr(counted(session), "decode", fail)
    done = []
    job = session.propagate("rod", on_done=done.append)
    # What is no sentence for people stays in the server's log; only its kind is told.
    kind, words = (MemoryError, "the device is full") if place == "local" else (RemoteError, "MemoryError")
    with pytest.raises(kind, match=words):
        job.result()
    monkeypatch.undo()
    assert session.propagate("rod").result().complete
    assert done == [job]


def test_jobs_after_close_are_refused(threshold_session: MakeSession) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    waiting = session.propagate("rod")
    session.close()
    assert waiting.done, "what was handed in before is finished"
    with pytest.raises(RuntimeError, match=r"^The session is closed; open a new one\.$"):
        session.propagate("rod")


def test_a_full_disk_costs_only_the_restart(threshold_session: MakeSession, tiny_disk: Path) -> None:
    volume, truth = rod(range(12))
    (tiny_disk / "film").write_bytes(b"\0" * 40_000)
    session = threshold_session(volume, tiny_disk / "runs")
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    result = session.propagate("rod").result()
    np.testing.assert_array_equal(result.mask.to_full(truth.shape), truth)
    assert session.propagate("rod").result().decoded == 0
    (tiny_disk / "film").unlink()
    restarted = threshold_session(volume, tiny_disk / "runs")
    restarted.add_prompt("rod", slice_box(volume, truth, 0, 5))
    again = restarted.propagate("rod").result()
    assert again.decoded > 0
    np.testing.assert_array_equal(again.mask.to_full(truth.shape), truth)


@pytest.mark.parametrize("axis", [3, -1])
def test_prompts_elsewhere_and_axes_that_there_are_not_are_refused(
    threshold_session: MakeSession, axis: int, one_sentence: Callable
) -> None:
    volume, truth = rod(range(12))
    session = threshold_session(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    with one_sentence(GeometryError, str(axis)):
        session.propagate("rod", axis)
    with one_sentence(PromptError, "rod", "6 to 9"):
        session.propagate("rod", first=6, last=9)
    with one_sentence(PromptError, "along this axis"):
        session.propagate("rod", axis=1)  # the box is flat across axis 0


def test_slices_are_remembered_until_any_code_changes_that_answers_come_from(tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("*.pyc", "web"))

    def after_change_of(name: str) -> str:
        path = library / name
        path.write_text(path.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
        rules.cache_clear()
        return rules(library)

    before = rules(library)
    assert before == rules()
    assert after_change_of("cli.py") == before
    changed = [
        "backbones/engines/exports.py", "geometry/planes.py", "intensity.py", "loops/tracking.py", "prompters/base.py",
        "prompts/pixels.py", "refiners/expected.py", "session/seeds.py", "supports/pool.py",
    ]  # fmt: skip
    assert len({before, *map(after_change_of, changed)}) == len(changed) + 1

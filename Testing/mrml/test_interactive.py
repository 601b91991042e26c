"""The interactive part on a real scene: prompts become voxels, each thing a person did is one step of the history."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import slicer

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.geometry import Crop, oblique_plane
from AutoPromptSAMLib.mrml.interactive import Propagation
from AutoPromptSAMLib.mrml.segments import SegmentWriter
from AutoPromptSAMLib.mrml.volumes import volume_from_node
from AutoPromptSAMLib.prompts import Box, MaskPrompt, Point

from .segmenting import SLICES, Host


def test_a_box_makes_a_segment_and_finds_the_object_on_its_slice(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    assert host.segmenter.status.phase == "segmenting"
    host.settle()
    assert np.array_equal(host.voxels(), host.only(5))
    (row,) = host.segmenter.segments
    assert row.ml == pytest.approx(host.truth[5].sum() * 0.8 * 0.8 * 3 / 1000)
    assert host.said == []
    assert {"segments", "prompts", "history", "status"} <= set(host.changed)


def test_undo_takes_back_one_thing_at_a_time_and_redo_does_it_again(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    host.segmenter.add_prompt(host.box(3))
    host.settle()
    states = [(host.voxels(), len(host.segmenter.prompts()))]
    texts = []
    for _ in range(2):
        texts.append(host.segmenter.undo_text)
        host.segmenter.undo()
        host.settle()
        states.append((host.voxels(), len(host.segmenter.prompts())))
    assert texts == ["Add box", "Add box"]
    assert np.array_equal(states[1][0], host.only(5))
    assert not states[2][0].any()
    assert [count for _, count in states] == [2, 1, 0]
    assert host.segmenter.undo_text == "Add Segment 1"
    host.segmenter.undo()
    assert host.segmenter.segments == []
    for _ in range(3):
        host.segmenter.redo()
        host.settle()
    assert host.segmenter.redo_text == ""
    assert np.array_equal(host.voxels(), states[0][0])
    assert len(host.segmenter.prompts()) == 2


def test_undo_before_the_answer_came_leaves_no_trace_and_redo_brings_it(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.segmenter.undo()
    host.settle()
    assert not host.voxels().any()
    host.segmenter.redo()
    host.settle()
    assert np.array_equal(host.voxels(), host.only(5))


def test_of_two_quick_prompts_undo_shows_the_answer_to_the_first(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.segmenter.add_prompt(host.point(22, 22, 5, positive=False))
    host.settle()
    host.segmenter.undo()
    host.settle()
    assert np.array_equal(host.voxels(), host.only(5))
    host.segmenter.undo()
    assert not host.voxels().any()


def test_dragging_is_one_step(host: Host) -> None:
    box = host.box(5)
    host.segmenter.add_prompt(host.box(5, grow=-4))
    (given,) = host.segmenter.prompts()
    host.settle()
    before = host.voxels()
    count = host.segmenter.undo_stack.n_commands()
    for grow in (-3, -2, -1, 0):
        moved = host.box(5, grow)
        prompt = Box(moved.center_ras, moved.axes, moved.size_mm, id=given.id)
        host.segmenter.replace_prompt(prompt, final=grow == 0)
        host.settle()
    assert host.segmenter.undo_stack.n_commands() == count + 1
    assert np.array_equal(host.voxels(), host.only(5))
    assert np.allclose(host.segmenter.prompts()[0].size_mm, box.size_mm)
    host.segmenter.undo()
    host.settle()
    assert np.array_equal(host.voxels(), before)
    assert host.segmenter.prompts() == (given,)


def test_removing_the_last_prompt_of_a_slice_empties_it(host: Host) -> None:
    for index in (3, 5):
        host.segmenter.add_prompt(host.box(index))
        host.settle()
    host.segmenter.remove_prompt(host.segmenter.prompts()[0].id)
    host.settle()
    assert np.array_equal(host.voxels(), host.only(5))


def test_a_run_fills_the_volume_as_one_step(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    host.segmenter.propagate()
    host.settle()
    assert np.array_equal(host.voxels(), host.truth)
    run = host.segmenter.propagation()
    assert run is not None
    assert run.complete
    assert sorted(run.agreement) == list(SLICES)
    assert list(run.seeds) == [5]
    assert host.segmenter.undo_text == "Propagate Segment 1"
    host.segmenter.undo()
    assert np.array_equal(host.voxels(), host.only(5))
    host.segmenter.redo()
    assert np.array_equal(host.voxels(), host.truth)


def test_a_run_that_is_cancelled_before_it_found_anything_leaves_no_trace(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(control: Any) -> None:
        raise Cancelled("Cancelled before a slice was finished.")

    def propagate(*given: Any) -> Any:
        return host.session._worker.submit(cancelled, given[-2], given[-1], background=True)

    host.segmenter.add_segment("rod")
    host.segmenter.add_prompt(host.box(4))
    host.settle()
    text, voxels = host.segmenter.undo_text, host.voxels()
    monkeypatch.setattr(host.session, "propagate", propagate)
    host.segmenter.propagate()
    host.settle()
    assert host.said[-1] == "Cancelled before a slice was finished; nothing was changed."
    assert host.segmenter.undo_text == text
    assert np.array_equal(host.voxels(), voxels)


def test_a_cancelled_run_keeps_what_is_done_and_says_so(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    host.segmenter.propagate()
    while not (host.voxels()[6]).any():
        host.calls.get(timeout=10)()
    host.segmenter.cancel()
    host.settle()
    assert host.voxels()[6].any()
    assert any("kept" in text for text in host.said)
    host.segmenter.propagate()
    host.settle()
    assert np.array_equal(host.voxels(), host.truth)


def test_on_an_oblique_plane_only_what_was_found_there_is_replaced(host: Host) -> None:
    host.segmenter.add_prompt(host.box(3))
    host.settle()
    geometry = host.segmenter.volume.geometry
    plane = oblique_plane(geometry, geometry.ras_from_ijk([[22, 21, 5]])[0], (1, 0, 0.9), (0, -1, 0))
    assert plane.axis is None
    host.segmenter.show_plane(plane)
    (col, row, _), size = plane.pixels_from_ras(geometry.ras_from_ijk([[22, 21, 5]]))[0], 5
    box = Box.on_plane(plane, (col - size, row - size, col + size, row + size))
    host.segmenter.add_prompt(box)
    host.settle()
    first = host.voxels() & ~host.only(3)
    assert first.sum() > 50
    assert len(np.flatnonzero(first.any(axis=(1, 2)))) > 1
    smaller = Box.on_plane(plane, (col - 2, row - 2, col + 2, row + 2), id=box.id)
    host.segmenter.replace_prompt(smaller)
    host.settle()
    second = host.voxels() & ~host.only(3)
    assert 0 < second.sum() < first.sum()
    assert not (second & ~first).any()
    assert (host.voxels() & host.only(3)).sum() == host.only(3).sum()
    host.segmenter.undo()
    host.segmenter.undo()
    assert np.array_equal(host.voxels(), host.only(3))


def test_what_another_editor_paints_is_a_step_and_a_run_takes_it_as_it_is(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    segment_id = host.segmenter.active_segment
    painter = SegmentWriter(host.segmentation_node, host.volume_node)
    painted = np.zeros_like(host.truth)
    painted[7, 18:24, 19:25] = True
    painter.write(segment_id, Crop.from_full(painted), region=Crop.empty())
    host.settle()
    assert host.segmenter.undo_text == "Edit Segment 1"
    host.segmenter.undo()
    assert np.array_equal(host.voxels(), host.only(5))
    host.segmenter.redo()
    assert np.array_equal(host.voxels(), host.only(5) | painted)
    host.segmenter.propagate()
    host.settle()
    assert np.array_equal(host.voxels()[7], painted[7])
    assert [p.type for p in host.segmenter.prompts()] == ["box", "mask"]
    host.segmenter.undo()
    assert [p.type for p in host.segmenter.prompts()] == ["box"]
    painter.close()


def paint(host: Host, segment_id: str, *indices: int) -> np.ndarray:
    """Another editor's square on some slices."""
    painted = np.zeros_like(host.truth)
    painted[list(indices), 18:24, 19:25] = True
    painter = SegmentWriter(host.segmentation_node, host.volume_node)
    painter.write(segment_id, Crop.from_full(painted), region=Crop.empty())
    painter.close()
    host.settle()
    return painted


def test_painted_slices_count_as_painted_again_after_undo(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    painted = paint(host, host.segmenter.active_segment, 7)
    for _ in range(2):
        host.segmenter.propagate()
        host.settle()
        assert np.array_equal(host.voxels()[7], painted[7])
        host.segmenter.undo()
        assert np.array_equal(host.voxels(), host.only(5) | painted)
    host.segmenter.add_prompt(host.point(22, 21, 7, positive=False))
    host.settle()
    host.segmenter.undo()
    host.segmenter.propagate()
    host.settle()
    assert np.array_equal(host.voxels()[7], painted[7])
    # A box says what is meant instead.
    host.segmenter.add_prompt(host.box(7))
    host.settle()
    host.segmenter.propagate()
    host.settle()
    assert np.array_equal(host.voxels()[7], host.truth[7])


def test_what_is_only_painted_can_be_propagated(host: Host) -> None:
    segment_id = host.segmenter.add_segment("painted")
    painted = paint(host, segment_id, 5)
    host.segmenter.propagate()
    host.settle()
    assert host.said == []
    assert np.array_equal(host.voxels()[5], painted[5])
    assert host.voxels()[4].any()


def test_a_run_that_cannot_start_leaves_no_step(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    painted = paint(host, host.segmenter.active_segment, 7)
    count, text = host.segmenter.undo_stack.n_commands(), host.segmenter.undo_text
    host.segmenter.propagate(0, 1)
    assert len(host.said) == 1
    assert "no prompt on slices 0 to 1" in host.said[0]
    assert (host.segmenter.undo_stack.n_commands(), host.segmenter.undo_text) == (count, text)
    assert [p.type for p in host.segmenter.prompts()] == ["box"]
    assert host.segmenter.status.phase == "ready"
    host.segmenter.propagate()
    host.settle()
    assert np.array_equal(host.voxels()[7], painted[7])


def test_a_click_corrects_the_mask_that_is_there_however_it_came(host: Host) -> None:
    segment_id = host.segmenter.add_segment("loaded")
    painter = SegmentWriter(host.segmentation_node, host.volume_node)
    painter.write(segment_id, Crop.from_full(host.only(4)), region=Crop.empty())
    host.settle()
    host.segmenter.show_plane(host.plane(4))
    host.segmenter.add_prompt(host.point(22, 15, 4, positive=False))
    host.settle()
    found = host.voxels()
    assert not found[4, 15, 22]
    assert found[4].sum() > 0.5 * host.truth[4].sum()
    assert isinstance(host.segmenter.prompts()[0], MaskPrompt)
    host.segmenter.undo()
    assert np.array_equal(host.voxels(), host.only(4))
    assert host.segmenter.prompts() == ()
    painter.close()


def test_what_another_segment_has_on_the_slice_becomes_a_mask_prompt(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    first = host.segmenter.active_segment
    assert first is not None
    host.segmenter.add_segment("copy")
    host.segmenter.show_plane(host.plane(4))
    host.segmenter.add_mask_prompt(first)
    assert len(host.said) == 1
    assert "is not on this slice" in host.said[0]
    host.segmenter.show_plane(host.plane(5))
    host.segmenter.add_mask_prompt(first)
    host.settle()
    assert np.array_equal(host.voxels(), host.only(5))
    assert isinstance(host.segmenter.prompts()[0], MaskPrompt)


def test_the_shown_slice_is_encoded_ahead_and_at_rest_its_neighbours(host: Host) -> None:
    host.segmenter.show_plane(host.plane(5))
    assert host.segmenter.status.phase == "embedding"
    host.settle()
    assert host.backbone.encoded == 1
    host.segmenter.prepare_neighbours()
    host.session.prepare(host.plane(5)).result(20)  # the neighbours were handed in before
    assert host.backbone.encoded == 2  # slices 3 to 7: the rod moves between 5 and 6 only
    for index in range(3, 8):
        host.segmenter.add_prompt(host.box(index))
        host.settle()
    assert host.backbone.encoded == 2


def test_about_to_prompt_no_neighbours_are_encoded(host: Host) -> None:
    host.segmenter.show_plane(host.plane(8))
    host.settle()
    held, running = threading.Event(), threading.Event()

    def hold(control: Any) -> None:
        running.set()
        held.wait(20)

    host.session._worker.submit(hold)
    assert running.wait(20)
    host.segmenter.prepare_neighbours()
    host.segmenter.pause_preparing()
    held.set()
    host.session.prepare(host.plane(8)).result(20)
    assert host.backbone.encoded == 1


def test_prompts_come_back_from_a_file_with_their_masks(host: Host, scene: Any) -> None:
    host.segmenter.add_segment("liver")
    for index in (3, 5):
        host.segmenter.add_prompt(host.box(index))
        host.settle()
    file = host.segmenter.export_prompts()
    assert list(file.objects) == ["liver"]
    other = Host(scene)
    other.segmenter.import_prompts(file)
    other.settle()
    assert [row.name for row in other.segmenter.segments] == ["liver"]
    assert np.array_equal(other.voxels(), host.only(3, 5))
    other.close()


def test_prompts_of_another_image_are_refused_and_change_nothing(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    file = host.segmenter.export_prompts()
    file.geometry = host.segmenter.volume.geometry.transformed(np.diag([1.0, 1.0, 2.0, 1.0]))
    file.objects["new"] = file.objects.pop("Segment 1")
    host.segmenter.import_prompts(file)
    assert len(host.said) == 1
    assert "load the image they belong to" in host.said[0]
    assert [row.name for row in host.segmenter.segments] == ["Segment 1"]
    assert len(host.segmenter.prompts()) == 1


def test_errors_speak_of_segments_by_name(host: Host) -> None:
    host.segmenter.add_segment("liver")
    host.segmenter.propagate()
    outside = host.segmenter.volume.geometry.ras_from_ijk([[500, 20, 5]])[0]
    host.segmenter.add_prompt(Point(outside))
    host.segmenter.add_prompt(Box.on_plane(host.plane(10), (30, 30, 40, 40)))  # there is nothing
    host.settle()
    assert len(host.said) == 3
    assert host.said[0].startswith('"liver" has no prompts')
    assert "outside the image" in host.said[1]
    assert '"liver"' in host.said[2]


def test_voxels_are_those_of_the_volume_nodes_image(host: Host) -> None:
    assert volume_from_node(host.volume_node).geometry.close_to(host.segmenter.volume.geometry)
    assert isinstance(host.segmentation_node, slicer.vtkMRMLSegmentationNode)


def test_a_run_says_which_slices_are_worth_a_look() -> None:
    run = Propagation(0, {4: 0.99, 5: 0.95, 6: 0.6, 7: 0.8, 9: 0.7, 10: 0.9})
    assert run.spans == [(4, 5, "done"), (6, 7, "weak"), (9, 9, "weak"), (10, 10, "done")]
    assert run.weak == [6, 9, 7]

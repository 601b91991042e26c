"""Placing prompts with a mouse on a real slice view: signs, clipping, handles, what is left to Slicer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import slice_plane
from AutoPromptSAMLib.mrml.placing import Placing
from AutoPromptSAMLib.mrml.planes import plane_from_slice_node
from AutoPromptSAMLib.mrml.probe import mm_per_pixel, ras_at
from AutoPromptSAMLib.mrml.prompt_nodes import NEGATIVE_COLOR, POSITIVE_COLOR, PromptNodes
from AutoPromptSAMLib.prompts import Box, Doodle, Point

from .slice_bench import SHAPE, Bench, bench, module_bench

__all__ = ["bench", "module_bench"]  # fixtures


def rotation(degrees: float, axis: int) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.roll(np.roll([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], axis + 1, 0), axis + 1, 1)


@pytest.fixture
def placing(bench: Bench) -> Iterator[Placing]:
    placing = Placing(bench.segmenter)
    placing.attach(bench.view.interactor(), bench.slice_node, bench.request_render)
    yield placing
    placing.detach()


@pytest.mark.parametrize(
    ("tool", "ctrl", "positive"),
    [("point+", False, True), ("point-", False, False), ("point+", True, False), ("point-", True, True)],
)
def test_click_is_a_point_on_the_middle_of_the_slice(
    bench: Bench, placing: Placing, tool: Any, ctrl: bool, positive: bool
) -> None:
    bench.slice_node.SetSliceOffset(bench.slice_node.GetSliceOffset() + 1.1)  # still slice 10, near its upper face
    placing.tool = tool
    bench.click(bench.at(42, 33, 10), ctrl=ctrl)
    (point,) = bench.segmenter.prompts()
    assert isinstance(point, Point)
    assert point.positive is positive
    voxel = bench.geometry.ijk_from_ras(point.ras[None])[0]
    assert voxel[2] == pytest.approx(10, abs=1e-9)
    assert np.abs(voxel[:2] - [42, 33]).max() < 0.1  # half a screen pixel
    assert bench.segmenter.active_segment is not None
    assert not bench.said


def test_dragged_box_finds_the_ball_on_release(bench: Bench, placing: Placing) -> None:
    placing.tool = "box"
    end = bench.at(62, 52, 10)
    bench.press(bench.at(20, 12, 10))
    bench.move(bench.at(50, 40, 10))
    bench.move(end)
    assert not bench.segmenter.prompts()
    assert bench.rendered == 2
    assert bench.shows(POSITIVE_COLOR, bench.at(41, 12, 10), 1)
    bench.release(end)
    assert not bench.shows(POSITIVE_COLOR, bench.at(41, 12, 10), 1)
    (box,) = bench.segmenter.prompts()
    assert isinstance(box, Box)
    expected = Box.on_plane(slice_plane(bench.geometry, 0, 10), [20, 12, 62, 52])
    assert np.allclose(box.axes, expected.axes)
    assert np.abs(box.center_ras - expected.center_ras).max() < 0.1
    assert np.abs(box.size_mm - expected.size_mm).max() < 0.2
    bench.settle()
    (info,) = bench.segmenter.export_prompts().objects.values()
    crop = bench.segmenter.writer.read(bench.segmenter.active_segment)
    assert crop.lower[0] == 10
    assert crop.upper[0] == 11
    assert crop.mask.sum() > 1100  # of 400 pi voxels
    assert len(info) == 1


def test_box_is_the_same_from_any_corner(bench: Bench, placing: Placing) -> None:
    placing.tool = "box"
    ends = [bench.at(20, 12, 10), bench.at(62, 52, 10)]
    turned = [(ends[0][0], ends[1][1]), (ends[1][0], ends[0][1])]
    for start, end in (ends, ends[::-1], turned, turned[::-1]):
        bench.drag(start, end)
    first, *others = bench.segmenter.prompts()
    assert len(others) == 3
    assert all(np.allclose(other.corners, first.corners, atol=1e-9) for other in others)


def test_short_drag_makes_no_box(bench: Bench, placing: Placing) -> None:
    placing.tool = "box"
    x, y = bench.at(40, 30, 10)
    bench.drag((x, y), (x + 2, y - 40))
    bench.click((x, y))
    assert not bench.segmenter.prompts()
    assert not bench.said


def test_box_beyond_the_edge_ends_at_the_edge(bench: Bench, placing: Placing) -> None:
    placing.tool = "box"
    bench.drag(bench.at(60, 40, 10), bench.at(85, 70, 10))
    (box,) = bench.segmenter.prompts()
    ijk = bench.geometry.ijk_from_ras(box.corners)
    assert np.allclose(ijk.max(axis=0), [SHAPE[2] - 1, SHAPE[1] - 1, 10], atol=1e-6)
    assert np.abs(ijk.min(axis=0) - [60, 40, 10]).max() < 0.1


@pytest.mark.parametrize("tool", ["point+", "box", "doodle-"])
def test_outside_the_image_is_one_sentence(bench: Bench, placing: Placing, tool: Any) -> None:
    placing.tool = tool
    left_of_image = bench.at(-3, 20, 10)
    bench.drag(left_of_image, bench.at(-2, 40, 10))
    assert not bench.segmenter.prompts()
    (sentence,) = bench.said
    assert "outside the image;" in sentence
    assert sentence.endswith("inside it." if tool == "point+" else "inside.")


def test_view_beside_the_image_is_one_sentence(bench: Bench, placing: Placing) -> None:
    placing.tool = "point+"
    bench.slice_node.SetSliceOffset(500)
    bench.click((300, 250))
    assert bench.said == ["This view shows no part of the image; scroll it into the image."]


@pytest.mark.parametrize(("degrees", "axis"), [(25, 0), (30, 2)])
def test_turned_views_give_what_was_drawn(bench: Bench, placing: Placing, degrees: float, axis: int) -> None:
    """About the first axis the view is oblique to the slices, about the third it stays within one."""
    bench.turn(rotation(degrees, axis))
    plane = plane_from_slice_node(bench.slice_node, bench.geometry)
    assert (plane.axis is None) == (axis == 0)
    placing.tool = "box"
    bench.drag((240, 200), (330, 280))
    placing.tool = "point+"
    bench.click((300, 255))
    box, point = bench.segmenter.prompts()
    drawn = np.array([ras_at(bench.slice_node, x, y) for x in (240, 330) for y in (200, 280)])
    drawn -= ((drawn - plane.pixel_to_ras[:3, 3]) @ plane.normal)[:, None] * plane.normal
    far = np.linalg.norm(drawn[:, None] - box.corners, axis=2).min(axis=1)
    assert far.max() < 1e-6
    assert np.allclose(
        sorted(box.size_mm), [0, 80 * mm_per_pixel(bench.slice_node), 90 * mm_per_pixel(bench.slice_node)]
    )
    clicked = ras_at(bench.slice_node, 300, 255)
    clicked -= ((clicked - plane.pixel_to_ras[:3, 3]) @ plane.normal) * plane.normal
    assert np.allclose(point.ras, clicked, atol=1e-6)
    assert not bench.said


@pytest.mark.parametrize(
    ("tool", "positive", "color"), [("doodle+", True, POSITIVE_COLOR), ("doodle-", False, NEGATIVE_COLOR)]
)
def test_stroke_is_a_doodle(bench: Bench, placing: Placing, tool: Any, positive: bool, color: Any) -> None:
    placing.tool, placing.brush_mm = tool, 4.0
    path = [bench.at(i, 4 + 2 * np.sin(i / 3), 10) for i in np.linspace(30, 50, 60)]
    bench.press(path[0])
    for xy in path[1:]:
        bench.move(xy)
    middle = path[30]
    faded = np.array(color) * 0.55
    assert bench.shows(faded, middle, 2)
    bench.release(path[-1])
    assert not bench.shows(faded, middle, 2)
    (doodle,) = bench.segmenter.prompts()
    assert isinstance(doodle, Doodle)
    assert doodle.positive is positive
    assert doodle.width_mm == 4.0
    assert 5 < len(doodle.ras) < 30  # bends need vertices, straight parts none
    drawn = np.array([ras_at(bench.slice_node, *xy) for xy in path])
    for position in drawn:
        start, end = doodle.ras[:-1], doodle.ras[1:]
        along = end - start
        share = np.clip(((position - start) * along).sum(axis=1) / (along**2).sum(axis=1), 0, 1)
        off = np.linalg.norm(position - start - share[:, None] * along, axis=1).min()
        assert off < 3 * mm_per_pixel(bench.slice_node)


def test_stroke_that_leaves_the_image_is_cut(bench: Bench, placing: Placing) -> None:
    placing.tool = "doodle+"
    bench.drag(*[bench.at(i, 30, 10) for i in (70, 74, 78, 82, 84)], *[bench.at(i, 36, 10) for i in (84, 78, 72)])
    out, back = bench.segmenter.prompts()
    for doodle in (out, back):
        assert bench.geometry.contains(doodle.ras).all()
    assert not bench.said


def test_a_dab_is_a_doodle(bench: Bench, placing: Placing) -> None:
    placing.tool = "doodle-"
    bench.click(bench.at(40, 30, 10), ctrl=True)
    (doodle,) = bench.segmenter.prompts()
    assert doodle.positive is True
    assert len(doodle.ras) == 1


@pytest.mark.parametrize("tool", ["box", "doodle+"])
def test_escape_cancels_what_is_being_drawn(bench: Bench, placing: Placing, tool: Any) -> None:
    placing.tool = tool
    heard = bench.listen()
    bench.key("Escape")
    assert heard == ["KeyPressEvent"]  # nothing to cancel: somebody else's key
    heard.clear()
    bench.press(bench.at(20, 12, 10))
    bench.move(bench.at(50, 40, 10))
    bench.key("Escape")
    assert not bench.shows(POSITIVE_COLOR, bench.at(30, 12, 10), 1)
    bench.move(bench.at(60, 50, 10))
    bench.release(bench.at(60, 50, 10))
    assert not bench.segmenter.prompts()
    assert heard == ["MouseMoveEvent"] * 2  # the hover before the press, and the one that looks for handles
    assert placing.tool == tool
    bench.drag(bench.at(20, 12, 10), bench.at(60, 50, 10))
    assert len(bench.segmenter.prompts()) == 1


def test_what_is_left_to_slicer(bench: Bench, placing: Placing) -> None:
    heard = bench.listen()
    at = bench.at(40, 30, 10)
    bench.click(at)  # no tool
    placing.tool = "point+"
    bench.click(at, shift=True)
    for button in ("Right", "Middle"):
        bench.event(f"{button}ButtonPressEvent", at)
        bench.event(f"{button}ButtonReleaseEvent", at)
    assert not bench.segmenter.prompts()
    assert [event for event in heard if event != "MouseMoveEvent"] == [
        *("LeftButtonPressEvent", "LeftButtonReleaseEvent") * 2,
        "RightButtonPressEvent",
        "MiddleButtonPressEvent",
    ]
    heard.clear()
    bench.click(at)
    assert set(heard) == {"MouseMoveEvent"}
    placing.segmenter = None
    bench.click(at)
    assert "LeftButtonPressEvent" in heard
    placing.segmenter = bench.segmenter
    placing.detach(bench.slice_node)
    heard.clear()
    bench.click(at)
    assert "LeftButtonPressEvent" in heard
    assert len(bench.segmenter.prompts()) == 1


def test_handles_work_while_a_tool_is_active(bench: Bench, placing: Placing) -> None:
    nodes = PromptNodes(bench.segmenter, bench.scene)
    placing.tool = "box"
    bench.drag(bench.at(20, 12, 10), bench.at(60, 52, 10))
    bench.draw()
    placing.tool = "point+"
    bench.drag(bench.at(20, 32, 10), bench.at(17, 32, 10), bench.at(14, 32, 10))
    (box,) = bench.segmenter.prompts()
    assert np.allclose(box.size_mm, [46, 40, 0], atol=0.3)
    bench.click(bench.at(37, 32, 10))  # the middle of the box
    assert [prompt.type for prompt in bench.segmenter.prompts()] == ["box", "point"]
    start, end = bench.at(37, 32, 10), bench.at(45, 40, 10)
    bench.drag(start, end)
    box, point = bench.segmenter.prompts()
    assert np.abs(bench.geometry.ijk_from_ras(point.ras[None])[0] - [45, 40, 10]).max() < 0.2
    # A host that sends the press alone, without the mouse having moved there.
    bench.event("LeftButtonPressEvent", end)
    bench.release(end)
    assert len(bench.segmenter.prompts()) == 2
    nodes.close()


def test_a_handle_in_another_view_does_not_hold_the_mouse(bench: Bench, placing: Placing) -> None:
    nodes = PromptNodes(bench.segmenter, bench.scene)
    other = bench.add_view("Green", "Coronal")
    other_node = bench.scene.GetNodeByID(other.get_view_node_id())
    placing.attach(other.interactor(), other_node, bench.request_render)
    placing.tool = "box"
    bench.drag(bench.at(20, 12, 10), bench.at(60, 52, 10))
    bench.draw()
    placing.tool = "point+"
    bench.move(bench.at(20, 32, 10))  # over a handle; the browser then loses the event of leaving the view
    other.interactor().SetEventInformation(150, 240, 0, 0, chr(0), 0, None)
    other.interactor().InvokeEvent("LeftButtonPressEvent")
    other.interactor().InvokeEvent("LeftButtonReleaseEvent")
    _, point = bench.segmenter.prompts()
    assert point.type == "point"
    assert np.allclose(point.ras[[0, 2]], ras_at(other_node, 150, 240)[[0, 2]])
    placing.detach(other_node)
    other.finalize()
    nodes.close()


def test_eraser(bench: Bench, placing: Placing) -> None:
    placing.tool = "box"
    bench.drag(bench.at(20, 12, 10), bench.at(60, 52, 10))
    placing.tool = "point+"
    bench.click(bench.at(30, 30, 10))
    bench.click(bench.at(50, 30, 10))
    placing.tool, placing.brush_mm = "doodle-", 2.0
    bench.drag(bench.at(30, 40, 10), bench.at(50, 40, 10))
    bench.slice_node.SetSliceOffset(bench.slice_node.GetSliceOffset() + 2.5)
    placing.tool = "point-"
    bench.click(bench.at(30, 30, 11))
    bench.slice_node.SetSliceOffset(bench.slice_node.GetSliceOffset() - 2.5)
    box, first, second, doodle, above = bench.segmenter.prompts()

    def kept() -> list[Any]:
        return [prompt for prompt in (box, first, second, doodle, above) if prompt in bench.segmenter.prompts()]

    placing.tool = "eraser"
    x, y = bench.at(30, 30, 10)
    bench.click((x + 9, y))
    assert len(kept()) == 5
    bench.click((x + 7, y))
    assert kept() == [box, second, doodle, above]
    bench.drag(bench.at(45, 46, 10), bench.at(45, 34, 10))  # one move right across the stroke
    assert kept() == [box, second, above]
    bench.click(bench.at(40, 13, 10))
    assert kept() == [second, above]
    assert not bench.said


def test_eraser_on_a_locked_segment_says_so_once(bench: Bench, placing: Placing) -> None:
    placing.tool = "point+"
    for i in (30, 33):
        bench.click(bench.at(i, 30, 10))
    bench.settle()
    bench.said.clear()
    bench.segmenter.set_segment_locked(bench.segmenter.active_segment, True)
    placing.tool = "eraser"
    bench.drag(*[bench.at(i, 30, 10) for i in (29, 30, 31, 33, 35)])
    assert len(bench.segmenter.prompts()) == 2
    assert len(bench.said) == 1
    assert "locked" in bench.said[0]


def test_unknown_tool_is_one_sentence() -> None:
    placing = Placing()
    with pytest.raises(PromptError, match='no tool "lasso"; choose one of point'):
        placing.tool = "lasso"  # type: ignore[assignment]

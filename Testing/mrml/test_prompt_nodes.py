"""Prompts as markups in a real slice view, and what a person does to them with a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk

from AutoPromptSAMLib.geometry import slice_plane
from AutoPromptSAMLib.mrml.prompt_nodes import NEGATIVE_COLOR, POSITIVE_COLOR, SHOWN, PromptNodes
from AutoPromptSAMLib.prompts import Box, Doodle, Point, Prompt, Source

from .slice_bench import Bench, bench, module_bench

__all__ = ["bench", "module_bench"]  # fixtures


@pytest.fixture
def nodes(bench: Bench) -> Iterator[PromptNodes]:
    bench.segmenter.add_segment("organ")
    nodes = PromptNodes(bench.segmenter, bench.scene)
    yield nodes
    nodes.close()


@pytest.fixture
def calls(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Prompt, bool]]:
    """All calls of ``replace_prompt``, which still does its work."""
    made: list[tuple[Prompt, bool]] = []
    replace = bench.segmenter.replace_prompt

    def listen(prompt: Prompt, final: bool = True) -> None:
        made.append((prompt, final))
        replace(prompt, final)

    monkeypatch.setattr(bench.segmenter, "replace_prompt", listen)
    return made


def markups(bench: Bench) -> list[Any]:
    nodes = bench.scene.GetNodesByClass("vtkMRMLMarkupsNode")
    nodes.UnRegister(None)
    return [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]


def box_around_ball(bench: Bench) -> Box:
    return Box.on_plane(slice_plane(bench.geometry, 0, 10), [20, 12, 62, 52])


def point(bench: Bench, *ijk: float, positive: bool = True) -> Point:
    return Point(bench.geometry.ras_from_ijk([ijk])[0], positive)


def test_prompts_can_be_seen_on_their_slice_only(bench: Bench, nodes: PromptNodes) -> None:
    line = bench.geometry.ras_from_ijk([[70, 10, 10], [70, 30, 10]])
    for prompt in (
        box_around_ball(bench),
        point(bench, 8, 20, 10),
        point(bench, 8, 40, 10, positive=False),
        Doodle(line, False, 3.0),
    ):
        bench.segmenter.add_prompt(prompt)

    def seen() -> list[bool]:
        return [
            bench.shows(POSITIVE_COLOR, bench.at(30, 12, 10), 3),
            bench.shows(POSITIVE_COLOR, bench.at(8, 20, 10), 3),
            bench.shows(NEGATIVE_COLOR, bench.at(8, 40, 10), 3),
            bench.shows(np.array(NEGATIVE_COLOR) * 0.58, bench.at(71, 20, 10), 3),
        ]

    assert seen() == [True] * 4
    offset = bench.slice_node.GetSliceOffset()
    bench.slice_node.SetSliceOffset(offset + 2.5)
    assert seen() == [False] * 4
    bench.slice_node.SetSliceOffset(offset)
    bench.segmenter.add_segment("other")
    assert seen() == [False] * 4
    assert all(node.GetAttribute(SHOWN) == "1" for node in markups(bench))


def test_only_the_prompts_of_the_active_segment(bench: Bench, nodes: PromptNodes) -> None:
    first = bench.segmenter.active_segment
    box, click = box_around_ball(bench), point(bench, 30, 30, 10)
    bench.segmenter.add_prompt(box)
    bench.segmenter.add_prompt(click)
    second = bench.segmenter.add_segment("other")
    assert nodes.node_of(box.id) is None
    assert nodes.node_of(click.id) is None
    other = point(bench, 50, 30, 10)
    bench.segmenter.add_prompt(other)
    assert nodes.node_of(other.id).GetNumberOfControlPoints() == 1
    bench.segmenter.active_segment = first
    assert nodes.node_of(box.id).GetClassName() == "vtkMRMLMarkupsROINode"
    assert nodes.node_of(click.id).GetNumberOfControlPoints() == 1
    assert nodes.node_of(other.id) is None
    bench.segmenter.remove_segment(second)
    bench.segmenter.clear_prompts()
    assert nodes.node_of(box.id) is None
    bench.segmenter.undo()
    assert nodes.node_of(box.id) is not None


def test_nodes_are_not_saved_with_the_scene(bench: Bench, nodes: PromptNodes, tmp_path: Path) -> None:
    bench.segmenter.add_prompt(box_around_ball(bench))
    bench.segmenter.add_prompt(point(bench, 30, 30, 10))
    assert len(markups(bench)) == 2
    bench.scene.SetURL(str(tmp_path / "scene.mrml"))
    bench.scene.Commit()
    saved = (tmp_path / "scene.mrml").read_text()
    assert "<Segmentation" in saved
    assert "<Markups" not in saved


@pytest.mark.parametrize(
    ("start", "turn"), [((20, 32), (-1, 0)), ((62, 32), (1, 0)), ((41, 12), (0, -1)), ((62, 52), (1, 1))]
)
def test_resizing_a_box_by_a_handle(
    bench: Bench, nodes: PromptNodes, calls: list[tuple[Prompt, bool]], start: tuple[int, int], turn: tuple[int, int]
) -> None:
    box = box_around_ball(bench)
    bench.segmenter.add_prompt(box)
    bench.settle()
    bench.draw()
    path = [bench.at(start[0] + n * turn[0], start[1] + n * turn[1], 10) for n in (0, 2, 4)]
    bench.drag(*path)
    assert [final for _, final in calls] == [False, False, True]
    assert {prompt.id for prompt, _ in calls} == {box.id}
    (resized,) = bench.segmenter.prompts()
    assert resized.is_flat
    grown = np.abs(box.axes @ resized.axes.T).round() @ resized.size_mm - box.size_mm
    assert np.allclose(grown, [4 * abs(turn[0]), 4 * abs(turn[1]), 0], atol=0.4)
    assert resized.id == box.id
    bench.segmenter.undo()
    assert bench.segmenter.prompts() == (box,)
    assert bench.shows(POSITIVE_COLOR, bench.at(*start, 10), 8)
    before = len(calls)
    bench.settle()
    assert len(calls) == before


def test_a_click_on_a_handle_changes_nothing(
    bench: Bench, nodes: PromptNodes, calls: list[tuple[Prompt, bool]]
) -> None:
    bench.segmenter.add_prompt(box_around_ball(bench))
    bench.draw()
    text = bench.segmenter.undo_text
    bench.click(bench.at(20, 32, 10))
    assert not calls
    assert bench.segmenter.undo_text == text


def test_dragging_a_point(bench: Bench, nodes: PromptNodes, calls: list[tuple[Prompt, bool]]) -> None:
    still, moving = point(bench, 30, 30, 10), point(bench, 50, 30, 10, positive=False)
    for prompt in (still, moving):
        bench.segmenter.add_prompt(prompt)
    bench.drag(*[bench.at(50 - n, 30 + n, 10) for n in (0, 2, 4, 6)])
    assert [final for _, final in calls] == [False, False, False, True]
    first, moved = bench.segmenter.prompts()
    assert first == still
    assert (moved.id, moved.positive) == (moving.id, False)
    assert np.abs(bench.geometry.ijk_from_ras(moved.ras[None])[0] - [44, 36, 10]).max() < 0.2


def test_dragging_a_point_out_of_the_image_keeps_it(bench: Bench, nodes: PromptNodes) -> None:
    click = point(bench, 76, 30, 10)
    bench.segmenter.add_prompt(click)
    bench.settle()
    bench.said.clear()
    bench.drag(*[bench.at(i, 30, 10) for i in (76, 78, 81, 83, 84)])
    assert len(bench.said) == 1  # and not one for each step of the mouse
    assert "outside the image; place it inside" in bench.said[0]
    (kept,) = bench.segmenter.prompts()
    assert bench.geometry.contains(kept.ras[None]).all()
    node = nodes.node_of(click.id)
    assert np.allclose(node.GetNthControlPointPositionWorld(0), kept.ras)


def test_a_locked_segment_says_so_once_and_keeps_its_prompts(bench: Bench, nodes: PromptNodes) -> None:
    click = point(bench, 30, 30, 10)
    bench.segmenter.add_prompt(click)
    bench.settle()
    bench.said.clear()
    bench.segmenter.set_segment_locked(bench.segmenter.active_segment, True)
    bench.drag(*[bench.at(i, 30, 10) for i in (30, 33, 36, 39)])
    assert len(bench.said) == 1
    assert "locked" in bench.said[0]
    assert bench.segmenter.prompts() == (click,)
    assert np.allclose(nodes.node_of(click.id).GetNthControlPointPositionWorld(0), click.ras)


def test_a_flat_box_made_thick_in_another_view_is_solid(bench: Bench, nodes: PromptNodes) -> None:
    box = box_around_ball(bench)
    bench.segmenter.add_prompt(box)
    node = nodes.node_of(box.id)
    assert node.GetSize()[2] == pytest.approx(2.5)
    node.SetSize(42, 40, 3.5)
    (slightly,) = bench.segmenter.prompts()
    assert slightly.is_flat
    node.SetSize(42, 40, 10)
    (thick,) = bench.segmenter.prompts()
    assert np.allclose(thick.size_mm, [42, 40, 10])
    assert node.GetSize()[2] == pytest.approx(10)


@pytest.mark.parametrize("delete", ["node", "point"])
def test_deleting_markups_removes_prompts(bench: Bench, nodes: PromptNodes, delete: str) -> None:
    box, first, second = box_around_ball(bench), point(bench, 30, 30, 10), point(bench, 50, 30, 10)
    for prompt in (box, first, second):
        bench.segmenter.add_prompt(prompt)
    if delete == "node":
        bench.scene.RemoveNode(nodes.node_of(box.id))
        assert bench.segmenter.prompts() == (first, second)
        bench.scene.RemoveNode(nodes.node_of(first.id))
        assert bench.segmenter.prompts() == ()
    else:
        nodes.node_of(first.id).RemoveNthControlPoint(0)
        assert bench.segmenter.prompts() == (box, second)
        nodes.node_of(second.id).RemoveAllControlPoints()
        assert bench.segmenter.prompts() == (box,)
    bench.segmenter.undo()
    assert len(bench.segmenter.prompts()) == (1 if delete == "node" else 2)
    shown = nodes.node_of(bench.segmenter.prompts()[-1].id)
    assert shown.GetNumberOfControlPoints() == 1


def test_points_placed_by_slicer_become_prompts(bench: Bench, nodes: PromptNodes) -> None:
    first = point(bench, 30, 30, 10)
    bench.segmenter.add_prompt(first)
    ras = bench.geometry.ras_from_ijk([[50, 30, 10]])[0]
    nodes.node_of(first.id).AddControlPointWorld(vtk.vtkVector3d(*ras))
    assert len(bench.segmenter.prompts()) == 2
    placed = bench.segmenter.prompts()[1]
    assert placed.positive
    assert placed.source == Source("person")
    assert np.allclose(placed.ras, ras)
    assert nodes.node_of(placed.id).GetNumberOfControlPoints() == 2
    beyond = bench.geometry.ras_from_ijk([[150, 30, 10]])[0]
    nodes.node_of(first.id).AddControlPointWorld(vtk.vtkVector3d(*beyond))
    assert nodes.node_of(first.id).GetNumberOfControlPoints() == 2  # refused
    assert "outside the image" in bench.said[-1]


def test_editing_a_doodle(bench: Bench, nodes: PromptNodes) -> None:
    doodle = Doodle(bench.geometry.ras_from_ijk([[30, 30, 10], [40, 35, 10], [50, 30, 10]]), True, 2.0)
    bench.segmenter.add_prompt(doodle)
    bench.settle()
    bench.drag(bench.at(40, 35, 10), bench.at(40, 37, 10), bench.at(40, 40, 10))
    (edited,) = bench.segmenter.prompts()
    assert (edited.id, edited.width_mm, edited.positive) == (doodle.id, 2.0, True)
    ijk = bench.geometry.ijk_from_ras(edited.ras)
    assert np.abs(ijk - [[30, 30, 10], [40, 40, 10], [50, 30, 10]]).max() < 0.2


def test_closing_leaves_prompts_and_scene_alone(bench: Bench) -> None:
    bench.segmenter.add_segment("organ")
    nodes = PromptNodes(bench.segmenter, bench.scene)
    box = box_around_ball(bench)
    bench.segmenter.add_prompt(box)
    nodes.close()
    assert not markups(bench)
    assert bench.segmenter.prompts() == (box,)
    bench.segmenter.add_prompt(point(bench, 30, 30, 10))
    assert not markups(bench)


def test_nodes_do_not_pile_up(bench: Bench, nodes: PromptNodes) -> None:
    for _ in range(10):
        bench.segmenter.add_prompt(box_around_ball(bench))
        bench.segmenter.add_prompt(point(bench, 30, 30, 10))
        assert len(markups(bench)) == 2
        bench.segmenter.clear_prompts()
    assert len(markups(bench)) == 1
    assert bench.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsDisplayNode") == 1

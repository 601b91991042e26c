"""Markups as prompts and back: positions, signs, sources and ids survive, under transforms too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import GeometryError, PromptError
from AutoPromptSAMLib.mrml.markups import (
    POSITIVE,
    TAG,
    nodes_from_prompts,
    read_box,
    read_doodle,
    read_points,
    write_box,
    write_doodle,
    write_points,
)
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.prompts import PERSON, Box, Doodle, Point, Source

from .segmenting import prompts_of

SEEDS = st.integers(0, 2**32 - 1)
PROMPTER = Source("prompter", "proxy-prompt é")


def rotation(rng: np.random.Generator) -> np.ndarray:
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix


def similarity(rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(rng) * 10 ** rng.uniform(-0.5, 0.5)
    matrix[:3, 3] = rng.uniform(-200, 200, 3)
    return matrix


def add(scene: Any, kind: str) -> Any:
    return scene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", kind)


def place(node: Any, *positions: Any) -> None:
    for position in positions:
        node.AddControlPointWorld(vtk.vtkVector3d(*position))


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.booleans())
def test_prompts_survive_markups_under_transforms(put_under: Callable[..., Any], seed: int, transformed: bool) -> None:
    rng = np.random.default_rng(seed)
    size = rng.uniform(1, 50, 3) * (rng.permutation([0, 1, 1]) if rng.random() < 0.5 else 1)
    points = [
        Point(rng.uniform(-300, 300, 3), bool(rng.random() < 0.5), source=rng.choice([PERSON, PROMPTER]))
        for _ in range(3)
    ]
    box = Box(rng.uniform(-300, 300, 3), rotation(rng), size, source=PROMPTER)
    doodle = Doodle(rng.uniform(-300, 300, (rng.integers(2, 9), 3)), False, 2.5, source=PROMPTER)
    with create_scene() as context:
        nodes = [add(context.scene, kind) for kind in ("Fiducial", "ROI", "Curve")]
        if transformed:
            for node in nodes:
                put_under(node, similarity(rng), similarity(rng))
        write_points(nodes[0], points)
        write_box(nodes[1], box)
        write_doodle(nodes[2], doodle)
        *back, box_back, doodle_back = prompts_of(nodes)
        for old, new in zip((*points, box, doodle), (*back, box_back, doodle_back), strict=True):
            assert (new.id, new.source) == (old.id, old.source)
        for old, new in zip(points, back, strict=True):
            assert new.positive == old.positive
            assert np.allclose(new.ras, old.ras, rtol=0, atol=1e-9)
        assert np.allclose(doodle_back.ras, doodle.ras, rtol=0, atol=1e-9)
        assert (doodle_back.positive, doodle_back.width_mm) == (False, 2.5)
        assert box_back.is_flat == box.is_flat
        far = np.linalg.norm(box_back.corners[:, None] - box.corners, axis=2).min(axis=1)
        # The same corners, though a left-handed box comes back right-handed; ROIs keep float32 positions.
        assert far.max() < 1e-4


def test_markups_of_prompts(scene: Any) -> None:
    prompts = [
        Point([1, 2, 3]),
        Box([1, 2, 3], np.eye(3), [4, 5, 6]),
        Point([4, 5, 6], False, source=PROMPTER),
        Doodle([[1, 2, 3], [4, 5, 6]], width_mm=1.0),
    ]
    nodes = nodes_from_prompts(scene, prompts, "liver")
    assert [node.GetClassName() for node in nodes] == [
        "vtkMRMLMarkupsFiducialNode",
        "vtkMRMLMarkupsROINode",
        "vtkMRMLMarkupsCurveNode",
    ]
    assert [nodes[0].GetNthControlPointSelected(n) for n in range(2)] == [True, False]
    assert prompts_of(nodes) == [prompts[0], prompts[2], prompts[1], prompts[3]]


def test_clicks_of_a_person_get_an_id_that_stays(scene: Any) -> None:
    node = add(scene, "Fiducial")
    place(node, [1, 2, 3], [4, 5, 6])
    node.SetNthControlPointDescription(1, "near the <vein>")
    first = read_points(node)
    assert [point.positive for point in first] == [True, True]
    assert [point.source for point in first] == [PERSON, PERSON]
    assert read_points(node) == first
    assert "near the <vein>" in node.GetNthControlPointDescription(1)
    node.SetNthControlPointPositionWorld(0, 7.0, 8.0, 9.0)
    moved = read_points(node)
    assert [point.id for point in moved] == [point.id for point in first]
    assert moved[0].ras.tolist() == [7, 8, 9]


def test_reading_tells_observers_once_and_then_no_more(scene: Any) -> None:
    node = add(scene, "Fiducial")
    place(node, [1, 2, 3], [4, 5, 6], [7, 8, 9])
    heard = []
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: heard.append(1))
    read_points(node)
    assert len(heard) <= 1
    heard.clear()
    read_points(node)
    assert not heard


@pytest.mark.parametrize("kind", ["Fiducial", "Curve"])
def test_sign_of_new_clicks_and_strokes(scene: Any, kind: str) -> None:
    node = add(scene, kind)
    node.SetAttribute(POSITIVE, "0")
    place(node, [1, 2, 3], [4, 5, 6])
    assert all(prompt.positive is False for prompt in prompts_of([node]))


def test_points_that_are_hidden_or_not_placed_are_skipped(scene: Any) -> None:
    node = add(scene, "Fiducial")
    place(node, [1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12])
    node.SetNthControlPointVisibility(0, False)
    node.UnsetNthControlPointPosition(1)
    node.SetNthControlPointPositionMissing(2)
    assert [point.ras.tolist() for point in read_points(node)] == [[10, 11, 12]]


def test_copied_points_get_ids_of_their_own(scene: Any) -> None:
    node = add(scene, "Fiducial")
    place(node, [1, 2, 3])
    (point,) = read_points(node)
    place(node, [4, 5, 6])
    node.SetNthControlPointDescription(1, node.GetNthControlPointDescription(0))
    prompts = read_points(node)
    assert prompts[0].id == point.id != prompts[1].id
    assert read_points(node) == prompts


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"id": 3}', '{"id": "", "positive": true, "source": "person", "name": ""}']
)
def test_damaged_tags_count_as_text(scene: Any, text: str) -> None:
    node = add(scene, "Fiducial")
    place(node, [1, 2, 3])
    node.SetNthControlPointDescription(0, text)
    (point,) = read_points(node)
    assert point.positive
    assert read_points(node) == [point]


def test_markups_without_anything_placed_are_no_prompts(scene: Any) -> None:
    assert prompts_of([add(scene, kind) for kind in ("Fiducial", "ROI", "Curve", "ClosedCurve")]) == []


def test_roi_under_a_transform_that_bends_or_shears(scene: Any, put_under: Callable[..., Any]) -> None:
    roi = add(scene, "ROI")
    write_box(roi, Box([1, 2, 3], np.eye(3), [4, 5, 6]))
    shear = np.eye(4)
    shear[0, 1] = 0.3
    put_under(roi, shear)
    with pytest.raises(GeometryError, match='"Transform 0" shears "ROI" so that it is no box any more; move it'):
        read_box(roi)
    with pytest.raises(GeometryError, match='"Transform 0" shears "ROI"'):
        write_box(roi, Box([1, 2, 3], np.eye(3), [4, 5, 6]))
    warp = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "warp")
    roi.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(GeometryError, match='"ROI" is under the non-linear transform "warp"; harden'):
        read_box(roi)


def test_roi_without_area_is_one_sentence(scene: Any) -> None:
    roi = add(scene, "ROI")
    roi.SetSize(4, 0, 0)
    roi.SetCenter(1, 2, 3)
    with pytest.raises(PromptError, match="at least two sides longer than 0 mm; draw it larger"):
        read_box(roi)


def test_curves(scene: Any) -> None:
    curve = add(scene, "Curve")
    place(curve, [0, 0, 0], [10, 0, 0], [10, 10, 0])
    smooth = read_doodle(curve)
    assert len(smooth.ras) > 10  # what Slicer shows, not the control points alone
    assert np.allclose(smooth.ras[[0, -1]], [[0, 0, 0], [10, 10, 0]])
    closed = add(scene, "ClosedCurve")
    closed.SetCurveTypeToLinear()
    place(closed, [0, 0, 0], [10, 0, 0], [10, 10, 0])
    line = read_doodle(closed)
    assert line.ras.tolist() == [[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 0, 0]]
    write_doodle(closed, line)
    assert closed.GetNumberOfControlPoints() == 3
    assert read_doodle(closed) == line
    single = add(scene, "Curve")
    place(single, [1, 2, 3])
    assert read_doodle(single).ras.tolist() == [[1, 2, 3]]


def test_tags_are_where_the_documentation_says(scene: Any) -> None:
    (node,) = nodes_from_prompts(scene, [Box([1, 2, 3], np.eye(3), [4, 5, 6], id="box1")])
    assert '"id": "box1"' in node.GetAttribute(TAG)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_flat_box_that_is_shown_thick_stays_flat(scene: Any, put_under: Callable[..., Any], scale: float) -> None:
    roi = add(scene, "ROI")
    put_under(roi, np.diag([scale, scale, scale, 1.0]))
    box = Box([1, 2, 3], np.eye(3), [4, 0, 6], source=PROMPTER)
    write_box(roi, box, shown_mm=2.5)
    assert np.allclose(roi.GetSize(), np.array([4, 2.5, 6]) / scale)
    assert read_box(roi) == box
    roi.SetSize(*np.array([5, 3.5, 6]) / scale)
    assert np.allclose(read_box(roi).size_mm, [5, 0, 6])
    roi.SetSize(*np.array([5, 4, 6]) / scale)
    assert np.allclose(read_box(roi).size_mm, [5, 4, 6])
    solid = Box([1, 2, 3], np.eye(3), [4, 5, 6], id=box.id)
    write_box(roi, solid, shown_mm=2.5)
    assert read_box(roi) == solid
    write_box(roi, box)
    assert read_box(roi) == box


@pytest.mark.parametrize("flat", ['"flat": 3', '"flat": {"axis": 3, "shown_mm": 1}', '"flat": {"axis": 1}'])
def test_damaged_thickness_makes_a_new_tag(scene: Any, flat: str) -> None:
    roi = add(scene, "ROI")
    write_box(roi, Box([1, 2, 3], np.eye(3), [4, 5, 6], id="box1"))
    roi.SetAttribute(TAG, roi.GetAttribute(TAG)[:-1] + f", {flat}}}")
    box = read_box(roi)
    assert box.size_mm.tolist() == [4, 5, 6]
    assert box.id != "box1"
    assert read_box(roi) == box

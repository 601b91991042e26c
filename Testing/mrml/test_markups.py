"""Markups and segments as prompts and back: positions, signs, sources and ids survive, under transforms too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, PromptError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.mrml.markups import (
    POSITIVE,
    TAG,
    filled_curve,
    mask_from_segment,
    mask_to_segment,
    nodes_from_prompts,
    prompts_from_nodes,
    read_box,
    read_doodle,
    read_points,
    write_box,
    write_doodle,
    write_points,
)
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter
from AutoPromptSAMLib.mrml.volumes import geometry_from_node
from AutoPromptSAMLib.prompts import PERSON, Box, Doodle, MaskPrompt, Point, Source

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
        *back, box_back, doodle_back = prompts_from_nodes(nodes)
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
    assert prompts_from_nodes(nodes) == [prompts[0], prompts[2], prompts[1], prompts[3]]


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
    assert all(prompt.positive is False for prompt in prompts_from_nodes([node]))


def test_points_that_are_hidden_or_not_placed_are_skipped(scene: Any) -> None:
    node = add(scene, "Fiducial")
    place(node, [1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12])
    node.SetNthControlPointVisibility(0, False)
    node.UnsetNthControlPointPosition(1)
    node.SetNthControlPointPositionMissing(2)
    assert [point.ras.tolist() for point in read_points(node)] == [[10, 11, 12]]


def test_copies_get_ids_of_their_own(scene: Any) -> None:
    node = add(scene, "Fiducial")
    place(node, [1, 2, 3])
    (point,) = read_points(node)
    place(node, [4, 5, 6])
    node.SetNthControlPointDescription(1, node.GetNthControlPointDescription(0))
    twin_node = add(scene, "Fiducial")
    twin_node.CopyContent(node)
    roi = add(scene, "ROI")
    write_box(roi, Box([1, 2, 3], np.eye(3), [4, 5, 6], source=PROMPTER))
    twin_roi = add(scene, "ROI")
    write_box(twin_roi, read_box(roi))
    curve = add(scene, "Curve")
    write_doodle(curve, Doodle([[1, 2, 3], [4, 5, 6]], False, 3.0, source=PROMPTER))
    twin_curve = add(scene, "Curve")
    write_doodle(twin_curve, read_doodle(curve))

    nodes = [node, twin_node, roi, twin_roi, curve, twin_curve]
    prompts = prompts_from_nodes(nodes)
    assert prompts[0].id == point.id
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 8
    assert prompts[-1].source == PROMPTER
    assert (prompts[-1].positive, prompts[-1].width_mm) == (False, 3.0)
    assert prompts_from_nodes(nodes) == prompts


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
    assert prompts_from_nodes([add(scene, kind) for kind in ("Fiducial", "ROI", "Curve", "ClosedCurve")]) == []


def test_other_nodes_are_refused(scene: Any) -> None:
    with pytest.raises(PromptError, match='"Angle" cannot be a prompt; use points, ROIs or curves'):
        prompts_from_nodes([add(scene, "Angle")])


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


def test_lasso_on_a_slice_fills_that_slice(scene: Any, volume_node: Any) -> None:
    geometry = geometry_from_node(volume_node)
    lasso = add(scene, "ClosedCurve")
    lasso.SetCurveTypeToLinear()
    place(lasso, *geometry.ras_from_ijk([[4.6, 3.6, 5.2], [12.4, 3.6, 5.2], [12.4, 9.4, 5.2], [4.6, 9.4, 5.2]]))
    mask = filled_curve(lasso, geometry)
    assert mask.geometry == geometry
    assert (mask.crop.lower, mask.crop.upper) == ((5, 4, 5), (6, 10, 13))
    assert mask.crop.mask.all()
    assert filled_curve(lasso, geometry).id == mask.id


def test_lasso_around_nothing(scene: Any, volume_node: Any) -> None:
    geometry = geometry_from_node(volume_node)
    lasso = add(scene, "ClosedCurve")
    with pytest.raises(PromptError, match='"ClosedCurve" encloses nothing; place at least three points'):
        filled_curve(lasso, geometry)
    place(lasso, [9000, 0, 0], [9010, 0, 0], [9010, 10, 0])
    with pytest.raises(PromptError, match="encloses no voxel of the volume; draw it larger and inside"):
        filled_curve(lasso, geometry)


def test_segments_as_masks(writer: SegmentWriter, put_under: Callable[..., Any]) -> None:
    geometry = geometry_from_node(writer.volume_node)
    crop = Crop(np.random.default_rng(0).random((2, 5, 6)) < 0.5, (3, 4, 5)).tight()
    prompt = MaskPrompt(crop, geometry, source=PROMPTER)
    segment_id = mask_to_segment(writer, prompt, "guess")
    assert writer.segmentation_node.GetSegmentation().GetSegment(segment_id).GetName() == "guess"
    back = mask_from_segment(writer.segmentation_node, segment_id)
    assert (back.id, back.source) == (prompt.id, prompt.source)
    voxels = np.argwhere(crop.mask) + crop.lower
    there = back.geometry.ras_from_ijk((np.argwhere(back.crop.mask) + back.crop.lower)[:, ::-1])
    assert np.allclose(there, geometry.ras_from_ijk(voxels[:, ::-1]), rtol=0, atol=1e-9)

    parent = similarity(np.random.default_rng(1))
    put_under(writer.segmentation_node, parent)
    moved = mask_from_segment(writer.segmentation_node, segment_id).geometry
    assert np.allclose(moved.ijk_to_ras, parent @ back.geometry.ijk_to_ras, rtol=0, atol=1e-9)


def test_segment_painted_by_a_person_gets_an_id_that_stays(writer: SegmentWriter) -> None:
    segment_id = writer.add_segment("rough")
    writer.write(segment_id, Crop(np.ones((1, 2, 3), dtype=bool), (1, 2, 3)))
    prompt = mask_from_segment(writer.segmentation_node, segment_id)
    assert prompt.source == PERSON
    assert mask_from_segment(writer.segmentation_node, segment_id) == prompt
    with pytest.raises(AutoPromptSAMError, match="has no segment"):
        mask_from_segment(writer.segmentation_node, "gone")


def test_mask_of_another_grid_is_refused(writer: SegmentWriter) -> None:
    other = VolumeGeometry((8, 20, 24), np.eye(4))
    prompt = MaskPrompt(Crop(np.ones((1, 1, 1), dtype=bool)), other)
    with pytest.raises(GeometryError, match="choose the volume that it was made on"):
        mask_to_segment(writer, prompt)
    assert not writer.can_undo


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

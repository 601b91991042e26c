"""Markups -> prompts, and back.

Fiducial lists are points, ROIs boxes, curves doodles. What markups have no field for (id, sign, source) is kept as
JSON: in the description of a control point, or in the attribute ``AutoPromptSAM.prompt`` of a node. All positions are
RAS mm in the world, whatever transform a node is under.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk
from vtkmodules.util.numpy_support import vtk_to_numpy

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry.grid import SHEAR_TOLERANCE, FloatArray
from AutoPromptSAMLib.mrml.transforms import array_from_matrix, matrix_from_array, node_to_world
from AutoPromptSAMLib.prompts import PERSON, Box, Doodle, Point, Prompt, Source, new_id

TAG = "AutoPromptSAM.prompt"
CLEARLY_THICKER = 1.5  # times as thick as it was shown, a flat box has become solid. A choice.
POSITIVE = "AutoPromptSAM.positive"  # node attribute: "0" makes new points and strokes of the node negative


def nodes_from_prompts(
    scene: slicer.vtkMRMLScene, prompts: Iterable[Prompt], name: str = "Prompts"
) -> list[slicer.vtkMRMLMarkupsNode]:
    """New markups for prompts: one list for all points, a ROI for each box, a curve for each doodle, no masks."""
    prompts = list(prompts)
    points = [prompt for prompt in prompts if isinstance(prompt, Point)]
    nodes = []
    if points:
        nodes.append(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name))
        write_points(nodes[-1], points)
    for prompt in prompts:
        if isinstance(prompt, Box):
            nodes.append(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", f"{name} box"))
            write_box(nodes[-1], prompt)
        elif isinstance(prompt, Doodle):
            nodes.append(scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", f"{name} doodle"))
            write_doodle(nodes[-1], prompt)
    return nodes


def read_points(node: slicer.vtkMRMLMarkupsFiducialNode) -> list[Point]:
    """The points of a fiducial list; hidden ones and ones not placed yet are skipped.

    Points that a person placed are positive unless the node's attribute ``AutoPromptSAM.positive`` is "0"; they get an
    id, kept in their description with any text that was there, so that reading again gives the same prompts. So do
    copies.
    """
    points: list[Point] = []
    ids: set[str] = set()
    with _one_event(node):
        for index in range(node.GetNumberOfControlPoints()):
            if node.GetNthControlPointPositionStatus(index) != node.PositionDefined:
                continue
            if not node.GetNthControlPointVisibility(index):
                continue
            text = node.GetNthControlPointDescription(index)
            tag = _parse(text)
            if tag is None:
                tag = _tag(new_id(), _is_positive(node), PERSON) | ({"text": text} if text else {})
                node.SetNthControlPointDescription(index, json.dumps(tag))
            elif tag["id"] in ids:
                tag["id"] = new_id()
                node.SetNthControlPointDescription(index, json.dumps(tag))
            ids.add(tag["id"])
            ras = np.array(node.GetNthControlPointPositionWorld(index))
            points.append(Point(ras, tag["positive"], id=tag["id"], source=_source(tag)))
    return points


def write_points(node: slicer.vtkMRMLMarkupsFiducialNode, points: Iterable[Point]) -> None:
    """Make ``points`` the control points of a fiducial list; negative ones are unselected, to be told by colour."""
    with _one_event(node):
        node.RemoveAllControlPoints()
        for point in points:
            index = node.AddControlPointWorld(vtk.vtkVector3d(*point.ras))
            node.SetNthControlPointDescription(index, json.dumps(_tag(point.id, point.positive, point.source)))
            node.SetNthControlPointSelected(index, point.positive)


def read_box(node: slicer.vtkMRMLMarkupsROINode) -> Box | None:
    """The box of a ROI, None while it is not placed; it gets an id when it has none.

    A flat box that is shown with a thickness (see ``write_box``) stays flat until a person makes it clearly thicker.
    Raises GeometryError for transforms that bend or shear it, PromptError when it has less than two sides.
    """
    if node.GetNumberOfDefinedControlPoints() == 0:
        return None
    # Not the node's object to world matrix: that straightens what a transform has sheared.
    matrix = node_to_world(node) @ array_from_matrix(node.GetObjectToNodeMatrix())
    axes, lengths = _unit_rows(matrix[:3, :3].T, node)
    tag = _node_tag(node)
    size = np.array(node.GetSize()) * lengths
    flat = tag.get("flat")
    if flat is not None and size[flat["axis"]] <= CLEARLY_THICKER * flat["shown_mm"]:
        size[flat["axis"]] = 0.0
    return Box(matrix[:3, 3], axes, size, id=tag["id"], source=_source(tag))


def write_box(node: slicer.vtkMRMLMarkupsROINode, box: Box, shown_mm: float = 0.0) -> None:
    """Make a ROI the box. ROIs are right-handed: of a left-handed box the third axis is turned round.

    ``shown_mm``: thickness that a flat box gets in the view, as handles of a ROI without any cannot be dragged;
    ``read_box`` gives the flat box back.
    Raises GeometryError for transforms of the node that bend or shear it.
    """
    to_node = np.linalg.inv(node_to_world(node))
    axes, lengths = _unit_rows(box.axes @ to_node[:3, :3].T, node)
    matrix = np.eye(4)
    matrix[:3, :3] = axes.T
    matrix[:3, 2] *= np.sign(np.linalg.det(axes))
    matrix[:3, 3] = to_node[:3, :3] @ box.center_ras + to_node[:3, 3]
    tag, size = _tag(box.id, True, box.source), np.array(box.size_mm)
    if box.is_flat and shown_mm > 0:
        axis = int(size.argmin())
        size[axis] = shown_mm
        tag["flat"] = {"axis": axis, "shown_mm": shown_mm}
    with _one_event(node):
        node.SetSize(*(size * lengths))
        node.SetAndObserveObjectToNodeMatrix(matrix_from_array(matrix))
        node.SetAttribute(TAG, json.dumps(tag))


def read_doodle(node: slicer.vtkMRMLMarkupsCurveNode) -> Doodle | None:
    """The line that a curve shows, None while no point of it is placed; a closed curve ends where it starts.

    Straight curves give their control points, others the points that Slicer interpolates. The doodle gets an id when
    the curve has none.
    """
    defined = [
        index
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined
    ]
    if not defined:
        return None
    shown = node.GetCurvePointsWorld()
    straight = node.GetCurveType() == slicer.vtkCurveGenerator.CURVE_TYPE_LINEAR_SPLINE
    if straight or shown is None or shown.GetNumberOfPoints() < 2:
        ras = np.array([node.GetNthControlPointPositionWorld(index) for index in defined])
        if node.GetCurveClosed() and len(ras) > 2:
            ras = np.concatenate([ras, ras[:1]])
    else:
        ras = vtk_to_numpy(shown.GetData()).astype(np.float64)
    tag = _node_tag(node)
    return Doodle(ras, tag["positive"], tag.get("width_mm", 0.0), id=tag["id"], source=_source(tag))


def write_doodle(node: slicer.vtkMRMLMarkupsCurveNode, doodle: Doodle) -> None:
    """Make a curve the doodle: straight from point to point, as it was drawn."""
    ras = doodle.ras
    if node.GetCurveClosed() and len(ras) > 3 and np.array_equal(ras[0], ras[-1]):
        ras = ras[:-1]
    points = vtk.vtkPoints()
    points.SetDataTypeToDouble()
    for position in ras:
        points.InsertNextPoint(position)
    with _one_event(node):
        node.SetCurveTypeToLinear()
        node.SetControlPointPositionsWorld(points)
        tag = _tag(doodle.id, doodle.positive, doodle.source) | {"width_mm": doodle.width_mm}
        node.SetAttribute(TAG, json.dumps(tag))


def _tag(id: str, positive: bool, source: Source) -> dict[str, Any]:
    return {"id": id, "positive": positive, "source": source.kind, "name": source.name}


def _parse(text: str | None) -> dict[str, Any] | None:
    """A tag from its JSON, None for anything else, as what a person wrote there."""
    try:
        tag = json.loads(text or "")
    except ValueError:
        return None
    kinds = {"id": str, "positive": bool, "source": str, "name": str}
    if not isinstance(tag, dict) or any(not isinstance(tag.get(key), kind) for key, kind in kinds.items()):
        return None
    if not _is_flat_entry(tag.get("flat")):
        return None
    return tag if tag["id"] and tag["source"] in ("person", "prompter") else None


def _is_flat_entry(flat: Any) -> bool:
    """Whether the entry "flat" of a tag is what ``write_box`` puts there, or nothing."""
    if flat is None:
        return True
    known = isinstance(flat, dict) and flat.get("axis") in (0, 1, 2)
    return known and isinstance(flat.get("shown_mm"), int | float)


def _source(tag: dict[str, Any]) -> Source:
    return Source(tag["source"], tag["name"])


def _is_positive(node: slicer.vtkMRMLMarkupsNode) -> bool:
    return bool(node.GetAttribute(POSITIVE) != "0")


def _node_tag(node: slicer.vtkMRMLMarkupsNode) -> dict[str, Any]:
    """The tag of a whole node; it gets one when it has none."""
    tag = _parse(node.GetAttribute(TAG)) or _tag("", _is_positive(node), PERSON)
    if not tag["id"]:
        tag["id"] = new_id()
        node.SetAttribute(TAG, json.dumps(tag))
    return tag


def _unit_rows(rows: FloatArray, node: slicer.vtkMRMLMarkupsNode) -> tuple[FloatArray, FloatArray]:
    """Axes (3, 3) as unit vectors, and their lengths; GeometryError when they are not perpendicular any more."""
    lengths = np.linalg.norm(rows, axis=1)
    axes = rows / lengths[:, None]
    if np.abs(axes @ axes.T - np.eye(3)).max() > SHEAR_TOLERANCE:
        raise GeometryError(
            f'The transform "{node.GetParentTransformNode().GetName()}" shears "{node.GetName()}" so that it is no '
            "box any more; move it out of the transform and draw it again."
        )
    return axes, lengths


@contextmanager
def _one_event(node: slicer.vtkMRMLNode) -> Iterator[None]:
    """Let observers hear of all changes to a node at once, at the end."""
    before = node.StartModify()
    try:
        yield
    finally:
        node.EndModify(before)

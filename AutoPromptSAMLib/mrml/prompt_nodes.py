"""The prompts of the active segment as markups that a person can drag, resize and delete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.markups import (
    read_box,
    read_doodle,
    read_points,
    write_box,
    write_doodle,
    write_points,
)
from AutoPromptSAMLib.prompts import Box, Doodle, Point, Prompt
from AutoPromptSAMLib.session.seeds import check_inside

SHOWN = "AutoPromptSAM.shown"  # node attribute of the markups made here
# Blue and orange are told apart with all common kinds of colour blindness.
POSITIVE_COLOR = (0x35 / 255, 0xB6 / 255, 1.0)  # #35B6FF
NEGATIVE_COLOR = (1.0, 0x7A / 255, 0x3D / 255)  # #FF7A3D
ACTIVE_COLOR = (1.0, 1.0, 1.0)  # under the mouse
GLYPH_SCALE = 2.5  # percent of the view; so are the handles
VERTEX_SCALE = 1.0  # of a doodle: small, as they lie close together
OUTLINE = 0.12  # thickness of a box's outline, of the glyphs' size
STROKE_OPACITY = 0.35  # the image under a stroke stays visible; slice views draw it twice, which makes it 0.58

_EDITED = ("PointModifiedEvent", "PointRemovedEvent", "PointPositionDefinedEvent")


class PromptNodes:
    """Shows the prompts of the active segment: one list for all points, a ROI for each box, a curve for each doodle.

    What a person does to these nodes goes to ``segmenter`` as it happens: dragging is ``replace_prompt`` with
    ``final`` False and at the end True, deleting is ``remove_prompt``, a point added by Slicer's own tools
    ``add_prompt``. A flat box is shown as thick as a voxel, so that it has handles. The nodes are not saved with the
    scene. ``folder``: of the subject hierarchy, that the nodes are in; none when it is "". Keep this object as long as
    it should work, then ``close`` it.
    """

    def __init__(self, segmenter: InteractiveSegmenter, scene: slicer.vtkMRMLScene, folder: str = "") -> None:
        self.segmenter, self.scene, self.folder = segmenter, scene, folder
        self._points: Any = None
        self._nodes: dict[str, Any] = {}  # ROIs and curves by prompt id
        self._shown: dict[str, Prompt] = {}  # what the nodes were last made from
        self._read: dict[str, Prompt] = {}  # what reading them gives then: ROIs keep less digits
        self._observed: dict[str, tuple[Any, list[int]]] = {}  # by node id
        self._busy = False
        self._dragged: Any = None
        self._moved: set[str] = set()
        self._refused: set[str] = set()  # by the segmenter, in the drag that goes on
        self._scene_tag = scene.AddObserver(scene.NodeRemovedEvent, self._on_node_removed)
        segmenter.changed.connect(self._on_changed)
        self.update()

    def close(self) -> None:
        """Take the nodes out of the scene and stop listening."""
        self.segmenter.changed.disconnect(self._on_changed)
        self.scene.RemoveObserver(self._scene_tag)
        with self._own_changes():
            for node in (self._points, *self._nodes.values()):
                self._forget(node)
        self._points, self._nodes = None, {}
        self._shown, self._read = {}, {}

    def node_of(self, id: str) -> Any:
        """The markups node that shows the prompt with ``id``; None when it is not shown."""
        if id in self._nodes:
            return self._nodes[id]
        return self._points if id in self._shown else None

    def update(self) -> None:
        """Make the nodes what the active segment's prompts are; only what differs is touched."""
        prompts: dict[str, Prompt] = {p.id: p for p in self.segmenter.prompts() if isinstance(p, Point | Box | Doodle)}
        with self._own_changes():
            for id in [id for id in self._nodes if id not in prompts]:
                self._forget(self._nodes.pop(id))
            self._show_points([prompt for prompt in prompts.values() if isinstance(prompt, Point)])
            for id, prompt in prompts.items():
                if not isinstance(prompt, Point) and self._shown.get(id) != prompt:
                    self._show(prompt)
        self._shown = prompts
        self._read = {id: prompt for id, prompt in self._read.items() if id in prompts}

    def _on_changed(self, what: str) -> None:
        if what in ("prompts", "active", "segments") and not self._busy:
            self.update()

    # -- prompts -> nodes ---------------------------------------------------------------------------------------------

    def _show_points(self, points: list[Point]) -> None:
        if self._points is None:
            if not points:
                return
            self._points = self._new_node("vtkMRMLMarkupsFiducialNode", "Prompt points")
            _style_points(self._points.GetDisplayNode())
        before = [prompt for prompt in self._shown.values() if isinstance(prompt, Point)]
        if before == points:
            return
        if [_what(point) for point in before] == [_what(point) for point in points]:
            for index, (old, new) in enumerate(zip(before, points, strict=True)):
                if old != new:  # the others may be under the mouse
                    self._points.SetNthControlPointPositionWorld(index, *new.ras)
        else:
            write_points(self._points, points)
        self._read |= {point.id: point for point in read_points(self._points)}

    def _show(self, prompt: Prompt) -> None:
        node = self._nodes.get(prompt.id)
        if isinstance(prompt, Box):
            if node is None:
                node = self._new_node("vtkMRMLMarkupsROINode", "Prompt box")
            edges = self.segmenter.volume.geometry.ijk_to_ras[:3, :3]
            write_box(node, prompt, shown_mm=float(np.abs(prompt.normal @ edges).sum()))
            node.SetNthControlPointVisibility(0, False)  # its centre would look like a point prompt
            _style_box(node.GetDisplayNode())
        elif isinstance(prompt, Doodle):
            if node is None:
                node = self._new_node("vtkMRMLMarkupsCurveNode", "Prompt doodle")
            write_doodle(node, prompt)
            _style_doodle(node.GetDisplayNode(), prompt)
        self._nodes[prompt.id] = node
        read = self._read_node(node)
        if read is not None:
            self._read[prompt.id] = read

    def _new_node(self, kind: str, name: str) -> Any:
        node = self.scene.AddNewNodeByClass(kind, name)
        node.CreateDefaultDisplayNodes()
        node.SetAttribute(SHOWN, "1")
        if self.folder:
            _put_into_folder(node, self.folder)
        display = node.GetDisplayNode()
        for part in (node, display):  # the prompts are saved as prompts
            part.SetSaveWithScene(False)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetVisibility3D(False)
        display.SetActiveColor(*ACTIVE_COLOR)
        callbacks: dict[Any, Callable[..., None]] = {getattr(node, event): self._on_edited for event in _EDITED}
        callbacks[vtk.vtkCommand.ModifiedEvent] = self._on_edited
        callbacks[node.PointStartInteractionEvent] = self._on_drag_started
        callbacks[node.PointEndInteractionEvent] = self._on_drag_ended
        tags = [node.AddObserver(event, callback) for event, callback in callbacks.items()]
        self._observed[node.GetID()] = (node, tags)
        return node

    def _forget(self, node: Any) -> None:
        if node is None:
            return
        _, tags = self._observed.pop(node.GetID(), (node, []))
        for tag in tags:
            node.RemoveObserver(tag)
        if self._dragged is node:
            self._dragged = None
        if node.GetScene() is not None:
            if self.folder:
                _take_out_of_folder(node)
            self.scene.RemoveNode(node)

    # -- nodes -> prompts ---------------------------------------------------------------------------------------------

    def _on_drag_started(self, node: Any, _event: Any) -> None:
        self._dragged, self._moved, self._refused = node, set(), set()

    def _on_drag_ended(self, node: Any, _event: Any) -> None:
        if self._dragged is not node:
            return
        self._on_edited(node, None)
        self._dragged = None
        moved = [prompt for prompt in self._prompts_in(node) if prompt.id in self._moved - self._refused]
        with self._own_changes():
            for prompt in moved:
                self.segmenter.replace_prompt(prompt, final=True)
        self._redraw(node)

    def _on_edited(self, node: Any, _event: Any) -> None:
        """A node was changed: bring the segmenter up to date."""
        if self._busy:
            return
        is_live = self._dragged is node
        prompts = self._prompts_in(node)
        changed = [prompt for prompt in prompts if self._read.get(prompt.id) != prompt]
        gone: list[str] = []
        if node is self._points:
            known = {id for id, prompt in self._shown.items() if isinstance(prompt, Point)}
            gone = sorted(known - {prompt.id for prompt in prompts})
        if not changed and not gone:
            return
        with self._own_changes():
            for id in gone:
                self.segmenter.remove_prompt(id)
            for prompt in changed:
                if prompt.id not in self._shown:
                    self.segmenter.add_prompt(prompt)
                    continue
                self._read[prompt.id] = prompt
                self._moved.add(prompt.id)
                if not is_live:
                    self.segmenter.replace_prompt(prompt, final=True)
                elif prompt.id not in self._refused and self._is_inside(prompt):  # no sentence for each step outside
                    self.segmenter.replace_prompt(prompt, final=False)
                    if prompt not in self.segmenter.prompts():
                        self._refused.add(prompt.id)
        if is_live:  # the node is where the person has it
            self._shown = {p.id: p for p in self.segmenter.prompts() if p.id in self._shown}
        else:
            self._redraw(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, scene: Any, _event: Any, node: Any) -> None:
        """A person deleted a node, or all of them by closing the scene."""
        if self._busy or node is None or node.GetID() not in self._observed:
            return
        if node is self._points:
            ids = [id for id, prompt in self._shown.items() if isinstance(prompt, Point)]
            self._points = None
        else:
            ids = [id for id, shown in self._nodes.items() if shown is node]
            self._nodes = {id: shown for id, shown in self._nodes.items() if shown is not node}
        with self._own_changes():
            self._forget(node)
            for id in ids:
                self._shown.pop(id, None)
                if not scene.IsClosing():
                    self.segmenter.remove_prompt(id)
        if not scene.IsClosing():
            self.update()

    def _redraw(self, node: Any) -> None:
        """Make a node what the segmenter made of it, which may have refused what a person did."""
        for id in [id for id in self._shown if self.node_of(id) is node]:
            self._shown.pop(id)
        if node is self._points:
            with self._own_changes():
                write_points(node, [])
        self.update()

    def _prompts_in(self, node: Any) -> list[Prompt]:
        with self._own_changes():
            if node is self._points:
                return list(read_points(node))
            prompt = self._read_node(node)
            return [] if prompt is None else [prompt]

    def _read_node(self, node: Any) -> Prompt | None:
        try:
            return read_box(node) if node.IsA("vtkMRMLMarkupsROINode") else read_doodle(node)
        except PromptError:  # a handle was dragged onto its opposite: let go, it is as it was before
            return None

    def _is_inside(self, prompt: Prompt) -> bool:
        try:
            check_inside(prompt, self.segmenter.volume.geometry)
        except PromptError:
            return False
        return True

    @contextmanager
    def _own_changes(self) -> Iterator[None]:
        """What happens in this block comes from here: events of nodes and of the segmenter are no news."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before


def _what(point: Point) -> tuple[object, ...]:
    return point.id, point.positive, point.source


def _style_points(display: Any) -> None:
    display.SetGlyphScale(GLYPH_SCALE)
    display.SetSelectedColor(*POSITIVE_COLOR)
    display.SetColor(*NEGATIVE_COLOR)  # of unselected points, which is what negative ones are


def _style_box(display: Any) -> None:
    display.SetSelectedColor(*POSITIVE_COLOR)
    display.SetGlyphScale(GLYPH_SCALE)
    display.SetLineThickness(OUTLINE)
    display.SetFillVisibility(False)
    display.SetHandlesInteractive(True)
    display.SetScaleHandleVisibility(True)
    display.SetRotationHandleVisibility(False)
    display.SetInteractionHandleScale(GLYPH_SCALE)


def _style_doodle(display: Any, doodle: Doodle) -> None:
    display.SetSelectedColor(*(POSITIVE_COLOR if doodle.positive else NEGATIVE_COLOR))
    display.SetOpacity(STROKE_OPACITY)
    display.SetHandlesInteractive(False)
    if doodle.width_mm > 0:
        display.SetCurveLineSizeMode(display.UseLineDiameter)
        display.SetLineDiameter(doodle.width_mm)
    is_dot = len(doodle.ras) == 1 and doodle.width_mm > 0  # a curve of one point has no line to see
    display.SetUseGlyphScale(not is_dot)
    if is_dot:
        display.SetGlyphSize(doodle.width_mm)
    else:
        display.SetGlyphScale(VERTEX_SCALE)


def _put_into_folder(node: Any, name: str) -> None:
    """Show a node in a folder at the top of the subject hierarchy, which is made when there is none."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    root = hierarchy.GetSceneItemID()
    folder = hierarchy.GetItemChildWithName(root, name) or hierarchy.CreateFolderItem(root, name)
    item = hierarchy.GetItemByDataNode(node)
    if item:  # the application makes one for every node
        hierarchy.SetItemParent(item, folder)
    else:
        hierarchy.CreateItem(folder, node)


def _take_out_of_folder(node: Any) -> None:
    """Forget a node in the subject hierarchy; the node stays."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.RemoveItem(item, False, False)

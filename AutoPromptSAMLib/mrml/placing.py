"""Mouse tools that place prompts on slice views, for any host that has VTK interactors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import slicer
import vtk
from numpy.typing import ArrayLike

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, PromptError
from AutoPromptSAMLib.geometry import Plane, slab_thickness
from AutoPromptSAMLib.geometry.grid import FloatArray
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Message
from AutoPromptSAMLib.mrml.planes import plane_from_slice_node
from AutoPromptSAMLib.mrml.preview import LINE_WIDTH, Preview
from AutoPromptSAMLib.mrml.probe import display_at, mm_per_pixel, ras_at
from AutoPromptSAMLib.mrml.prompt_nodes import NEGATIVE_COLOR, POSITIVE_COLOR, SHOWN
from AutoPromptSAMLib.prompts import Box, Doodle, Point, Prompt, doodle_mask, on_plane

Tool = Literal["point+", "point-", "box", "doodle+", "doodle-", "eraser"]

# All of them choices. Pixels are those of the screen.
PRIORITY = 10.0  # of the observers: Slicer's interactor styles and displayable managers have 0 to 1
SMALLEST_BOX = 3.0  # pixels; less is a click that slipped
ERASER_REACH = 8.0  # pixels
STROKE_STEP = 2.0  # pixels between the vertices that are taken while drawing
STROKE_TOLERANCE = 0.75  # pixels that vertices left out may have been off the line
ALONG_GRID = 1 - 1e-6  # |cos| between a view's and the image's axes


class Placing:
    """The tool that is in the person's hand, for all slice views of a host.

    ``tool``: None leaves the mouse to Slicer. ``brush_mm``: width of doodles. ``segmenter``: who gets the prompts, may
    be None while there is no image. ``color``: of what is shown while dragging, red, green, blue in 0..1.

    The left button uses the tool; Ctrl turns the sign of points and doodles round; Escape cancels a drag. With Shift
    or Alt, and over a handle of a prompt (unless erasing), the mouse is Slicer's, as are the other buttons always.
    """

    def __init__(self, segmenter: InteractiveSegmenter | None = None) -> None:
        self.segmenter = segmenter
        self.brush_mm = 5.0
        self.color: tuple[float, float, float] = POSITIVE_COLOR
        self._tool: Tool | None = None
        self._views: dict[str, _View] = {}

    @property
    def tool(self) -> Tool | None:
        """The tool in hand."""
        return self._tool

    @tool.setter
    def tool(self, tool: Tool | None) -> None:
        if tool is not None and tool not in get_args(Tool):
            raise PromptError(f'There is no tool "{tool}"; choose one of {", ".join(get_args(Tool))}.')
        self.cancel()
        self._tool = tool

    def attach(
        self,
        interactor: vtk.vtkRenderWindowInteractor,
        slice_node: slicer.vtkMRMLSliceNode,
        request_render: Callable[[], None],
    ) -> None:
        """Let the tools work on a slice view; ``request_render`` is called when it has to be drawn anew."""
        self.detach(slice_node)
        self._views[slice_node.GetID()] = _View(self, interactor, slice_node, request_render)

    def detach(self, slice_node: slicer.vtkMRMLSliceNode | None = None) -> None:
        """Leave a slice view alone again, or all of them; nothing happens for one that is not attached."""
        for id in list(self._views) if slice_node is None else [slice_node.GetID()]:
            view = self._views.pop(id, None)
            if view is not None:
                view.close()

    def cancel(self) -> bool:
        """Drop what is being dragged, as Escape does; False when nothing is."""
        cancelled = [view.cancel() for view in self._views.values()]
        return any(cancelled)

    def leave_others(self, view: _View) -> None:
        """Let all other views than ``view`` know that the mouse is not in them."""
        for other in self._views.values():
            if other is not view:
                other.interactor.InvokeEvent("LeaveEvent")


@dataclass
class _Drag:
    """What the pressed left button does: ``path`` display positions, from press to now."""

    tool: Tool
    plane: Plane
    positive: bool
    path: list[FloatArray] = field(default_factory=list)
    cancelled: bool = False


class _View:
    """The tools on one slice view."""

    def __init__(self, placing: Placing, interactor: Any, slice_node: Any, request_render: Callable[[], None]) -> None:
        self.placing, self.interactor, self.slice_node = placing, interactor, slice_node
        self._preview = Preview(interactor.GetRenderWindow().GetRenderers().GetFirstRenderer(), request_render)
        self._drag: _Drag | None = None
        callbacks: dict[str, Callable[[], bool]] = {
            "LeftButtonPressEvent": self._press,
            "LeftButtonDoubleClickEvent": lambda: self._drag is not None,  # comes after a press
            "MouseMoveEvent": self._move,
            "LeftButtonReleaseEvent": self._release,
            "KeyPressEvent": self._key,
        }
        self._tags = [self._observe(event, callback) for event, callback in callbacks.items()]

    def _observe(self, event: str, callback: Callable[[], bool]) -> int:
        tags: list[int] = []

        def on_event(interactor: Any, _event: str) -> None:
            if callback():
                interactor.GetCommand(tags[0]).AbortFlagOn()

        tags.append(self.interactor.AddObserver(event, on_event, PRIORITY))
        return tags[0]

    def close(self) -> None:
        self.cancel()
        self._drag = None
        for tag in self._tags:
            self.interactor.RemoveObserver(tag)
        self._preview.hide()

    def cancel(self) -> bool:
        if self._drag is None or self._drag.cancelled:
            return False
        self._drag.cancelled = True  # the button is still down: what comes until it is up is ours
        self._preview.hide()
        return True

    # Each of these says whether the event was for the tool, so that Slicer must not see it.

    def _press(self) -> bool:
        segmenter, tool = self.placing.segmenter, self.placing.tool
        if segmenter is None or tool is None or self.interactor.GetShiftKey() or self.interactor.GetAltKey():
            return False
        if tool != "eraser" and self._is_over_handle():
            return False
        with _telling(segmenter):
            plane = plane_from_slice_node(self.slice_node, segmenter.volume.geometry)
            positive = tool.endswith("-") == bool(self.interactor.GetControlKey())
            self._drag = _Drag(tool, plane, positive, [self._mouse()])
            if tool in ("point+", "point-"):
                self._place_point(segmenter, self._drag)
            elif tool == "eraser":
                self._erase(segmenter, self._drag)
            else:
                self._show(self._drag)
        return True

    def _move(self) -> bool:
        drag, segmenter = self._drag, self.placing.segmenter
        if drag is None or segmenter is None:
            return False
        mouse = self._mouse()
        if drag.cancelled or drag.tool in ("point+", "point-"):
            return True
        if drag.tool == "eraser":
            start = drag.path[-1]
            steps = math.ceil(math.dist(start, mouse) / ERASER_REACH)  # a fast mouse jumps over what it passed
            for step in range(1, steps + 1):
                drag.path[-1] = start + step / steps * (mouse - start)
                self._erase(segmenter, drag)
        elif drag.tool == "box":
            drag.path[1:] = [mouse]
        elif math.dist(mouse, drag.path[-1]) >= STROKE_STEP:
            drag.path.append(mouse)
        self._show(drag)
        return True

    def _release(self) -> bool:
        drag, segmenter = self._drag, self.placing.segmenter
        if drag is None:
            return False
        self._drag = None
        self._preview.hide()
        if segmenter is not None and not drag.cancelled:
            with _telling(segmenter):
                if drag.tool == "box":
                    self._place_box(segmenter, drag, self._mouse())
                elif drag.tool in ("doodle+", "doodle-"):
                    self._place_doodle(segmenter, drag, self._mouse())
        return True

    def _key(self) -> bool:
        return self.interactor.GetKeySym() == "Escape" and self.cancel()

    def _mouse(self) -> FloatArray:
        return np.array(self.interactor.GetEventPosition(), dtype=np.float64)

    def _is_over_handle(self) -> bool:
        """Whether the mouse is on what drags or resizes a prompt.

        Of boxes only the handles at the sides count: a click in the middle of a box is a common prompt.
        """
        # Markups look for handles when the mouse moves, and keep what they found until it leaves their view; a host
        # may send the press without either.
        self.placing.leave_others(self)
        self.interactor.InvokeEvent("MouseMoveEvent")
        scene = self.slice_node.GetScene()
        nodes = scene.GetNodesByClass("vtkMRMLMarkupsNode")
        nodes.UnRegister(scene)
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            display = node.GetDisplayNode()
            if display is None or node.GetAttribute(SHOWN) is None:
                continue
            is_box = node.IsA("vtkMRMLMarkupsROINode")
            wanted = display.ComponentScaleHandle if is_box else display.ComponentControlPoint
            if display.GetActiveComponentType() == wanted:
                return True
        return False

    # -- prompts ------------------------------------------------------------------------------------------------------

    def _pixels(self, drag: _Drag, display: ArrayLike) -> FloatArray:
        """Display positions (n, 2) as (col, row) of the plane, (n, 2)."""
        ras = [ras_at(self.slice_node, x, y) for x, y in np.atleast_2d(display)]
        return drag.plane.pixels_from_ras(ras)[:, :2]

    def _place_point(self, segmenter: InteractiveSegmenter, drag: _Drag) -> None:
        # Onto the middle of the slice: a view may cut it anywhere between its faces.
        ras = drag.plane.ras_from_pixels(self._pixels(drag, drag.path[0]))
        if not segmenter.volume.geometry.contains(ras).all():
            raise PromptError("The click is outside the image; click inside it.")
        _add(segmenter, Point(ras[0], drag.positive))

    def _box_corners(self, drag: _Drag, end: FloatArray) -> FloatArray:
        """Where a box starts and ends (2, 2) as (col, row), clipped to the centres of the outer pixels."""
        return np.clip(self._pixels(drag, [drag.path[0], end]), 0, np.array(drag.plane.shape[::-1]) - 1)

    def _place_box(self, segmenter: InteractiveSegmenter, drag: _Drag, end: FloatArray) -> None:
        if np.abs(end - drag.path[0]).min() < SMALLEST_BOX:
            return
        corners = self._box_corners(drag, end)
        if not np.ptp(corners, axis=0).all():
            raise PromptError("The box is outside the image; draw it inside.")
        _add(segmenter, _box_along_view(drag.plane, corners, self.slice_node))

    def _place_doodle(self, segmenter: InteractiveSegmenter, drag: _Drag, end: FloatArray) -> None:
        path = np.array([*drag.path, end] if math.dist(end, drag.path[-1]) > 0 else drag.path)
        geometry = segmenter.volume.geometry
        inside = geometry.contains(drag.plane.ras_from_pixels(self._pixels(drag, path)))
        if not inside.any():
            raise PromptError("The stroke is outside the image; draw it inside.")
        # A stroke that leaves the image and comes back is several.
        for part in np.split(np.arange(len(path)), np.flatnonzero(np.diff(inside)) + 1):
            if inside[part[0]]:
                ras = drag.plane.ras_from_pixels(self._pixels(drag, _simplified(path[part])))
                _add(segmenter, Doodle(ras, drag.positive, self.placing.brush_mm))

    def _erase(self, segmenter: InteractiveSegmenter, drag: _Drag) -> None:
        slab = slab_thickness(drag.plane, segmenter.volume.geometry)
        pixel = self._pixels(drag, drag.path[-1])[0]
        reach = ERASER_REACH * mm_per_pixel(self.slice_node)
        for prompt in () if drag.cancelled else segmenter.prompts():
            with suppress(PromptError):  # it is not on the image here
                if _distance_mm(prompt, drag.plane, slab, pixel, reach) <= reach:
                    segmenter.remove_prompt(prompt.id)
                    drag.cancelled |= prompt in segmenter.prompts()  # refused: once is enough

    def _show(self, drag: _Drag) -> None:
        """Draw what releasing the button now would place."""
        if drag.tool == "box" and len(drag.path) == 2:
            corners = drag.plane.ras_from_pixels(self._box_corners(drag, drag.path[1]))
            (x0, y0), (x1, y1) = display_at(self.slice_node, corners)
            self._preview.show_line([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], self.placing.color)
        elif drag.tool in ("doodle+", "doodle-"):
            width = max(self.placing.brush_mm / mm_per_pixel(self.slice_node), LINE_WIDTH)
            color = self.placing.color if drag.positive else NEGATIVE_COLOR
            self._preview.show_stroke(_simplified(np.array(drag.path)), width, color)


@contextmanager
def _telling(segmenter: InteractiveSegmenter) -> Iterator[None]:
    """Tell the person what was wrong; a mouse event has nobody who could catch an error."""
    try:
        yield
    except GeometryError:
        segmenter.said(Message("This view shows no part of the image; scroll it into the image.", "warning"))
    except AutoPromptSAMError as error:
        segmenter.said(Message(str(error), "warning"))


def _add(segmenter: InteractiveSegmenter, prompt: Prompt) -> None:
    if segmenter.active_segment is None:
        segmenter.add_segment()
    segmenter.add_prompt(prompt)


def _box_along_view(plane: Plane, corners: FloatArray, slice_node: slicer.vtkMRMLSliceNode) -> Box:
    """The flat box whose diagonal is ``corners`` (2, 2) as (col, row), with sides along the edges of the screen."""
    right = ras_at(slice_node, 1, 0) - ras_at(slice_node, 0, 0)
    right = right - (right @ plane.normal) * plane.normal
    right /= np.linalg.norm(right)
    steps = plane.pixel_to_ras[:3, :2] / np.array(plane.spacing)
    if np.abs(right @ steps).max() > ALONG_GRID:
        return Box.on_plane(plane, [*corners.min(axis=0), *corners.max(axis=0)])
    # A view that is turned within its slice: pixels of the plane do not run along the screen.
    axes = np.array([right, np.cross(plane.normal, right), plane.normal])
    start, end = plane.ras_from_pixels(corners)
    return Box((start + end) / 2, axes, np.append(np.abs(axes[:2] @ (end - start)), 0.0))


def _distance_mm(prompt: Prompt, plane: Plane, slab_mm: float, pixel: FloatArray, reach_mm: float) -> float:
    """How far a pixel (2,) as (col, row) is from what a prompt shows on a plane; infinity when far off.

    Of a box the outline counts: inside of it other prompts are.
    """
    spacing = np.array(plane.spacing)
    if isinstance(prompt, Doodle):
        covered = doodle_mask(prompt, plane, slab_mm)
        lower = np.maximum(np.floor(pixel - reach_mm / spacing), 0).astype(int)
        upper = np.maximum(np.ceil(pixel + reach_mm / spacing) + 1, 0).astype(int)
        near = np.argwhere(covered[lower[1] : upper[1], lower[0] : upper[0]])[:, ::-1] + lower
        return float(np.linalg.norm((near - pixel) * spacing, axis=1).min(initial=math.inf))
    seen = on_plane([prompt], plane, slab_mm)
    distances = np.linalg.norm((seen.points - pixel) * spacing, axis=1)
    if seen.box is not None:
        lower, upper = seen.box[:2] * spacing, seen.box[2:] * spacing
        position = pixel * spacing
        outside = np.linalg.norm(np.maximum(np.maximum(lower - position, position - upper), 0))
        inside = np.minimum(position - lower, upper - position).min()
        distances = np.append(distances, outside if outside > 0 else inside)
    return float(distances.min(initial=math.inf))


def _simplified(path: FloatArray) -> FloatArray:
    """The vertices (m, 2) of a line (n, 2) that are needed to stay within STROKE_TOLERANCE of it (Douglas-Peucker)."""
    kept = {0, len(path) - 1}
    parts = [(0, len(path) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        between, along = path[first + 1 : last] - path[first], path[last] - path[first]
        share = np.clip(between @ along / max(along @ along, 1e-12), 0, 1)
        off = np.linalg.norm(between - share[:, None] * along, axis=1)
        farthest = first + 1 + int(off.argmax())
        if off.max() > STROKE_TOLERANCE:
            kept.add(farthest)
            parts += [(first, farthest), (farthest, last)]
    return path[sorted(kept)]

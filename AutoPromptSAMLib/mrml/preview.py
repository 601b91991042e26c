"""What is drawn on a slice view while the mouse button is down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import vtk
from numpy.typing import ArrayLike

from AutoPromptSAMLib.geometry.grid import FloatArray

LINE_WIDTH = 2.0  # pixels
STROKE_OPACITY = 0.55  # the image under a stroke stays visible


class Preview:
    """A line or a stroke in the pixels of a view."""

    def __init__(self, renderer: vtk.vtkRenderer, request_render: Callable[[], None]) -> None:
        self._renderer, self._request_render = renderer, request_render
        self._data = vtk.vtkPolyData()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(self._data)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.GetProperty().SetLineWidth(LINE_WIDTH)

    def show_line(self, positions: ArrayLike, color: tuple[float, float, float]) -> None:
        """Show the line through display positions (n, 2)."""
        self._show(positions, self._data.SetLines, color, 1.0)

    def show_stroke(self, path: FloatArray, width: float, color: tuple[float, float, float]) -> None:
        """Show the stroke along display positions (n, 2), ``width`` pixels wide.

        As one strip of triangles: of wide lines the pieces overlap, which shows where they are transparent.
        """
        along = np.gradient(path, axis=0) if len(path) > 1 else np.array([[1.0, 0.0]])
        side = along[:, ::-1] * [-1, 1] / np.maximum(np.linalg.norm(along, axis=1), 1e-6)[:, None] * width / 2
        strip = np.stack([path - side, path + side], axis=1).reshape(-1, 2)
        self._show(strip, self._data.SetStrips, color, STROKE_OPACITY)

    def _show(
        self,
        positions: ArrayLike,
        set_cells: Callable[[vtk.vtkCellArray], None],
        color: tuple[float, float, float],
        opacity: float,
    ) -> None:
        points, cells = vtk.vtkPoints(), vtk.vtkCellArray()
        for x, y in np.asarray(positions):
            points.InsertNextPoint(x, y, 0.0)
        cells.InsertNextCell(points.GetNumberOfPoints(), range(points.GetNumberOfPoints()))
        self._data.Initialize()
        self._data.SetPoints(points)
        set_cells(cells)
        self._actor.GetProperty().SetColor(*color)
        self._actor.GetProperty().SetOpacity(opacity)
        if not self._renderer.HasViewProp(self._actor):
            self._renderer.AddViewProp(self._actor)
        self._request_render()

    def hide(self) -> None:
        """Take it away."""
        if self._renderer.HasViewProp(self._actor):
            self._renderer.RemoveViewProp(self._actor)
            self._request_render()

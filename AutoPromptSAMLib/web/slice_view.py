"""One slice view: its slider, the strip over it, fitting, and the mouse over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trame_slicer.views import SliceView
from vtkmodules.vtkCommonCore import vtkCommand

from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.mrml.planes import show_index, shown_index
from AutoPromptSAMLib.mrml.probe import mm_per_pixel, orientation_letters, ras_at, scale_bar, slice_position
from AutoPromptSAMLib.mrml.volumes import has_size
from AutoPromptSAMLib.workbench.read_outs import length_text
from AutoPromptSAMLib.workbench.strips import Mark, strip_marks

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.views import Views

FIRST = 20.0  # priority of an observer that only looks: before tools that keep an event to themselves


class SliceControl:
    """What the page knows of a slice view, and what it may ask of it; ``view_<name>`` in the state."""

    def __init__(self, views: Views, name: str, view: SliceView) -> None:
        self.views, self.name, self.view = views, name, view
        self._geometry: VolumeGeometry | None = None
        self._has_size = True
        self._index, self._strip = 0, list[dict[str, Any]]()
        self._fitted_mm = 0.0  # per pixel, after the last fit: when it is still so, a resized view is fitted again
        view.render_window().SetMultiSamples(0)  # the image needs none, and it halves the time of a software render
        view.modified.connect(self._on_modified)
        interactor = view.interactor()
        interactor.AddObserver(vtkCommand.WindowResizeEvent, lambda *_: self._on_resize())
        interactor.AddObserver(vtkCommand.MouseMoveEvent, lambda *_: self._on_mouse(), FIRST)

    @property
    def node(self) -> Any:
        """The slice node of the scene."""
        return self.view.get_view_node()

    @property
    def axis(self) -> int:
        """The array axis that this view steps along."""
        return 0 if self._geometry is None else self._geometry.array_axis(self.name)

    @property
    def count(self) -> int:
        """How many slices there are."""
        return 1 if self._geometry is None else self._geometry.shape[self.axis]

    def summary(self) -> dict[str, Any]:
        """What the page shows."""
        letters, scale, position = ("", "", "", ""), {"percent": 0.0, "text": ""}, ""
        if self._geometry is not None and self._has_size:
            letters = orientation_letters(self.node)
            position = slice_position(self._geometry, self.axis, self._index)
            length, pixels = scale_bar(self.node)
            # Of the picture's width, not in pixels: each page shows the same picture as wide as its own view.
            percent = round(100 * pixels / self.node.GetDimensions()[0], 2)
            scale = {"percent": percent, "text": length_text(length)}
        return {
            "index": self._index,
            "count": self.count,
            "position": position,
            "strip": self._strip,
            "letters": dict(zip(("left", "right", "top", "bottom"), letters, strict=True)),
            "scale": scale,
        }

    def show(self, volume_node: Any, geometry: VolumeGeometry) -> None:
        """Show the middle slice of a volume."""
        self._geometry, self._has_size = geometry, has_size(volume_node)
        self.view.set_background_volume_id(volume_node.GetID())
        self.view.reset_view()
        self.fit()
        self.jump(self.count // 2)

    def fit(self) -> None:
        """Show all of the image; the slice stays."""
        offset = self.view.get_slice_value()
        self.view.fit_view_to_content()
        if self._fitted_mm:
            self.view.set_slice_value(offset)
        self._fitted_mm = mm_per_pixel(self.node)
        self._publish()

    def let_go(self) -> None:
        """End what the mouse is doing with the lines of the other slices.

        Slicer's widget for them does not notice that its handles are switched off: with the mouse still on one, the
        next movement would crash the program.
        """
        interactor = self.view.interactor()
        for event in (vtkCommand.LeftButtonReleaseEvent, vtkCommand.LeaveEvent):
            interactor.InvokeEvent(event)

    def straighten(self) -> None:
        """Show a slice of the image again, after it was turned."""
        index = self._index
        self.view.reset_view()
        self.fit()
        self.jump(index)

    def jump(self, index: int) -> None:
        """Show slice ``index`` along the array."""
        if self._geometry is not None:
            show_index(self.node, self._geometry, self.axis, index)

    def step(self, by: int) -> None:
        """Go ``by`` slices on."""
        self.jump(self._index + by)

    def refresh_strip(self, segmenter: InteractiveSegmenter) -> None:
        """Show where the active segment has prompts and how its propagation went."""
        marks = strip_marks(segmenter, self.axis, self.views.state.guide == "review")
        self._strip = [self._placed(mark) for mark in marks]
        self._publish()

    def _placed(self, mark: Mark) -> dict[str, Any]:
        """A mark as the page draws it, in percent of the strip."""
        return {
            "left": round(100 * mark.first / self.count, 2),
            "width": round(100 * (mark.last - mark.first + 1) / self.count, 2),
            "kind": f"sure aps-mark-sure-{mark.level}" if mark.kind == "sure" else mark.kind,
            "text": mark.text,
        }

    def _on_modified(self, *_: Any) -> None:
        if self._geometry is None:
            return
        index = self._index
        self._index = shown_index(self.node, self._geometry, self.axis)
        self._publish()
        if index != self._index:
            self.views.moved(self.name)

    def _on_resize(self) -> None:
        if self._geometry is not None and abs(mm_per_pixel(self.node) - self._fitted_mm) < 1e-6:
            self.fit()

    def _on_mouse(self) -> None:
        interactor = self.view.interactor()
        self.views.look_at(self.name, bool(interactor.GetShiftKey()))
        x, y = interactor.GetEventPosition()
        self.views.point_at(ras_at(self.node, x, y))

    def _publish(self) -> None:
        with self.views.state:
            self.views.state[f"view_{self.name}"] = self.summary()

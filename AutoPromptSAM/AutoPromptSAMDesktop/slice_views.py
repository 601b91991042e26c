"""Slicer's slice views: prompts drawn in them, where the person looks, and slices to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from AutoPromptSAMDesktop.main_thread import single_shot
from AutoPromptSAMLib.errors import GeometryError

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import VolumeGeometry
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.mrml.placing import Placing

REST_MS = 120  # a slice that is shown for this long is prepared; while scrolling none is
IDLE_MS = 3000  # without a hand on the mouse the slices around it are prepared; a prompt would wait for them
FIRST = 20.0  # priority of an observer that only looks: before tools that keep an event to themselves


class SliceViews:
    """All slice views of the layout. ``current`` is the one under the mouse, or the last that was.

    ``image`` is the volume that they were turned to; None lets ``show_image`` turn them anew. ``moved`` is called when
    the slice that the person looks at is another one.
    """

    def __init__(self, moved: Callable[[], None]) -> None:
        self.segmenter: InteractiveSegmenter | None = None
        self.current = ""
        self._moved = moved
        self._placing: Placing | None = None
        self._attached: tuple[str, ...] = ()
        self.image: Any = None
        self._tags: list[tuple[Any, int]] = []
        self._rest, self._idle = single_shot(REST_MS, self._rested), single_shot(IDLE_MS, self._idled)

    # -- prompts drawn in the views -----------------------------------------------------------------------------------

    def attach(self, placing: Placing) -> None:
        """Let the tools of ``placing`` work in all slice views that there are."""
        self.detach()
        self._placing, self._attached = placing, _names()
        for name in self._attached:
            view = self._view(name)
            placing.attach(view.interactor(), self._node(name), view.scheduleRender)
            self._observe(view.interactor(), vtk.vtkCommand.MouseMoveEvent, lambda name=name: self._look_at(name))
            self._observe(self._node(name), vtk.vtkCommand.ModifiedEvent, lambda name=name: self._changed(name))
            self.current = self.current or name

    def detach(self) -> None:
        """Leave the views alone again."""
        for source, tag in self._tags:
            source.RemoveObserver(tag)
        self._tags.clear()
        if self._placing is not None:
            self._placing.detach()
            self._placing = None
        for timer in (self._rest, self._idle):
            timer.stop()

    @property
    def are_others(self) -> bool:
        """Whether the layout has other slice views than those where prompts can be drawn."""
        return self._placing is not None and self._attached != _names()

    # -- slices -------------------------------------------------------------------------------------------------------

    def show_image(self, volume_node: Any) -> None:
        """Show a volume in all slice views, linked, with slices along its voxels; one that is shown stays as it is."""
        if volume_node is self.image:
            return
        self.image = volume_node
        for name in _names():
            slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode().SetLinkedControl(True)
        slicer.util.setSliceViewerLayers(background=volume_node, fit=True, rotateToVolumePlane=True)

    def shown_index(self, axis: int) -> int:
        """The slice along array axis ``axis`` that the person sees, or the middle one that a view would show."""
        from AutoPromptSAMLib.mrml.planes import shown_index

        geometry = self._geometry()
        return shown_index(self._node(self._view_along(axis)), geometry, axis)

    def jump(self, axis: int, index: int) -> None:
        """Show slice ``index`` along array axis ``axis``; a view that shows other slices is turned when none does."""
        from AutoPromptSAMLib.mrml.planes import show_index
        from AutoPromptSAMLib.workbench.prompt_rows import view_along

        geometry = self._geometry()
        if all(self._axis_of(name) != axis for name in _names()):
            node = self._node(self.current)
            node.SetOrientation(view_along(geometry, axis).capitalize())
            node.RotateToVolumePlane(self.segmenter.volume_node)
        for name in _names():
            if self._axis_of(name) == axis:
                show_index(self._node(name), geometry, axis, index)
                self.current = name
        self._rest.start()
        self._moved()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _geometry(self) -> VolumeGeometry:
        if self.segmenter is None:
            raise GeometryError("There is no image yet; choose a volume and a model first.")
        return self.segmenter.volume.geometry

    def _view(self, name: str) -> Any:
        return slicer.app.layoutManager().sliceWidget(name).sliceView()

    def _node(self, name: str) -> Any:
        return slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()

    def _view_along(self, axis: int) -> str:
        names = [self.current, *_names()]
        return next((name for name in names if self._axis_of(name) == axis), names[0])

    def _axis_of(self, name: str) -> int | None:
        from AutoPromptSAMLib.mrml.planes import plane_from_slice_node

        try:
            return plane_from_slice_node(self._node(name), self._geometry()).axis
        except GeometryError:  # scrolled out of the image
            return None

    def _observe(self, source: Any, event: Any, look: Callable[[], None]) -> None:
        self._tags.append((source, source.AddObserver(event, lambda *_: look(), FIRST)))

    def _look_at(self, name: str) -> None:
        if name != self.current:
            self.current = name
            self._rest.start()
            self._moved()
        if self.segmenter is not None:
            self.segmenter.pause_preparing()
            self._idle.start()

    def _changed(self, name: str) -> None:
        if name == self.current:
            self._rest.start()
            self._moved()

    def _rested(self) -> None:
        from AutoPromptSAMLib.mrml.planes import plane_from_slice_node

        if self.segmenter is None or not self.current:
            return
        try:
            plane = plane_from_slice_node(self._node(self.current), self._geometry())
        except GeometryError:  # scrolled out of the image: nothing to prepare
            return
        self.segmenter.show_plane(plane)
        self._idle.start()

    def _idled(self) -> None:
        if self.segmenter is not None:
            self.segmenter.prepare_neighbours()


def _names() -> tuple[str, ...]:
    """Of the slice views that there are; none without a main window."""
    manager = slicer.app.layoutManager()
    return () if manager is None else tuple(manager.sliceViewNames())

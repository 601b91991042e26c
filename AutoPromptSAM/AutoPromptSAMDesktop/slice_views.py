"""Slicer's slice views: prompts drawn in them, where the person looks, and slices to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from AutoPromptSAMLib.errors import GeometryError

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.mrml.placing import Placing
    from AutoPromptSAMLib.workbench.resting import Preparing
    from AutoPromptSAMLib.workbench.timers import Later

FIRST = 20.0  # priority of an observer that only looks: before tools that keep an event to themselves


class SliceViews:
    """All slice views of the layout. ``current`` is the one under the mouse, or the last that was.

    ``image`` is the volume that they were turned to; None lets ``show_image`` turn them anew. ``moved`` is called when
    the slice that the person looks at is another one; ``later`` runs functions after some seconds.
    """

    def __init__(self, later: Later, moved: Callable[[], None]) -> None:
        self.segmenter: InteractiveSegmenter | None = None
        self.current = ""
        self._later, self._moved = later, moved
        self._preparing: Preparing | None = None
        self._placing: Placing | None = None
        self._attached: tuple[str, ...] = ()
        self.image: Any = None
        self._tags: list[tuple[Any, int]] = []

    def begin(self) -> None:
        """All packages are there."""
        from AutoPromptSAMLib.workbench.resting import Preparing

        self._preparing = Preparing(self._later, lambda: self.segmenter, self._current_node)

    # -- prompts drawn in the views -----------------------------------------------------------------------------------

    def attach(self, placing: Placing) -> None:
        """Let the tools of ``placing`` work in all slice views that there are."""
        self.detach()
        self._placing, self._attached = placing, _names()
        for name in self._attached:
            view, node = _widget(name).sliceView(), _widget(name).mrmlSliceNode()
            placing.attach(view.interactor(), node, view.scheduleRender)
            self._observe(view.interactor(), vtk.vtkCommand.MouseMoveEvent, lambda name=name: self._look_at(name))
            self._observe(node, vtk.vtkCommand.ModifiedEvent, lambda name=name: self._changed(name))
            self.current = self.current or name

    def detach(self) -> None:
        """Leave the views alone again."""
        for source, tag in self._tags:
            source.RemoveObserver(tag)
        self._tags.clear()
        if self._placing is not None:
            self._placing.detach()
            self._placing = None

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
            _widget(name).mrmlSliceCompositeNode().SetLinkedControl(True)
        slicer.util.setSliceViewerLayers(background=volume_node, fit=True, rotateToVolumePlane=True)

    def shown_index(self, axis: int) -> int:
        """The slice along array axis ``axis`` that the person sees, or the middle one that a view would show."""
        from AutoPromptSAMLib.workbench.slice_nodes import slice_along

        return slice_along(_nodes(), self.current, self._need_segmenter().volume.geometry, axis)

    def jump(self, axis: int, index: int) -> None:
        """Show slice ``index`` along array axis ``axis``; a view that shows other slices is turned when none does."""
        from AutoPromptSAMLib.workbench.slice_nodes import jump

        self.current = jump(_nodes(), self.current, self._need_segmenter(), axis, index)
        self._look_at_another()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _need_segmenter(self) -> InteractiveSegmenter:
        if self.segmenter is None:
            raise GeometryError("There is no image yet; choose a volume and a model first.")
        return self.segmenter

    def _current_node(self) -> Any:
        """The slice node of the view that the person looks at; None where tools are put away."""
        return None if self._placing is None else _nodes().get(self.current)

    def _observe(self, source: Any, event: Any, look: Callable[[], None]) -> None:
        self._tags.append((source, source.AddObserver(event, lambda *_: look(), FIRST)))

    def _look_at(self, name: str) -> None:
        if name != self.current:
            self.current = name
            self._look_at_another()
        if self._preparing is not None:
            self._preparing.busy()

    def _changed(self, name: str) -> None:
        if name == self.current:
            self._look_at_another()

    def _look_at_another(self) -> None:
        if self._preparing is not None:
            self._preparing.moved()
        self._moved()


def _names() -> tuple[str, ...]:
    """Of the slice views that there are; none without a main window."""
    manager = slicer.app.layoutManager()
    return () if manager is None else tuple(manager.sliceViewNames())


def _widget(name: str) -> Any:
    return slicer.app.layoutManager().sliceWidget(name)


def _nodes() -> dict[str, Any]:
    return {name: _widget(name).mrmlSliceNode() for name in _names()}

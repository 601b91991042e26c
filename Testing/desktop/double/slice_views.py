# ruff: noqa: N802, N815 - the names are Slicer's
"""Slice widgets and the 3D widget over real views of trame-slicer: interactors, displayable managers, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from .mrml_widgets import MRMLWidget

SIZE = (400, 400)
ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class ViewWidget(QtWidgets.QWidget):
    """``qMRMLSliceView`` and ``qMRMLThreeDView``: the part of a view that Qt sees. It renders when it is asked to."""

    def __init__(self, view: Any) -> None:
        super().__init__()
        self._view = view
        self.rendered = 0

    def interactor(self) -> Any:
        return self._view.interactor()

    def renderWindow(self) -> Any:
        return self._view.render_window()

    def interactorStyle(self) -> Any:
        return self._view._interactor_observer

    def displayableManagerByClassName(self, name: str) -> Any:
        return self._view.get_displayable_manager_by_class(name)

    def scheduleRender(self) -> None:
        self.rendered += 1

    def forceRender(self) -> None:
        self.rendered += 1
        self._view.render_window().Render()


class SliceViewWidget(ViewWidget):
    """``qMRMLSliceView``."""

    def mrmlSliceNode(self) -> Any:
        return self._view.get_view_node()

    def sliceLogic(self) -> Any:
        return self._view._logic


class ThreeDViewWidget(ViewWidget):
    """``qMRMLThreeDView``."""

    def mrmlViewNode(self) -> Any:
        return self._view.get_view_node()

    def resetFocalPoint(self) -> None:
        self._view.reset_camera()

    def resetCamera(self) -> None:
        self._view.reset_camera()


class SliceWidget(MRMLWidget):
    """``qMRMLSliceWidget``."""

    _view: Any = None

    def _hold(self: Any, view: Any, scene: Any) -> None:
        self._view, self._inner = view, SliceViewWidget(view)
        self.setMRMLScene(scene)
        self._values["sliceViewName"] = view.name

    def sliceView(self: Any) -> SliceViewWidget:
        return self._inner

    def sliceLogic(self: Any) -> Any:
        return self._view._logic

    logic = sliceLogic

    def mrmlSliceNode(self: Any) -> Any:
        return self._view.get_view_node()

    mrmlAbstractViewNode = mrmlSliceNode

    def mrmlSliceCompositeNode(self: Any) -> Any:
        return self._view._logic.GetSliceCompositeNode()

    def interactorStyle(self: Any) -> Any:
        return self._view._interactor_observer

    def fitSliceToBackground(self: Any) -> None:
        self._view._logic.FitSliceToBackground()

    def _get_sliceOrientation(self: Any) -> str:
        return str(self.mrmlSliceNode().GetOrientation())

    def _set_sliceOrientation(self: Any, orientation: str) -> None:
        self.mrmlSliceNode().SetOrientation(orientation)


class ThreeDWidget(QtWidgets.QWidget):
    """``qMRMLThreeDWidget``."""

    def __init__(self, view: Any) -> None:
        super().__init__()
        self._inner = ThreeDViewWidget(view)

    def threeDView(self) -> ThreeDViewWidget:
        return self._inner

    def mrmlViewNode(self) -> Any:
        return self._inner.mrmlViewNode()


def make_slice_view(app: Any, name: str) -> Any:
    """A slice view of trame-slicer's application, drawn only when it is asked to."""
    from trame_slicer.views import SliceView
    from trame_slicer.views.render_scheduler import NoScheduleRendering

    view = SliceView(app.scene, app.app_logic, name, scheduled_render_strategy=NoScheduleRendering())
    view.render_window().SetMultiSamples(0)
    view.set_orientation(ORIENTATIONS.get(name, "Axial"))
    view.render_window().SetSize(*SIZE)
    view._update_slice_size()
    return view


def make_threed_view(app: Any) -> Any:
    from trame_slicer.views import ThreeDView
    from trame_slicer.views.render_scheduler import NoScheduleRendering

    view = ThreeDView(app.scene, app.app_logic, "1", scheduled_render_strategy=NoScheduleRendering())
    view.render_window().SetMultiSamples(0)
    view.render_window().SetSize(*SIZE)
    return view


def save_view(view: Any, path: Path) -> None:
    """The picture of a render window as PNG."""
    import slicer
    import vtk

    image, writer = vtk.vtkImageData(), vtk.vtkPNGWriter()
    view.renderWindow().Render()
    slicer.vtkMRMLLayerDisplayableManager.RenderWindowBufferToImage(view.renderWindow(), image)
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()


class LayoutManager(QtWidgets.QWidget):
    """``qSlicerLayoutManager``; views are made when they are asked for."""

    layoutChanged = QtCore.Signal()
    NAMES = ("Red", "Green", "Yellow")
    tableViewCount = plotViewCount = 0
    threeDViewCount = 1

    def __init__(self, app: Any, slice_widget_class: type) -> None:
        super().__init__()
        self._app, self._class = app, slice_widget_class
        self._slices: dict[str, Any] = {}
        self._threed: ThreeDWidget | None = None
        self._layout = 3  # four-up

    def sliceViewNames(self) -> tuple[str, ...]:
        return self.NAMES

    def sliceWidget(self, name: str) -> Any:
        if name not in self.NAMES:
            return None
        if name not in self._slices:
            widget = self._class()
            widget._hold(make_slice_view(self._app, name), self._app.scene)
            self._slices[name] = widget
        return self._slices[name]

    def threeDWidget(self, index: int) -> ThreeDWidget | None:
        if index != 0:
            return None
        if self._threed is None:
            self._threed = ThreeDWidget(make_threed_view(self._app))
        return self._threed

    def mrmlSliceLogics(self) -> Any:
        return self._app.app_logic.GetSliceLogics()

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        if self._threed is not None:
            self._threed.threeDView().resetCamera()

    @property
    def layout(self) -> int:
        return self._layout

    def setLayout(self, layout: int) -> None:
        self._layout = layout
        self.layoutChanged.emit()

    def pauseRender(self) -> None:
        """Nothing renders by itself."""

    resumeRender = pauseRender

    def let_go(self) -> None:
        """End all views."""
        views = [widget._view for widget in self._slices.values()]
        if self._threed is not None:
            views.append(self._threed.threeDView()._view)
        for view in views:
            view.finalize()
        self._slices.clear()
        self._threed = None

"""Hands and eyes at an open desktop: find widgets, press buttons of mouse and keyboard, take pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui

from . import slice_views


class Hands:
    """The part of ``Desktop`` that acts as the person does."""

    app: Any
    container: Any
    folder: Path
    layout_manager: Any
    main_window: Any

    def raise_errors(self) -> None:
        """Raise what went wrong since the last time where Slicer would have printed it."""
        raise NotImplementedError

    def find(self, path: str) -> Any:
        """A widget by the names on the way to it: "settingsButton" or "PromptsPanel/boxButton"."""
        found: Any = self.container
        for name in path.split("/"):
            below = [child for child in found.findChildren(QtCore.QObject) if child.objectName == name]
            if len(below) != 1:
                raise LookupError(f"there are {len(below)} widgets named {name} in {path}")
            found = below[0]
        return found

    def grab(self, widget: Any, path: Path | str | None = None) -> QtGui.QImage:
        """A picture of a widget (or of the one of that name, or of a view), saved as PNG when a path is given."""
        widget = self.find(widget) if isinstance(widget, str) else widget
        if isinstance(widget, slice_views.ViewWidget):
            target = Path(path or self.folder / "view.png")
            slice_views.save_view(widget, target)
            return QtGui.QImage(str(target))
        self.app.processEvents()
        picture = widget.grab().toImage()
        if path is not None and not picture.save(str(path)):
            raise OSError(f"{path} was not written")
        return picture

    def pick_view(self, name: str) -> Any:
        """A slice view's ``qMRMLSliceView``."""
        return self.layout_manager.sliceWidget(name).sliceView()

    def mouse(self, view: str, event: str, xy: tuple[float, float], ctrl: bool = False, shift: bool = False) -> None:
        """A real event such as "LeftButtonPressEvent" at a display position of a slice view."""
        interactor = self.pick_view(view).interactor()
        interactor.SetEventInformation(round(xy[0]), round(xy[1]), int(ctrl), int(shift), chr(0), 0, None)
        interactor.InvokeEvent(event)

    def click(self, view: str, xy: tuple[float, float], **keys: bool) -> None:
        """Press and release the left button there."""
        self.drag(view, xy, xy, **keys)

    def drag(self, view: str, *path: tuple[float, float], **keys: bool) -> None:
        """Press the left button at the first position, release it at the last."""
        self.mouse(view, "MouseMoveEvent", path[0], **keys)
        self.mouse(view, "LeftButtonPressEvent", path[0], **keys)
        for xy in path[1:]:
            self.mouse(view, "MouseMoveEvent", xy, **keys)
        self.mouse(view, "LeftButtonReleaseEvent", path[-1], **keys)
        self.raise_errors()

    def key(self, text: str, widget: Any = None) -> None:
        """Press a key such as "Ctrl+Z" for the shortcuts of a widget's window."""
        window = widget or self.main_window
        sequence = QtGui.QKeySequence(text)
        for shortcut in window.findChildren(QtGui.QShortcut):
            if shortcut.key == sequence and shortcut.enabled:
                shortcut.activated.emit()
        self.raise_errors()

    def add_volume(self, array: Any, affine: Any, name: str = "image") -> Any:
        """An image in the scene, shown in all slice views: array (k, j, i), affine voxel to RAS."""
        import slicer

        node = slicer.util.addVolumeFromArray(array, slicer.util.vtkMatrixFromArray(affine), name)
        node.CreateDefaultDisplayNodes()
        slicer.util.setSliceViewerLayers(background=node, fit=True)
        return node

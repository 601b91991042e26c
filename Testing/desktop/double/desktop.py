"""The desktop: a scene, ``slicer`` and its parts in place, a module in it, and hands and eyes for tests."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from PySide6 import QtCore, QtWidgets

from AutoPromptSAMLib.backbones.llvm import settle_triton

from . import dialogs, facts, installing, signals, slice_views
from .application import LOGICS, Application, CoreIO, Module, ModuleManager, Modules
from .ctk_widgets import BEHAVIOURS as CTK
from .hands import Hands
from .mrml_widgets import MRMLWidget, NodeComboBox, SceneHolder, SegmentsTableView
from .pythonqt import qt_module
from .segment_widgets import SegmentEditor, SegmentSelector, Show3DButton
from .standins import make_class

BEHAVIOURS: dict[str, type] = {
    **CTK,
    "qMRMLWidget": MRMLWidget,
    "qSlicerWidget": SceneHolder,
    "qMRMLNodeComboBox": NodeComboBox,
    "qMRMLSegmentEditorWidget": SegmentEditor,
    "qMRMLSegmentSelectorWidget": SegmentSelector,
    "qMRMLSegmentationShow3DButton": Show3DButton,
    "qMRMLSegmentsTableView": SegmentsTableView,
    "qMRMLSliceWidget": slice_views.SliceWidget,
}
UNSEEN = ("propagateSizeHints",)  # messages of Qt without meaning off screen


class DesktopError(AssertionError):
    """Something went wrong in the event loop, where Slicer would only print it."""


@functools.cache
def qt_and_ctk() -> tuple[types.ModuleType, types.ModuleType, dict[str, type]]:
    """The modules ``qt`` and ``ctk`` and the classes of ``slicer``; once a process, as Qt's classes are changed."""
    qt, ctk = qt_module(), _Named("ctk")
    dialogs.change_dialogs()
    made: dict[str, type] = {}
    for name in facts.widgets():
        made_class = make_class(name, made, BEHAVIOURS, "ctk" if name.startswith("ctk") else "slicer")
        if name.startswith("ctk"):
            setattr(ctk, name, made_class)
    return qt, ctk, {name: cls for name, cls in made.items() if not name.startswith("ctk")}


class _Named(types.ModuleType):
    """A module that says what it lacks."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__name__} has no {name}")


@functools.cache
def application() -> Application:
    """The process's one application."""
    settle_triton()
    qt_and_ctk()
    QtCore.qInstallMessageHandler(_on_message)
    app = Application([])
    app.setOrganizationName("NA-MIC")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    return app


def _on_message(kind: Any, _context: Any, text: str) -> None:
    if not any(part in text for part in UNSEEN):
        print(f"Qt: {text}", file=sys.stderr)
        if Application.desktop is not None:
            Application.desktop.messages.append(text)


class Desktop(Hands):
    """An open Slicer: ``with Desktop(folder) as desktop: module, widget = desktop.load_module(path)``.

    Attributes:
        version: (5, 12) has ``slicer.packaging``, (5, 10) has not.
        dialogs, answers: what was asked, and what the person says (``answers["confirm"] = False``).
        installer: ``desktop.installed`` are its requests; ``desktop.installer.answer`` may raise.
        errors: exceptions of slots, observers and timers; they are raised by ``spin`` and at the end.
        messages: warnings of Qt.
        samples: keyword arguments of each registered sample data source.
    """

    def __init__(self, folder: Path, version: tuple[int, int] = (5, 12)) -> None:
        self.folder, self.version = Path(folder), version
        self.dialogs: list[dialogs.Dialog] = []
        self.answers = dialogs.Answers(confirm=True)
        self.installer = installing.Installer()
        self.errors: list[BaseException] = []
        self.messages: list[str] = []
        self.samples: list[dict[str, Any]] = []
        self.restarts = 0
        self.module: Any = None
        self.widget: Any = None
        self._stack = contextlib.ExitStack()

    @property
    def installed(self) -> list[installing.Request]:
        """What was to be installed."""
        return self.installer.requests

    missing = staticmethod(installing.missing)

    def __enter__(self) -> Desktop:
        self.app = application()
        if Application.desktop is not None:
            raise RuntimeError("another desktop is open")
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _open(self) -> None:
        import slicer
        from trame_slicer.core import SlicerApp
        from vtkmodules.vtkCommonCore import vtkObject

        Application.desktop = self
        self._stack.callback(setattr, Application, "desktop", None)
        self._stack.callback(signals.disconnect_all, self.app)  # the application outlives what was connected
        self.folder.mkdir(parents=True, exist_ok=True)
        QtCore.QSettings.setPath(
            QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(self.folder / "settings")
        )
        dialogs.current.append(dialogs.Desk(self.dialogs, self.answers))
        self._stack.callback(dialogs.current.pop)
        hook, sys.excepthook = sys.excepthook, self._on_exception
        self._stack.callback(setattr, sys, "excepthook", hook)
        vtkObject.GlobalWarningDisplayOff()  # of names that trame-slicer still uses
        self.slicer_app = SlicerApp()
        self.slicer_app.register_module_logic(slicer.vtkSlicerSequencesLogic())
        self.scene: Any = self.slicer_app.scene
        self.modules, self.io = ModuleManager(), CoreIO(self.scene)
        self.main_window = QtWidgets.QMainWindow()
        self.main_window.setObjectName("qSlicerMainWindow")
        self.main_window.resize(1280, 900)
        self._place_modules(slicer)
        self.layout_manager = slice_views.LayoutManager(self.slicer_app, slicer.qMRMLSliceWidget)
        self.main_window.setCentralWidget(self.layout_manager)
        for name in self.layout_manager.NAMES:
            self.layout_manager.sliceWidget(name)
        vtkObject.GlobalWarningDisplayOn()
        self._stack.callback(self._clear)

    def _place_modules(self, slicer: Any) -> None:
        """Put Slicer's own modules and the parts of ``slicer`` in place; all is taken away again at the end."""
        from . import utilities

        qt, ctk, classes = qt_and_ctk()
        slicer_modules = Modules()
        for name, logic_name in LOGICS.items():
            logic = self.slicer_app.app_logic.GetModuleLogic(logic_name) if logic_name else None
            self._register(slicer_modules, Module(name, logic=logic))
        new: dict[str, types.ModuleType] = {"qt": qt, "ctk": ctk}
        self._set(slicer, "app", self.app)
        self._set(slicer, "mrmlScene", self.scene)
        self._set(slicer, "modules", slicer_modules)
        for name, cls in classes.items():
            self._set(slicer, name, cls)
        for name, module in new.items():
            self._set_module(name, module)
        new = utilities.modules(self)
        for name, module in new.items():
            self._set_module(name, module)
            if name.startswith("slicer."):
                self._set(slicer, name.removeprefix("slicer."), module)
        for name, function in utilities.functions(self).items():
            self._set(slicer.util, name, function)

    def _register(self, slicer_modules: Modules, module: Module) -> None:
        setattr(slicer_modules, module.name.lower(), module)
        self.modules._modules[module.name.lower()] = module

    def _set(self, owner: Any, name: str, value: Any) -> None:
        nothing = object()
        before = vars(owner).get(name, nothing)
        if before is nothing:
            self._stack.callback(delattr, owner, name)
        else:
            self._stack.callback(setattr, owner, name, before)
        setattr(owner, name, value)

    def _set_module(self, name: str, module: types.ModuleType) -> None:
        before = sys.modules.get(name)
        if before is None:
            self._stack.callback(sys.modules.pop, name, None)
        else:
            self._stack.callback(sys.modules.__setitem__, name, before)
        sys.modules[name] = module

    def class_of(self, name: str) -> type:
        """The widget class that a .ui file means."""
        qt, ctk, classes = qt_and_ctk()
        return getattr(ctk, name) if name.startswith("ctk") else classes.get(name) or getattr(qt, name)

    # --- modules

    def load_module(self, path: Path | str) -> tuple[Any, Any]:
        """Import a scripted module's file and open its panel, as Slicer does: (module, widget)."""
        import slicer

        path = Path(path)
        name = path.stem
        sys.path.insert(0, str(path.parent))
        self._stack.callback(_remove_path, str(path.parent))
        before = set(sys.modules)
        self._stack.callback(_forget_modules, before, path.parent)
        file = importlib.import_module(name)
        parent = Module(name, str(path))
        instance = getattr(file, name)(parent)
        self._register(slicer.modules, parent)
        setattr(slicer.modules, f"{name}Instance", instance)
        self.app.startupCompleted.emit()
        container = slicer.qMRMLWidget()
        container.setObjectName(f"{name}ModuleWidget")
        container.setLayout(QtWidgets.QVBoxLayout())
        container.setMRMLScene(self.scene)
        self.container, self.module = container, instance
        self.widget = getattr(file, f"{name}Widget")(container)
        setattr(slicer.modules, f"{name}Widget", self.widget)
        parent._widget = container
        self.widget.setup()
        self.raise_errors()
        return instance, self.widget

    def enter(self) -> None:
        """The person goes to the module."""
        self.container.resize(420, 880)
        self.container.show()
        self._call("enter")

    def exit(self) -> None:
        """The person goes to another module."""
        self._call("exit")
        self.container.hide()

    def unload(self) -> None:
        """The application closes: ``cleanup``, as on the signal moduleAboutToBeUnloaded."""
        if self.widget is not None:
            self.modules.moduleAboutToBeUnloaded.emit(self.widget.moduleName)
            self.widget = None
            self.raise_errors()

    def _call(self, name: str) -> None:
        method = getattr(self.widget, name, None)
        if method is not None:
            method()
        self.raise_errors()

    # --- hands and eyes

    def spin(self, until: Callable[[], Any] | None = None, timeout_s: float = 10.0) -> None:
        """Run the event loop until a condition holds; without one, until nothing is waiting."""
        end = time.monotonic() + timeout_s
        while True:
            self.app.processEvents()
            self.app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
            self.raise_errors()
            if until is None or until():
                return
            if time.monotonic() > end:
                raise TimeoutError(f"not so after {timeout_s} s: {getattr(until, '__name__', until)}")
            time.sleep(0.002)

    def raise_errors(self) -> None:
        """Raise what went wrong since the last time where Slicer would have printed it."""
        if self.errors:
            first, number = self.errors[0], len(self.errors)
            self.errors.clear()
            raise DesktopError(f"{number} exceptions in the event loop, the first: {first!r}") from first

    def _on_exception(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        sys.__excepthook__(kind, error, trace)
        self.errors.append(error)

    # --- the end

    def _clear(self) -> None:
        if self.widget is not None:
            with contextlib.suppress(DesktopError):
                self.unload()
        if getattr(self, "container", None) is not None:
            self.container.deleteLater()
        self.main_window.takeCentralWidget()
        self.scene.Clear(True)
        self.layout_manager.let_go()
        self.main_window.deleteLater()
        self.app.processEvents()
        self.app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self.unload()
                self.spin()
        finally:
            self._stack.close()


def _remove_path(path: str) -> None:
    with contextlib.suppress(ValueError):
        sys.path.remove(path)


def _forget_modules(before: set[str], folder: Path) -> None:
    """Let the module's own files be imported anew the next time."""
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(folder):
            del sys.modules[name]

# ruff: noqa: N802, N815 - the names are Slicer's
"""``slicer.app`` and what it hands out, over the scene of slicer-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

# Modules of the application whose logic slicer-core has.
LOGICS = {
    "annotations": None, "colors": "Colors", "data": "Data", "markups": "Markups", "segmentations": "Segmentations",
    "sequences": "Sequences", "subjecthierarchy": "SubjectHierarchy", "terminologies": "Terminologies",
    "volumes": "Volumes", "volumerendering": "VolumeRendering", "segmenteditor": None, "sampledata": None,
}  # fmt: skip


class Application(QtWidgets.QApplication):
    """``qSlicerApplication``; one a process, for one desktop after the other."""

    startupCompleted = QtCore.Signal()
    lastWindowClosed = QtCore.Signal()
    applicationName = "Slicer"
    desktop: Any = None

    def _now(self) -> Any:
        if self.desktop is None:
            raise RuntimeError("no desktop is open")
        return self.desktop

    def layoutManager(self) -> Any:
        return self._now().layout_manager

    def mrmlScene(self) -> Any:
        return self._now().scene

    def applicationLogic(self) -> Any:
        return self._now().slicer_app.app_logic

    def moduleManager(self) -> Any:
        return self._now().modules

    def coreIOManager(self) -> Any:
        return self._now().io

    ioManager = coreIOManager

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    settings = userSettings

    def testingEnabled(self) -> bool:
        return False

    def pauseRender(self) -> None:
        """Nothing renders by itself."""

    resumeRender = pauseRender

    def restart(self) -> None:
        self._now().restarts += 1

    temporaryPath = property(lambda self: self._folder("temporary"))
    cachePath = property(lambda self: self._folder("cache"))
    slicerHome = property(lambda self: self._folder("home"))
    slicerUserSettingsFilePath = property(lambda self: QtCore.QSettings().fileName())
    documentationBaseUrl = property(lambda self: "https://slicer.readthedocs.io/")
    applicationVersion = property(lambda self: "{}.{}.0".format(*self._now().version))
    majorVersion = property(lambda self: self._now().version[0])
    minorVersion = property(lambda self: self._now().version[1])
    revision = property(lambda self: "0")
    os = property(lambda self: "linux")
    arch = property(lambda self: "amd64")

    def _folder(self, name: str) -> str:
        folder: Path = self._now().folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)


class Module:
    """``slicer.modules.<name>``: what the application knows of a module; ``parent`` of a scripted one."""

    __slots__ = (
        "_logic", "_widget", "acknowledgementText", "associatedNodeTypes", "categories", "contributors",
        "dependencies",
        "helpText", "hidden", "icon", "index", "name", "path", "title", "widgetRepresentationCreationEnabled",
    )  # fmt: skip

    def __init__(self, name: str, path: str = "", logic: Any = None) -> None:
        self.name, self.title, self.path, self._logic, self._widget = name, name, path, logic, None
        self.hidden, self.icon = False, QtGui.QIcon()

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:
        return self._widget


class ModuleManager(QtCore.QObject):
    """``qSlicerModuleManager``."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)
    moduleLoaded = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Module] = {}

    def module(self, name: str) -> Module | None:
        return self._modules.get(name.lower())

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(each.name for each in self._modules.values())


class Modules:
    """``slicer.modules``."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"slicer.modules has no {name}; is the module loaded?")


READERS = {
    "VolumeFile": ("vtkMRMLScalarVolumeNode", "vtkMRMLVolumeArchetypeStorageNode"),
    "SegmentationFile": ("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode"),
    "MarkupsFile": ("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsJsonStorageNode"),
}


class CoreIO:
    """``qSlicerCoreIOManager``: scenes (.mrml, .mrb), volumes and segmentations by the storage nodes of MRML."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

    def fileType(self, filename: str) -> str:
        name = filename.lower()
        if name.endswith((".mrml", ".mrb")):
            return "SceneFile"
        return "SegmentationFile" if ".seg." in name else "VolumeFile"

    def fileWriterFileType(self, node: Any) -> str:
        return "NodeFile"

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if not Path(path).is_file():
            return False
        if kind == "SceneFile":
            if properties.get("clear", False):
                self._scene.Clear(0)
            return self._read_scene(path)
        if kind not in READERS:
            raise NotImplementedError(f"the double reads no {kind}")
        node_class, storage_class = READERS[kind]
        storage = self._scene.AddNewNodeByClass(storage_class)
        storage.SetFileName(path)
        name = properties.get("name") or Path(path).name.partition(".")[0]
        node = self._scene.AddNewNodeByClass(node_class, self._scene.GenerateUniqueName(name))
        if not storage.ReadData(node):
            self._scene.RemoveNode(node)
            self._scene.RemoveNode(storage)
            return False
        node.SetAndObserveStorageNodeID(storage.GetID())
        node.CreateDefaultDisplayNodes()
        loaded.AddItem(node)
        return True

    def _read_scene(self, path: str) -> bool:
        if path.lower().endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(path, False))
        self._scene.SetURL(path)
        return bool(self._scene.Import())

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            if path.lower().endswith(".mrb"):
                return bool(self._scene.WriteToMRB(path))
            if path.lower().endswith(".mrml"):
                self._scene.SetURL(path)
                return bool(self._scene.Commit(path))
            Path(path).mkdir(parents=True, exist_ok=True)
            return bool(self._scene.SaveSceneToSlicerDataBundleDirectory(path))
        node = self._scene.GetNodeByID(properties["nodeID"])
        if not node.GetStorageNode():
            node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))


def module_names() -> list[tuple[str, str | None]]:
    """The application's own modules with the names of their logics."""
    return list(LOGICS.items())

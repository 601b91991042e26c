"""A MRML scene outside the Slicer application.

In the application the scene and the module logics exist already: hosts hand ``slicer.mrmlScene`` to the functions of
this package and never call ``create_scene``.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import slicer

# The modules whose node classes, converters and readers this package needs, by the names that the application gives
# them. Before Segmentations is there, adding a segment fails; before Markups and Sequences, their nodes are unknown.
MODULES = {
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}


@dataclass
class SceneContext:
    """A scene and what has to live as long as it: ``application_logic``, ``logics`` by module name."""

    scene: slicer.vtkMRMLScene
    application_logic: slicer.vtkSlicerApplicationLogic
    logics: dict[str, Any]
    _cache: tempfile.TemporaryDirectory[str]

    def close(self) -> None:
        """Empty the scene and remove its cache folder; nodes of it are of no use afterwards."""
        self.scene.Clear(True)
        self._cache.cleanup()

    def __enter__(self) -> SceneContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def create_scene() -> SceneContext:
    """A new scene with the logics of slicer-core that it needs for segments, markups, sequences and .mrb files."""
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    logics: dict[str, Any] = {}
    for name, class_name in MODULES.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
        logics[name] = logic
    # A scene unpacks .mrb files into the cache folder of its remote IO: without one it cannot open any.
    remote, manager = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    for logic in (remote, manager):
        logic.SetMRMLApplicationLogic(application)
    application.SetMRMLSceneDataIO(scene, remote, manager)
    cache = tempfile.TemporaryDirectory(prefix="autopromptsam-scene-")
    remote.GetCacheManager().SetRemoteCacheDirectory(cache.name)
    logics |= {"RemoteIO": remote, "DataIOManager": manager}
    return SceneContext(scene, application, logics, cache)

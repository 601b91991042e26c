"""Prompts and settings in the scene, so that saving and opening it brings them back; scenes as .mrb files.

One text node for each segmentation holds JSON and refers to the segmentation and its volume. It keeps its text in the
scene's own file, so it is saved whichever files a person ticks in Slicer's save dialog.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import slicer
from vtkmodules.vtkCommonCore import vtkOutputWindow, vtkStringOutputWindow

from AutoPromptSAMLib.atomic import storage_error
from AutoPromptSAMLib.errors import PromptError, StorageError
from AutoPromptSAMLib.mrml.remembered import KeptRun, Remembered
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.prompts.types import check_keys

log = logging.getLogger(__name__)
SCHEMA = "autopromptsam-scene/1"
ATTRIBUTE = "AutoPromptSAM.schema"
VOLUME, SEGMENTATION = "AutoPromptSAM.volume", "AutoPromptSAM.segmentation"
# Beside the settings, which versions before these read as they are.
PAINTED, RUNS = "AutoPromptSAM.painted", "AutoPromptSAM.runs"


@dataclass
class SceneState:
    """What the scene remembers about one segmentation.

    ``settings``: anything that JSON can hold. The nodes are None once they were removed from the scene. ``damage``: a
    sentence where what is remembered and the settings could not be read; they are empty then.
    """

    remembered: Remembered
    settings: dict[str, Any] = field(default_factory=dict)
    volume_node: slicer.vtkMRMLVolumeNode | None = None
    segmentation_node: slicer.vtkMRMLSegmentationNode | None = None
    damage: str | None = None


def store_state(scene: slicer.vtkMRMLScene, state: SceneState) -> slicer.vtkMRMLTextNode:
    """Put ``state`` into the scene, in place of an earlier one for the same segmentation; returns its text node."""
    node = _text_node_of(scene, state.segmentation_node)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", "AutoPromptSAM prompts")
        node.SetForceCreateStorageNode(node.CreateStorageNodeNever)
        node.SetAttribute(ATTRIBUTE, SCHEMA)
        node.SetHideFromEditors(True)
    for role, target in ((VOLUME, state.volume_node), (SEGMENTATION, state.segmentation_node)):
        node.SetNodeReferenceID(role, None if target is None else target.GetID())
    settings, of = dict(state.settings), state.remembered
    if of.painted is not None and of.painted.objects:
        settings[PAINTED] = of.painted.to_json()
    if of.runs:
        settings[RUNS] = {id: run.to_json() for id, run in of.runs.items()}
    data = {"schema": SCHEMA, "prompts": of.prompts.to_json(), "settings": settings}
    node.SetText(json.dumps(data, allow_nan=False))
    return node


def restore_states(scene: slicer.vtkMRMLScene) -> list[SceneState]:
    """All that ``store_state`` put into a scene, in the order of its nodes, damaged ones included."""
    return [_read(node) for node in _text_nodes(scene)]


def restore_state(scene: slicer.vtkMRMLScene, segmentation_node: slicer.vtkMRMLSegmentationNode) -> SceneState | None:
    """What ``store_state`` put into a scene for one segmentation, None for nothing; PromptError when it is damaged."""
    node = _text_node_of(scene, segmentation_node)
    state = None if node is None else _read(node)
    if state is not None and state.damage is not None:
        raise PromptError(state.damage)
    return state


def forget_states(scene: slicer.vtkMRMLScene) -> None:
    """Take everything that ``store_state`` put into a scene out of it again."""
    for node in _text_nodes(scene):
        scene.RemoveNode(node)


def save_scene(scene: slicer.vtkMRMLScene, path: str | os.PathLike[str]) -> None:
    """Write a scene with all its data to a .mrb file, whole or not at all; StorageError when that fails."""
    path = Path(path)
    if path.suffix.lower() != ".mrb":
        raise StorageError(f"{path} is no .mrb file; give the scene a name that ends in .mrb.")
    try:
        folder = tempfile.mkdtemp(prefix=".autopromptsam-", dir=path.parent)
    except OSError as error:
        raise storage_error(path, error) from None
    try:
        whole = Path(folder, path.name)
        with _names_for_files(scene), _messages_to_log():
            written = scene.WriteToMRB(str(whole))
        if not written:
            raise StorageError(f"The scene could not be written to {path}; free some space or choose another place.")
        os.replace(whole, path)
    except OSError as error:
        raise storage_error(path, error) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _messages_to_log() -> Iterator[None]:
    """What VTK says goes to the log: writing an archive prints four lines a file."""
    before, window = vtkOutputWindow.GetInstance(), vtkStringOutputWindow()
    vtkOutputWindow.SetInstance(window)
    try:
        yield
    finally:
        vtkOutputWindow.SetInstance(before)
        log.debug(window.GetOutput())


def open_scene(scene: slicer.vtkMRMLScene, path: str | os.PathLike[str], clear: bool = True) -> None:
    """Read a .mrb file into a scene, in place of what is there or, without ``clear``, in addition to it.

    Raises StorageError when the file cannot be read; one that is no .mrb at all leaves the scene as it was.
    """
    path = Path(path)
    # Slicer would clear the scene first and notice then.
    try:
        with ZipFile(path) as archive:
            is_scene = any(name.endswith(".mrml") for name in archive.namelist())
    except (OSError, BadZipFile):
        is_scene = False
    if not is_scene or not scene.ReadFromMRB(str(path), clear):
        raise StorageError(f"{path} could not be opened as a scene; check that it is there and is a .mrb file.")


@contextmanager
def _names_for_files(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Nodes without & and the like in their names: Slicer names files by them and cannot read such a scene again."""
    nodes = scene.GetNodesByClass("vtkMRMLStorableNode")
    nodes.UnRegister(None)  # the scene hands the collection over with a reference of its own
    names = {nodes.GetItemAsObject(n): nodes.GetItemAsObject(n).GetName() for n in range(nodes.GetNumberOfItems())}
    odd = {node: name for node, name in names.items() if name and re.search("[&<>\"']", name)}
    for node, name in odd.items():
        node.SetName(re.sub("[&<>\"']", "_", name))
    try:
        yield
    finally:
        for node, name in odd.items():
            node.SetName(name)


def _text_nodes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLTextNode]:
    nodes = scene.GetNodesByClass("vtkMRMLTextNode")
    nodes.UnRegister(None)  # the scene hands the collection over with a reference of its own
    texts = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
    return [node for node in texts if node.GetAttribute(ATTRIBUTE)]


def _text_node_of(scene: slicer.vtkMRMLScene, segmentation_node: Any) -> slicer.vtkMRMLTextNode | None:
    return next((n for n in _text_nodes(scene) if n.GetNodeReference(SEGMENTATION) is segmentation_node), None)


def _read(node: slicer.vtkMRMLTextNode) -> SceneState:
    nodes = node.GetNodeReference(VOLUME), node.GetNodeReference(SEGMENTATION)
    try:
        data = json.loads(node.GetText() or "")
        check_keys(data, {"schema", "prompts", "settings"}, "the text")
        if data["schema"] != SCHEMA:
            raise PromptError(f'its "schema" is {data["schema"]!r:.60} and not "{SCHEMA}"')
        if not isinstance(data["settings"], dict):
            raise PromptError('its "settings" must be an object')
        prompts = PromptFile.from_json(data["prompts"])
        settings = dict(data["settings"])
        painted, runs = settings.pop(PAINTED, None), settings.pop(RUNS, {})
        painted = None if painted is None else PromptFile.from_json(painted)
        read = {id: KeptRun.read(run) for id, run in runs.items()} if isinstance(runs, dict) else {}
    except (ValueError, RecursionError, PromptError) as error:
        detail = str(error).rstrip(".") if isinstance(error, PromptError) else "it is not JSON"
        said = (
            f'The prompts that the scene keeps in "{node.GetName()}" cannot be read ({detail}); image and segments '
            "are there without them."
        )
        return SceneState(Remembered(), {}, *nodes, said)
    return SceneState(
        Remembered(prompts, painted, {id: run for id, run in read.items() if run is not None}), settings, *nodes
    )

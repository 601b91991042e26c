"""A scene file read in addition to what is open: its image, its segmentation, and the prompts that it keeps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError
from AutoPromptSAMLib.mrml.persistence import ATTRIBUTE, open_scene, restore_states
from AutoPromptSAMLib.mrml.remembered import Remembered
from AutoPromptSAMLib.mrml.segments import create_segmentation
from AutoPromptSAMLib.mrml.volumes import geometry_from_node

DATA = ("vtkMRMLDisplayableNode", "vtkMRMLTextNode")  # no views, and nothing that there is only one of


@dataclass(frozen=True)
class OpenedScene:
    """What a scene file brought: an image and its segmentation, ``others``, and what is remembered of them.

    ``damage``: a sentence where prompts could not be read.
    """

    volume_node: slicer.vtkMRMLVolumeNode
    segmentation_node: slicer.vtkMRMLSegmentationNode
    others: Sequence[slicer.vtkMRMLNode]
    remembered: Remembered | None
    damage: str | None = None


def read_scene(scene: slicer.vtkMRMLScene, path: str | os.PathLike[str]) -> OpenedScene:
    """Read a .mrb file beside what is in a scene; one without segmentation gets an empty one.

    Prompts that the file keeps for its image are handed over; the nodes that held and showed them are not. Raises
    StorageError when the file cannot be read, ImageError without an image, GeometryError for one that is sheared;
    what the file brought is then taken out again.
    """
    path = Path(path)
    before, new = set(_nodes(scene)), list[Any]()
    try:
        try:
            open_scene(scene, path, clear=False)  # clearing would take the nodes of the views away
        finally:
            new += (node for node in _nodes(scene) if node not in before)
        state = next((found for found in restore_states(scene) if found.volume_node in new), None)
        volume = state.volume_node if state else _first(new, "vtkMRMLScalarVolumeNode")
        if volume is None:
            raise ImageError(f"{path.name} holds no image; open a scene with a volume.")
        geometry_from_node(volume)
    except AutoPromptSAMError:
        for node in new:
            scene.RemoveNode(node)
        raise
    for node in new:
        if node.GetAttribute(ATTRIBUTE) or (state and node.IsA("vtkMRMLMarkupsNode") and node.GetScene() is not None):
            scene.RemoveNode(node)
    segmentation = state.segmentation_node if state else _first(new, "vtkMRMLSegmentationNode")
    segmentation = segmentation or create_segmentation(volume)
    others = [node for node in new if node.GetScene() is not None and node not in (volume, segmentation)]
    if state is None:
        return OpenedScene(volume, segmentation, others, None)
    return OpenedScene(volume, segmentation, others, state.remembered, state.damage)


def _first(nodes: Iterable[Any], kind: str) -> Any:
    """The first node of a class that is no label map; None without."""
    return next((n for n in nodes if n.IsA(kind) and not n.IsA("vtkMRMLLabelMapVolumeNode")), None)


def _nodes(scene: slicer.vtkMRMLScene) -> list[Any]:
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return [node for node in nodes if any(map(node.IsA, DATA))]

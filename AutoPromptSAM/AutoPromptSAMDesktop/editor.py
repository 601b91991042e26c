"""The settings that edits keep to: one Segment Editor node for prompts and for the effects of the panel."""

from __future__ import annotations

from typing import Any

import slicer

from AutoPromptSAMDesktop.parameters import LEAVE, OVERWRITE_ALL, OVERWRITE_VISIBLE

TAG = "AutoPromptSAM"


class Editor:
    """An editor node of our own, so that the Segment Editor module's settings stay as they are.

    Its overwrite mode starts with "leave as they are": prompting a segment never changes another one unasked.
    """

    def __init__(self, scene: Any) -> None:
        node = scene.GetSingletonNode(TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(TAG)
            node.SetHideFromEditors(True)
            node.SetOverwriteMode(node.OverwriteNone)
            node = scene.AddNode(node)
        self.node = node
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(scene)
        self.logic.SetSegmentEditorNode(node)
        self.logic.SetSegmentationHistory(None)  # the panel's history has its steps, and those of prompts

    def use(self, volume: Any, segmentation: Any) -> None:
        """Edit this segmentation of this volume."""
        self.node.SetAndObserveSegmentationNode(segmentation)
        self.node.SetAndObserveSourceVolumeNode(volume)

    def set_overwrite(self, mode: str) -> None:
        """What edits do to other segments: one of the choices of ``Parameters.overwrite``."""
        node = self.node
        modes = {
            LEAVE: node.OverwriteNone,
            OVERWRITE_ALL: node.OverwriteAllSegments,
            OVERWRITE_VISIBLE: node.OverwriteVisibleSegments,
        }
        if mode in modes:
            node.SetOverwriteMode(modes[mode])

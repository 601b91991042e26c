"""What the model would try next on the shown slice, as markups that a person can change before taking them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import slicer

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.markups import read_box, read_points, write_box, write_points
from AutoPromptSAMLib.mrml.prompt_nodes import GLYPH_SCALE, NEGATIVE_COLOR, OUTLINE, SHOWN
from AutoPromptSAMLib.prompts import Box, Point, Prompt

NAME = "Suggested by uncertainty"
COLOR = (0xF0 / 255, 0xE4 / 255, 0x42 / 255)  # yellow of Okabe and Ito: no colour of a person's prompts
SHARE = 0.6  # lines and handles are this much smaller than those of a person's prompts


class SuggestionNodes:
    """One ROI for each suggested box and one list for all points of the slice that the person looks at.

    A handle that is let go is ``change_suggestion``. The nodes are not saved with the scene. Keep this object as long
    as it should work, then ``close`` it.
    """

    def __init__(self, segmenter: InteractiveSegmenter, scene: slicer.vtkMRMLScene) -> None:
        self.segmenter, self.scene = segmenter, scene
        self.visible = True
        self._nodes: list[tuple[Any, list[int]]] = []
        self._shown: tuple[Prompt, ...] = ()
        segmenter.changed.connect(self._on_changed)
        self.update()

    @property
    def nodes(self) -> list[Any]:
        """The markups that are shown."""
        return [node for node, _ in self._nodes]

    def close(self) -> None:
        """Take the nodes out of the scene and stop listening."""
        self.segmenter.changed.disconnect(self._on_changed)
        self._clear()

    def set_visible(self, visible: bool) -> None:
        """Show the suggestions, or none."""
        self.visible = visible
        self.update()

    def update(self) -> None:
        """Make the nodes what the suggestions for the shown slice are."""
        wanted = self.segmenter.looks.suggestions() if self.visible else ()
        if wanted == self._shown and all(node.GetScene() is not None for node in self.nodes):
            return
        self._clear()
        self._shown = wanted
        points = [prompt for prompt in wanted if isinstance(prompt, Point)]
        if points:
            node = self._new_node("vtkMRMLMarkupsFiducialNode")
            node.GetDisplayNode().SetColor(*NEGATIVE_COLOR)  # of unselected points, which is what negative ones are
            write_points(node, points)
        for box in wanted:
            if isinstance(box, Box):
                node = self._new_node("vtkMRMLMarkupsROINode")
                edges = self.segmenter.volume.geometry.ijk_to_ras[:3, :3]
                write_box(node, box, shown_mm=float(np.abs(box.normal @ edges).sum()))
                node.SetNthControlPointVisibility(0, False)  # its centre would look like a point
                _style_box(node.GetDisplayNode())

    def _on_changed(self, what: str) -> None:
        if what in ("review", "active"):
            self.update()

    def _new_node(self, kind: str) -> Any:
        node = self.scene.AddNewNodeByClass(kind, NAME)
        node.CreateDefaultDisplayNodes()
        node.SetAttribute(SHOWN, "suggestion")
        display = node.GetDisplayNode()
        for part in (node, display):
            part.SetSaveWithScene(False)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetVisibility3D(False)
        display.SetSelectedColor(*COLOR)
        display.SetGlyphScale(GLYPH_SCALE)
        self._nodes.append((node, [node.AddObserver(node.PointEndInteractionEvent, self._on_let_go)]))
        return node

    def _on_let_go(self, node: Any, _event: Any) -> None:
        changed: list[Prompt] = []
        with suppress(PromptError):  # a handle was dragged onto its opposite: let go, it is as it was before
            if node.IsA("vtkMRMLMarkupsROINode"):
                box = read_box(node)
                changed = [] if box is None else [box]
            else:
                changed = list(read_points(node))
        for prompt in changed:
            self.segmenter.looks.change_suggestion(prompt)
        self._shown = self.segmenter.looks.suggestions() if changed else ()
        self.update()

    def _clear(self) -> None:
        for node, tags in self._nodes:
            for tag in tags:
                node.RemoveObserver(tag)
            if node.GetScene() is not None:
                self.scene.RemoveNode(node)
        self._nodes, self._shown = [], ()


def _style_box(display: Any) -> None:
    display.SetLineThickness(SHARE * OUTLINE)
    display.SetFillVisibility(False)
    display.SetHandlesInteractive(True)
    display.SetScaleHandleVisibility(True)
    display.SetRotationHandleVisibility(False)
    display.SetTranslationHandleVisibility(False)
    display.SetInteractionHandleScale(SHARE * GLYPH_SCALE)

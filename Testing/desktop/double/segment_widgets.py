# ruff: noqa: N802, N815 - the names are Slicer's
"""Behaviour of the segment selector and of the Segment Editor's widget: state and undo, no effects."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6 import QtWidgets

from .mrml_widgets import MRMLWidget, Observations, observe_segments, segment_ids
from .standins import Behaviour

EFFECTS = (
    "Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Margin",
    "Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume",
)  # fmt: skip


class SegmentSelector(MRMLWidget):
    """``qMRMLSegmentSelectorWidget``: a box of segmentations and one of their segments."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"segmentationNodeSelectorVisible": True, "selectNodeUponCreation": True}

    def _build(self: Any) -> None:
        import slicer

        self._observed = Observations()
        self._ids: list[str] = []
        self._segment = ""
        self._nodes, self._box = slicer.qMRMLNodeComboBox(self), QtWidgets.QComboBox(self)
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        layout = QtWidgets.QHBoxLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        layout.addWidget(self._nodes)
        layout.addWidget(self._box)
        self._nodes.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._node_changed(node))
        self._box.connect("activated(int)", lambda index: self._choose(self._listed()[index]))
        self.connect("destroyed()", self._observed.clear)

    def _scene_changed(self: Any) -> None:
        self._nodes.setMRMLScene(self._scene)

    def _node_changed(self: Any, node: Any) -> None:
        self._observed.clear()
        if node is not None:
            observe_segments(self._observed, node, self._refresh)
        self._refresh()
        self._emit("currentNodeChanged(vtkMRMLNode*)", node)
        self._emit("currentNodeChanged(bool)", node is not None)

    def _listed(self: Any) -> list[str]:
        return ["", *self._ids] if self.noneEnabled else list(self._ids)

    def _refresh(self: Any) -> None:
        node = self._nodes.currentNode()
        self._ids = segment_ids(node)
        segmentation = node.GetSegmentation() if node is not None else None
        self._box.clear()
        for identity in self._listed():
            self._box.addItem((segmentation.GetSegment(identity).GetName() or "") if identity else "None")
        chosen = self._segment if self._segment in self._listed() else ""
        self._choose(chosen or (self._listed() or [""])[0])

    def _choose(self: Any, identity: str) -> None:
        self._box.currentIndex = self._listed().index(identity) if identity in self._listed() else -1
        if identity != self._segment:
            self._segment = identity
            self._emit("currentSegmentChanged(QString)", identity)

    def _set_segmentationNodeSelectorVisible(self: Any, value: bool) -> None:
        self._nodes.setVisible(value)

    def _set_noneEnabled(self: Any, value: bool) -> None:
        self._nodes.noneEnabled = value
        self._refresh()

    def currentNode(self: Any) -> Any:
        return self._nodes.currentNode()

    def currentNodeID(self: Any) -> str:
        return str(self._nodes.currentNodeID)

    def setCurrentNode(self: Any, node: Any) -> None:
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self: Any, identity: str) -> None:
        self._nodes.setCurrentNode(identity)

    def currentSegmentID(self: Any) -> str:
        return str(self._segment)

    def setCurrentSegmentID(self: Any, identity: str) -> None:
        if identity in self._listed():
            self._choose(identity)

    def segmentIDs(self: Any) -> list[str]:
        return list(self._ids)


class SegmentEditor(MRMLWidget):
    """``qMRMLSegmentEditorWidget``: nodes, the current segment and the history; drawn as a frame with a label."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "segmentationNodeSelectorVisible": True, "sourceVolumeNodeSelectorVisible": True,
        "maskingSectionVisible": True,
        "specifyGeometryButtonVisible": True, "show3DButtonVisible": True, "addRemoveSegmentButtonsVisible": True,
        "switchToSegmentationsButtonVisible": True, "undoEnabled": True, "maximumNumberOfUndoStates": 10,
        "autoShowSourceVolumeNode": True, "unorderedEffectsVisible": True, "effectColumnCount": 2,
        "masterVolumeNodeSelectorVisible": True, "autoShowMasterVolumeNode": True,
    }  # fmt: skip
    _editor: Any = None
    _order: tuple[str, ...] = ()

    def _build(self: Any) -> None:
        import slicer

        self._observed, self._seen = Observations(), {}
        self._history = slicer.vtkSegmentationHistory()
        frame, layout = QtWidgets.QGroupBox("Segment Editor", self), QtWidgets.QVBoxLayout()
        self._label, inside = QtWidgets.QLabel(frame), QtWidgets.QVBoxLayout()
        frame.setLayout(inside)
        inside.addWidget(self._label)
        self.setLayout(layout)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(frame)
        self._show()
        self.connect("destroyed()", self._observed.clear)

    def mrmlSegmentEditorNode(self: Any) -> Any:
        return self._editor

    def setMRMLSegmentEditorNode(self: Any, node: Any) -> None:
        import vtk

        if node is self._editor:
            return
        self._observed.clear()
        self._editor = node
        if node is not None:
            self._observed.add(node, vtk.vtkCommand.ModifiedEvent, lambda *_: self.updateWidgetFromMRML())
        self.updateWidgetFromMRML()

    def _need_editor(self: Any) -> Any:
        if self._editor is None:
            raise RuntimeError("the Segment Editor's widget has no vtkMRMLSegmentEditorNode yet")
        return self._editor

    def updateWidgetFromMRML(self: Any) -> None:
        told = {
            "segmentationNodeChanged(vtkMRMLSegmentationNode*)": self.segmentationNode(),
            "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)": self.sourceVolumeNode(),
            "currentSegmentIDChanged(QString)": self.currentSegmentID(),
        }
        before, self._seen = self._seen, told
        node = self.segmentationNode()
        if node is not before.get("segmentationNodeChanged(vtkMRMLSegmentationNode*)"):
            self._history.SetSegmentation(node.GetSegmentation() if node is not None else None)
        self._show()
        for signature, value in told.items():
            if before.get(signature, None if "*" in signature else "") != value:
                self._emit(signature, value)

    def _show(self: Any) -> None:
        node, volume = self.segmentationNode(), self.sourceVolumeNode()
        names = (node.GetName() if node else "none", volume.GetName() if volume else "none")
        effect = self._editor.GetActiveEffectName() if self._editor else ""
        self._label.setText(f"{names[0]} on {names[1]}\neffect: {effect or 'none'}")

    def segmentationNode(self: Any) -> Any:
        return self._editor.GetSegmentationNode() if self._editor is not None else None

    def segmentationNodeID(self: Any) -> str:
        node = self.segmentationNode()
        return node.GetID() if node is not None else ""

    def setSegmentationNode(self: Any, node: Any) -> None:
        self._need_editor().SetAndObserveSegmentationNode(node)

    def setSegmentationNodeID(self: Any, identity: str) -> None:
        self.setSegmentationNode(self._scene.GetNodeByID(identity))

    def sourceVolumeNode(self: Any) -> Any:
        return self._editor.GetSourceVolumeNode() if self._editor is not None else None

    def sourceVolumeNodeID(self: Any) -> str:
        node = self.sourceVolumeNode()
        return node.GetID() if node is not None else ""

    def setSourceVolumeNode(self: Any, node: Any) -> None:
        self._need_editor().SetAndObserveSourceVolumeNode(node)

    def setSourceVolumeNodeID(self: Any, identity: str) -> None:
        self.setSourceVolumeNode(self._scene.GetNodeByID(identity))

    def currentSegmentID(self: Any) -> str:
        return (self._editor.GetSelectedSegmentID() or "") if self._editor is not None else ""

    def setCurrentSegmentID(self: Any, identity: str) -> None:
        self._need_editor().SetSelectedSegmentID(identity)

    def selectSegmentAtOffset(self: Any, offset: int) -> None:
        ids = segment_ids(self.segmentationNode())
        if self.currentSegmentID() in ids:
            self.setCurrentSegmentID(ids[(ids.index(self.currentSegmentID()) + offset) % len(ids)])

    def selectNextSegment(self: Any) -> None:
        self.selectSegmentAtOffset(1)

    def selectPreviousSegment(self: Any) -> None:
        self.selectSegmentAtOffset(-1)

    def setActiveEffectByName(self: Any, name: str) -> None:
        if name and name not in EFFECTS:
            raise ValueError(f"there is no effect {name}")
        self._need_editor().SetActiveEffectName(name)

    def setActiveEffect(self: Any, effect: Any) -> None:
        if effect is not None:
            raise NotImplementedError("the double has no effects; use setActiveEffectByName")
        self._need_editor().SetActiveEffectName("")

    def activeEffect(self: Any) -> Any:
        if self._editor is not None and self._editor.GetActiveEffectName():
            raise NotImplementedError("the double has no effects; read the editor node's ActiveEffectName")
        return None

    def availableEffectNames(self: Any) -> list[str]:
        return list(EFFECTS)

    def setEffectNameOrder(self: Any, names: list[str]) -> None:
        self._order = tuple(names)

    def effectNameOrder(self: Any) -> list[str]:
        return list(self._order)

    def saveStateForUndo(self: Any) -> None:
        if self.undoEnabled:
            self._history.SetMaximumNumberOfStates(self.maximumNumberOfUndoStates)
            self._history.SaveState()

    def undo(self: Any) -> None:
        self._history.RestorePreviousState()

    def redo(self: Any) -> None:
        self._history.RestoreNextState()

    def setupViewObservations(self: Any) -> None:
        """Effects would listen to views; there are none."""

    removeViewObservations = setupViewObservations

    def installKeyboardShortcuts(self: Any, parent: Any = None) -> None:
        """The keys of effects; there are none."""

    uninstallKeyboardShortcuts = setupViewObservations


class Show3DButton(Behaviour):
    """``qMRMLSegmentationShow3DButton``."""

    _segmentation: Any = None

    def _build(self: Any) -> None:
        self.setText("Show 3D")
        self.setCheckable(True)

    def segmentationNode(self: Any) -> Any:
        return self._segmentation

    def setSegmentationNode(self: Any, node: Any) -> None:
        self._segmentation = node

# ruff: noqa: N802, N815 - the names are Slicer's
"""Behaviour of qMRML widgets that choose nodes and segments; they follow a real scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import vtk
from PySide6 import QtCore, QtWidgets

from .ctk_widgets import row
from .standins import Behaviour


class Observations:
    """VTK observers of one widget, which end with it."""

    def __init__(self) -> None:
        self._tags: list[tuple[Any, int]] = []

    def add(self, subject: Any, event: int, receiver: Callable[..., None]) -> None:
        self._tags.append((subject, subject.AddObserver(event, receiver)))

    def clear(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()


def scene_class() -> Any:
    import slicer

    return slicer.vtkMRMLScene


class SceneHolder(Behaviour):
    """``qSlicerWidget``: holds a scene and tells others."""

    _scene: Any = None

    def setMRMLScene(self: Any, scene: Any) -> None:
        if scene is self._scene:
            return
        self._scene = scene
        self._scene_changed()
        if "mrmlSceneChanged(vtkMRMLScene*)" in self._bound:
            self._emit("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def _scene_changed(self: Any) -> None:
        """Called with the new scene in place."""


class MRMLWidget(SceneHolder):
    """``qMRMLWidget``, which also says its scene."""

    def mrmlScene(self: Any) -> Any:
        return self._scene


class NodeComboBox(MRMLWidget):
    """``qMRMLNodeComboBox``: the nodes of some classes, after one for none."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "addEnabled": True, "removeEnabled": True, "selectNodeUponCreation": True, "showChildNodeTypes": True,
        "noneDisplay": "None",
    }  # fmt: skip

    def _build(self: Any) -> None:
        self._observed, self._attributes = Observations(), []
        self._nodes: list[Any] = []
        self._current: Any = None
        self._batch = False
        self._box = QtWidgets.QComboBox(self)
        row(self).addWidget(self._box)
        self._box.connect("activated(int)", lambda index: self._chosen(index))
        self.connect("destroyed()", self._observed.clear)

    def _scene_changed(self: Any) -> None:
        self._observed.clear()
        if self._scene is not None:
            kind = scene_class()
            for event in (kind.NodeAddedEvent, kind.NodeRemovedEvent):
                self._observed.add(self._scene, event, _with_node(self._on_node, event == kind.NodeAddedEvent))
            for event in (kind.EndBatchProcessEvent, kind.EndImportEvent, kind.EndCloseEvent):
                self._observed.add(self._scene, event, lambda *_: self._refresh())
        self._refresh()

    def _on_node(self: Any, node: Any, added: bool) -> None:
        if not self._shows(node) and node not in self._nodes:
            return
        if added:
            self._observed.add(node, vtk.vtkCommand.ModifiedEvent, lambda *_: self._rename())
            self._refresh()
            self._emit("nodeAdded(vtkMRMLNode*)", node)
        else:
            self._emit("nodeAboutToBeRemoved(vtkMRMLNode*)", node)
            self._refresh()

    def _shows(self: Any, node: Any) -> bool:
        exact, hidden = not self.showChildNodeTypes, self.hideChildNodeTypes
        kinds = [kind for kind in self.nodeTypes if (node.GetClassName() == kind if exact else node.IsA(kind))]
        if not kinds or any(node.IsA(kind) for kind in hidden):
            return False
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        wanted = [(name, value) for kind, name, value in self._attributes if node.IsA(kind)]
        return all(_has_attribute(node, name, value) for name, value in wanted)

    def _refresh(self: Any) -> None:
        nodes = (
            [] if self._scene is None else [self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())]
        )
        self._nodes = [node for node in nodes if self._shows(node)]
        current = self._current if self._current in self._nodes else None
        if current is None and not self.noneEnabled and self._nodes:
            current = self._nodes[0]
        self._fill(current)
        self._make_current(current)

    def _rename(self: Any) -> None:
        self._fill(self._current)

    def _fill(self: Any, current: Any) -> None:
        self._box.clear()
        for node in self._listed():
            self._box.addItem(self.noneDisplay if node is None else node.GetName() or "")
        self._box.currentIndex = self._listed().index(current) if current in self._listed() else -1

    def _listed(self: Any) -> list[Any]:
        return [None, *self._nodes] if self.noneEnabled else list(self._nodes)

    def _chosen(self: Any, index: int) -> None:
        self._make_current(self._listed()[index])
        self._emit("nodeActivated(vtkMRMLNode*)", self._current)

    def _make_current(self: Any, node: Any) -> None:
        if node is self._current:
            return
        self._current = node
        self._box.currentIndex = self._listed().index(node) if node in self._listed() else -1
        self._emit("currentNodeChanged(vtkMRMLNode*)", node)
        self._emit("currentNodeChanged(bool)", node is not None)
        self._emit("currentNodeIDChanged(QString)", self.currentNodeID)

    def _get_currentNodeID(self: Any) -> str:
        return (self._current.GetID() or "") if self._current is not None else ""

    def _set_currentNodeID(self: Any, identity: str) -> None:
        self.setCurrentNode(identity)

    _get_currentNodeId, _set_currentNodeId = _get_currentNodeID, _set_currentNodeID

    def _again(self: Any, _: Any) -> None:
        self._refresh()

    _set_nodeTypes = _set_showHidden = _set_showChildNodeTypes = _set_hideChildNodeTypes = _again
    _set_noneEnabled = _set_noneDisplay = _again

    def currentNode(self: Any) -> Any:
        return self._current

    def setCurrentNode(self: Any, node: Any) -> None:
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if self._scene is not None and node else None
        self._make_current(node if node in self._nodes else None)

    def setCurrentNodeIndex(self: Any, index: int) -> None:
        self._make_current(self._nodes[index] if 0 <= index < len(self._nodes) else None)

    def nodeCount(self: Any) -> int:
        return len(self._nodes)

    def nodeFromIndex(self: Any, index: int) -> Any:
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def nodes(self: Any) -> list[Any]:
        return list(self._nodes)

    def addAttribute(self: Any, kind: str, name: str, value: Any = None) -> None:
        self._attributes.append((kind, name, value))
        self._refresh()

    def removeAttribute(self: Any, kind: str, name: str) -> None:
        self._attributes = [each for each in self._attributes if each[:2] != (kind, name)]
        self._refresh()

    def setBaseName(self: Any, name: str, kind: str = "") -> None:
        self._values["baseName"] = name

    def addNode(self: Any, kind: str = "") -> Any:
        name = self.baseName or (kind or self.nodeTypes[0]).removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(kind or self.nodeTypes[0], self._scene.GenerateUniqueName(name))
        if self.selectNodeUponCreation:
            self._make_current(node)
        self._emit("nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self: Any) -> None:
        if self._current is not None:
            self._scene.RemoveNode(self._current)


def _with_node(receiver: Callable[[Any, bool], None], added: bool) -> Callable[..., None]:
    def observe(_caller: Any, _event: str, node: Any) -> None:
        receiver(node, added)

    observe.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
    return observe


def _has_attribute(node: Any, name: str, value: Any) -> bool:
    found = node.GetAttribute(name)
    return found is not None if value is None else found == str(value)


class SegmentsTableView(MRMLWidget):
    """``qMRMLSegmentsTableView``: a row a segment; Qt's own selection."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "headerVisible": True, "visibilityColumnVisible": True, "colorColumnVisible": True,
        "opacityColumnVisible": True, "selectionMode": 3,
    }  # fmt: skip
    _segmentation: Any = None

    def _build(self: Any) -> None:
        self._observed = Observations()
        self._ids: list[str] = []
        self._table = QtWidgets.QTableWidget(0, 2, self)
        self._table.setHorizontalHeaderLabels(["Color", "Name"])
        self._table.horizontalHeader().stretchLastSection = True
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        row(self).addWidget(self._table)
        self._table.selectionModel().connect(
            "selectionChanged(QItemSelection,QItemSelection)",
            lambda new, old: self._emit("selectionChanged(QItemSelection,QItemSelection)", new, old),
        )
        self.connect("destroyed()", self._observed.clear)

    def segmentationNode(self: Any) -> Any:
        return self._segmentation

    def setSegmentationNode(self: Any, node: Any) -> None:
        if node is self._segmentation:
            return
        self._observed.clear()
        self._segmentation = node
        if node is not None:
            observe_segments(self._observed, node, self._refresh)
        self._refresh()

    def _refresh(self: Any) -> None:
        chosen = self.selectedSegmentIDs()
        self._ids = [i for i in segment_ids(self._segmentation) if self._is_shown(i)]
        blocked = self.blockSignals(True)
        self._table.setRowCount(len(self._ids))
        for number, identity in enumerate(self._ids):
            segment = self._segmentation.GetSegmentation().GetSegment(identity)
            swatch, name = QtWidgets.QTableWidgetItem(), QtWidgets.QTableWidgetItem(segment.GetName() or "")
            swatch.setBackground(_color(segment.GetColor()))
            self._table.setItem(number, 0, swatch)
            self._table.setItem(number, 1, name)
        self.blockSignals(blocked)
        self.setSelectedSegmentIDs(chosen)

    def _is_shown(self: Any, identity: str) -> bool:
        name = self._segmentation.GetSegmentation().GetSegment(identity).GetName() or ""  # while it is restored
        return identity not in self._values.get("hidden", ()) and self.textFilter.lower() in name.lower()

    def _set_textFilter(self: Any, _: str) -> None:
        self._refresh()

    def _set_headerVisible(self: Any, value: bool) -> None:
        self._table.horizontalHeader().setVisible(value)

    def _set_colorColumnVisible(self: Any, value: bool) -> None:
        self._table.setColumnHidden(0, not value)

    def _set_selectionMode(self: Any, value: int) -> None:
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode(value))

    def _get_segmentCount(self: Any) -> int:
        return len(segment_ids(self._segmentation))

    def selectedSegmentIDs(self: Any) -> list[str]:
        rows = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        return [self._ids[number] for number in rows if number < len(self._ids)]

    def setSelectedSegmentIDs(self: Any, identities: list[str]) -> None:
        if isinstance(identities, str):
            raise TypeError("setSelectedSegmentIDs takes a list")
        wanted = [self._ids.index(i) for i in identities if i in self._ids]
        selection, model = QtCore.QItemSelection(), self._table.model()
        for number in wanted:
            selection.select(model.index(number, 0), model.index(number, 1))
        flags = QtCore.QItemSelectionModel.SelectionFlag
        self._table.selectionModel().select(selection, flags.ClearAndSelect)

    def clearSelection(self: Any) -> None:
        self._table.clearSelection()

    def displayedSegmentIDs(self: Any) -> list[str]:
        return list(self._ids)

    def rowForSegmentID(self: Any, identity: str) -> int:
        return self._ids.index(identity) if identity in self._ids else -1

    def segmentIDForRow(self: Any, number: int) -> str:
        return self._ids[number] if 0 <= number < len(self._ids) else ""

    def setHideSegments(self: Any, identities: list[str]) -> None:
        self._values["hidden"] = tuple(identities)
        self._refresh()

    def tableWidget(self: Any) -> QtWidgets.QTableWidget:
        return self._table


def _color(color: Any) -> Any:
    from PySide6 import QtGui

    return QtGui.QColor.fromRgbF(*color)


def segment_ids(node: Any) -> list[str]:
    if node is None or node.GetSegmentation() is None:
        return []
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]


def observe_segments(observed: Observations, node: Any, refresh: Callable[[], None]) -> None:
    """Call ``refresh`` when segments come, go, change their names or their order."""
    import slicer

    kind = slicer.vtkSegmentation
    for event in (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified, kind.SegmentsOrderModified):
        observed.add(node.GetSegmentation(), event, lambda *_: refresh())
    observed.add(node, slicer.vtkMRMLNode.ReferenceModifiedEvent, lambda *_: refresh())

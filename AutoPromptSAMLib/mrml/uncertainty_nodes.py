"""Uncertainty as volume nodes of the scene, in bits, laid over the image in all slice views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.geometry.grid import FloatArray
from AutoPromptSAMLib.mrml.transforms import matrix_from_array, node_to_world
from AutoPromptSAMLib.mrml.volumes import geometry_from_node
from AutoPromptSAMLib.session.grey import GreyCrop

ATTRIBUTE = "AutoPromptSAM.uncertainty"  # node attribute: the id of the segment
# Nine of matplotlib's inferno (Smith and van der Walt, CC0), which gets evenly lighter for all kinds of colour vision.
COLORS = ("#000004", "#210C4A", "#57106E", "#8A226A", "#BC3754", "#E45A31", "#F98E09", "#F9CB35", "#FCFFA4")
FROM_BITS = 0.08  # what is less uncertain is not drawn: a choice, about 1 % of the other answer
MARGIN = 12  # voxels around what is there, so that a block seldom grows


def color_table() -> FloatArray:
    """The colours of 0 to 1 bit: (256, 4) red, green, blue, alpha from 0 to 1; too little to be drawn has alpha 0."""
    stops = np.array([[int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)] for color in COLORS])
    at = np.linspace(0, 1, 256)
    rgb = [np.interp(at, np.linspace(0, 1, len(stops)), stops[:, channel]) for channel in range(3)]
    return np.stack([*rgb, (at >= FROM_BITS).astype(float)], axis=1)


def release_left_over(scene: slicer.vtkMRMLScene) -> bool:
    """Make plain volumes of those that a saved scene brought along, and hide them; whether there were any.

    They are a person's to keep, but the looks behind them are gone, so nothing here can show or change them again.
    """
    left = [node for node in _nodes(scene, "vtkMRMLScalarVolumeNode") if node.GetAttribute(ATTRIBUTE)]
    ids = {node.GetID() for node in left}
    for composite in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        if composite.GetForegroundVolumeID() in ids:
            composite.SetForegroundVolumeID(None)
            composite.SetForegroundOpacity(0)
    for node in left:
        node.RemoveAttribute(ATTRIBUTE)
        node.SetHideFromEditors(False)
    return bool(left)


class UncertaintyNodes:
    """A scalar volume node (float32, bits) for each segment that was looked at; ``close`` takes them away.

    A node covers the block of the image that has values, and moves with the image. It is saved with the scene.
    """

    def __init__(self, volume_node: slicer.vtkMRMLVolumeNode) -> None:
        self.volume_node = volume_node
        self.geometry: VolumeGeometry = geometry_from_node(volume_node)
        self._nodes: dict[str, Any] = {}
        self._lower: dict[str, tuple[int, int, int]] = {}  # first voxel (k, j, i) of the block of each node
        self._colors: dict[bool, Any] = {}
        self._before: dict[str, tuple[str | None, float]] = {}  # what was in front in each slice view

    def node(self, segment_id: str) -> Any:
        """The node of a segment; None when it was not looked at, or somebody removed the node."""
        node = self._nodes.get(segment_id)
        if node is not None and node.GetScene() is None:
            del self._nodes[segment_id], self._lower[segment_id]
            node = None
        return node

    def write(self, segment_id: str, name: str, axis: int, index: int, grey: GreyCrop) -> None:
        """Put the uncertainty of one slice into the node of a segment called ``name``, in place of what was there."""
        node = self.node(segment_id)
        if grey.is_empty and node is None:
            return
        if not grey.is_empty:
            node = self._with_room(segment_id, name, node, grey.lower, grey.upper)
        block, lower = self._voxels(node), self._lower[segment_id]
        local = index - lower[axis]
        if 0 <= local < block.shape[axis]:
            np.moveaxis(block, axis, 0)[local] = 0
        if not grey.is_empty:
            inside = tuple(slice(a - c, b - c) for a, b, c in zip(grey.lower, grey.upper, lower, strict=True))
            block[inside] = grey.values.astype(np.float32) / 255
        node.SetName(f"Uncertainty of {name} (bits)")
        image = node.GetImageData()
        image.GetPointData().GetScalars().Modified()
        image.Modified()

    def show(self, segment_id: str | None, opacity: float = 0.6) -> None:
        """Lay the uncertainty of a segment over the image in all slice views; None: show what was there before."""
        node = None if segment_id is None else self.node(segment_id)
        scene = self.volume_node.GetScene()
        own = {each.GetID() for each in self._nodes.values()}
        for composite in _nodes(scene, "vtkMRMLSliceCompositeNode"):
            front = composite.GetForegroundVolumeID()
            if front not in own:
                self._before[composite.GetID()] = (front, composite.GetForegroundOpacity())
            before = self._before.get(composite.GetID(), (None, 0.0))
            volume_id, strength = before if node is None else (node.GetID(), opacity)
            composite.SetForegroundVolumeID(volume_id)
            composite.SetForegroundOpacity(strength)

    def values(self, segment_id: str) -> FloatArray | None:
        """The uncertainty of a segment on the voxels of the whole image (K, J, I) in bits, float32; None without."""
        node = self.node(segment_id)
        if node is None:
            return None
        full = np.zeros(self.geometry.shape, np.float32)
        block, lower = self._voxels(node), self._lower[segment_id]
        full[tuple(slice(a, a + n) for a, n in zip(lower, block.shape, strict=True))] = block
        return full

    def color_node(self, transparent: bool) -> Any:
        """The node of the colours; ``transparent``: too little to be drawn has none."""
        node = self._colors.get(transparent)
        if node is None or node.GetScene() is None:
            name = "Uncertainty" if transparent else "Uncertainty, opaque"
            node = self.volume_node.GetScene().AddNewNodeByClass("vtkMRMLColorTableNode", name)
            node.SetTypeToUser()
            table = color_table()
            node.SetNumberOfColors(len(table))
            for number, (*rgb, alpha) in enumerate(table.tolist()):
                node.SetColor(number, f"{number / 255:.2f}", *rgb, alpha if transparent else 1.0)
            self._colors[transparent] = node
        return node

    def remove(self, segment_id: str) -> None:
        """Forget the uncertainty of a segment."""
        node = self.node(segment_id)
        if node is not None:
            node.GetScene().RemoveNode(node)
            del self._nodes[segment_id], self._lower[segment_id]

    def close(self) -> None:
        """Take the nodes out of the scene."""
        if self.volume_node.GetScene() is not None:
            self.show(None)
        for segment_id in list(self._nodes):
            self.remove(segment_id)
        for colors in self._colors.values():
            if colors.GetScene() is not None:
                colors.GetScene().RemoveNode(colors)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _with_room(self, segment_id: str, name: str, node: Any, lower: Sequence[int], upper: Sequence[int]) -> Any:
        """A node whose block holds the voxels from ``lower`` up to ``upper``, with what it had."""
        old = None if node is None else self._voxels(node)
        first, last = np.array(lower), np.array(upper)
        if old is not None:
            had = np.array(self._lower[segment_id])
            if (first >= had).all() and (last <= had + old.shape).all():
                return node
            first, last = np.minimum(first, had), np.maximum(last, had + old.shape)
        first = np.maximum(first - MARGIN, 0)
        last = np.minimum(last + MARGIN, self.geometry.shape)
        block = np.zeros(last - first, np.float32)
        if old is not None:
            block[tuple(slice(a, a + n) for a, n in zip(had - first, old.shape, strict=True))] = old
        image = vtk.vtkImageData()
        image.SetDimensions(*reversed(block.shape))
        image.GetPointData().SetScalars(numpy_to_vtk(block.reshape(-1), deep=True))
        if node is None:
            node = self._new_node(segment_id, name)
        moved = np.eye(4)
        moved[:3, 3] = first[::-1]
        to_parent = np.linalg.inv(node_to_world(self.volume_node)) @ self.geometry.ijk_to_ras @ moved
        node.SetIJKToRASMatrix(matrix_from_array(to_parent))
        node.SetAndObserveImageData(image)
        self._lower[segment_id] = (int(first[0]), int(first[1]), int(first[2]))
        return node

    def _new_node(self, segment_id: str, name: str) -> Any:
        scene = self.volume_node.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"Uncertainty of {name} (bits)")
        node.SetAttribute(ATTRIBUTE, segment_id)
        node.SetHideFromEditors(True)  # it is no image to be segmented
        node.SetAndObserveTransformNodeID(self.volume_node.GetTransformNodeID())
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(self.color_node(transparent=True).GetID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0, 1)
        self._nodes[segment_id] = node
        return node

    @staticmethod
    def _voxels(node: Any) -> np.ndarray:
        """The block (k, j, i), a view on the node's voxels."""
        image = node.GetImageData()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def _nodes(scene: Any, kind: str) -> list[Any]:
    return [scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind))]

"""Slice nodes of views that a person may turn: which one shows slices along an axis, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.planes import plane_from_slice_node, show_index, shown_index
from AutoPromptSAMLib.workbench.prompt_rows import view_along


def slice_along(nodes: Mapping[str, Any], current: str, geometry: VolumeGeometry, axis: int) -> int:
    """The slice along array axis ``axis`` that the person sees in a view, or the middle one that a view would show.

    ``nodes``: those of all slice views by name. ``current``: the view that counts when several show such slices.
    """
    names = [name for name in (current, *nodes) if name in nodes]
    if not names:
        return geometry.shape[axis] // 2
    along = next((name for name in names if axis_of(nodes[name], geometry) == axis), names[0])
    return shown_index(nodes[along], geometry, axis)


def jump(nodes: Mapping[str, Any], current: str, segmenter: InteractiveSegmenter, axis: int, index: int) -> str:
    """Show slice ``index`` along array axis ``axis``; the ``current`` view is turned when none shows such slices.

    Returns the name of a view that shows it.
    """
    geometry = segmenter.volume.geometry
    if current in nodes and all(axis_of(node, geometry) != axis for node in nodes.values()):
        nodes[current].SetOrientation(view_along(geometry, axis).capitalize())
        nodes[current].RotateToVolumePlane(segmenter.volume_node)
        show_index(nodes[current], geometry, axis, index)  # it may have been scrolled out of the image
    for name, node in nodes.items():
        if axis_of(node, geometry) == axis:
            show_index(node, geometry, axis, index)
            current = name
    return current


def axis_of(node: Any, geometry: VolumeGeometry) -> int | None:
    """The array axis whose slices a view shows, None when it shows none as they are."""
    try:
        return plane_from_slice_node(node, geometry).axis
    except GeometryError:  # scrolled out of the image
        return None

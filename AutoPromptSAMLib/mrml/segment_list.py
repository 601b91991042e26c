"""The rows of a segment list: what a person sees and sets of each segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from AutoPromptSAMLib.names import free_name

# Okabe and Ito's colours for all kinds of colour vision (jfly.uni-koeln.de/color), the ones that stand out on grey;
# those like the prompts' own (blue for, orange against) come last.
COLORS = ("#009E73", "#F0E442", "#CC79A7", "#E69F00", "#56B4E9", "#D55E00", "#0072B2")
LOCKED = "AutoPromptSAM.locked"  # tag of a segment that nothing may change
DISPLAYED = (  # what a display node knows of each segment, by the names of its functions without "Get" and "Set"
    "SegmentVisibility", "SegmentVisibility2DFill", "SegmentVisibility2DOutline", "SegmentVisibility3D",
    "SegmentOpacity2DFill", "SegmentOpacity2DOutline", "SegmentOpacity3D", "SegmentPickable",
)  # fmt: skip


@dataclass(frozen=True)
class SegmentInfo:
    """A row of the segment list; ``color`` red, green, blue and ``opacity`` in 0..1."""

    id: str
    name: str
    color: tuple[float, float, float]
    visible: bool
    opacity: float
    locked: bool
    ml: float


def segment_ids(node: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """The ids of all segments, in order."""
    return list(node.GetSegmentation().GetSegmentIDs())


def segment_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Any:
    """The vtkSegment with an id, None when there is none."""
    return node.GetSegmentation().GetSegment(segment_id)


def segment_info(node: slicer.vtkMRMLSegmentationNode, segment_id: str, ml: float) -> SegmentInfo:
    """A segment's row; ``ml``: its volume."""
    segment = segment_of(node, segment_id)
    r, g, b = segment.GetColor()
    visible, opacity = is_visible(node, segment_id), display_of(node).GetSegmentOpacity3D(segment_id)
    return SegmentInfo(segment_id, segment.GetName(), (r, g, b), visible, opacity, is_locked(node, segment_id), ml)


def is_visible(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    """Whether a segment is shown."""
    return bool(display_of(node).GetSegmentVisibility(segment_id))


def display_of(node: slicer.vtkMRMLSegmentationNode) -> Any:
    """The display node of a segmentation, made when there is none."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node.GetDisplayNode()


def bringing_back(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Callable[[], None]:
    """A function that adds a segment again once it was removed: as and where it is now, but without voxels."""
    segmentation, display = node.GetSegmentation(), display_of(node)
    kept, at = slicer.vtkSegment(), segmentation.GetSegmentIndex(segment_id)
    kept.DeepCopyMetadata(segment_of(node, segment_id))
    shown = {name: getattr(display, f"Get{name}")(segment_id) for name in DISPLAYED}

    def add() -> None:
        segmentation.AddEmptySegment(segment_id, kept.GetName(), list(kept.GetColor()))
        segment = segment_of(node, segment_id)
        label = segment.GetLabelValue()  # is free in the layer that the segment got
        segment.DeepCopyMetadata(kept)
        segment.SetLabelValue(label)
        segmentation.SetSegmentIndex(segment_id, at)
        for name, value in shown.items():
            getattr(display, f"Set{name}")(segment_id, value)

    return add


def is_locked(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    """Whether a person locked the segment."""
    text = vtk.reference("")
    segment = segment_of(node, segment_id)
    return bool(segment is not None and segment.GetTag(LOCKED, text) and str(text) == "1")


def set_locked(node: slicer.vtkMRMLSegmentationNode, segment_id: str, locked: bool) -> None:
    """Lock or unlock a segment; kept with the segmentation."""
    segment_of(node, segment_id).SetTag(LOCKED, "1" if locked else "0")


def free_color(node: slicer.vtkMRMLSegmentationNode) -> tuple[float, float, float]:
    """A colour that no segment has yet, told apart by all kinds of colour vision while there are up to seven."""
    taken = {tuple(round(c, 2) for c in segment_of(node, id).GetColor()) for id in segment_ids(node)}
    colors = [rgb(color) for color in COLORS]
    free = [color for color in colors if tuple(round(c, 2) for c in color) not in taken]
    return free[0] if free else colors[len(segment_ids(node)) % len(colors)]


def free_segment_name(node: slicer.vtkMRMLSegmentationNode, name: str = "") -> str:
    """``name``, or "Segment", with a number when a segment has that name already; a name given is kept if free."""
    taken = {segment_of(node, id).GetName() for id in segment_ids(node)}
    return free_name(name, taken, "{} {}") if name else free_name("Segment", taken | {"Segment"}, "{} {}", first=1)


def rgb(color: str) -> tuple[float, float, float]:
    """Red, green and blue (0..1) of "#RRGGBB"."""
    return int(color[1:3], 16) / 255, int(color[3:5], 16) / 255, int(color[5:7], 16) / 255


def hexadecimal(color: Sequence[float]) -> str:
    """ "#RRGGBB" of red, green and blue in 0..1."""
    return "#" + "".join(f"{round(255 * min(max(c, 0), 1)):02X}" for c in color[:3])

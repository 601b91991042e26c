"""A host with an interactive segmenter and the network that is none, in few lines."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.mrml.autosave import Autosave, Work
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.markups import read_box, read_doodle, read_points
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation
from AutoPromptSAMLib.mrml.volumes import volume_to_node
from AutoPromptSAMLib.prompts import Box, Point, Prompt
from AutoPromptSAMLib.session.local import LocalSession

from ..threshold_backbone import BRIGHT, DARK, ThresholdBackbone, rod

SHAPE = (8, 20, 24)
SLICES = range(2, 9)  # where the rod is


def oblique_volume(shape: tuple[int, int, int] = (8, 20, 24), shift: float = 0.0) -> Volume:
    """Oblique and anisotropic, with a bright block in the middle."""
    rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * [0.7, 0.9, 2.5]
    affine[:3, 3] = [31.5 + shift, -12.25, 300.0]
    array = np.full(shape, DARK, np.uint8)
    array[2:6, 5:15, 6:18] = BRIGHT
    return Volume(array, VolumeGeometry(shape, affine), name="CT")


def prompts_of(nodes: Iterable[Any]) -> list[Prompt]:
    """The prompts that markups nodes stand for, in order; what is not placed yet is left out."""
    prompts: list[Prompt] = []
    for node in nodes:
        if node.IsA("vtkMRMLMarkupsFiducialNode"):
            prompts += read_points(node)
        else:
            prompt = read_box(node) if node.IsA("vtkMRMLMarkupsROINode") else read_doodle(node)
            prompts += [] if prompt is None else [prompt]
    return prompts


class Desk:
    """A host with a main thread of its own: what it is handed waits until ``settle``."""

    def __init__(self, scene: Any, volume: Volume | None = None) -> None:
        self.volume = oblique_volume() if volume is None else volume
        self.volume_node = volume_to_node(self.volume, scene)
        self.segmentation_node = create_segmentation(self.volume_node)
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.session = LocalSession(ThresholdBackbone())
        self.segmenter = InteractiveSegmenter(self.session, self.volume_node, self.segmentation_node, self.calls.put)
        self.said: list[str] = []
        self._hear = lambda message: self.said.append(message.text)  # signals keep no reference
        self.segmenter.said.connect(self._hear)

    def settle(self) -> None:
        """Go on until nothing is being done any more."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                self.calls.get(timeout=0.05)()
            except queue.Empty:
                if self.segmenter.status.phase == "ready":
                    return
        raise AssertionError(f"still {self.segmenter.status}")

    def box(self, index: int = 4) -> Box:
        """Around the bright block on an axial slice."""
        return Box.on_plane(slice_plane(self.segmenter.volume.geometry, 0, index, square_pixels=False), (6, 5, 17, 14))

    def paint(self, segment_id: str, mask: np.ndarray) -> None:
        """As a paint brush does: past the segmenter, which notices."""
        self.segmenter.writer.write(segment_id, Crop.from_full(mask), region=Crop.empty())
        self.settle()

    def all_voxels(self) -> dict[str, np.ndarray]:
        """All segments as they are in the scene, in order, by id."""
        writer = SegmentWriter(self.segmentation_node, self.volume_node)
        shape = self.segmenter.volume.geometry.shape
        ids = self.segmentation_node.GetSegmentation().GetSegmentIDs()
        found = {id: writer.read(id).to_full(shape) for id in ids}
        writer.close()
        return found

    def close(self) -> None:
        self.segmenter.close()
        self.session.close(cancel=True)


def random_mask(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Voxels here and there, some at the very corners."""
    mask = np.random.default_rng(seed).random(shape) < 0.2
    mask[0, 0, 0] = mask[-1, -1, -1] = True
    return mask


def saving(desk: Desk, folder: Path, source: str = "sample", series: str | None = None) -> Autosave:
    return Autosave(desk.segmenter, folder, source, desk.calls.put, series)


def resume(work: Work, desk: Desk) -> Autosave:
    return work.resume(desk.segmenter, desk.calls.put)


def draw(desk: Desk) -> None:
    """Three segments, two of one name, prompts in two, overlaps, one painted by hand."""
    segmenter = desk.segmenter
    one = segmenter.add_segment("liver", (1, 0, 0))
    segmenter.add_prompt(desk.box())
    desk.settle()
    two = segmenter.add_segment("liver", (0, 0.25, 0.5))
    desk.segmentation_node.GetSegmentation().GetSegment(two).SetName("liver")
    desk.segmentation_node.GetSegmentation().GetSegment(two).SetTerminology("a~b^c")
    segmenter.add_prompt(desk.box(3))
    segmenter.add_prompt(desk.box(5))
    desk.settle()
    three = segmenter.add_segment("ß & Co\\n")
    desk.paint(three, random_mask(SHAPE, 4))
    desk.segmentation_node.GetSegmentation().SetSegmentIndex(three, 0)
    segmenter.set_segment_visible(one, False)
    segmenter.set_segment_opacity(two, 0.25)
    segmenter.set_segment_locked(one, True)
    segmenter.active_segment = two


class Host(Desk):
    """A host on an image of a rod."""

    def __init__(self, scene: Any) -> None:
        volume, self.truth = rod(SLICES)
        super().__init__(scene, volume)
        self.backbone = getattr(self.session, "backbone", None)  # a session elsewhere has none
        self.changed: list[str] = []
        self.segmenter.changed.connect(self.changed.append)

    def plane(self, index: int) -> Any:
        return slice_plane(self.segmenter.volume.geometry, 0, index, square_pixels=False)

    def box(self, index: int, grow: int = 0) -> Box:
        rows, cols = np.nonzero(self.truth[index])
        corners = (cols.min() - grow, rows.min() - grow, cols.max() + grow, rows.max() + grow)
        return Box.on_plane(self.plane(index), corners)

    def point(self, i: int, j: int, k: int, positive: bool = True) -> Point:
        return Point(self.segmenter.volume.geometry.ras_from_ijk([[i, j, k]])[0], positive)

    def voxels(self, segment_id: str | None = None) -> np.ndarray:
        """A segment as it is in the scene, default the active one."""
        return self.all_voxels()[segment_id or self.segmenter.active_segment or ""]

    def only(self, *indices: int) -> np.ndarray:
        """The truth on some slices."""
        expected = np.zeros_like(self.truth)
        expected[list(indices)] = self.truth[list(indices)]
        return expected

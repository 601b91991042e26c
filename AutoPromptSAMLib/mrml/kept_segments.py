"""The voxels of a segmentation as the interactive part last saw them.

Whoever else edits the segmentation (a paint brush, another module) is noticed by comparing with them, so that every
change can be undone in one history, and what a person painted can be told from what a network found. A change is a
flip: the voxels that went in or out of a segment. Flipping again undoes it, in whatever order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import slicer

from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.segment_list import is_locked, segment_ids, segment_of
from AutoPromptSAMLib.mrml.segments import SegmentWriter

Flips = dict[str, Crop]  # by segment id
SURFACE = "Closed surface"


class KeptSegments:
    """Writes into segments and notices what others write; ``on_edited`` is called when others may have done so.

    ``known``: the voxels of each segment. ``by_hand``: those that others changed and ``take_up`` has not asked for.
    """

    def __init__(self, writer: SegmentWriter, on_edited: Callable[[], None]) -> None:
        self.writer = writer
        self.node = writer.segmentation_node
        there = {id: crop for layer in writer.read_layers() for id, crop in layer.crops(layer.labels).items()}
        self.known: Flips = {id: there[id] for id in segment_ids(self.node)}
        self.by_hand: Flips = {}
        self._painted: dict[tuple[str, int], set[int]] = {}  # slices that strokes were made on, by segment and axis
        self._on_edited = on_edited
        self._own = 0
        events = (
            slicer.vtkSegmentation.SourceRepresentationModified,
            slicer.vtkSegmentation.SegmentAdded,
            slicer.vtkSegmentation.SegmentRemoved,
        )
        segmentation = self.node.GetSegmentation()
        self._tags = [segmentation.AddObserver(event, self._modified) for event in events]

    def close(self) -> None:
        """Stop watching."""
        for tag in self._tags:
            self.node.GetSegmentation().RemoveObserver(tag)
        self._tags.clear()

    @contextmanager
    def own_changes(self) -> Iterator[None]:
        """Changes in a ``with`` block are not another editor's."""
        self._own += 1
        try:
            yield
        finally:
            self._own -= 1

    def write(self, segment_id: str, crop: Crop, region: Crop) -> Flips:
        """Make the segment ``crop`` within ``region``, as far as the editor's settings and locks allow it."""
        locked = [crop_ for id, crop_ in self.known.items() if id != segment_id and is_locked(self.node, id)]
        for other in locked:
            crop = Crop(crop.mask & ~other.block(crop.lower, crop.upper), crop.lower)
        around = region.union(crop)
        node = self.writer.editor_node
        changing = [segment_id] if node.GetOverwriteMode() == node.OverwriteNone else list(self.known)
        with self.own_changes():
            self._drop_surfaces(changing)
            self.writer.write(segment_id, crop, region=region)
        return self._changes(changing, around)

    def flip(self, flips: Mapping[str, Crop], by_hand: bool = False) -> None:
        """Do or undo a change; segments that are gone are left out."""
        with self.own_changes():
            for segment_id, flip in flips.items():
                if segment_id in self.known and not flip.is_empty:
                    self._drop_surfaces([segment_id])
                    self.writer.flip(segment_id, flip)
                    self._apply(segment_id, flip)
                    if by_hand:
                        self._note(segment_id, flip)

    def take_edits(self) -> Flips:
        """What others changed since the last look; what they did to locked segments is undone."""
        flips: Flips = {}
        ids = segment_ids(self.node)
        for segment_id in [id for id in self.known if id not in ids]:
            del self.known[segment_id]
        changes: Flips = {}
        for layer in self.writer.read_layers():
            changes.update(layer.changes(self.known))
        for segment_id in ids:
            self.known.setdefault(segment_id, Crop.empty())
            flip = changes.get(segment_id)
            if flip is None:
                continue
            if is_locked(self.node, segment_id):
                with self.own_changes():
                    self.writer.flip(segment_id, flip)
                continue
            flips[segment_id] = flip
            self._apply(segment_id, flip)
            self._note(segment_id, flip)
        return flips

    def slice_of(self, segment_id: str, axis: int, index: int) -> Crop:
        """The voxels of a segment on one slice, tight."""
        return crop_slice(self.known.get(segment_id, Crop.empty()), axis, index)

    def painted_slices(self, segment_id: str, axis: int) -> list[int]:
        """Slices along an array axis on which others changed the segment; none across those that they worked on."""
        strokes = self._painted.get((segment_id, axis), set())
        return [n for n in crop_slices(self.by_hand.get(segment_id, Crop.empty()), axis) if n in strokes]

    def painted_axis(self, segment_id: str) -> int:
        """The array axis on most of whose slices others worked."""
        return max(range(3), key=lambda axis: len(self.painted_slices(segment_id, axis)))

    def take_over(self, segment_id: str, hand: Crop) -> None:
        """Take up what others had changed when the segment was kept, on the slices of the axis with the fewest."""
        self.by_hand[segment_id] = hand
        self._note_strokes(segment_id, hand)

    def take_up(self, segment_id: str, axis: int, index: int) -> None:
        """Forget that a slice was painted: its mask became a prompt."""
        hand = self.by_hand.get(segment_id)
        if hand is not None:
            self.by_hand[segment_id] = hand.symmetric_difference(crop_slice(hand, axis, index))

    def _drop_surfaces(self, ids: list[str]) -> None:
        """Slicer makes the surface of a segment anew with each write: 500 ms against 15 for a slice of a liver."""
        for segment_id in ids:
            segment_of(self.node, segment_id).RemoveRepresentation(SURFACE)

    def _changes(self, ids: list[str], around: Crop) -> Flips:
        """What a write to the block ``around`` changed."""
        flips: Flips = {}
        for segment_id in ids:
            found = Crop(self.writer.read_block(segment_id, around.lower, around.upper), around.lower)
            before = Crop(self.known[segment_id].block(around.lower, around.upper), around.lower)
            flip = found.symmetric_difference(before)
            if not flip.is_empty:
                flips[segment_id] = flip
                self._apply(segment_id, flip)
        return flips

    def _apply(self, segment_id: str, flip: Crop) -> None:
        self.known[segment_id] = self.known[segment_id].symmetric_difference(flip)

    def _note(self, segment_id: str, flip: Crop) -> None:
        self._note_strokes(segment_id, flip)
        self.by_hand[segment_id] = self.by_hand.get(segment_id, Crop.empty()).symmetric_difference(flip)

    def _note_strokes(self, segment_id: str, flip: Crop) -> None:
        """A stroke is on the slices that it is flat on; what is flat nowhere, on those of the axis with the fewest."""
        touched = [crop_slices(flip, axis) for axis in range(3)]
        fewest = min(map(len, touched))
        axes = [axis for axis in range(3) if len(touched[axis]) == fewest]
        for axis in axes if fewest == 1 else axes[:1]:
            self._painted.setdefault((segment_id, axis), set()).update(touched[axis])

    def _modified(self, *_: object) -> None:
        if not self._own:
            self._on_edited()


def crop_slices(crop: Crop, axis: int) -> list[int]:
    """The slices along an array axis that a crop has voxels on."""
    used = crop.mask.any(axis=tuple(a for a in range(3) if a != axis))
    return [int(n) + crop.lower[axis] for n in np.flatnonzero(used)]


def crop_slice(crop: Crop, axis: int, index: int) -> Crop:
    """The voxels of a crop on slice ``index`` along array axis ``axis``, tight."""
    local = index - crop.lower[axis]
    if not 0 <= local < crop.mask.shape[axis]:
        return Crop.empty()
    part = [slice(None)] * 3
    part[axis] = slice(local, local + 1)
    lower = list(crop.lower)
    lower[axis] = index
    return Crop(crop.mask[tuple(part)], (lower[0], lower[1], lower[2])).tight()

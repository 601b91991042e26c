"""Segments whose every change is a named step that can be undone, whoever makes it.

What is in the section "for parts" is for the parts of a segmenter, which work through it (``interactive``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import slicer
from undo_stack import Signal, SignalContainer, UndoStack

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.geometry import Crop, Volume
from AutoPromptSAMLib.mrml import segment_list
from AutoPromptSAMLib.mrml.kept_segments import Flips, KeptSegments
from AutoPromptSAMLib.mrml.reports import Message
from AutoPromptSAMLib.mrml.segment_list import SegmentInfo
from AutoPromptSAMLib.mrml.segments import SegmentWriter
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.mrml.volumes import volume_from_node

UNDO_STEPS = 100  # a choice; a step keeps the block around the voxels that it changed

T = TypeVar("T")


class SegmentEditing(SignalContainer):
    """The segments of one segmentation node on one volume node; ``InteractiveSegmenter`` adds the prompts."""

    changed = Signal(str)
    said = Signal(Message)

    def __init__(
        self,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        call: Callable[[Callable[[], None]], None],
        logic: slicer.vtkSlicerSegmentEditorLogic | None = None,
    ) -> None:
        self.volume_node, self.segmentation_node = volume_node, segmentation_node
        self.volume: Volume = volume_from_node(volume_node)
        self.undo_stack = UndoStack(undo_limit=UNDO_STEPS)
        self.writer = SegmentWriter(segmentation_node, volume_node, logic)
        self.surface_shown = False
        self.edit_verb = "Edit"  # what undo calls the changes of other editors; hosts set it to the tool in hand
        self.call = call
        self.is_closed = False
        self._last_pushed: Step | None = None
        self._took_edits = True
        self.kept = KeptSegments(self.writer, self._edited)
        self._active: str | None = next(iter(self.kept.known), None)
        self.undo_stack.index_changed.connect(self._on_history)

    def close(self) -> None:
        """Let go of the scene."""
        self.is_closed = True
        self.kept.close()
        self.undo_stack.index_changed.disconnect(self._on_history)
        self.writer.close()

    # -- segments -----------------------------------------------------------------------------------------------------

    @property
    def segments(self) -> list[SegmentInfo]:
        """The segment list, in order."""
        node, voxel = self.segmentation_node, float(np.prod(self.volume.geometry.spacing)) / 1000
        ids = segment_list.segment_ids(node)
        return [segment_list.segment_info(node, id, self.kept.known.get(id, Crop.empty()).count * voxel) for id in ids]

    @property
    def active_segment(self) -> str | None:
        """The id of the segment that prompts go to; None when there is no segment."""
        return self._active

    @active_segment.setter
    def active_segment(self, segment_id: str | None) -> None:
        if segment_id != self._active and (segment_id is None or self._segment(segment_id) is not None):
            self._active = segment_id
            self.changed("active")
            self.changed("propagation")

    def add_segment(self, name: str = "", color: Sequence[float] | None = None, terminology: str = "") -> str:
        """Add an empty segment and make it the active one; returns its id. Default colour and name are free ones.

        ``terminology``: the entry that belongs to the name (``mrml.terms``), default Slicer's own.
        """
        node, before = self.segmentation_node, self._active
        name = segment_list.free_segment_name(node, name)
        shown = tuple(segment_list.free_color(node) if color is None else color)
        with self.kept.own_changes():
            segment_id = self.writer.add_segment(name, shown)
        self.kept.known[segment_id] = Crop.empty()
        if terminology:
            self._segment(segment_id).SetTerminology(terminology)
        undone, redone = self.adding([segment_id])

        def remove() -> None:
            undone()
            self.activate(before)

        def add() -> None:
            redone()
            self.activate(segment_id)

        self.push(self.new_step(f"Add {name}", undone=remove, redone=add))
        self.activate(segment_id)
        self.changed("segments")
        return segment_id

    def remove_segment(self, segment_id: str) -> None:
        """Remove a segment with its prompts."""
        segment = self._segment(segment_id)
        if segment is None or self.is_locked(segment_id):
            return
        segmentation = self.segmentation_node.GetSegmentation()
        at, before = segmentation.GetSegmentIndex(segment_id), self._active
        name, (drop, bring_back) = self.name_of(segment_id), self.adding([segment_id])
        prompt_steps = self.forget(segment_id)

        def remove() -> None:
            drop()
            ids = segment_list.segment_ids(self.segmentation_node)
            self.activate(before if before != segment_id else ids[min(at, len(ids) - 1)] if ids else None)

        def add() -> None:
            bring_back()
            self.activate(before)

        step = self.new_step(f"Remove {name}", prompt_steps=prompt_steps, undone=add, redone=remove)
        step.add_flips({segment_id: self.kept.known[segment_id]})
        with self.kept.own_changes():
            remove()
        self.push(step)
        for what in ("segments", "prompts"):
            self.changed(what)

    def rename_segment(self, segment_id: str, name: str, terminology: str | None = None) -> None:
        """Give a segment another name, and the ``terminology`` entry that belongs to it (``mrml.terms``)."""
        segment = self._segment(segment_id)
        name = name.strip()
        if segment is None or not name or name == segment.GetName():
            return
        before = (segment.GetName(), segment.GetTerminology())
        after = (name, before[1] if terminology is None else terminology)

        def give(named: tuple[str, str]) -> None:
            segment.SetName(named[0])
            segment.SetTerminology(named[1])

        self._set(f"Rename {segment.GetName()}", give, before, after)

    def set_segment_color(self, segment_id: str, color: Sequence[float]) -> None:
        """Give a segment another colour: red, green, blue in 0..1."""
        segment = self._segment(segment_id)
        if segment is not None:
            self._set(f"Colour of {segment.GetName()}", segment.SetColor, segment.GetColor(), list(color))

    def set_segment_visible(self, segment_id: str, visible: bool) -> None:
        """Show or hide a segment; no undo step."""
        segment_list.display_of(self.segmentation_node).SetSegmentVisibility(segment_id, visible)
        self.changed("segments")

    def set_segment_opacity(self, segment_id: str, opacity: float) -> None:
        """How opaque a segment is drawn, 0..1; no undo step."""
        segment_list.display_of(self.segmentation_node).SetSegmentOpacity(segment_id, opacity)
        self.changed("segments")

    def set_segment_locked(self, segment_id: str, locked: bool) -> None:
        """Keep a segment from being changed by prompts and runs, or let it be changed again."""
        if self._segment(segment_id) is not None:
            segment_list.set_locked(self.segmentation_node, segment_id, locked)
            self.changed("segments")

    def set_surface_shown(self, shown: bool) -> None:
        """Show the segments as surfaces in 3D views, or not."""
        segment_list.display_of(self.segmentation_node).SetVisibility3D(shown)
        self.surface_shown = shown
        self.update_surfaces()

    def update_surfaces(self) -> None:
        """Make the surfaces of what the segments are now; hosts call it when nobody works: it takes up to seconds.

        Writing into a segment drops its surface (``KeptSegments``).
        """
        if self.surface_shown:
            with self.kept.own_changes():
                self.segmentation_node.CreateClosedSurfaceRepresentation()

    # -- history ------------------------------------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back the last step."""
        if self._may_travel():
            self.take_edits()
            self.undo_stack.undo()

    def redo(self) -> None:
        """Do the last undone step again."""
        if self._may_travel():
            self.take_edits()
            self.undo_stack.redo()

    @property
    def undo_text(self) -> str:
        """What ``undo`` would take back; "" for nothing."""
        return str(self.undo_stack.undo_text()) if self.undo_stack.can_undo() else ""

    @property
    def redo_text(self) -> str:
        """What ``redo`` would do again; "" for nothing."""
        return str(self.undo_stack.redo_text()) if self.undo_stack.can_redo() else ""

    # -- for parts ----------------------------------------------------------------------------------------------------

    def name_of(self, segment_id: str) -> str:
        """The name of a segment; its id when it is gone."""
        segment = segment_list.segment_of(self.segmentation_node, segment_id)
        return segment_id if segment is None else str(segment.GetName())

    def is_locked(self, segment_id: str) -> bool:
        """Whether a segment is locked, which is said."""
        locked = segment_list.is_locked(self.segmentation_node, segment_id)
        if locked:
            self.said(
                Message(f'"{self.name_of(segment_id)}" is locked; unlock it in the segment list first.', "warning")
            )
        return locked

    def activate(self, segment_id: str | None) -> None:
        """Make a segment the active one, whether it is there yet or not."""
        self._active = segment_id
        for what in ("active", "propagation"):
            self.changed(what)

    def drop_segment(self, segment_id: str) -> None:
        """Remove a segment that no step speaks of yet."""
        self.segmentation_node.GetSegmentation().RemoveSegment(segment_id)
        self.kept.known.pop(segment_id, None)

    def new_step(self, text: str, *, by_hand: Flips | None = None, **more: Any) -> Step:
        """A step that begins now; ``more`` as ``Step``."""
        return Step(text, self._travel, by_hand=dict(self.kept.by_hand) if by_hand is None else by_hand, **more)

    def push(self, step: Step) -> None:
        """Make what was done a step that can be undone."""
        self._last_pushed = step
        self.undo_stack.push(step)

    def drop_step(self, step: Step) -> None:
        """Forget a step of which nothing came."""
        if not step.flips and self._last_pushed is step:
            self._travel(step, False)
            step.obsolete = True
            self.undo_stack.undo()  # which drops it

    def record(self, flips: Flips, step: Step) -> None:
        """Voxels were changed as part of a step."""
        step.add_flips(flips)
        if flips:
            self.changed("segments")

    def take_edits(self) -> None:
        """Note what other editors changed, as a step."""
        if self._took_edits or self.is_closed:
            return
        self._took_edits = True
        known, by_hand = list(self.kept.known), dict(self.kept.by_hand)
        flips = self.kept.take_edits()
        for segment_id in known:
            if segment_id not in self.kept.known:
                self.forget(segment_id)
                self.undo_stack.clear()  # its steps speak of a segment that is no longer there
        if self._active not in self.kept.known:
            self.activate(next(iter(self.kept.known), None))
        if flips:
            undone, redone = self.adding([id for id in self.kept.known if id not in known])
            text = f"{self.edit_verb} {self.name_of(next(iter(flips)))}"
            step = self.new_step(text, by_hand=by_hand, undone=undone, redone=redone)
            step.add_flips(flips)
            self.push(step)
        self.changed("segments")

    def adding(self, ids: Sequence[str]) -> tuple[Callable[[], None], Callable[[], None]]:
        """How to undo, and to do again, that these segments were added."""
        gone: dict[str, Callable[[], None]] = {}

        def remove() -> None:
            for segment_id in reversed(ids):
                gone[segment_id] = segment_list.bringing_back(self.segmentation_node, segment_id)
                self.drop_segment(segment_id)
            if self._active in ids:
                self.activate(next(iter(self.kept.known), None))

        def add() -> None:
            for segment_id in ids:
                gone[segment_id]()
                self.kept.known[segment_id] = Crop.empty()

        return remove, add

    @contextmanager
    def saying(self) -> Iterator[None]:
        """Say what is wrong instead of raising it."""
        try:
            yield
        except AutoPromptSAMError as error:
            self.said(Message(self._worded(str(error)), "error"))

    def forget(self, segment_id: str) -> int:
        """Drop what belongs to a segment that goes; returns how many steps of the session that took."""
        return 0

    # -- inside -------------------------------------------------------------------------------------------------------

    def _segment(self, segment_id: str) -> Any:
        return segment_list.segment_of(self.segmentation_node, segment_id)

    def _set(self, text: str, setter: Callable[[T], None], before: T, after: T) -> None:
        """Set a property of a segment as an undo step."""
        setter(after)
        self.push(self.new_step(text, undone=lambda: setter(before), redone=lambda: setter(after)))
        self.changed("segments")

    def _edited(self) -> None:
        """Another editor changed something; it is looked at once it is through."""
        if self._took_edits:
            self._took_edits = False
            self.call(self.take_edits)

    def _may_travel(self) -> bool:
        """Whether undo and redo are possible now; says why not."""
        return True

    def _travel(self, step: Step, forward: bool) -> None:
        """Undo or redo a step."""
        other = step.redone if forward else step.undone
        with self.kept.own_changes():
            if other is not None:
                other()
            self.kept.flip(step.flips)
        if forward:
            self.kept.by_hand = dict(step.by_hand_after)
        else:
            step.by_hand_after, self.kept.by_hand = self.kept.by_hand, dict(step.by_hand)
        self.changed("segments")

    def _on_history(self, *_: object) -> None:
        self.changed("history")

    def _worded(self, text: str) -> str:
        """A sentence of the session with the names that people gave instead of the ids of segments."""
        for segment_id in self.kept.known:
            text = text.replace(f'"{segment_id}"', f'"{self.name_of(segment_id)}"')
        return text

"""Prompts -> masks in segments, live and undoable: what every host wires its widgets to.

The session keeps the prompts, by segment id; the segmentation node keeps the voxels; this keeps both in step. All
methods run on the host's main thread. What a person waits for comes back through ``call``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import slicer

from AutoPromptSAMLib.errors import AutoPromptSAMError, PromptError
from AutoPromptSAMLib.geometry import Crop, Plane
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.mrml import segment_list
from AutoPromptSAMLib.mrml.examples import Examples
from AutoPromptSAMLib.mrml.learning import Learner
from AutoPromptSAMLib.mrml.looks import Looks
from AutoPromptSAMLib.mrml.mending import Mending
from AutoPromptSAMLib.mrml.remembered import Remembered
from AutoPromptSAMLib.mrml.reports import Message, Propagation, Status
from AutoPromptSAMLib.mrml.segment_list import SegmentInfo
from AutoPromptSAMLib.mrml.segments import slice_region
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.mrml.volume_runs import KEPT, NOTHING, VolumeRuns
from AutoPromptSAMLib.names import free_name
from AutoPromptSAMLib.prompts import MaskPrompt, PromptSet
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.session.protocol import PropagationResult, Session
from AutoPromptSAMLib.session.replay import prompts_on

__all__ = ["InteractiveSegmenter", "Message", "Propagation", "SegmentInfo", "Status"]


class InteractiveSegmenter(VolumeRuns):
    """One volume, its segmentation and a session.

    ``call`` hands a function to the host's main thread and may be called from any thread. ``logic``: the editor logic
    whose overwrite mode and editable area hold, default one of its own (``SegmentWriter``). ``undo_stack`` has one
    step for each thing that a person did, changes that other editors make to the segmentation included.

    Its parts: ``examples`` find segments, ``learner`` learns to, ``looks`` tell where the model is unsure of them, and
    ``mending`` acts on that.

    ``changed`` says what to draw anew: "segments", "active", "prompts", "history", "status", "propagation",
    "learning" or "review".
    ``said`` brings sentences for the person; methods say what is wrong there and do not raise.
    """

    def __init__(
        self,
        session: Session,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        call: Callable[[Callable[[], None]], None],
        logic: slicer.vtkSlicerSegmentEditorLogic | None = None,
    ) -> None:
        super().__init__(session, volume_node, segmentation_node, call, logic)
        self.learner, self.examples, self.looks = Learner(self), Examples(self), Looks(self)
        self.mending = Mending(self, self.looks)

    def close(self) -> None:
        """Cancel what runs and let go of the scene; the session stays open."""
        self.learner.cancel()
        super().close()
        self.looks.close()

    # -- the volume ---------------------------------------------------------------------------------------------------

    def propagate(self, first: int = 0, last: int | None = None, axis: int | None = None) -> None:
        """Find the active segment on slices ``first`` to ``last`` along array axis ``axis``, from those with prompts.

        ``axis`` None is the one that the prompts lie across. What a person painted on a slice is taken as it is.
        """
        segment_id = self._active
        if segment_id is None or not self.is_free() or self.is_locked(segment_id):
            return
        along = self.present_masks.natural_axis(segment_id) if axis is None else axis
        step = self.new_step(f"Propagate {self.name_of(segment_id)}")
        with self.saying(), self.taken_back(step):
            step.prompt_steps = self.present_masks.take_painted(segment_id, along)
            if not self.prompts():
                raise PromptError(f'"{self.name_of(segment_id)}" has no prompts; draw a box around it on one slice.')
            done = partial(self._propagated, segment_id, step, first, last)
            self.start(
                step.text(),
                lambda: self.session.propagate(
                    segment_id,
                    along,
                    first,
                    last,
                    lambda index, crop: self.call(lambda: self.show_slice(segment_id, along, index, crop, step)),
                    self.later(self.on_progress),
                    self.later(lambda job: self.ended(job, done)),
                ),
            )
            self.undo_with_runs(step)
            self.push(step)
            if step.prompt_steps:
                self.changed("prompts")

    def is_free(self) -> bool:
        """Whether a run may start; says what is in its way, unless it is a run."""
        if self.learner.is_learning:
            self.said(Message("Learning is going on; wait for its end or cancel it, which keeps the best so far."))
            return False
        return super().is_free()

    # -- what its parts follow ----------------------------------------------------------------------------------------

    def show_plane(self, plane: Plane) -> None:
        """Tell where the person looks: the plane is encoded in the background, suggestions for it are shown."""
        super().show_plane(plane)
        self.looks.seen(plane)

    def update_surfaces(self) -> None:
        """Make the surfaces of what the segments are now; hosts call it when nobody works: it takes up to seconds."""
        super().update_surfaces()
        self.looks.display.update_surface()

    def forget(self, segment_id: str) -> int:
        """Drop what belongs to a segment that goes; returns how many steps of the session that took."""
        self.looks.forget(segment_id)
        return super().forget(segment_id)

    # -- another segmenter on the same segmentation -------------------------------------------------------------------

    def remembered(self) -> Remembered:
        """All that another segmenter needs to go on where this one is."""
        geometry, hand = self.volume.geometry, self.kept.by_hand
        masks = {id: MaskPrompt(crop, geometry) for id, crop in hand.items() if not crop.is_empty}
        painted = PromptFile({id: PromptSet([mask]) for id, mask in masks.items()}, None, geometry)
        return Remembered(self.session.export_prompts(), painted, self.kept_runs())

    def restore(self, remembered: Remembered) -> None:
        """Take over what another segmenter left; voxels stay as they are.

        Raises as ``Session.replay``; all is as it was then.
        """
        painted, before = remembered.painted, remembered.prompts.geometry
        hand = {} if painted is None else prompts_on(painted, self.volume.geometry)
        self.session.replay(remembered.prompts)
        known = [(id, mask) for id, masks in hand.items() for mask in masks if id in self.kept.known]
        self.kept.by_hand = {}
        for id, mask in known:
            if isinstance(mask, MaskPrompt):
                self.kept.take_over(id, mask.crop)
        self.restore_runs(remembered.runs, before)
        self.changed("prompts")

    # -- files --------------------------------------------------------------------------------------------------------

    def export_prompts(self) -> PromptFile:
        """All prompts, by segment name."""
        file = self.session.export_prompts()
        names: dict[str, PromptSet] = {}
        for segment_id, prompts in file.objects.items():
            if prompts and self._segment(segment_id) is not None:
                names[free_name(self.name_of(segment_id), names)] = prompts
        return PromptFile(names, file.model, file.geometry)

    def import_prompts(self, file: PromptFile) -> None:
        """Take over prompts, by segment name, in place of all that are there, and find their slices again.

        Segments that are missing are added. Ends the history: what was before cannot be undone.
        """
        with self.saying():
            ids = {self.name_of(id): id for id in segment_list.segment_ids(self.segmentation_node)}
            missing = [name for name in file.objects if name not in ids]
            ids |= {name: self.add_segment(name) for name in missing}
            named = {ids[name]: prompts for name, prompts in file.objects.items()}
            try:
                remarks = self.session.replay(PromptFile(named, file.model, file.geometry))
            except AutoPromptSAMError:
                for _ in missing:
                    self.undo_stack.undo()
                raise
            self.undo_stack.clear()
            for name, prompts in file.objects.items():
                for plane in self._planes(prompts.prompts):
                    self.prompted(f"Replay {name}", ids[name], plane, 0)
            for remark in remarks:
                self.said(Message(remark, "warning"))
            self.changed("prompts")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _propagated(
        self, segment_id: str, step: Step, first: int, last: int | None, job: Job[PropagationResult]
    ) -> bool:
        if job.error is None and segment_id in self.kept.known:
            result = job.result()
            if result.complete:
                self._clear_beside(result, segment_id, step, first, last)
            self.runs[segment_id] = Propagation(result.axis, result.agreement, result.seeds, result.complete)
            if result.mask.is_empty:
                self.said(Message(f'"{self.name_of(segment_id)}" was found nowhere; draw a tighter box.', "warning"))
        elif job.error is not None:
            self.drop_step(step)
        return self.is_whole(job, KEPT if step.flips else NOTHING)

    def _clear_beside(
        self, result: PropagationResult, segment_id: str, step: Step, first: int, last: int | None
    ) -> None:
        """Empty the slices of the range in which an earlier run saw the object and this one does not."""
        axis = result.axis
        own, known = self.own_slices(segment_id, axis), self.kept.known[segment_id]
        for index in range(known.lower[axis], known.upper[axis]):
            within = first <= index and (last is None or index <= last)
            if within and index not in result.agreement and index not in own:
                region = slice_region(self.volume.geometry, axis, index)
                self.record(self.kept.write(segment_id, Crop.empty(), region), step)

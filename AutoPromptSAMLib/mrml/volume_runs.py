"""What runs through the volume have in common: one at a time, slice by slice into segments, cancelled, told about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import slicer

from AutoPromptSAMLib.errors import Cancelled, PromptError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.loops.job import Job, Progress
from AutoPromptSAMLib.mrml.remembered import KeptRun
from AutoPromptSAMLib.mrml.reports import Message, Propagation, Status
from AutoPromptSAMLib.mrml.segments import slice_region
from AutoPromptSAMLib.mrml.slice_prompting import SlicePrompting
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.session.protocol import Session

Task = Callable[[], Job[Any]]
KEPT = "Cancelled; the slices that were finished are kept."
NOTHING = "Cancelled before a slice was finished; nothing was changed."


class VolumeRuns(SlicePrompting):
    """The run that is going on (``job``), and what the last one of each segment found (``runs``)."""

    def __init__(
        self,
        session: Session,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        call: Callable[[Callable[[], None]], None],
        logic: slicer.vtkSlicerSegmentEditorLogic | None = None,
    ) -> None:
        super().__init__(session, volume_node, segmentation_node, call, logic)
        self.job: Job[Any] | None = None
        self.tasks: list[Task] = []  # of the same run, after the present job
        self.runs: dict[str, Propagation] = {}

    def close(self) -> None:
        """Cancel what runs and let go of the scene; the session stays open."""
        self.cancel()
        super().close()

    def cancel(self) -> None:
        """End the run after the slice that it is at; what is done stays."""
        self.tasks.clear()
        if self.job is not None:
            self.job.cancel()

    def need_rest(self, what: str) -> None:
        """PromptError while a run is going on, for ``what`` would leave it half done."""
        if self.job is not None:
            raise PromptError(
                f"A run is going on: cancel it, which keeps what is done, or wait for its end; then {what}."
            )

    def propagation(self, segment_id: str | None = None) -> Propagation | None:
        """The last run of a segment, default the active one."""
        return self.runs.get(segment_id or self._active or "")

    def kept_runs(self) -> dict[str, KeptRun]:
        """The last run of each segment, to be kept with its voxels."""
        return {id: KeptRun.of(run, self.kept.known[id]) for id, run in self.runs.items() if id in self.kept.known}

    def restore_runs(self, runs: Mapping[str, KeptRun], before: VolumeGeometry | None) -> None:
        """Take over what is known of the slices that are as they were kept; ``before``: the grid of the image then."""
        known, now = self.kept.known, self.volume.geometry
        found = {id: kept.on(known[id], before, now) for id, kept in runs.items() if id in known}
        self.runs = {id: run for id, run in found.items() if run is not None}
        self.changed("propagation")

    # -- for parts ----------------------------------------------------------------------------------------------------

    def is_free(self) -> bool:
        """Whether a run may start; says what is in its way, unless it is a run."""
        return self.job is None

    def start(self, text: str, *tasks: Task) -> None:
        """Run jobs one after the other; raises what the first one does not like. Each of them tells ``ended``."""
        self.since_run.clear()
        self.job = tasks[0]()
        self.tasks = list(tasks[1:])
        self.running = Status("propagating", text)
        self.set_status()

    def ended(self, job: Job[Any], then: Callable[[Any], bool]) -> None:
        """A job of a run is over: what comes of it, and the next one if ``then`` says that it is whole."""
        is_whole = False
        try:
            with self.saying():
                is_whole = then(job)
        finally:
            if not is_whole:
                self.tasks.clear()
            self.job = None
            with self.saying():
                if self.tasks:
                    self.job = self.tasks.pop(0)()
            if self.job is None:
                self.tasks.clear()
                self.running = None
            self.set_status()
            for what in ("review", "propagation"):
                self.changed(what)

    def is_whole(self, job: Job[Any], nothing: str = KEPT) -> bool:
        """Whether a job did all of it; says so when it was cancelled, ``nothing`` when it has no result."""
        if job.error is not None and not isinstance(job.error, Cancelled):
            raise job.error
        is_whole = job.error is None and bool(job.result().complete)
        if not is_whole:
            self.said(Message(nothing if job.error else KEPT))
        return is_whole

    def undo_with_runs(self, step: Step) -> None:
        """Let undoing a run's ``step`` take back what is known of its slices, too, and redoing bring it again.

        Called before the run has found anything, and after all else that undoing the step does is known.
        """
        undone, redone = step.undone, step.redone
        before, after = dict(self.runs), dict[str, Propagation]()

        def undo() -> None:
            after.update(self.runs)
            self.runs = dict(before)
            if undone is not None:
                undone()
            self.changed("propagation")

        def redo() -> None:
            if redone is not None:
                redone()
            self.runs = dict(after)
            self.changed("propagation")

        step.undone, step.redone = undo, redo

    def own_slices(self, segment_id: str, axis: int) -> set[int]:
        """Slices along ``axis`` that a person prompted or painted since the run began: it leaves them as they are."""
        self.take_edits()
        prompted = {index for id, along, index in self.since_run if (id, along) == (segment_id, axis)}
        return prompted.union(self.kept.painted_slices(segment_id, axis))

    def show_slice(self, segment_id: str, axis: int, index: int, crop: Crop, step: Step) -> None:
        """A slice of a run; what a person prompted or painted meanwhile stays."""
        if self.is_closed or index in self.own_slices(segment_id, axis) or segment_id not in self.kept.known:
            return
        with self.saying():
            self.record(self.kept.write(segment_id, crop, slice_region(self.volume.geometry, axis, index)), step)

    def on_progress(self, progress: Progress) -> None:
        """A run has come on."""
        if self.running is not None:
            text = f"{self.running.text.partition(':')[0]}: {progress.text.lower()}"
            self.running = Status("propagating", text, progress.done, progress.total)
            self.set_status()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _may_travel(self) -> bool:
        if self.job is not None:
            self.said(Message("A run is going on; cancel it before undoing or redoing.", "warning"))
        return self.job is None

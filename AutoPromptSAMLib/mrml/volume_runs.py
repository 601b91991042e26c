"""What runs through the volume have in common: one at a time, slice by slice into segments, cancelled, told about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import slicer

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.loops.job import Job, Progress
from AutoPromptSAMLib.mrml.remembered import KeptRun
from AutoPromptSAMLib.mrml.reports import Message, Propagation, Status
from AutoPromptSAMLib.mrml.segments import slice_region
from AutoPromptSAMLib.mrml.slice_prompting import SlicePrompting
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.session.protocol import Session


class VolumeRuns(SlicePrompting):
    """The run that is going on, and what the last one of each segment found."""

    def __init__(
        self,
        session: Session,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        call: Callable[[Callable[[], None]], None],
        logic: slicer.vtkSlicerSegmentEditorLogic | None = None,
    ) -> None:
        super().__init__(session, volume_node, segmentation_node, call, logic)
        self._propagating: Job[Any] | None = None
        self._runs: dict[str, Propagation] = {}

    def close(self) -> None:
        """Cancel what runs and let go of the scene; the session stays open."""
        self.cancel()
        super().close()

    def cancel(self) -> None:
        """End the run after the slice that it is at; what is done stays."""
        if self._propagating is not None:
            self._propagating.cancel()

    def need_rest(self, what: str) -> None:
        """PromptError while a run is going on, for ``what`` would leave it half done."""
        if self._propagating is not None:
            raise PromptError(
                f"A run is going on: cancel it, which keeps what is done, or wait for its end; then {what}."
            )

    def propagation(self, segment_id: str | None = None) -> Propagation | None:
        """The last run of a segment, default the active one."""
        return self._runs.get(segment_id or self._active or "")

    def kept_runs(self) -> dict[str, KeptRun]:
        """The last run of each segment, to be kept with its voxels."""
        return {id: KeptRun.of(run, self.kept.known[id]) for id, run in self._runs.items() if id in self.kept.known}

    def restore_runs(self, runs: Mapping[str, KeptRun], before: VolumeGeometry | None) -> None:
        """Take over what is known of the slices that are as they were kept; ``before``: the grid of the image then."""
        known, now = self.kept.known, self.volume.geometry
        found = {id: kept.on(known[id], before, now) for id, kept in runs.items() if id in known}
        self._runs = {id: run for id, run in found.items() if run is not None}
        self.changed("propagation")

    def _own_slices(self, segment_id: str, axis: int) -> set[int]:
        """Slices along ``axis`` that a person prompted or painted since the run began: it leaves them as they are."""
        self._take_edits()
        prompted = {index for id, along, index in self._since_run if (id, along) == (segment_id, axis)}
        return prompted.union(self.kept.painted_slices(segment_id, axis))

    def _show_slice(self, segment_id: str, axis: int, index: int, crop: Crop, step: Step) -> None:
        """A slice of a run; what a person prompted or painted meanwhile stays."""
        if self._closed or index in self._own_slices(segment_id, axis) or segment_id not in self.kept.known:
            return
        with self._saying():
            self._record(self.kept.write(segment_id, crop, slice_region(self.volume.geometry, axis, index)), step)

    def _may_travel(self) -> bool:
        if self._propagating is not None:
            self.said(Message("A run is going on; cancel it before undoing or redoing.", "warning"))
        return self._propagating is None

    def _on_progress(self, progress: Progress) -> None:
        if self._running is not None:
            text = f"{self._running.text.partition(':')[0]}: {progress.text.lower()}"
            self._running = Status("propagating", text, progress.done, progress.total)
            self._set_status()

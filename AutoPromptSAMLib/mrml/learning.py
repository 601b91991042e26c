"""Learning a set of examples while the host goes on: progress, preview, and what was learned attached to the set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer
from undo_stack import UndoStack

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.loops.job import Job, Progress
from AutoPromptSAMLib.mrml.reports import Message
from AutoPromptSAMLib.mrml.volume_runs import VolumeRuns
from AutoPromptSAMLib.session.protocol import Session
from AutoPromptSAMLib.supports import SupportLibrary, SupportSet


@dataclass(frozen=True)
class Learning:
    """A set that is being learned: how far it is (``done`` of ``total``), in words, and the last preview.

    ``preview``: uint8 (rows, cols, 3), a held-back image with the truth in white and what was found in orange.
    """

    set_id: str
    text: str = "Preparing"
    done: int = 0
    total: int = 0
    preview: np.ndarray | None = None


class TaskLearning(VolumeRuns):
    """The one task that is being learned; no run goes through the volume meanwhile."""

    def __init__(
        self,
        session: Session,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        call: Callable[[Callable[[], None]], None],
        undo_stack: UndoStack | None = None,
        logic: slicer.vtkSlicerSegmentEditorLogic | None = None,
    ) -> None:
        super().__init__(session, volume_node, segmentation_node, call, undo_stack, logic)
        self.learning: Learning | None = None
        self._learning_job: Job[Any] | None = None

    def close(self) -> None:
        """Cancel what runs and let go of the scene; the session stays open."""
        self.cancel_learning()
        super().close()

    @property
    def can_learn(self) -> bool:
        """Whether the session learns tasks."""
        return hasattr(self.session, "learn")

    def learn(self, supports: SupportSet, library: SupportLibrary, minutes: float = 15.0) -> None:
        """Learn a set's objects for up to so many minutes, and attach what was learned to the set."""
        if not self._is_free():
            return

        def ended(job: Job[Any]) -> None:
            self._learned(job, supports, library)

        with self._saying():
            session: Any = self.session
            self._learning_job = session.learn(
                supports,
                minutes=minutes,
                on_progress=self._later(self._on_learning),
                on_preview=self._later(self._on_preview),
                on_done=self._later(ended),
            )
            self.learning = Learning(supports.id)
            self.changed("learning")

    def cancel_learning(self) -> None:
        """End learning; the best so far is kept."""
        if self._learning_job is not None:
            self._learning_job.cancel()
            if self.learning is not None:
                self.learning = replace(self.learning, text="Stopping after this step")
                self.changed("learning")

    def _is_free(self) -> bool:
        """Whether a run may start; says what is in its way, unless it is a run."""
        if self._learning_job is not None:
            self.said(Message("Learning is going on; wait for its end or cancel it, which keeps the best so far."))
        return self._learning_job is None and self._propagating is None

    def _on_learning(self, progress: Progress) -> None:
        if self.learning is not None:
            self.learning = replace(self.learning, text=progress.text, done=progress.done, total=progress.total)
            self.changed("learning")

    def _on_preview(self, preview: Any) -> None:
        if self.learning is not None:
            self.learning = replace(self.learning, preview=preview_pixels(preview))
            self.changed("learning")

    def _learned(self, job: Job[Any], supports: SupportSet, library: SupportLibrary) -> None:
        self._learning_job = self.learning = None
        self.changed("learning")
        with self._saying():
            if isinstance(job.error, Cancelled):
                self.said(Message("Cancelled before anything was learned; the examples are as they were."))
                return
            if job.error is not None:
                raise job.error
            result = job.result()
            library.attach_task(supports.id, result.task)
            how = "" if result.dice is None else f" (Dice {result.dice:.2f} on examples that were held back)"
            state = "Learned" if result.complete else "Cancelled; the best so far is kept: learned"
            self.said(Message(f'{state} "{supports.name}"{how}; prompt automatically to use it.'))
        self.changed("learning")


def preview_pixels(preview: Any) -> np.ndarray:
    """A ``training.learn.Preview`` as a picture (rows, cols, 3) uint8: truth in white, what was found in orange."""
    from scipy import ndimage

    picture = np.array(preview.image)
    rows, cols = picture.shape[:2]
    for masks, colour in ((preview.truth, (255, 255, 255)), (preview.mask, (255, 140, 0))):
        for mask in masks:
            row, col = np.arange(rows) * mask.shape[0] // rows, np.arange(cols) * mask.shape[1] // cols
            there = mask[row[:, None], col]
            picture[there & ~ndimage.binary_erosion(there)] = colour
    return picture

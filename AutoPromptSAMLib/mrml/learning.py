"""Learning a set of examples while the host goes on: progress, preview, and what was learned attached to the set."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled
from AutoPromptSAMLib.loops.job import Job, Progress
from AutoPromptSAMLib.mrml.reports import Message
from AutoPromptSAMLib.mrml.volume_runs import VolumeRuns
from AutoPromptSAMLib.supports import SupportLibrary, SupportSet
from AutoPromptSAMLib.training.preview import Preview

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learning:
    """A set that is being learned: how far it is (``done`` of ``total``), in words, the last preview, and its name.

    ``preview``: uint8 (rows, cols, 3), a held-back image with the truth in white and what was found in orange.
    """

    set_id: str
    text: str = "Preparing"
    done: int = 0
    total: int = 0
    preview: np.ndarray | None = None
    name: str = ""


class TaskLearning(VolumeRuns):
    """The one task that is being learned; no run goes through the volume meanwhile."""

    learning: Learning | None = None
    _learning_job: Job[Any] | None = None

    def close(self) -> None:
        """Cancel what runs and let go of the scene; the session stays open."""
        self.cancel_learning()
        super().close()

    def learn(self, supports: SupportSet, library: SupportLibrary, minutes: float = 15.0) -> None:
        """Learn a set's objects for up to so many minutes, and attach what was learned to the set.

        Closing ends it too, and also keeps the best so far.
        """
        if not self._is_free():
            return

        def ended(job: Job[Any]) -> None:
            # On the session's thread, and also when the host has gone on to another image: it took minutes.
            problem = None
            if job.error is None:
                result = job.result()
                try:
                    if result.better:
                        library.attach_task(supports.id, result.task)
                    result.task.unlink(missing_ok=True)  # the set has its own copy
                except AutoPromptSAMError as error:
                    problem = error
                except OSError as error:
                    logger.debug("%s stays: %s", result.task, error)
            self._call(lambda: self._learned(job, supports.name, problem))

        with self._saying():
            self._learning_job = self.session.learn(
                supports,
                minutes=minutes,
                on_progress=self._later(self._on_learning),
                on_preview=self._later(self._on_preview),
                on_done=ended,
            )
            self.learning = Learning(supports.id, name=supports.name)
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

    def _on_preview(self, preview: Preview) -> None:
        if self.learning is not None:
            self.learning = replace(self.learning, preview=preview.picture())
            self.changed("learning")

    def _learned(self, job: Job[Any], name: str, problem: AutoPromptSAMError | None) -> None:
        self._learning_job = self.learning = None
        self.changed("learning")
        left = "Learning ended with the change of the image or the model"
        with self._saying():
            if isinstance(job.error, Cancelled):
                start = f"{left}, before" if self._closed else "Cancelled before"
                self.said(Message(f"{start} anything was learned; the examples are as they were."))
                return
            if job.error is not None or problem is not None:
                raise job.error or problem  # type: ignore[misc]
            result = job.result()
            how = "" if result.dice is None else f" (Dice {result.dice:.2f} on examples that were held back)"
            if not result.better:
                self.said(Message(f'Cancelled{how}; what "{name}" had learned before is better and stays.'))
                return
            if self._closed:
                self.said(Message(f'{left}; the best so far is kept in "{name}"{how}.'))
                return
            state = "Learned" if result.complete else "Cancelled; the best so far is kept: learned"
            self.said(Message(f'{state} "{name}"{how}; prompt automatically to use it.'))

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
FEW = 5  # held-back examples, whose Dice tells little of other images: hippocampus .90 by two, .76 on sixty


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


class Learner:
    """Learns one set at a time for a segmenter; no run goes through the volume meanwhile. ``changed``: "learning"."""

    def __init__(self, segmenter: VolumeRuns) -> None:
        self.segmenter = segmenter
        self.learning: Learning | None = None
        self._job: Job[Any] | None = None

    @property
    def is_learning(self) -> bool:
        """Whether something is being learned, or just ending."""
        return self._job is not None

    def learn(self, supports: SupportSet, library: SupportLibrary, minutes: float = 15.0) -> None:
        """Learn a set's objects for up to so many minutes, and attach what was learned to the set.

        Closing ends it too, and also keeps the best so far.
        """
        if not self.segmenter.is_free():
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
            self.segmenter.call(lambda: self._learned(job, supports.name, problem))

        with self.segmenter.saying():
            self._job = self.segmenter.session.learn(
                supports,
                minutes=minutes,
                on_progress=self.segmenter.later(self._on_learning),
                on_preview=self.segmenter.later(self._on_preview),
                on_done=ended,
            )
            self.learning = Learning(supports.id, name=supports.name)
            self.segmenter.changed("learning")

    def cancel(self) -> None:
        """End learning; the best so far is kept."""
        if self._job is not None:
            self._job.cancel()
            if self.learning is not None:
                self.learning = replace(self.learning, text="Stopping after this step")
                self.segmenter.changed("learning")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _on_learning(self, progress: Progress) -> None:
        if self.learning is not None:
            self.learning = replace(self.learning, text=progress.text, done=progress.done, total=progress.total)
            self.segmenter.changed("learning")

    def _on_preview(self, preview: Preview) -> None:
        if self.learning is not None:
            self.learning = replace(self.learning, preview=preview.picture())
            self.segmenter.changed("learning")

    def _learned(self, job: Job[Any], name: str, problem: AutoPromptSAMError | None) -> None:
        self._job = self.learning = None
        self.segmenter.changed("learning")
        left = "Learning ended with the change of the image or the model"
        with self.segmenter.saying():
            if isinstance(job.error, Cancelled):
                start = f"{left}, before" if self.segmenter.is_closed else "Cancelled before"
                self.segmenter.said(Message(f"{start} anything was learned; the examples are as they were."))
                return
            if job.error is not None or problem is not None:
                raise job.error or problem  # type: ignore[misc]
            result = job.result()
            how = "" if result.dice is None else f" ({_judged(result.dice, result.held_back)})"
            if not result.better:
                self.segmenter.said(Message(f'Cancelled{how}; what "{name}" had learned before is better and stays.'))
                return
            if self.segmenter.is_closed:
                self.segmenter.said(Message(f'{left}; the best so far is kept in "{name}"{how}.'))
                return
            state = "Learned" if result.complete else "Cancelled; the best so far is kept: learned"
            self.segmenter.said(Message(f'{state} "{name}"{how}; prompt automatically to use it.'))


def _judged(dice: float, count: int) -> str:
    """How well it is learned, by ``count`` examples that were held back."""
    examples = "one example that was" if count == 1 else f"{count} examples that were"
    return f"Dice {dice:.2f} on {examples} held back" + (", a rough guess" if count < FEW else "")

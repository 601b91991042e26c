"""What is going on in one line, and how long it takes still."""

from __future__ import annotations

import time

from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Status
from AutoPromptSAMLib.mrml.learning import Learning

WORDS = {"embedding": "Preparing this slice…", "ready": "Ready", "segmenting": "Segmenting…"}
MOST_SECONDS = 90  # that are told as such: longer times are rough, and read better in minutes. A choice.
FIRST_SLICES = 3  # say little about how long the rest takes


class StatusLine:
    """Follows one segmenter after the other: ``text`` is asked whenever their status changed."""

    def __init__(self) -> None:
        self._phase = ""
        self._since, self._start = 0.0, 0  # of a run: when it began, and what was done by then

    def text(self, segmenter: InteractiveSegmenter) -> str:
        """The line for what a segmenter does now."""
        status, before = segmenter.status, self._phase
        self._phase = status.phase
        if status.phase == "ready" and segmenter.learner.learning is not None:
            return learning_line(segmenter.learner.learning)
        if status.phase != "propagating":
            return WORDS[status.phase]
        if before != "propagating":
            self._since, self._start = time.monotonic(), status.done
        active = next((info.name for info in segmenter.segments if info.id == segmenter.active_segment), "")
        return self._running(status, active)

    def _running(self, status: Status, active: str) -> str:
        head, _, now = status.text.partition(": ")
        text = f"Propagating {active}".rstrip() if head.startswith("Propagate") else head
        if not status.total:
            return f"{text}…"
        if now and not now.startswith("slice"):
            return f"{text}: {now}, {status.done} of {status.total}"
        text += f": slice {status.done} of {status.total}"
        done = status.done - self._start
        if done < FIRST_SLICES or status.done >= status.total:
            return text
        left = (time.monotonic() - self._since) / done * (status.total - status.done)
        return f"{text} · {time_text(left)} left"


def learning_line(learning: Learning) -> str:
    """What is learned and how far it is: "Learning Abdomen, 40 %", "Learning Abdomen: preparing view 5 of 64"."""
    start = f"Learning {learning.name}".rstrip()
    if not learning.text.startswith("Learning"):  # which may go on with how well it does
        return f"{start}: {learning.text[:1].lower()}{learning.text[1:]}"
    return f"{start}, {round(100 * learning.done / learning.total)} %" if learning.total else f"{start}…"


def time_text(seconds: float) -> str:
    """A time in words: "36 s", "9 min"."""
    return f"{max(1, round(seconds))} s" if seconds <= MOST_SECONDS else f"{round(seconds / 60)} min"

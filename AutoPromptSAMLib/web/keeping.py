"""Keeping the work: saved a moment after every change, brought back when the same image is opened again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.web.panel import Panel

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.autosave import Autosave, Work
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp

PROMPTS_AFTER_S, VOXELS_AFTER_S = 0.5, 2.0  # after a change: a choice


class Keeping(Panel):
    """Autosave of the image that is open."""

    def __init__(self, app: WebApp, folder: Path) -> None:
        super().__init__(app)
        self.folder = folder
        self.series: str | None = None
        self.source: str | None = None  # what the next segmenter's image was opened from; None keeps nothing
        self._autosave: Autosave | None = None
        self._work: Path | None = None  # the folder of the image that is open
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def unfinished(self) -> list[Work]:
        """Work that can be gone on with, newest first."""
        from AutoPromptSAMLib.mrml.autosave import unfinished_work

        return unfinished_work(self.folder)

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Save what is done on the new image, or bring back what was done on it before."""
        from AutoPromptSAMLib.mrml.autosave import Autosave, new_work_folder

        self._close()
        if self.source is None:
            return
        if self._work is None and self._resume(segmenter, self.source):
            return
        self._work = self._work or new_work_folder(self.folder)
        self._autosave = Autosave(segmenter, self._work, self.source, self.app.call, self.series)

    def image_changes(self, source: str | None, series: str | None = None) -> None:
        """Another image is about to be open: the work on this one is saved as it is."""
        self.disconnect()
        self.source, self.series, self._work = source, series, None

    def disconnect(self) -> None:
        """Save, and let go of the segmenter."""
        self.save_now()
        self._close()

    def _resume(self, segmenter: InteractiveSegmenter, source: str) -> bool:
        for work in self.unfinished():
            same = (work.source, work.series) == (source, self.series) or work.image == segmenter.volume.digest
            if not same or not work.geometry.close_to(segmenter.volume.geometry):
                continue
            try:
                self._autosave = work.resume(segmenter, self.app.call, source, self.series)
            except AutoPromptSAMError as error:
                self.app.say(str(error), "warning")
                continue
            self._work = work.folder
            when = time.strftime("%H:%M on %d %B", time.localtime(work.time))
            self.app.say(f"Your work on this image of {when} is back; delete its segments to start anew.")
            return True
        return False

    def refresh(self, what: str) -> None:
        """Save a moment later."""
        if self._autosave is None:
            return
        if what in ("prompts", "segments", "active"):
            self._after("prompts", PROMPTS_AFTER_S, self._autosave.save_prompts)
        if what in ("segments", "history", "propagation"):
            self._after("voxels", VOXELS_AFTER_S, self._autosave.save_segments)

    def save_now(self) -> None:
        """Save without waiting, as before the image is closed."""
        if self._autosave is not None and self._timers:
            self._cancel()
            self._autosave.save_prompts()
            self._autosave.save_segments()
            self._autosave.wait()

    def _close(self) -> None:
        if self._autosave is not None:
            self._autosave.close()
            self._autosave = None

    def _after(self, name: str, seconds: float, save: Callable[[], None]) -> None:
        if name not in self._timers and self.app.loop is not None:  # a run must not put it off to its end
            self._timers[name] = self.app.loop.call_later(seconds, self._save, name, save)

    def _save(self, name: str, save: Callable[[], None]) -> None:
        self._timers.pop(name, None)
        save()

    def _cancel(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

"""Keeping the work: saved a moment after every change, brought back when the same image is opened again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.mrml.autosave import Autosave, Work, new_work_folder, unfinished_work
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Message
from AutoPromptSAMLib.workbench.timers import Later, Timer

PROMPTS_AFTER_S, VOXELS_AFTER_S = 0.5, 2.0  # after a change: a choice


class Keeper:
    """Autosave of the image that is open, below ``folder``.

    ``call`` hands a function to the host's main thread, ``later`` runs one there after some seconds; ``say`` shows the
    person a sentence. A host tells ``image_changes`` before another image is open, ``connected`` when it has its
    segmenter, ``changed`` whenever that says so, and ``disconnect`` before it is closed.
    """

    def __init__(
        self,
        folder: Path,
        call: Callable[[Callable[[], None]], None],
        later: Later,
        say: Callable[[Message], None],
    ) -> None:
        self.folder = folder
        self._call, self._say = call, say
        self._source: str | None = None  # what the next segmenter's image was opened from; None keeps nothing
        self._series: str | None = None
        self._autosave: Autosave | None = None
        self._work: Path | None = None  # the folder of the image that is open
        self._prompts = Timer(later, PROMPTS_AFTER_S, self._save_prompts)
        self._voxels = Timer(later, VOXELS_AFTER_S, self._save_voxels)

    def unfinished(self) -> list[Work]:
        """Work that can be gone on with, newest first."""
        return unfinished_work(self.folder)

    def image_changes(self, source: str | None, series: str | None = None) -> None:
        """Another image is about to be open: the work on this one is saved as it is.

        ``source``: the path of the new one, or "sample", None to keep nothing of it; ``series``: its UID in there.
        """
        self.disconnect()
        self._source, self._series, self._work = source, series, None

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Save what is done on the new image, or bring back what was done on it before."""
        self.disconnect()
        if self._source is None or (self._work is None and self._resume(segmenter, self._source)):
            return
        self._work = self._work or new_work_folder(self.folder)
        self._autosave = Autosave(segmenter, self._work, self._source, self._call, self._series)

    def changed(self, what: str) -> None:
        """Save a moment after the segmenter said ``what`` changed; a run must not put it off to its end."""
        if self._autosave is None:
            return
        if what in ("prompts", "segments", "active") and not self._prompts.is_running:
            self._prompts.start()
        if what in ("segments", "history", "propagation") and not self._voxels.is_running:
            self._voxels.start()

    def disconnect(self) -> None:
        """Save without waiting, and let go of the segmenter."""
        autosave = self._autosave
        if autosave is not None and (self._prompts.is_running or self._voxels.is_running):
            self._prompts.stop()
            self._voxels.stop()
            autosave.save_prompts()
            autosave.save_segments()
            autosave.wait()
        if autosave is not None:
            autosave.close()
            self._autosave = None

    def _resume(self, segmenter: InteractiveSegmenter, source: str) -> bool:
        for work in self.unfinished():
            same = (work.source, work.series) == (source, self._series) or work.image == segmenter.volume.digest
            if not same or not work.geometry.close_to(segmenter.volume.geometry):
                continue
            try:
                self._autosave = work.resume(segmenter, self._call, source, self._series)
            except AutoPromptSAMError as error:
                self._say(Message(str(error), "warning"))
                continue
            self._work = work.folder
            when = time.strftime("%H:%M on %d %B", time.localtime(work.time))
            self._say(Message(f"Your work on this image of {when} is back; delete its segments to start anew."))
            return True
        return False

    def _save_prompts(self) -> None:
        if self._autosave is not None:
            self._autosave.save_prompts()

    def _save_voxels(self) -> None:
        if self._autosave is not None:
            self._autosave.save_segments()

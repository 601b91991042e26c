"""Files that somebody elsewhere may fetch, once each; and what becomes of files that are on their way."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from AutoPromptSAMLib.atomic import storage_error
from AutoPromptSAMLib.files.opened import safe_name

OLD_S = 24 * 3600.0  # more than anything needs on its way from or to a browser; a choice


def remove_old(folder: Path, keep: Collection[Path] = ()) -> None:
    """Remove the folders in ``folder`` that are older than a day, but for those of ``keep``, which count as new again.

    Several programs may share the folder, and none knows what another one is doing. What one of them uses is younger
    than a day, as it has just come, or is in its ``keep``: so each calls this more often than once a day.
    """
    for each in list(folder.iterdir()) if folder.is_dir() else []:
        with suppress(OSError):  # another program was faster
            if each in keep:
                os.utime(each)
            elif time.time() - each.stat().st_mtime > OLD_S:
                shutil.rmtree(each, ignore_errors=True)


class Downloads:
    """Files that a browser may fetch once each, within ``seconds``; they are removed afterwards."""

    def __init__(self, folder: str | os.PathLike[str], seconds: float = 300) -> None:
        self.folder, self.seconds = Path(folder).resolve(), seconds
        self._offered: dict[str, tuple[Path, float]] = {}

    def path_for(self, name: str) -> Path:
        """A new path to write a file called ``name`` to; StorageError when there is no place for it."""
        folder = self.folder / secrets.token_urlsafe(12)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise storage_error(folder, error) from None
        return folder / safe_name(name)

    def offer(self, path: Path) -> str:
        """The one-time id of a file at a ``path_for``, to be fetched from ``/download/<id>``."""
        self.remove_expired()
        id = secrets.token_urlsafe(32)
        self._offered[id] = (path, time.monotonic() + self.seconds)
        return id

    def take(self, id: str) -> Path | None:
        """The file of an id, which is used up by this; None when there is none (any more)."""
        self.remove_expired()
        return self._offered.pop(id, (None, 0.0))[0]

    def remove(self, path: Path) -> None:
        """Remove a file that was fetched, with the folder that ``path_for`` made."""
        shutil.rmtree(path.parent, ignore_errors=True)

    def remove_expired(self) -> None:
        """Remove the files that nobody has fetched in time, and after a day those of a program that has ended."""
        for id, (path, until) in list(self._offered.items()):
            if until < time.monotonic():
                del self._offered[id]
                self.remove(path)
        remove_old(self.folder)

"""Files that somebody elsewhere may fetch, once each."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path

from AutoPromptSAMLib.atomic import storage_error
from AutoPromptSAMLib.files.opened import safe_name


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
        """Remove the files that nobody has fetched in time."""
        for id, (path, until) in list(self._offered.items()):
            if until < time.monotonic():
                del self._offered[id]
                self.remove(path)

"""The folders that somebody elsewhere may look into; they lead to no others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError
from AutoPromptSAMLib.files.opened import READABLE, is_dicom, safe_name


class NotAllowedError(AutoPromptSAMError):
    """A path outside the folders that were chosen, or an upload that may not be unpacked."""


@dataclass(frozen=True)
class Listing:
    """A folder for a file picker. ``parent`` is None at the top; ``dicom``: the folder itself can be opened."""

    folder: Path
    parent: Path | None
    folders: Sequence[Path]
    files: Sequence[Path]
    dicom: bool


class AllowedFolders:
    """The folders on this machine that the browser may look into; with none, nothing is reachable."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]]) -> None:
        self.folders = tuple(dict.fromkeys(Path(folder).resolve() for folder in folders))

    def resolve(self, path: str | os.PathLike[str]) -> Path:
        """The real path of ``path``, which may be relative to the first folder; never outside of the folders.

        Raises NotAllowedError for one outside, whether it is there or not, ImageError for one that is not there.
        """
        if not self.folders:
            raise NotAllowedError("No folder of this machine was opened to the browser; upload the file instead.")
        try:
            real = (self.folders[0] / path).resolve()
            inside = any(real.is_relative_to(folder) for folder in self.folders)
            there = inside and real.exists()
        except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links, a name too long
            inside, there, real = True, False, Path(safe_name(str(path)))
        if not inside:
            raise NotAllowedError(
                f'"{os.fspath(path):.200}" is outside the folders that this browser may open '
                f"({', '.join(map(str, self.folders))}); choose a file in one of them."
            )
        if not there:
            raise ImageError(f"{real} does not exist; check the path.")
        return real

    def list(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """What is in a folder (default: the first): its folders, and the files that can be opened, by name.

        Hidden entries and links that lead outside are left out. Raises as ``resolve``, and ImageError for a file or a
        folder that may not be read.
        """
        folder = self.resolve("" if path is None else path)
        try:
            entries = sorted(folder.iterdir(), key=lambda entry: entry.name.lower())
        except OSError as error:
            raise ImageError(
                f"{folder} cannot be listed ({error.strerror or error}); choose another folder."
            ) from None
        shown = [entry for entry in entries if not entry.name.startswith(".") and self._inside(entry)]
        folders = [entry for entry in shown if entry.is_dir()]
        files = [entry for entry in shown if entry.is_file()]
        parent = None if folder in self.folders else folder.parent
        known = [entry for entry in files if entry.name.lower().endswith(READABLE)]
        return Listing(folder, parent, folders, known, any(is_dicom(entry) for entry in files[:20]))

    def _inside(self, entry: Path) -> bool:
        try:
            self.resolve(entry)
        except AutoPromptSAMError:
            return False
        return True

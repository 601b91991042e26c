"""Files that come from elsewhere, kept in batches: what arrives at once belongs together."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

from AutoPromptSAMLib.atomic import storage_error
from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError
from AutoPromptSAMLib.files.checks import DAMAGED, MAX_FILES, check_entries, check_references, damaged
from AutoPromptSAMLib.files.downloads import remove_old
from AutoPromptSAMLib.files.folders import NotAllowedError
from AutoPromptSAMLib.files.opened import READABLE, Opened, is_dicom, kind_of, safe_name

HEADERS = (".mhd", ".nhdr", ".hdr")  # their voxels are in a file beside them
PIECE = 1 << 20


@dataclass
class _Batch:
    folder: Path
    files: dict[str, Path] = field(default_factory=dict)  # by the name that the browser gave
    sizes: dict[str, int] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    total: int = 0  # of the sizes


class Uploads:
    """Files that a browser sends, in batches: what is dropped at once belongs together.

    ``begin``, then ``write`` in pieces, then ``finish``. ``folder`` keeps them: an upload is the only copy that this
    machine has of an image, so those that unfinished work needs must stay (``remove_unused``). ``limit_bytes`` holds
    for a batch, and for what is unpacked from it. ``write`` and ``finish`` may be called on any thread.
    """

    def __init__(self, folder: str | os.PathLike[str], limit_bytes: int) -> None:
        self.folder, self.limit_bytes = Path(folder).resolve(), limit_bytes
        self._batches: dict[str, _Batch] = {}
        self._lock = threading.Lock()

    def begin(self) -> str:
        """Start a batch; returns its id. Raises StorageError when there is no place for it."""
        batch = secrets.token_urlsafe(12)
        folder = self.folder / batch
        try:
            (folder / "files").mkdir(parents=True)
        except OSError as error:
            raise storage_error(folder, error) from None
        self._batches[batch] = _Batch(folder)
        return batch

    def write(self, batch: str, name: str, data: bytes, offset: int = 0) -> None:
        """Put a piece of file ``name`` (with folders, if the browser tells them) at ``offset``; 0 starts it anew.

        Raises NotAllowedError for an unknown batch or one that grows too large, StorageError when the disk is full.
        """
        with self._lock:
            known = self._known(batch)
            size = known.sizes.get(name, 0) if offset else 0
            if not 0 <= offset <= size:
                raise NotAllowedError(f"A piece of {safe_name(name)} is missing; upload it again.")
            size = max(size, offset + len(data))
            total = known.total - known.sizes.get(name, 0) + size
            if total > self.limit_bytes:
                raise self.too_large(safe_name(name))
            if name not in known.files:
                if len(known.files) == MAX_FILES:
                    raise NotAllowedError(f"More than {MAX_FILES} files were sent at once; send one series at a time.")
                known.files[name] = _free_path(known.folder / "files", name, known.taken)
            path, known.sizes[name], known.total = known.files[name], size, total
        try:
            with open(path, "r+b" if offset else "wb") as stream:
                stream.seek(offset)
                stream.write(data)
        except OSError as error:
            self.forget(batch, name)
            raise storage_error(path, error) from None

    def forget(self, batch: str, name: str) -> None:
        """Drop a file of a batch, as when its upload broke off."""
        with self._lock:
            known = self._batches.get(batch)
            if known is None:
                return
            known.total -= known.sizes.pop(name, 0)
            path = known.files.pop(name, None)
        if path is not None:
            path.unlink(missing_ok=True)

    def finish(self, batch: str) -> Opened:
        """What the files of a batch are; a .zip is unpacked, several files are a DICOM folder.

        Takes as long as unpacking does. Raises ImageError or NotAllowedError, and removes the batch, when nothing can
        be made of it. Whether the image itself can be read shows ``load_volume``.
        """
        known = self._known(batch)
        try:
            if not known.files:
                raise ImageError("No file has arrived; drop a file or choose one.")
            tops = {name.partition("/")[0] for name in known.files if "/" in name}
            files = list(known.files.values())
            if len(files) == 1:
                return self.open(files[0], known.folder)
            folder = known.folder / safe_name(tops.pop() if len(tops) == 1 else "DICOM")
            if folder != files[0].parent:
                files[0].parent.rename(folder)
            return _recognise(folder)
        except AutoPromptSAMError:
            self.discard(batch)
            raise
        finally:
            self._batches.pop(batch, None)

    def open(self, path: Path, beside: Path | None = None) -> Opened:
        """The same for a file or folder of this machine; an archive is unpacked into the uploads (or ``beside``)."""
        if path.is_dir():
            return Opened(path, "dicom")
        if not path.name.lower().endswith(".zip"):
            check_references(path)
            return Opened(path, kind_of(path.name))
        made = self.folder / secrets.token_urlsafe(12) if beside is None else beside
        folder = made / "unpacked" / safe_name(path.name[:-4])
        try:
            folder.mkdir(parents=True)
            if self._unpack(path, folder):
                check_references(path)
                return Opened(path.rename(path.with_suffix(".mrb")) if beside else path, "scene")
            if beside:
                path.unlink()
            return _recognise(folder)
        except OSError as error:
            shutil.rmtree(made, ignore_errors=True)
            raise storage_error(folder, error) from None
        except AutoPromptSAMError:
            shutil.rmtree(made, ignore_errors=True)
            raise

    def discard(self, batch: str) -> None:
        """Remove a batch and its files."""
        if self._batches.pop(batch, None) is not None:
            shutil.rmtree(self.folder / batch, ignore_errors=True)

    def remove_unused(self, keep: Iterable[Path]) -> None:
        """Remove the uploads that are older than a day (``remove_old``) and that no path of ``keep`` lies in.

        What is still arriving stays, and so does what has just come and is being opened.
        """
        arriving = {self.folder / batch for batch in list(self._batches)}
        remove_old(self.folder, arriving | {parent for path in keep for parent in path.resolve().parents})

    def too_large(self, name: str) -> NotAllowedError:
        """The error for a file that goes over the limit."""
        limit = f"{self.limit_bytes / 1e9:.3g} GB"
        return NotAllowedError(f"{name} is larger than the {limit} that can be taken in; open a smaller file.")

    def named(self, text: str) -> str:
        """A sentence with the names of uploaded files in place of their paths here, which nobody has chosen."""
        inside = re.escape(str(self.folder)) + r"[/\\][^/\\]+[/\\](files|unpacked)[/\\]"
        return re.sub(inside, "", text)

    def _known(self, batch: str) -> _Batch:
        if batch not in self._batches:
            raise NotAllowedError("This upload is not known (any more); drop the files again.")
        return self._batches[batch]

    def _unpack(self, path: Path, folder: Path) -> bool:
        """Unpack an archive into one flat folder; True when it is a scene, which stays packed."""
        try:
            with ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir()]
                check_entries(path.name, entries)
                if sum(entry.file_size for entry in entries) > self.limit_bytes:
                    raise self.too_large(path.name)
                if any(entry.filename.endswith(".mrml") for entry in entries):
                    return True
                taken: set[str] = set()
                for entry in filter(_is_wanted, entries):
                    target = _free_path(folder, entry.filename, taken)
                    # An archive that lies about its sizes ends as damaged: zipfile reads no further than they say.
                    with archive.open(entry) as source, open(target, "xb") as stream:
                        shutil.copyfileobj(source, stream, PIECE)
        except DAMAGED as error:
            raise damaged(path.name, error) from None
        return False


def _free_path(folder: Path, name: str, taken: set[str]) -> Path:
    """Where a file goes: all in one folder, as load_volume wants DICOM files, whatever folders they came from."""
    start = name = safe_name(name)
    number = 1
    while name.casefold() in taken:
        number += 1
        name = f"{number}-{start}"
    taken.add(name.casefold())
    return folder / name


def _is_wanted(entry: ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return bool(parts) and not hidden and parts[-1].upper() not in ("DICOMDIR", "THUMBS.DB", "DESKTOP.INI")


def _recognise(folder: Path) -> Opened:
    """What a folder of files that came together is to be opened as."""
    files = sorted(folder.iterdir())
    if not files:
        raise ImageError(f"{folder.name} contains no files; give an image or the files of a DICOM series.")
    known = [file for file in files if file.name.lower().endswith(READABLE)]
    headers = [file for file in files if file.name.lower().endswith(HEADERS)]
    if len(files) > 1 and any(is_dicom(file) for file in files):
        return Opened(folder, "dicom")
    only = next((some[0] for some in (files, headers, known) if len(some) == 1), None)
    if only is not None:
        check_references(only)
        return Opened(only, kind_of(only.name))
    if known and not all(file.name.lower().endswith(".dcm") for file in known):
        names = ", ".join(file.name for file in known[:3])
        raise ImageError(f"{folder.name} has several images ({names}); open one at a time.")
    return Opened(folder, "dicom")

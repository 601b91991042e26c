"""A person's work on disk without being asked, and back after a crash.

The work on one image is a folder with two files: ``work.json``, the image, the segment list and the prompts, and
``segments.seg.nrrd``, the voxels. Each is replaced by an atomic rename. A segment finds its voxels by a key that no
other segment ever had, the random id that Slicer gave it first, so that the two files may be of different moments.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from AutoPromptSAMLib.atomic import atomic_path, storage_error
from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, StorageError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.images import load_segmentation, save_segmentation
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Message
from AutoPromptSAMLib.mrml.remembered import KeptRun
from AutoPromptSAMLib.prompts import PromptSet
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.prompts.types import check_keys

SCHEMA = "autopromptsam-work/2"
WORK, VOXELS, LOCK = "work.json", "segments.seg.nrrd", ".lock"
KEEP, KEEP_SECONDS = 20, 30 * 24 * 3600.0  # choices
SAMPLE = "sample"  # the source that is the sample CT
BY_HAND = "-by-hand"  # after a key: what a person painted of that segment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedSegment:
    """A segment of an unfinished work; ``key``: its name in the file of voxels."""

    id: str
    key: str
    name: str
    color: tuple[float, float, float]
    visible: bool
    opacity: float
    locked: bool
    terminology: str
    ml: float
    run: KeptRun | None = None


class Autosave:
    """Keeps the work of a segmenter in ``folder``, which no other process may use meanwhile.

    ``source``: the path of the image, or "sample"; ``series``: UID of the DICOM series in it, if it has several. The
    host calls ``save_prompts`` a moment after prompts or the segment list changed, ``save_segments`` a moment after
    voxels did, and ``close`` at the end. ``call`` hands a function to the host's main thread. What goes wrong comes as
    a sentence through the segmenter's ``said``, once until saving works again. Raises StorageError when the folder
    cannot be made or is in use.
    """

    def __init__(
        self,
        segmenter: InteractiveSegmenter,
        folder: str | os.PathLike[str],
        source: str,
        call: Callable[[Callable[[], None]], None],
        series: str | None = None,
    ) -> None:
        self.segmenter, self.folder, self.source, self.series = segmenter, Path(folder), source, series
        self._call = call
        self._lock = _locked(self.folder)
        if self._lock is None:
            raise StorageError(f"{self.folder} is in use by another window of this program; close that one first.")
        for unfinished in self.folder.glob(".????????-*"):  # a process was killed while it wrote
            unfinished.unlink(missing_ok=True)
        self._keys: dict[str, str] = {}  # by id, for segments that came back: they have other ids than they had
        self._failing: set[str] = set()  # the files that could not be written the last time
        self._waiting: dict[str, Crop] | None = None
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()  # of the two above

    def save_prompts(self) -> None:
        """Write the prompts and the segment list, on this thread: milliseconds."""
        if self._lock is None:
            return
        try:
            text = json.dumps(self._state(), allow_nan=False)
            with atomic_path(self.folder / WORK) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except AutoPromptSAMError as error:
            self._failed(WORK, error)
        else:
            self._failing.discard(WORK)

    def save_segments(self) -> None:
        """Write everything; the voxels in the background. Called while it still writes, the newest is written next."""
        if self._lock is None:
            return
        kept, crops = self.segmenter.kept, {}
        for row in self.segmenter.segments:
            crops[self._key(row.id)] = kept.known.get(row.id, Crop.empty())
            painted = kept.by_hand.get(row.id, Crop.empty())
            if not painted.is_empty:
                crops[self._key(row.id) + BY_HAND] = painted
        self.save_prompts()
        with self._guard:
            self._waiting = crops
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="autosave")
                self._thread.start()

    def adopt(self, segment_id: str, key: str) -> None:
        """Go on with the voxels that are on disk under ``key``: they are this segment's."""
        self._keys[segment_id] = key

    def wait(self) -> None:
        """Return once all voxels are written."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def close(self, discard: bool = False) -> None:
        """Let go of the folder when all is written; with ``discard`` the work is done and the folder removed."""
        if discard:
            with self._guard:
                self._waiting = None
        self.wait()
        _unlock(self._lock)
        self._lock = None
        if discard:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        while True:
            with self._guard:
                crops, self._waiting = self._waiting, None
                if crops is None:
                    self._thread = None
                    return
            try:
                save_segmentation(self.folder / VOXELS, crops, self.segmenter.volume.geometry)
            except AutoPromptSAMError as error:
                self._call(partial(self._failed, VOXELS, error))
            except Exception:  # this thread must live on: the next state may well be written
                log.exception("Autosave failed")
                unknown = StorageError("something unexpected happened (see the log); export the segments to be safe.")
                self._call(partial(self._failed, VOXELS, unknown))
            else:
                self._call(partial(self._failing.discard, VOXELS))

    def _failed(self, file: str, error: AutoPromptSAMError) -> None:
        if not self._failing:
            self.segmenter.said(Message(f"Your work is not being saved: {error}", "warning"))
        self._failing.add(file)

    def _key(self, segment_id: str) -> str:
        return self._keys.get(segment_id, segment_id)

    def _state(self) -> dict[str, Any]:
        segmentation = self.segmenter.segmentation_node.GetSegmentation()
        runs = {id: run.to_json() for id, run in self.segmenter.kept_runs().items()}
        return {
            "schema": SCHEMA,
            "time": time.time(),
            "source": self.source,
            "series": self.series,
            "image": self.segmenter.volume.digest,
            "geometry": self.segmenter.volume.geometry.to_json(),
            "active": self.segmenter.active_segment,
            "segments": [
                {
                    **vars(row),
                    "key": self._key(row.id),
                    "terminology": segmentation.GetSegment(row.id).GetTerminology(),
                    "run": runs.get(row.id),
                }
                for row in self.segmenter.segments
            ],
            "prompts": self.segmenter.session.export_prompts().to_json(),
        }


@dataclass(frozen=True)
class Work:
    """The work on an image that was not finished; ``time``: of its last change, seconds since 1970.

    ``source``: the path of the image, or "sample"; ``series``: UID of the DICOM series in it, if it has several.
    """

    folder: Path
    source: str
    series: str | None
    time: float
    segments: tuple[SavedSegment, ...]
    active: str | None
    prompts: PromptFile
    geometry: VolumeGeometry
    image: str

    @property
    def model(self) -> str:
        """The name of the model that the prompts were made with, "" when not known."""
        return "" if self.prompts.model is None else self.prompts.model["name"]

    @property
    def source_is_there(self) -> bool:
        """Whether the image can still be loaded."""
        return self.source == SAMPLE or Path(self.source).exists()

    def resume(
        self,
        segmenter: InteractiveSegmenter,
        call: Callable[[Callable[[], None]], None],
        source: str | None = None,
        series: str | None = None,
    ) -> Autosave:
        """Bring segments and prompts back into a segmenter on the same image, and go on saving in the same folder.

        ``source`` and ``series``: where the image came from this time, when that is elsewhere.

        Segments of the segmenter that are empty and have no prompts are removed first, so that the list is the one
        that was saved. Ends the undo history. Raises GeometryError for another image, AutoPromptSAMError when the
        voxels are damaged or the work is open elsewhere; the segmenter then stays as it was.
        """
        geometry = segmenter.volume.geometry
        if not self.geometry.close_to(geometry):
            raise GeometryError(
                f"The saved work belongs to an image of {self.geometry}, this one has {geometry}; open {self.source}."
            )
        voxels = self.folder / VOXELS
        masks, grid = load_segmentation(voxels) if voxels.exists() else (None, geometry)
        if not grid.close_to(geometry):
            raise GeometryError(f"{voxels} has another geometry than {self.source}; start anew on this image.")
        crops = {} if masks is None else {key: masks.crop(key) for key in masks}
        where = (self.source, self.series) if source is None else (source, series)
        autosave = Autosave(segmenter, self.folder, where[0], call, where[1])
        try:
            self._restore(segmenter, autosave, crops)
        except BaseException:
            autosave.close()
            raise
        if self.image != segmenter.volume.digest:
            text = f"{where[0]} has changed since this work was saved; check that the segments still fit."
            segmenter.said(Message(text, "warning"))
        return autosave

    def discard(self) -> None:
        """Remove the work for good, unless it is open in another process."""
        lock = _locked(self.folder)
        if lock is not None:
            _unlock(lock)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _restore(self, segmenter: InteractiveSegmenter, autosave: Autosave, crops: Mapping[str, Crop]) -> None:
        objects = dict(segmenter.session.export_prompts().objects)
        remarks = segmenter.session.replay(self.prompts)  # raises for prompts that do not fit, before anything changed
        for row in segmenter.segments:
            if row.ml == 0 and not objects.get(row.id) and not row.locked:
                segmenter.remove_segment(row.id)
        segmentation = segmenter.segmentation_node.GetSegmentation()
        active, runs = segmenter.active_segment, dict[str, KeptRun]()
        for saved in self.segments:
            segment_id = segmenter.add_segment(saved.name, saved.color)
            segment = segmentation.GetSegment(segment_id)
            segment.SetName(saved.name)  # which may be another segment's too
            if saved.terminology:
                segment.SetTerminology(saved.terminology)
            segmenter.kept.flip({segment_id: crops.get(saved.key, Crop.empty())})
            if saved.key + BY_HAND in crops:
                segmenter.kept.take_over(segment_id, crops[saved.key + BY_HAND])
            segmenter.set_segment_visible(segment_id, saved.visible)
            segmenter.set_segment_opacity(segment_id, saved.opacity)
            segmenter.set_segment_locked(segment_id, saved.locked)
            autosave.adopt(segment_id, saved.key)
            if saved.run is not None:
                runs[segment_id] = saved.run
            objects[segment_id] = self.prompts.objects.get(saved.id, PromptSet())
            active = segment_id if saved.id == self.active else active
        segmenter.session.replay(PromptFile(objects, None, self.prompts.geometry))
        segmenter.restore_runs({**segmenter.kept_runs(), **runs}, self.geometry)
        segmenter.active_segment = active
        segmenter.undo_stack.clear()
        for what in ("segments", "prompts", "history"):
            segmenter.changed(what)
        for remark in remarks:
            segmenter.said(Message(remark, "warning"))


def new_work_folder(folder: str | os.PathLike[str]) -> Path:
    """A path for the work on another image, in the folder of all; ``Autosave`` makes the folder."""
    return Path(folder) / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def unfinished_work(
    folder: str | os.PathLike[str], said: Callable[[str], None] = log.warning, keep: int = KEEP
) -> list[Work]:
    """What can be resumed, newest first; work that is open in a process, or has neither voxels nor prompts, is not.

    Removes what is older than 30 days or not among the newest ``keep``. A folder that is damaged is left out, and
    ``said`` gets the sentence.
    """
    works = []
    for path in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []:
        lock = _locked(path) if path.is_dir() else None
        if lock is None:
            continue
        # Closed or killed before anything was done, or too old; removed below, as Windows keeps a file that is open.
        unwanted = not (path / WORK).exists() and not (path / VOXELS).exists()
        try:
            if not unwanted:
                work = _read(path)
                unwanted = time.time() - work.time > KEEP_SECONDS
                if not unwanted and (any(row.ml for row in work.segments) or any(work.prompts.objects.values())):
                    works.append(work)
        except (AutoPromptSAMError, OSError) as error:
            unwanted = time.time() - path.stat().st_mtime > KEEP_SECONDS
            if not unwanted:
                said(f"The work in {path} cannot be resumed ({str(error).rstrip('.')}); it is left out.")
        finally:
            _unlock(lock)
        if unwanted:
            shutil.rmtree(path, ignore_errors=True)
    works.sort(key=lambda work: -work.time)
    for work in works[keep:]:
        work.discard()
    return works[:keep]


def _read(folder: Path) -> Work:
    """The work in a folder; AutoPromptSAMError or OSError when it is damaged."""
    try:
        data = json.loads((folder / WORK).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise StorageError(f"{WORK} is no JSON text.") from None
    check_keys(
        data, {"schema", "time", "source", "series", "image", "geometry", "active", "segments", "prompts"}, WORK
    )
    if data["schema"] != SCHEMA:
        raise StorageError(f"{WORK} was written by another version.")
    try:
        segments = tuple(_segment(row) for row in data["segments"])
        moment, source, image = float(data["time"]), str(data["source"]), str(data["image"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise StorageError(f"{WORK} is damaged.") from None
    prompts, geometry = PromptFile.from_json(data["prompts"]), VolumeGeometry.from_json(data["geometry"])
    return Work(folder, source, data["series"], moment, segments, data["active"], prompts, geometry, image)


def _segment(row: Mapping[str, Any]) -> SavedSegment:
    """A row of the segment list; TypeError or ValueError when it is damaged."""
    texts = {name: row.get(name) for name in ("id", "key", "name", "terminology")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError(row)
    red, green, blue = (float(part) for part in row["color"])
    numbers = {"opacity": float(row["opacity"]), "ml": float(row["ml"])}
    run = KeptRun.read(row.get("run"))  # work of versions before this one has none
    return SavedSegment(**{**row, **texts, **numbers, "color": (red, green, blue), "run": run})


def _locked(folder: Path) -> FileLock | None:
    """The lock on a folder, which ends with the process; None when another process has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        raise storage_error(folder, error) from None
    return lock


def _unlock(lock: FileLock | None) -> None:
    if lock is not None:
        lock.release()

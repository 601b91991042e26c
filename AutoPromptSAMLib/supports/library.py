"""Sets of supports on disk, in the user's folder: one folder a set.

``set.json``, ``pairs/<SHA-256>.zip``, ``thumbnails/<SHA-256>.png`` and a ``<SHA-256>.safetensors`` for every network
of its own. Files appear by an atomic rename, ``set.json`` last, so that a crash or a full disk leaves
the set as it was. Several processes may use one library.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import filelock

from AutoPromptSAMLib.atomic import atomic_path, storage_error
from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.names import free_name
from AutoPromptSAMLib.supports import archive
from AutoPromptSAMLib.supports.errors import SupportError
from AutoPromptSAMLib.supports.pairs import (
    MOST_LETTERS,
    Colour,
    Pixels,
    SupportObject,
    SupportPair,
    SupportSet,
    as_objects,
    checked_text,
    default_colour,
)
from AutoPromptSAMLib.supports.storage import (
    SET_FILE,
    Damaged,
    by_model,
    pack_pair,
    pack_set,
    task_model,
    unpack_set,
)
from AutoPromptSAMLib.supports.thumbnail import thumbnail_png
from AutoPromptSAMLib.zoo import home

logger = logging.getLogger(__name__)

_ID = re.compile("[0-9a-f]{12}")
_WAIT_SECONDS = 30.0  # for another process that is changing the library


class SupportLibrary:
    """All sets in ``folder``, by default ``supports`` in the folder of everything that is kept.

    What a method changes is on disk when it returns, and what it returns is the set as it is now. Every method raises
    SupportError for a set or pair that is not there or damaged, those that change something StorageError when the disk
    does not take it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = home() / "supports" if folder is None else Path(folder)

    def sets(self) -> list[SupportSet]:
        """All sets that can be used, by name; see ``listing``."""
        return self.listing()[0]

    def listing(self) -> tuple[list[SupportSet], list[str]]:
        """All sets by name, and a sentence for each that is damaged. The pixels are not looked at yet."""
        found, problems = [], []
        try:
            folders = sorted(path for path in self.folder.iterdir() if _ID.fullmatch(path.name))
        except OSError:
            folders = []
        for path in folders:
            if (path / SET_FILE).exists():
                try:
                    found.append(self.get(path.name))
                except SupportError as error:
                    problems.append(str(error))
        return sorted(found, key=lambda each: (each.name.casefold(), each.id)), problems

    def get(self, set_id: str) -> SupportSet:
        """The set with this id."""
        path = self._path(set_id)
        try:
            text = (path / SET_FILE).read_bytes()
        except OSError:
            raise SupportError(f'There is no set of supports "{set_id}"; it may have been removed.') from None
        try:
            content, tasks = unpack_set(text, set_id, lambda id: _pair_path(path, id))
        except Damaged as error:
            raise SupportError(f"The set of supports in {path} is damaged, because {error}; remove it.") from None
        pairs = tuple(replace(pair, thumbnail=_thumbnail_path(path, pair.id)) for pair in content.pairs)
        networks = by_model({model: _task_path(path, digest) for model, digest in tasks.items()})
        return replace(content, pairs=pairs, tasks=networks)

    def find(self, name_or_id: str) -> SupportSet:
        """The set with this name or id; SupportError when there is none, or several have the name."""
        sets, problems = self.listing()
        found = [each for each in sets if name_or_id in (each.name, each.id)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(each.id for each in found)
            raise SupportError(f'There are {len(found)} sets called "{name_or_id}"; name one by its id ({ids}).')
        if name_or_id in "".join(problems) and _ID.fullmatch(name_or_id):
            return self.get(name_or_id)  # says what is wrong with it
        known = ", ".join(f'"{each.name}"' for each in sets)
        what = f"choose one of {known}" if known else "make one first (`autopromptsam supports add`)"
        raise SupportError(f'There is no set of supports "{name_or_id}"; {what}.')

    def create(self, name: str, objects: Sequence[str | SupportObject] = ()) -> SupportSet:
        """A new set without pairs."""
        return self._new(SupportSet(uuid.uuid4().hex[:12], name, as_objects(objects)))

    def add_pairs(
        self, set_id: str, pairs: Sequence[SupportPair], objects: Sequence[SupportObject] = ()
    ) -> SupportSet:
        """Add pairs; one that the set has already, pixel for pixel, is not added again but gets the new one's objects.

        Objects of the added pairs that the set does not have yet join it, as they are in ``objects`` or with a default
        colour. A name that is taken gets a number.
        """

        def change(before: SupportSet) -> SupportSet:
            kept = {pair.id: pair for pair in before.pairs}
            for pair in pairs:
                if pair.id in kept:
                    kept[pair.id] = replace(kept[pair.id], objects=pair.objects, read=pair.read)
                else:
                    kept[pair.id] = replace(pair, name=_free(pair.name, kept.values()))
            given = {each.name: each for each in objects}
            new = dict.fromkeys(name for pair in pairs for name in pair.objects if name not in before.names)
            joined = (
                *before.objects,
                *(
                    given.get(name, SupportObject(name, default_colour(number)))
                    for number, name in enumerate(new, len(before.objects))
                ),
            )
            return replace(before, objects=joined, pairs=tuple(kept.values()))

        return self._change(set_id, change, redrawn={pair.id for pair in pairs})

    def remove_pair(self, set_id: str, pair_id: str) -> SupportSet:
        """Take a pair out of a set."""

        def change(before: SupportSet) -> SupportSet:
            _pair(before, pair_id)
            return replace(before, pairs=tuple(pair for pair in before.pairs if pair.id != pair_id))

        return self._change(set_id, change)

    def rename(self, set_id: str, name: str) -> SupportSet:
        """Give a set another name."""
        return self._change(set_id, lambda before: replace(before, name=name))

    def rename_pair(self, set_id: str, pair_id: str, name: str) -> SupportSet:
        """Give a pair another name."""

        def change(before: SupportSet) -> SupportSet:
            named = replace(_pair(before, pair_id), name=checked_text(name, "The name of a pair"))
            return replace(before, pairs=tuple(named if pair.id == pair_id else pair for pair in before.pairs))

        return self._change(set_id, change)

    def change_object(
        self,
        set_id: str,
        name: str,
        new_name: str | None = None,
        colour: Colour | None = None,
        terminology: str | None = None,
    ) -> SupportSet:
        """Give an object another name, colour or terminology; the pairs keep their masks."""

        def change(before: SupportSet) -> SupportSet:
            old = next((each for each in before.objects if each.name == name), None)
            if old is None:
                raise SupportError(f'"{before.name}" has no object "{name}"; it has {", ".join(before.names)}.')
            new = SupportObject(
                name if new_name is None else new_name,
                old.colour if colour is None else colour,
                old.terminology if terminology is None else terminology,
            )
            objects = tuple(new if each is old else each for each in before.objects)
            pairs = tuple(_with_object(pair, name, new.name) for pair in before.pairs)
            return replace(before, objects=objects, pairs=pairs)

        return self._change(set_id, change, redrawn=None)

    def remove(self, set_id: str) -> None:
        """Delete a set, damaged or not."""
        path = self._path(set_id)
        if not path.is_dir():
            raise SupportError(f'There is no set of supports "{set_id}"; it may have been removed.')
        with self._locked():
            try:
                (path / SET_FILE).unlink(missing_ok=True)  # from here on it is no set any more
                shutil.rmtree(path)
            except OSError as error:
                raise StorageError(
                    f"{path} could not be removed ({error.strerror or error}); close what uses it and try again."
                ) from None

    def attach_task(self, set_id: str, path: Path) -> SupportSet:
        """Give a set a copy of a network that has learned its objects, in place of the one for the same model."""

        def change(before: SupportSet) -> SupportSet:
            return replace(before, tasks={**before.tasks, task_model(path): path})

        return self._change(set_id, change)

    def detach_task(self, set_id: str, model: str) -> SupportSet:
        """Take the network for a model away from a set; the general one prompts again."""

        def change(before: SupportSet) -> SupportSet:
            if model not in before.tasks:
                known = ", ".join(before.tasks) or "none"
                raise SupportError(f'"{before.name}" has no network for "{model}"; it has {known}.')
            return replace(before, tasks={name: path for name, path in before.tasks.items() if name != model})

        return self._change(set_id, change)

    def export(self, set_id: str, file: Path) -> Path:
        """Write a set with its network into one file, whose name gets the ending .apsupports; its path."""
        return archive.write(self.get(set_id), Path(file))

    def import_(self, file: Path) -> SupportSet:
        """A new set from a file that ``export`` wrote; nothing is kept of one that is damaged."""
        with archive.opened(Path(file)) as content:
            return self._new(replace(content, id=uuid.uuid4().hex[:12]))

    # -- on disk ------------------------------------------------------------------------------------------------------

    def _path(self, set_id: str) -> Path:
        if not _ID.fullmatch(set_id):
            raise SupportError(f'"{set_id}" is no id of a set of supports; see `autopromptsam supports list`.')
        return self.folder / set_id

    def _new(self, content: SupportSet) -> SupportSet:
        path = self._path(content.id)
        with self._locked():
            sets = self.sets()
            content = replace(content, name=_free(content.name, sets))
            try:
                _write(path, content, None)
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise
        return self.get(content.id)

    def _change(
        self,
        set_id: str,
        change: Callable[[SupportSet], SupportSet],
        redrawn: Collection[str] | None = (),
    ) -> SupportSet:
        path = self._path(set_id)
        with self._locked():
            before = self.get(set_id)
            after = change(before)
            _write(path, after, redrawn, {pair.id for pair in before.pairs})
            after = self.get(set_id)
            # Before another process can add the same pair again, whose file has the same name.
            for gone in {pair.id for pair in before.pairs} - {pair.id for pair in after.pairs}:
                _discard(_pair_path(path, gone))
                _discard(_thumbnail_path(path, gone))
            for left in set(before.tasks.values()) - set(after.tasks.values()):
                _discard(left)
        return after

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / ".lock", timeout=_WAIT_SECONDS)
            lock.acquire()
        except filelock.Timeout:
            raise StorageError(f"{self.folder} is being changed by another program; try again.") from None
        except OSError as error:
            raise storage_error(self.folder, error) from error
        try:
            yield
        finally:
            lock.release()


def _write(path: Path, content: SupportSet, redrawn: Collection[str] | None, known: Collection[str] = ()) -> None:
    """Bring a set's folder to ``content``; new files are removed again when the disk does not take all of them.

    Pairs that are ``redrawn``, by id (None: all), get new thumbnails. A damaged pair of those that are ``known`` stays
    as it is: it must not keep another from being removed. So do the set's own networks, which may be missing.
    """
    made: list[Path] = []

    def write(file: Path, data: bytes) -> None:
        is_new = not file.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            temporary.write_bytes(data)
        if is_new:
            made.append(file)

    colours = {each.name: each.colour for each in content.objects}
    try:
        tasks = {}
        for model, task in content.tasks.items():
            if task == _task_path(path, task.stem):
                tasks[model] = task.stem
                continue
            weights = task.read_bytes()
            tasks[model] = hashlib.sha256(weights).hexdigest()
            if not _task_path(path, tasks[model]).exists():
                write(_task_path(path, tasks[model]), weights)
        for pair in content.pairs:
            try:
                if not _pair_path(path, pair.id).exists():
                    write(_pair_path(path, pair.id), pack_pair(pair))
                if redrawn is None or pair.id in redrawn or not _thumbnail_path(path, pair.id).exists():
                    write(_thumbnail_path(path, pair.id), thumbnail_png(pair, colours))
            except SupportError:
                if pair.id not in known:
                    raise
        write(path / SET_FILE, pack_set(content, tasks))
    except BaseException as error:
        for file in made:
            _discard(file)
        if isinstance(error, OSError):
            raise storage_error(path, error) from error
        raise


def _pair(content: SupportSet, pair_id: str) -> SupportPair:
    found = next((pair for pair in content.pairs if pair.id == pair_id), None)
    if found is None:
        raise SupportError(f'"{content.name}" has no pair "{pair_id:.12}"; it may have been removed.')
    return found


def _with_object(pair: SupportPair, name: str, new: str) -> SupportPair:
    objects = tuple(new if each == name else each for each in pair.objects)
    read = pair.read

    def renamed() -> Pixels:
        image, masks = read()
        return image, dict(zip(objects, masks.values(), strict=True))

    return replace(pair, objects=objects, read=renamed)


def _pair_path(folder: Path, id: str) -> Path:
    return folder / "pairs" / f"{id}.zip"


def _thumbnail_path(folder: Path, id: str) -> Path:
    return folder / "thumbnails" / f"{id}.png"


def _task_path(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.safetensors"


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.debug("%s could not be removed: %s", path, error)


def _free(name: str, others: Iterable[SupportPair | SupportSet]) -> str:
    return free_name(name, {each.name for each in others}, most=MOST_LETTERS)

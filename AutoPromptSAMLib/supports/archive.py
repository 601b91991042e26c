"""A set in one file: a zip with ``set.json``, the pairs' files and the network, everything checked when it is read."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from AutoPromptSAMLib.atomic import atomic_path, storage_error
from AutoPromptSAMLib.files.checks import DAMAGED
from AutoPromptSAMLib.supports.errors import SupportError
from AutoPromptSAMLib.supports.pairs import SupportSet
from AutoPromptSAMLib.supports.storage import SET_FILE, Damaged, by_model, pack_pair, pack_set, unpack_pair, unpack_set

ENDING = ".apsupports"
_MOST_BYTES = 256 * 2**20  # of one entry: networks have up to 120 MB


def write(content: SupportSet, file: Path) -> Path:
    """Write a set into a file, the whole one or nothing; its path, with the ending.

    Raises SupportError when the set is damaged, StorageError when the disk does not take the file.
    """
    if file.is_dir():
        raise SupportError(f"{file} is a folder; give the name of a file to write in it.")
    if not file.name.lower().endswith(ENDING):
        file = file.with_name(file.name + ENDING)
    with atomic_path(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        tasks = {}
        for model, task in content.tasks.items():
            wrong = f'What "{content.name}" has learned with {model}'
            try:
                weights = task.read_bytes()
            except OSError:
                raise SupportError(f"{wrong} is missing; learn or attach it again.") from None
            tasks[model] = hashlib.sha256(weights).hexdigest()
            if tasks[model] != task.stem:
                raise SupportError(f"{wrong} was changed or damaged; learn or attach it again.")
            archive.writestr(f"tasks/{task.stem}.safetensors", weights)
        for pair in content.pairs:
            archive.writestr(f"pairs/{pair.id}.zip", pack_pair(pair))
        archive.writestr(SET_FILE, pack_set(content, tasks))
    return file


@contextmanager
def opened(file: Path) -> Iterator[SupportSet]:
    """The set in a file, to be used within the block; SupportError when anything in it is not what was written."""
    wrong = f"{file} cannot be imported, because"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(file) as archive:
                content, tasks = unpack_set(_entry(archive, SET_FILE), "", lambda id: Path(folder) / id)
                pairs = []
                for pair in content.pairs:
                    packed = _entry(archive, f"pairs/{pair.id}.zip")
                    unpack_pair(packed, pair.id, pair.objects)
                    (Path(folder) / pair.id).write_bytes(packed)
                    pairs.append(pair)
                networks = {}
                for model, digest in tasks.items():
                    weights = _entry(archive, f"tasks/{digest}.safetensors" if model else "task.safetensors")
                    if hashlib.sha256(weights).hexdigest() != digest:
                        raise Damaged("a task of it is not the one that was saved")
                    networks[model] = Path(folder) / f"{digest}.safetensors"
                    networks[model].write_bytes(weights)
        except Damaged as error:
            raise SupportError(f"{wrong} {error}; export it again.") from None
        except (KeyError, *DAMAGED):
            raise SupportError(f"{wrong} it is damaged or no {ENDING} file; export it again.") from None
        except OSError as error:
            if not file.is_file() or error.filename == str(file):
                raise SupportError(f"{file} cannot be read ({error.strerror or error}); check the path.") from None
            raise storage_error(Path(folder), error) from error
        yield replace(content, pairs=tuple(pairs), tasks=by_model(networks))


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise Damaged(f"{name} in it is too large")
    return archive.read(name)

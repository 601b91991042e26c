"""Writing files so that a crash, a full disk or a second process never leaves a broken one."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from AutoPromptSAMLib.errors import StorageError


def storage_error(path: Path, error: OSError) -> StorageError:
    """The sentence for an OSError met while writing ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(f"{path} could not be written because the disk is full; free some space and save again.")
    return StorageError(f"{path} could not be written ({error.strerror or error}); choose another place.")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside ``path``, with the same extensions, to write to; it takes the name ``path`` when the block ends.

    When the block raises, ``path`` is as before and the other file is removed; OSError becomes StorageError.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        temporary.touch()  # a folder that is missing or not ours shows here, whoever writes afterwards
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())  # or a power cut could leave the new name with no content
        os.replace(temporary, path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)

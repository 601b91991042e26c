"""Memory of done slices: what a run found, kept so that a correction or a restart does not decode it again."""

from __future__ import annotations

import logging
import shutil
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.loops.tracking import SliceMask

logger = logging.getLogger(__name__)

IN_MEMORY = 4096  # slices; 0.1 MB each for an organ
KEEP_SECONDS = 7 * 24 * 3600.0  # a run nobody came back to within a week is not waited for


class SliceMemory:
    """Answers by run and slice index, in memory and, with ``folder``, on disk as one small file a slice.

    Files appear by an atomic rename, so a process that is killed leaves whole slices only; one that cannot be read
    counts as absent. When the disk is full one warning is logged and the memory goes on without it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._slices: OrderedDict[tuple[str, int], SliceMask] = OrderedDict()
        self._warned = False
        if folder is not None and folder.is_dir():
            for run in folder.iterdir():
                if run.is_dir() and time.time() - run.stat().st_mtime > KEEP_SECONDS:
                    shutil.rmtree(run, ignore_errors=True)

    def get(self, run: str, index: int) -> SliceMask | None:
        """What ``run`` found on slice ``index``, None when that is not known."""
        known = self._slices.get((run, index))
        if known is None and self.folder is not None:
            known = _read(self.folder / run / f"{index}.npz")
            if known is not None:
                self._remember(run, index, known)
        return known

    def put(self, run: str, index: int, answer: SliceMask) -> None:
        """Keep an answer."""
        self._remember(run, index, answer)
        if self.folder is None:
            return
        try:
            (self.folder / run).mkdir(parents=True, exist_ok=True)
            with atomic_path(self.folder / run / f"{index}.npz") as temporary, temporary.open("wb") as file:
                np.savez_compressed(
                    file,
                    logits=answer.logits,
                    lower=np.array(answer.lower),
                    shape=np.array(answer.shape),
                    agreement=np.array(answer.agreement),
                )
        except (OSError, StorageError) as error:
            if not self._warned:
                self._warned = True
                logger.warning("A restart will have to decode again, because slices cannot be kept on disk: %s", error)

    def _remember(self, run: str, index: int, answer: SliceMask) -> None:
        self._slices[run, index] = answer
        if len(self._slices) > IN_MEMORY:
            self._slices.popitem(last=False)


def _read(path: Path) -> SliceMask | None:
    try:
        with np.load(path, allow_pickle=False) as data:
            rows, cols = data["shape"].tolist()
            row, col = data["lower"].tolist()
            return SliceMask(data["logits"].astype(np.float32), (row, col), (rows, cols), float(data["agreement"]))
    except FileNotFoundError:
        return None
    except Exception as error:
        logger.debug("%s is damaged and counts as absent: %s", path, error)
        return None

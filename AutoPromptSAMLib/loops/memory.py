"""Memory of done slices: what a run found, kept so that a correction or a restart does not decode it again."""

from __future__ import annotations

import io
import logging
import re
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
RUN_NAME = re.compile("[0-9a-f]{64}")  # folders of another name are not ours to remove


class SliceMemory:
    """Answers by run and slice index, in memory and, with ``folder``, on disk as one small file a slice.

    A run is named by 64 hexadecimal digits. Files appear by an atomic rename, so a process that is killed leaves whole
    slices only; one that cannot be read counts as absent. When the disk is full one warning is logged and the memory
    goes on without it. Runs that got no slice for ``KEEP_SECONDS`` are removed from the disk at the next start.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._slices: OrderedDict[tuple[str, int], SliceMask] = OrderedDict()
        self._warned = False
        if folder is not None:
            _remove_old(folder)

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
        content = io.BytesIO()
        np.savez_compressed(
            content,
            logits=answer.logits,
            lower=np.array(answer.lower),
            shape=np.array(answer.shape),
            agreement=np.array(answer.agreement),
        )
        try:
            (self.folder / run).mkdir(parents=True, exist_ok=True)
            with atomic_path(self.folder / run / f"{index}.npz") as temporary:
                temporary.write_bytes(content.getvalue())
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
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
            logits, lower, shape = data["logits"], data["lower"], data["shape"]
            if logits.ndim != 2 or logits.dtype != np.float32 or not np.isfinite(logits).all():
                raise ValueError("its logits are not finite float32 (rows, cols)")
            if (lower < 0).any() or (lower + logits.shape > shape).any():
                raise ValueError("its window sticks out of the slice")
            (row, col), (rows, cols) = lower.tolist(), shape.tolist()
            return SliceMask(logits, (row, col), (rows, cols), float(data["agreement"]))
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a parser makes of damaged bytes, the answer is the same: decode again
        logger.debug("%s is damaged and counts as absent: %s", path, error)
        return None


def _remove_old(folder: Path) -> None:
    """Remove the slices of runs that nobody came back to, and what a killed process left half written among them."""
    try:
        runs = [run for run in folder.iterdir() if RUN_NAME.fullmatch(run.name) and not run.is_symlink()]
    except OSError:
        return  # not there yet, or not ours to read: ``put`` will say so
    for run in runs:
        try:
            if time.time() - run.stat().st_mtime > KEEP_SECONDS:
                for file in run.glob("*.npz"):  # temporary ones end alike
                    file.unlink(missing_ok=True)
                run.rmdir()
        except OSError as error:
            logger.debug("%s could not be removed: %s", run, error)

"""What commands have in common: a session with a model, an object run with a progress bar, the bars themselves."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from AutoPromptSAMLib.atomic import storage_error

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import Volume
    from AutoPromptSAMLib.session.local import LocalSession
    from AutoPromptSAMLib.zoo import ModelCard

# What a program reads goes to standard output, what a person reads on the way to standard error. Names and paths
# are shown as they are: [brackets] and :colons: in them are no markup.
console = Console(stderr=True, markup=False, emoji=False)


def check_output(path: Path) -> None:
    """Whether a file can be written there, asked before the work: StorageError with what is wrong."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise storage_error(path, error) from error


@contextmanager
def local_session(model: str, device: str) -> Iterator[LocalSession]:
    """A session with a model of the zoo, fetched when it is not here, and the caches on disk."""
    from AutoPromptSAMLib.backbones import load_backbone
    from AutoPromptSAMLib.session import opening
    from AutoPromptSAMLib.zoo import get_card

    fetch_weights(get_card(model))
    with console.status(f"Loading {model}"):
        backbone = load_backbone(model, device)
    session = opening.local_session(backbone)
    try:
        yield session
    finally:
        session.close()


def run_object(
    session: LocalSession, name: str, propagate: bool, axis: int | None, slices: tuple[int, int] | None
) -> tuple[Any, dict[str, Any]]:
    """Segment one object, with a progress bar and Ctrl-C; its mask as a crop, and a summary for people."""
    import time

    from AutoPromptSAMLib.command_prompts import prompted_planes
    from AutoPromptSAMLib.geometry import Crop

    started = time.perf_counter()
    geometry = session.volume.geometry
    if propagate:
        first, last = slices if slices is not None else (0, None)
        with step_bar(name) as report:
            job = session.propagate(name, axis, first, last, on_progress=lambda p: report(p.done, p.total, p.text))
            try:
                result = job.result()
            except KeyboardInterrupt:
                job.cancel()
                job.result()
                raise
        mask, count = result.mask, len(result.agreement)
    else:
        planes = prompted_planes(session.objects[name].prompts, geometry, axis)
        mask, count = Crop.empty(), len(planes)
        with step_bar(name) as report:
            for number, plane in enumerate(planes):
                report(number, count, "Slice")
                found = session.segment(name, plane).result().mask
                mask = found if mask.is_empty else mask.union(found)
    voxels, seconds = int(mask.count), round(time.perf_counter() - started, 2)
    ml = millilitres(voxels, session.volume)
    return mask, {"name": name, "voxels": voxels, "ml": ml, "slices": count, "seconds": seconds}


def millilitres(voxels: int, volume: Volume) -> float | None:
    """So many voxels of an image, to a hundredth; None for a picture, whose pixels have no known size."""
    i, j, k = volume.geometry.spacing
    return round(voxels * i * j * k / 1000, 2) if volume.has_size else None


def fetch_weights(card: ModelCard, *, accept_unverified: bool = False, force: bool = False) -> Path:
    """The weights of a card, with a progress bar when they have to be downloaded."""
    from AutoPromptSAMLib.zoo import ensure

    with download_bar(card.title) as progress:
        return ensure(card, progress, accept_unverified=accept_unverified, force=force)


@contextmanager
def download_bar(text: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar in bytes that appears with the first report."""
    title = TextColumn("{task.description}", markup=False)
    columns = (title, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(text, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextmanager
def step_bar(text: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar in slices."""
    title, step = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[step]}"))
    columns = (title, BarColumn(), step)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(text, total=None, step="")
        yield lambda done, total, step: bar.update(task, completed=done, total=total, step=step)

"""The weights on this machine: where they are, whether they are the right ones, how they come and go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import filelock
import platformdirs

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.errors import DownloadError, ModelError, StorageError
from AutoPromptSAMLib.zoo.card import ModelCard
from AutoPromptSAMLib.zoo.download import Cancel, Progress, discard, file_sha256, file_size, locked
from AutoPromptSAMLib.zoo.sources import fetch


def home() -> Path:
    """The folder of everything that is fetched: AUTOPROMPTSAM_HOME, or the user's cache folder."""
    chosen = os.environ.get("AUTOPROMPTSAM_HOME", "").strip()
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("autopromptsam")


def weights_path(card: ModelCard) -> Path:
    """Where the weights of ``card``, or of its base, are once they are fetched; files put there by hand do."""
    return home() / "weights" / (card.base or card.name) / card.file_name


def is_installed(card: ModelCard) -> bool:
    """Whether the weights are there. What they are is checked by ``ensure`` and ``verify``."""
    return weights_path(card).is_file()


def ensure(
    card: ModelCard,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    *,
    accept_unverified: bool = False,
    force: bool = False,
) -> Path:
    """The verified weights of ``card``, fetched from the first of its sources that works when they are not there.

    A card without a SHA-256 is refused unless ``accept_unverified``; then the hash of what came is pinned on this
    machine, and every later use is checked against it. ``force`` fetches again even when there are weights, which stay
    in place until the new ones are whole. ``progress(done, total)`` is called with bytes.
    Raises ModelError (not verified, tampered), DownloadError, StorageError or Cancelled.
    """
    path = weights_path(card)
    if not force and path.is_file() and expected_sha256(card):
        return verify(card, cancel, remembered=True)
    if card.sha256 is None and not accept_unverified:
        raise ModelError(
            f"The card of {card.title} has no SHA-256, so its weights are not used unasked; if you trust "
            f"{card.sources[0].label}, run `autopromptsam models fetch {card.name} --accept-unverified`, "
            "which pins the hash of what comes."
        )
    with locked(path, cancel):
        # Another process may have fetched it while this one waited for the lock.
        if force or not path.is_file():
            _fetch(card, path, progress, cancel)
        if card.sha256 is None and (force or not _pin_path(card).is_file()):
            digest = file_sha256(path, cancel)
            with atomic_path(_pin_path(card)) as file:
                file.write_text(digest + "\n", encoding="utf-8")
    return verify(card, cancel, remembered=True)


def verify(card: ModelCard, cancel: Cancel | None = None, *, remembered: bool = False) -> Path:
    """The path of the weights, after comparing their SHA-256 with the card's or the pinned one.

    With ``remembered`` a file is read only once: a later call compares size, times and inode. Raises ModelError when
    the weights are missing, nothing says what they must be, or they are something else; raises Cancelled.
    """
    path, expected = weights_path(card), expected_sha256(card)
    if not path.is_file():
        raise ModelError(
            f"The weights of {card.title} are not on this machine; run `autopromptsam models fetch {card.name}`."
        )
    if expected is None:
        raise ModelError(
            f"Nothing says what the weights of {card.title} must be; run "
            f"`autopromptsam models fetch {card.name} --accept-unverified` to pin the hash of {path}."
        )
    fingerprint = _fingerprint(path)
    if remembered and _memory().get(str(path)) == [fingerprint, expected]:
        return path
    if file_sha256(path, cancel) != expected:
        raise ModelError(
            f"The weights of {card.title} at {path} were changed or damaged (their SHA-256 differs); "
            f"run `autopromptsam models fetch {card.name} --force`."
        )
    _remember(path, fingerprint, expected)
    return path


def expected_sha256(card: ModelCard) -> str | None:
    """The SHA-256 on the card, else the one pinned on this machine, else None."""
    if card.sha256 is not None:
        return card.sha256
    try:
        return _pin_path(card).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def remove(card: ModelCard) -> int:
    """Delete the weights of ``card`` and what is left of their downloads; returns the number of bytes freed.

    Raises StorageError when they are being fetched right now or cannot be deleted, ModelError for a model that has
    none of its own.
    """
    if card.base is not None:
        raise ModelError(
            f"{card.title} uses the weights of {card.base}; run `autopromptsam models remove {card.base}`."
        )
    path = weights_path(card)
    if not path.parent.is_dir():
        return 0
    with locked(path, wait=False):
        freed = 0
        for file in path.parent.iterdir():
            if file.suffix != ".lock":
                freed += file_size(file)
                discard(file)
    return freed


def _fetch(card: ModelCard, path: Path, progress: Progress | None, cancel: Cancel | None) -> None:
    failures = []
    for source in card.sources:
        try:
            return fetch(source, path, card.sha256, card.size_bytes, progress, cancel)
        except DownloadError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise DownloadError(
        f"None of the {len(failures)} sources of {card.title} could be used; the first failed with: {failures[0]}"
    ) from failures[0]


def _pin_path(card: ModelCard) -> Path:
    path = weights_path(card)
    return path.with_name(path.name + ".sha256")


def _fingerprint(path: Path) -> list[int]:
    """What changes whenever a file is written, also when its modification time is put back (ctime)."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _memory() -> dict[str, list[object]]:
    try:
        content = json.loads((home() / "verified.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(path: Path, fingerprint: list[int], sha256: str) -> None:
    """Only saves time, so a full or read-only disk is no reason to fail."""
    file = home() / "verified.json"
    try:
        with filelock.FileLock(file.with_name(file.name + ".lock"), timeout=1), atomic_path(file) as temporary:
            temporary.write_text(json.dumps({**_memory(), str(path): [fingerprint, sha256]}), encoding="utf-8")
    except (OSError, StorageError):
        return

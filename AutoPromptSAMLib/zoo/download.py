"""Downloads that resume, are verified by SHA-256, appear under their final name only when whole, and can be cancelled.

While a download runs, ``<dest>.partial`` holds what has come so far and ``<dest>.partial.json`` which version of the
remote file that is (RFC 9110 validators), so that a later run, also after a kill, continues the same version or starts
over. ``<dest>.lock`` keeps a second process waiting until the first is done.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import filelock
import requests
import urllib3

from AutoPromptSAMLib.errors import Cancelled, DownloadError, StorageError

Progress = Callable[[int, int | None], None]
Cancel = Callable[[], bool]
T = TypeVar("T")

CHUNK = 1 << 18
# Our choices: long enough for a slow hospital proxy, short enough that a dead line is told within a minute.
TIMEOUT_S = 30.0
ATTEMPTS = 4
PAUSE_S = 0.5
POLL_S = 0.1
# Kept free beside a download, so that logs and scene files of a running Slicer can still be written.
RESERVE_BYTES = 1 << 20

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _BrokenTransferError(Exception):
    """The transfer stopped early but may continue; ``str`` says how, for the message if it never does."""


def download(
    url: str,
    dest: Path,
    sha256: str | None,
    size: int | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> None:
    """Download ``url`` to ``dest``, continuing ``<dest>.partial`` where that is safe; the caller holds ``locked``.

    ``sha256`` None accepts what comes, if it has ``size`` bytes. ``size`` None means unknown; where the server states
    no length, ``size`` serves progress and the check of free space. ``progress(done, total)`` is called with bytes.
    Raises DownloadError, StorageError or Cancelled; what came so far is kept for the next call, unless it is wrong.
    """
    partial, state = _beside(dest, ".partial"), _beside(dest, ".partial.json")
    # Without a validator or a checksum nothing tells whether the rest still belongs to the same file.
    if partial.exists() and not (sha256 or _validator(state)):
        discard(partial, state)
    failures, most = 0, 0
    while True:
        check_cancel(cancel)
        resumed = file_size(partial) > 0
        try:
            _transfer(url, partial, state, size, progress, cancel)
        except _BrokenTransferError as broken:
            done = file_size(partial)
            failures, most = (1, done) if done > most else (failures + 1, most)
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"The download of {public(url)} stopped at {megabytes(done)} because {broken}; "
                    "run it again to continue from there."
                ) from broken
            _pause(PAUSE_S * 2 ** (failures - 1), cancel)
            continue
        if _is_expected(partial, sha256, size, cancel):
            break
        discard(partial, state)
        # What was resumed may be two versions of the file joined together: only a fresh start tells.
        if not resumed:
            raise DownloadError(
                f"What is at {public(url)} is not the expected file (its SHA-256 or size differs), "
                "so it was discarded; get the file from another source."
            )
    with storage_errors(dest):
        os.replace(partial, dest)
    discard(state)


def _is_expected(path: Path, sha256: str | None, size: int | None, cancel: Cancel | None) -> bool:
    if sha256 is not None:
        return file_sha256(path, cancel) == sha256
    return size is None or file_size(path) == size


def _transfer(
    url: str, partial: Path, state: Path, size: int | None, progress: Progress | None, cancel: Cancel | None
) -> None:
    """Append to ``partial`` until it is the whole file. Raises _BrokenTransferError when it stops before that."""
    offset = file_size(partial)
    # "identity": a compressed transfer has other lengths and offsets than the file.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator := _validator(state):
            headers["If-Range"] = validator
    with _open(url, headers, cancel) as response:
        if response.status_code == 416 and offset:
            # Either the process died between the last byte and the renaming, or the file is shorter than it was.
            if _content_range(response)[1] != offset:
                discard(partial, state)
                raise _BrokenTransferError("the server has less than was fetched before")
            return
        _check_status(response, url)
        total = _length(response)
        if response.status_code == 206:
            start, total = _content_range(response)
            if start != offset:
                discard(partial, state)
                raise _BrokenTransferError("the server sent another part than was asked for")
        else:
            offset = 0
            discard(partial)
        check_space(partial.parent, max(0, (total or size or 0) - offset))
        with storage_errors(partial):
            _remember(state, response)
            with partial.open("ab", buffering=0) as stream:
                received = offset
                for chunk in _chunks(response, cancel):
                    if progress:
                        progress(received, total or size)
                    stream.write(chunk)
                    received += len(chunk)
                os.fsync(stream.fileno())
    # urllib3 2 raises for a body that ends too early, urllib3 1 does not.
    if total is not None and received != total:
        raise _BrokenTransferError("the connection was lost")
    if progress:
        progress(received, received)


@contextmanager
def _open(url: str, headers: dict[str, str], cancel: Cancel | None) -> Iterator[requests.Response]:
    session = requests.Session()
    try:
        response = in_background(cancel, lambda: session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S))
    except requests.RequestException as error:
        session.close()
        raise network_error(error, url) from error

    def close() -> None:
        response.close()
        session.close()

    try:
        yield response
    finally:
        # Closing waits for a read that is under way, up to TIMEOUT_S after Cancel on a stalled line.
        threading.Thread(target=close, daemon=True).start()


def _check_status(response: requests.Response, url: str) -> None:
    code = response.status_code
    if code in (408, 429) or code >= 500:
        raise _BrokenTransferError(f"the server answered with HTTP {code}")
    if code not in (200, 206):
        raise http_error(code, url)


def _chunks(response: requests.Response, cancel: Cancel | None) -> Iterator[bytes]:
    """The body as it was sent: an archive that a server labels "Content-Encoding: gzip" must stay as it is."""
    chunks = response.raw.stream(CHUNK, decode_content=False)
    while True:
        try:
            chunk = in_background(cancel, lambda: next(chunks, b""))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _BrokenTransferError("the connection was lost") from error
        if not chunk:
            return
        yield chunk


def in_background(cancel: Cancel | None, call: Callable[[], T]) -> T:
    """The result of a blocking network ``call``, given up when ``cancel()`` turns true.

    A stalled server can block a call for TIMEOUT_S; the daemon thread takes that wait, so Cancel takes POLL_S.
    """
    if cancel is None:
        return call()
    answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put((call(), None))
        except BaseException as error:
            answer.put((None, error))

    threading.Thread(target=run, name="autopromptsam-download", daemon=True).start()
    while True:
        check_cancel(cancel)
        try:
            result, failure = answer.get(timeout=POLL_S)
        except queue.Empty:
            continue
        if failure is not None:
            raise failure
        return result


@contextmanager
def locked(dest: Path, cancel: Cancel | None = None, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of ``dest`` against other threads and processes; the system frees it when a process dies.

    Raises StorageError without ``wait`` when somebody else holds it, and Cancelled while waiting.
    """
    with storage_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(_beside(dest, ".lock"))
    while True:
        check_cancel(cancel)
        try:
            with storage_errors(dest):
                lock.acquire(timeout=POLL_S)
            break
        except filelock.Timeout as error:
            if not wait:
                raise StorageError(
                    f"{dest} is being fetched by another program; let it finish or cancel it there first."
                ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system at ``path`` into StorageError sentences."""
    try:
        yield
    except (requests.RequestException, filelock.Timeout):
        raise  # both are OSError by inheritance
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                f"The disk of {path.parent} is full; free some space or set AUTOPROMPTSAM_HOME to a folder elsewhere."
            ) from error
        raise StorageError(
            f"{path.parent} cannot be written ({error.strerror or error}); "
            "correct its permissions or set AUTOPROMPTSAM_HOME to another folder."
        ) from error


def check_space(folder: Path, needed: int) -> None:
    """Raise StorageError unless ``needed`` bytes and a reserve are free on the disk of ``folder``."""
    with storage_errors(folder / "file"):
        free = shutil.disk_usage(folder).free
    if needed + RESERVE_BYTES > free:
        raise StorageError(
            f"The download needs {megabytes(needed)} but the disk of {folder} has {megabytes(free)} free; "
            "free some space or set AUTOPROMPTSAM_HOME to a folder elsewhere."
        )


def network_error(error: Exception, url: str) -> DownloadError:
    """The sentence for a request that got no answer."""
    host = urlsplit(url).hostname
    if host is None or isinstance(error, requests.exceptions.InvalidSchema):
        return DownloadError(f"'{public(url)}' is not a web address; correct PIP_INDEX_URL or the model card.")
    if isinstance(error, requests.exceptions.ProxyError):
        return DownloadError(
            f"The proxy refused or did not answer the connection to {host}; "
            "correct HTTP_PROXY, HTTPS_PROXY and NO_PROXY and run it again."
        )
    if isinstance(error, requests.exceptions.SSLError):
        return DownloadError(
            f"The secure connection to {host} could not be verified; if your network inspects traffic, set "
            "REQUESTS_CA_BUNDLE to its certificate file and run it again."
        )
    if isinstance(error, requests.exceptions.Timeout):
        return DownloadError(f"{host} did not answer within {TIMEOUT_S:.0f} s; run it again later.")
    return DownloadError(
        f"{host} cannot be reached; connect this computer to the network (or set HTTPS_PROXY) and run it again."
    )


def http_error(code: int, url: str) -> DownloadError:
    """The sentence for a request that was answered with an error."""
    if code in (404, 410):
        return DownloadError(
            f"There is no file at {public(url)} (HTTP {code}); update AutoPromptSAM for its new place."
        )
    if code in (401, 403, 407):
        return DownloadError(
            f"The server or a proxy does not allow the download of {public(url)} (HTTP {code}); "
            "check your network's access rules."
        )
    return DownloadError(f"The server answered HTTP {code} for {public(url)}; run it again later.")


def public(url: str) -> str:
    """``url`` without user name, password and query, fit for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def megabytes(count: int) -> str:
    """Bytes for people: "39.4 MB" (10^6 bytes), as on the model cards."""
    return f"{count / 1e6:.1f} MB"


def file_sha256(path: Path, cancel: Cancel | None = None) -> str:
    """SHA-256 of a file as lower-case hexadecimal digits. Raises StorageError when it is unreadable, and Cancelled."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                check_cancel(cancel)
                digest.update(block)
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror or error}); correct its permissions.") from error
    return digest.hexdigest()


def file_size(path: Path) -> int:
    """Size in bytes, 0 when there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def discard(*paths: Path) -> None:
    """Delete files that may or may not exist."""
    for path in paths:
        with storage_errors(path):
            path.unlink(missing_ok=True)


def check_cancel(cancel: Cancel | None) -> None:
    """Raise Cancelled when ``cancel()`` says so."""
    if cancel is not None and cancel():
        raise Cancelled("Cancelled; run it again to continue where it stopped.")


def _pause(seconds: float, cancel: Cancel | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check_cancel(cancel)
        time.sleep(min(left, POLL_S))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _content_range(response: requests.Response) -> tuple[int, int | None]:
    """Start (-1 when there is none) and total size (None when unknown) of "bytes 5-9/10" or "bytes */10"."""
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    start = span.partition("-")[0]
    return int(start) if start.isdigit() else -1, int(total) if total.isdigit() else None


def _remember(state: Path, response: requests.Response) -> None:
    """Keep the strong validator of the version being fetched; weak ones must not be used for ranges (RFC 9110)."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    state.write_text(json.dumps({"validator": validator}), encoding="utf-8")


def _validator(state: Path) -> str:
    try:
        return str(json.loads(state.read_text(encoding="utf-8"))["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""

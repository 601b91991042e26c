from __future__ import annotations

import gzip
import hashlib
import os
import threading
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import Cancelled, DownloadError, StorageError
from AutoPromptSAMLib.zoo import download as module
from AutoPromptSAMLib.zoo.download import download, file_sha256, locked


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "weights.pt"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_download_arrives_whole_and_leaves_nothing_else(server, dest, content):
    server.serve("/f", content)
    calls: list[tuple[int, int | None]] = []
    download(f"{server.url}/f", dest, sha256(content), progress=lambda *call: calls.append(call))
    assert dest.read_bytes() == content
    assert names(dest.parent) == {"weights.pt"}
    assert calls[0] == (0, len(content))
    assert calls[-1] == (len(content), len(content))
    assert calls == sorted(calls)


def test_a_server_that_tells_no_length_is_read_to_the_end(server, dest, content):
    server.serve("/f", content, length=False)
    calls: list[tuple[int, int | None]] = []
    download(f"{server.url}/f", dest, sha256(content), size=len(content), progress=lambda *call: calls.append(call))
    assert dest.read_bytes() == content
    assert calls[0] == (0, len(content))


def test_an_empty_file_is_a_file(server, dest):
    server.serve("/f", b"")
    download(f"{server.url}/f", dest, sha256(b""))
    assert dest.read_bytes() == b""


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_a_broken_connection_is_continued_by_range(server, dest, content, etag):
    server.serve("/f", content, etag=etag, cuts=[300_000, 500_000])
    download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == content
    assert server.ranges("/f") == [None, "bytes=300000-", "bytes=800000-"]


def test_without_range_support_a_broken_download_starts_over(server, dest, content):
    server.serve("/f", content, ranges=False, etag='"v1"', cuts=[300_000])
    download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == content
    assert server.ranges("/f") == [None, "bytes=300000-"]


def test_a_line_that_stays_broken_keeps_what_came_and_the_next_run_continues(server, dest, content, sentence):
    file = server.serve("/f", content, etag='"v1"', cuts=[200_000] + [0] * 10)
    with sentence(DownloadError, "0.2 MB", "run it again"):
        download(f"{server.url}/f", dest, sha256(content))
    assert not dest.exists()
    assert dest.with_name("weights.pt.partial").read_bytes() == content[:200_000]
    file.cuts.clear()
    server.log.clear()
    download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == content
    assert server.ranges("/f") == ["bytes=200000-"]


@given(cuts=st.lists(st.integers(1, 40_000), max_size=6), ranges=st.booleans(), etag=st.sampled_from(['"a"', None]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_the_line_breaks_the_file_is_right_or_refused(server, tmp_path, content, cuts, ranges, etag):
    content, dest = content[:50_000], tmp_path / "any.pt"
    dest.unlink(missing_ok=True)
    server.serve("/any", content, ranges=ranges, etag=etag, cuts=list(cuts))
    for _ in range(3):
        try:
            download(f"{server.url}/any", dest, sha256(content))
            break
        except DownloadError:
            assert not dest.exists()
    assert dest.read_bytes() == content
    assert not dest.with_name("any.pt.partial").exists()


@pytest.mark.parametrize("checked", [True, False])
def test_a_file_that_changed_on_the_server_is_never_joined_with_its_old_start(server, dest, content, checked):
    server.serve("/f", content, etag='"old"', cuts=[300_000] + [0] * 10)
    with pytest.raises(DownloadError):
        download(f"{server.url}/f", dest, sha256(content))
    new = content[::-1]
    server.serve("/f", new, etag='"new"')
    download(f"{server.url}/f", dest, sha256(new) if checked else None)
    assert dest.read_bytes() == new


def test_the_checksum_finds_a_joined_file_where_the_server_tells_no_version(server, dest, content):
    dest.with_name("weights.pt.partial").write_bytes(content[:300_000])
    new = content[::-1]
    server.serve("/f", new)
    download(f"{server.url}/f", dest, sha256(new))
    assert dest.read_bytes() == new
    assert server.ranges("/f") == ["bytes=300000-", None]


def test_without_checksum_and_version_nothing_is_continued(server, dest, content):
    dest.with_name("weights.pt.partial").write_bytes(b"from another file")
    server.serve("/f", content)
    download(f"{server.url}/f", dest, None)
    assert dest.read_bytes() == content
    assert server.ranges("/f") == [None]


@pytest.mark.parametrize(
    ("how", "validator"),
    [
        ({"etag": 'W/"weak"'}, ""),
        ({"etag": '"strong"', "headers": {"Last-Modified": "Tue, 01 Oct 2024 00:00:00 GMT"}}, '"strong"'),
        ({"headers": {"Last-Modified": "Tue, 01 Oct 2024 00:00:00 GMT"}}, "Tue, 01 Oct 2024 00:00:00 GMT"),
    ],
)
def test_only_strong_validators_are_used_for_ranges(server, dest, content, how, validator):
    server.serve("/f", content, cuts=[1000] + [0] * 10, **how)
    with pytest.raises(DownloadError):
        download(f"{server.url}/f", dest, sha256(content))
    assert module._validator(dest.with_name("weights.pt.partial.json")) == validator


def test_a_process_that_died_before_the_renaming_needs_no_new_download(server, dest, content):
    dest.with_name("weights.pt.partial").write_bytes(content)
    server.serve("/f", content)
    download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == content
    assert server.ranges("/f") == [f"bytes={len(content)}-"]


def test_a_partial_file_longer_than_the_remote_one_is_discarded(server, dest, content):
    dest.with_name("weights.pt.partial").write_bytes(content + b"more")
    server.serve("/f", content)
    download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == content


def test_a_server_that_sends_another_part_is_asked_for_the_whole(server, dest, content):
    dest.with_name("weights.pt.partial").write_bytes(content[:1000])
    server.serve("/f", content, shift=10)
    download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == content
    assert server.ranges("/f") == ["bytes=1000-", None]


def test_a_damaged_note_of_the_version_is_no_version(server, dest, content):
    dest.with_name("weights.pt.partial").write_bytes(b"from another file")
    dest.with_name("weights.pt.partial.json").write_text("[")
    server.serve("/f", content)
    download(f"{server.url}/f", dest, None)
    assert dest.read_bytes() == content
    assert server.ranges("/f") == [None]


def test_a_wrong_checksum_leaves_nothing(server, dest, content, sentence):
    server.serve("/f", content)
    with sentence(DownloadError, "SHA-256", "discarded"):
        download(f"{server.url}/f", dest, sha256(b"something else"))
    assert names(dest.parent) == set()
    assert len(server.log) == 1


def test_a_wrong_size_is_refused_when_there_is_no_checksum(server, dest, content, sentence):
    server.serve("/f", b"<html>Confirm that you want to download this large file</html>")
    with sentence(DownloadError, "size"):
        download(f"{server.url}/f", dest, None, size=len(content))
    assert names(dest.parent) == set()


def test_a_file_that_was_there_stays_until_the_new_one_is_whole(server, dest, content):
    dest.write_bytes(b"old weights")
    file = server.serve("/f", content, cuts=[1000] + [0] * 10)
    with pytest.raises(DownloadError):
        download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == b"old weights"
    file.cuts.clear()
    download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == content


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, ("no file", "404")), (410, ("410",)), (403, ("allow", "403")), (401, ("401",)), (416, ("416",))],
)
def test_refusals_of_the_server_are_told_at_once(server, dest, sentence, status, words):
    server.serve("/f", b"x", statuses=[status])
    with sentence(DownloadError, *words):
        download(f"{server.url}/f", dest, sha256(b"x"))
    assert len(server.log) == 1
    assert names(dest.parent) == set()


def test_a_server_in_trouble_is_asked_again(server, dest, content):
    server.serve("/f", content, statuses=[500, 503, 429])
    download(f"{server.url}/f", dest, sha256(content))
    assert dest.read_bytes() == content


def test_a_server_that_stays_in_trouble_is_told(server, dest, content, sentence):
    server.serve("/f", content, statuses=[500] * 10)
    with sentence(DownloadError, "HTTP 500", "run it again"):
        download(f"{server.url}/f", dest, sha256(content))


def test_no_network(dest, closed_port, sentence):
    with sentence(DownloadError, "127.0.0.1 cannot be reached", "network"):
        download(f"http://127.0.0.1:{closed_port}/f", dest, sha256(b""))


def test_a_proxy_that_does_not_answer(dest, closed_port, sentence, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    with sentence(DownloadError, "proxy", "weights.invalid", "HTTPS_PROXY"):
        download("http://weights.invalid/f", dest, sha256(b""))


def test_a_connection_that_is_not_secure(server, dest, sentence):
    server.serve("/f", b"x")
    with sentence(DownloadError, "secure connection", "REQUESTS_CA_BUNDLE"):
        download(f"{server.url.replace('http:', 'https:')}/f", dest, sha256(b"x"))


def test_a_server_that_never_answers(server, dest, sentence, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    server.serve("/f", b"x", stall_at=-1)
    with sentence(DownloadError, "did not answer"):
        download(f"{server.url}/f", dest, sha256(b"x"))


def test_a_line_that_goes_silent_is_continued_on_a_new_one(server, dest, content, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    file = server.serve("/f", content, etag='"v1"', stall_at=600_000)
    opened = []

    def progress(done: int, total: int | None) -> None:
        if done > 500_000 and not opened:
            opened.append(threading.Timer(0.4, file.gate.set))
            opened[0].start()

    download(f"{server.url}/f", dest, sha256(content), progress=progress)
    assert dest.read_bytes() == content
    assert server.ranges("/f")[0] is None
    assert len(server.ranges("/f")) > 1


@pytest.mark.parametrize("address", ["file:///etc/hostname", "no address at all", "http://"])
def test_an_address_that_is_none(dest, sentence, address):
    with sentence(DownloadError, "not a web address"):
        download(address, dest, sha256(b""))


def test_names_and_passwords_in_addresses_are_not_repeated(server, dest, sentence):
    address = f"{server.url.replace('//', '//doctor:secret@')}/missing?token=secret"
    with sentence(DownloadError, "/missing") as caught:
        download(address, dest, sha256(b""))
    assert "secret" not in str(caught.value)
    assert "doctor" not in str(caught.value)


def test_an_archive_labelled_as_compressed_stays_an_archive(server, dest, content):
    archive = gzip.compress(content)
    server.serve("/f.tar.gz", archive, headers={"Content-Encoding": "gzip"})
    download(f"{server.url}/f.tar.gz", dest, sha256(archive))
    assert dest.read_bytes() == archive


@pytest.mark.parametrize("stall_at", [-1, 0, 600_000])
def test_cancel_does_not_wait_for_a_server_that_stalls(server, dest, content, sentence, monkeypatch, stall_at):
    monkeypatch.setattr(module, "TIMEOUT_S", 3600.0)  # waiting for the server would show as a test that hangs
    file = server.serve("/f", content, etag='"v1"', stall_at=stall_at)
    asked = iter([False] * 8)
    with sentence(Cancelled, "continue"):
        download(f"{server.url}/f", dest, sha256(content), cancel=lambda: next(asked, True))
    assert not dest.exists()
    file.gate.set()
    download(f"{server.url}/f", dest, sha256(content), cancel=lambda: False)
    assert dest.read_bytes() == content


def test_cancel_between_pieces_keeps_what_came(server, dest, content):
    server.serve("/f", content, etag='"v1"')
    done: list[int] = []
    with pytest.raises(Cancelled):
        download(
            f"{server.url}/f",
            dest,
            sha256(content),
            progress=lambda count, total: done.append(count),
            cancel=lambda: bool(done) and done[-1] > 0,
        )
    kept = dest.with_name("weights.pt.partial").stat().st_size
    assert 0 < kept < len(content)
    download(f"{server.url}/f", dest, sha256(content))
    assert server.ranges("/f") == [None, f"bytes={kept}-"]


def test_cancel_during_the_checksum(dest, content):
    dest.write_bytes(content)
    with pytest.raises(Cancelled):
        file_sha256(dest, lambda: True)


def test_cancel_while_another_process_downloads(dest):
    asked = iter([False] * 3)
    with locked(dest), pytest.raises(Cancelled), locked(dest, lambda: next(asked, True)):
        pytest.fail("two held the lock")  # pragma: no cover


def test_a_download_larger_than_the_disk_is_not_begun(server, dest, sentence):
    server.serve("/f", b"x", headers={"Content-Length": str(1 << 60)})
    with sentence(StorageError, "free", "AUTOPROMPTSAM_HOME"):
        download(f"{server.url}/f", dest, sha256(b"x"))
    assert names(dest.parent) == set()


def test_a_folder_that_cannot_be_made(tmp_path, sentence):
    (tmp_path / "file").write_bytes(b"")
    with sentence(StorageError, "cannot be written"), locked(tmp_path / "file" / "weights.pt"):
        pytest.fail("locked in a file")  # pragma: no cover


def test_a_file_that_cannot_be_read(tmp_path, sentence):
    with sentence(StorageError, "cannot be read"):
        file_sha256(tmp_path)


def test_public_addresses_keep_host_and_path():
    assert module.public("https://a:b@host:8080/p/q.pt?x=1#y") == "https://host:8080/p/q.pt"
    assert urllib.parse.urlsplit(module.public("https://host/p")).netloc == "host"


def test_nothing_is_left_running_after_a_download(server, dest, content):
    before = threading.active_count()
    server.serve("/f", content)
    download(f"{server.url}/f", dest, sha256(content), cancel=lambda: False)
    for thread in threading.enumerate():
        if thread.name == "autopromptsam-download":
            thread.join(10)
    assert threading.active_count() <= before + 2  # the server's own
    assert os.path.getsize(dest) == len(content)

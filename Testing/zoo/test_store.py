from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import pytest

from AutoPromptSAMLib.errors import Cancelled, DownloadError, ModelError, StorageError
from AutoPromptSAMLib.zoo import store
from AutoPromptSAMLib.zoo.card import read_card
from AutoPromptSAMLib.zoo.download import locked


@pytest.fixture
def card(server, make_card, content, home):
    """A card whose only source is the test's server."""
    server.serve("/weights", content)
    return read_card(
        make_card(
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            sources=[{"kind": "url", "url": f"{server.url}/weights"}],
        )
    )


@pytest.fixture
def unhashed(server, make_card, content, home):
    """The same card, but nobody knows its SHA-256."""
    server.serve("/weights", content)
    return read_card(
        make_card(sha256=None, size_bytes=None, sources=[{"kind": "url", "url": f"{server.url}/weights"}])
    )


def overwrite_in_place(path: Path, content: bytes) -> None:
    """Other content of the same size with the times put back, as someone who hides it would."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_ensure_fetches_once(server, card, content):
    calls: list[tuple[int, int | None]] = []
    assert not store.is_installed(card)
    path = store.ensure(card, lambda *call: calls.append(call))
    assert path == store.weights_path(card)
    assert path.read_bytes() == content
    assert calls[-1] == (len(content), len(content))
    assert store.is_installed(card)
    server.files.clear()
    assert store.ensure(card) == path
    assert len(server.log) == 1


def test_threads_that_ask_at_once_share_one_download(server, card):
    server.files["/weights"].cuts += [100_000, 400_000]
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: store.ensure(card, cancel=lambda: False), range(4)))
    assert paths == {store.weights_path(card)}
    assert server.ranges("/weights") == [None, "bytes=100000-", "bytes=500000-"]


def test_weights_put_there_by_hand_are_used(server, card, content):
    path = store.weights_path(card)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert store.ensure(card) == path
    assert server.log == []


def test_tampered_weights_are_refused_and_force_repairs_them(server, card, content, sentence):
    path = store.ensure(card)
    path.write_bytes(content[:-1] + b"!")
    for check in (store.ensure, store.verify):
        with sentence(ModelError, str(path), "SHA-256", f"models fetch {card.name} --force"):
            check(card)
    assert store.ensure(card, force=True).read_bytes() == content
    assert len(server.log) == 2


def test_weights_changed_behind_the_same_size_and_time_are_noticed(card, content, sentence):
    path = store.ensure(card)
    overwrite_in_place(path, content[::-1])
    with sentence(ModelError, "changed or damaged"):
        store.ensure(card)


def test_a_verified_file_is_read_only_once_and_verify_reads_it_again(card, home, sentence):
    path = store.ensure(card)
    path.write_bytes(b"other weights")
    status = path.stat()
    fingerprint = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    (home / "verified.json").write_text(json.dumps({str(path): [fingerprint, card.sha256]}))
    assert store.verify(card, remembered=True) == path
    with sentence(ModelError, "changed or damaged"):
        store.verify(card)


@pytest.mark.parametrize("damage", ["", "not json", "[]", '{"x": 1}', "\xff"])
def test_a_damaged_memory_of_checks_is_only_forgotten(card, home, damage):
    path = store.ensure(card)
    (home / "verified.json").write_bytes(damage.encode("latin-1"))
    assert store.ensure(card) == path
    assert str(path) in json.loads((home / "verified.json").read_text())


def test_a_memory_of_checks_that_cannot_be_written_is_no_failure(card, home):
    home.mkdir()
    (home / "verified.json").mkdir()
    assert store.ensure(card).is_file()


def test_weights_that_are_not_there(card, sentence):
    with sentence(ModelError, "not on this machine", f"models fetch {card.name}"):
        store.verify(card)


def test_force_keeps_the_old_weights_when_the_new_ones_do_not_come(server, card, content):
    path = store.ensure(card)
    server.files.clear()
    with pytest.raises(DownloadError):
        store.ensure(card, force=True)
    assert path.read_bytes() == content


def test_sources_are_tried_in_order(server, make_card, content, home):
    server.serve("/second", content)
    card = read_card(
        make_card(
            sha256=hashlib.sha256(content).hexdigest(),
            sources=[{"kind": "url", "url": f"{server.url}/{name}"} for name in ("first", "second", "third")],
        )
    )
    assert store.ensure(card).read_bytes() == content
    assert [path for path, _ in server.log] == ["/first", "/second"]


def test_when_no_source_works_one_sentence_says_so(server, make_card, home, sentence):
    card = read_card(make_card(sources=[{"kind": "url", "url": f"{server.url}/{name}"} for name in ("a", "b")]))
    with sentence(DownloadError, "None of the 2 sources", card.title, f"{server.url}/a", "404"):
        store.ensure(card)
    assert not store.is_installed(card)


def test_cancel_does_not_go_on_to_the_next_source(server, make_card, content, home):
    for name in ("/a", "/b"):
        server.serve(name, content, stall_at=0)
    card = read_card(make_card(sources=[{"kind": "url", "url": f"{server.url}/{name}"} for name in ("a", "b")]))
    with pytest.raises(Cancelled):
        store.ensure(card, cancel=lambda: len(server.log) > 0)
    assert [path for path, _ in server.log] == ["/a"]


def test_a_wrong_file_from_one_source_is_not_kept_for_the_next(server, make_card, content, home):
    server.serve("/a", content[::-1])
    server.serve("/b", content)
    card = read_card(
        make_card(
            sha256=hashlib.sha256(content).hexdigest(),
            sources=[{"kind": "url", "url": f"{server.url}/{name}"} for name in ("a", "b")],
        )
    )
    assert store.ensure(card).read_bytes() == content


def test_weights_without_a_published_hash_are_not_fetched_unasked(server, unhashed, sentence):
    with sentence(ModelError, f"models fetch {unhashed.name} --accept-unverified", f"{server.url}/weights"):
        store.ensure(unhashed)
    assert server.log == []


def test_accepted_weights_are_pinned(server, unhashed, content, sentence):
    path = store.ensure(unhashed, accept_unverified=True)
    assert store.expected_sha256(unhashed) == hashlib.sha256(content).hexdigest()
    assert store.ensure(unhashed) == path
    assert len(server.log) == 1
    overwrite_in_place(path, content[::-1])
    for accept in (False, True):
        with sentence(ModelError, "changed or damaged"):
            store.ensure(unhashed, accept_unverified=accept)


def test_fetching_again_pins_again(server, unhashed, content):
    store.ensure(unhashed, accept_unverified=True)
    server.serve("/weights", content[::-1])
    assert store.ensure(unhashed, accept_unverified=True, force=True).read_bytes() == content[::-1]
    assert store.expected_sha256(unhashed) == hashlib.sha256(content[::-1]).hexdigest()


def test_weights_by_hand_without_a_hash_need_the_same_decision(server, unhashed, content, sentence):
    path = store.weights_path(unhashed)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with sentence(ModelError, "--accept-unverified"):
        store.ensure(unhashed)
    with sentence(ModelError, "--accept-unverified", str(path)):
        store.verify(unhashed)
    assert store.ensure(unhashed, accept_unverified=True) == path
    assert server.log == []


def test_weights_from_a_file_on_this_machine(make_card, tmp_path, content, home, sentence):
    (tmp_path / "mine.pt").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    calls: list[tuple[int, int | None]] = []
    card = read_card(make_card(sha256=digest, sources=[{"kind": "file", "path": "mine.pt"}]))
    assert store.ensure(card, lambda *call: calls.append(call)).read_bytes() == content
    assert calls == [(len(content), len(content))]
    assert (tmp_path / "mine.pt").read_bytes() == content

    (tmp_path / "mine.pt").write_bytes(content[::-1])
    with sentence(DownloadError, "SHA-256", "mine.pt"):
        store.ensure(card, force=True)
    (tmp_path / "mine.pt").unlink()
    with sentence(DownloadError, "no file", "mine.pt"):
        store.ensure(card, force=True)
    assert store.verify(card).read_bytes() == content


def test_removing(server, card, unhashed, content):
    assert store.remove(card) == 0
    path = store.ensure(card)
    path.with_name(path.name + ".partial").write_bytes(b"left over")
    assert store.remove(card) == len(content) + len(b"left over")
    assert not store.is_installed(card)
    # Without the lock file two processes could hold two locks.
    assert [file.name for file in path.parent.iterdir()] == [path.name + ".lock"]


def test_removing_forgets_a_pin(unhashed, content):
    store.ensure(unhashed, accept_unverified=True)
    assert store.remove(unhashed) > len(content)
    assert store.expected_sha256(unhashed) is None


def test_removing_what_is_being_fetched_is_refused(card, sentence):
    path = store.ensure(card)
    with locked(path), sentence(StorageError, "being fetched"):
        store.remove(card)
    assert store.is_installed(card)


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path))
    assert store.home() == tmp_path
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", "~/weights")
    assert store.home() == Path.home() / "weights"
    for unset in ("", " "):
        monkeypatch.setenv("AUTOPROMPTSAM_HOME", unset)
        assert store.home() == platformdirs.user_cache_path("autopromptsam")


def test_a_home_that_cannot_be_made(card, tmp_path, monkeypatch, sentence):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "file"))
    with sentence(StorageError, "cannot be written", "AUTOPROMPTSAM_HOME"):
        store.ensure(card)

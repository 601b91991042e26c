"""Kills, two processes at once and full disks, with real processes and a real small disk."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.zoo import store
from AutoPromptSAMLib.zoo.card import read_card
from AutoPromptSAMLib.zoo.download import download, locked

ROOT = Path(__file__).resolve().parents[2]

ENSURE = """
import sys
from pathlib import Path
from AutoPromptSAMLib.zoo import store
from AutoPromptSAMLib.zoo.card import read_card
print(store.ensure(read_card(Path(sys.argv[1]))))
"""

# Ignoring SIGXFSZ turns the limit into EFBIG, as a file system's own limit would be told.
LIMITED = """
import resource, signal, sys
from pathlib import Path
from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.zoo.download import download
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    download(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
except StorageError as error:
    print(error)
"""


def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.fixture
def card_file(server, make_card, content) -> Path:
    return make_card(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        sources=[{"kind": "url", "url": f"{server.url}/weights"}],
    )


def test_a_killed_download_leaves_no_weights_and_the_next_run_continues(server, home, card_file, content):
    card = read_card(card_file)
    file = server.serve("/weights", content, etag='"v1"', stall_at=800_000)
    path = store.weights_path(card)
    partial = path.with_name(path.name + ".partial")
    process = start(ENSURE, card_file)
    # The client writes whole pieces only; three of 256 KiB fit into 800 000 bytes.
    wait_until(lambda: partial.exists() and partial.stat().st_size >= 700_000)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    process.communicate()
    kept = partial.stat().st_size
    assert not path.exists()
    assert partial.read_bytes() == content[:kept]
    file.gate.set()
    server.log.clear()
    assert store.ensure(card).read_bytes() == content
    assert server.ranges("/weights") == [f"bytes={kept}-"]
    assert {found.name for found in path.parent.iterdir()} <= {path.name, path.name + ".lock"}


def test_two_processes_fetch_the_same_weights_once(server, home, card_file, content):
    file = server.serve("/weights", content, etag='"v1"', stall_at=300_000)
    both = [start(ENSURE, card_file) for _ in range(2)]
    wait_until(lambda: len(server.log) > 0)
    file.gate.set()
    answers = [process.communicate(timeout=60) for process in both]
    path = store.weights_path(read_card(card_file))
    assert [out.strip() for out, _ in answers] == [str(path)] * 2, answers
    assert path.read_bytes() == content
    assert server.ranges("/weights") == [None]


def test_a_process_that_is_killed_frees_its_lock(server, home, card_file, content):
    server.serve("/weights", content, stall_at=0)
    process = start(ENSURE, card_file)
    wait_until(lambda: len(server.log) > 0)
    path = store.weights_path(read_card(card_file))
    with pytest.raises(StorageError, match="being fetched by another program"), locked(path, wait=False):
        pytest.fail("two held the lock")  # pragma: no cover
    process.kill()
    process.communicate()
    with locked(path, wait=False):
        assert not path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_write_that_the_system_refuses_is_told_and_continued_later(server, tmp_path, content):
    server.serve("/f", content, etag='"v1"')
    dest, digest = tmp_path / "weights.pt", hashlib.sha256(content).hexdigest()
    out, err = start(LIMITED, f"{server.url}/f", dest, digest).communicate(timeout=60)
    assert out.startswith("The disk of "), err
    assert out.strip().endswith(".")
    assert not dest.exists()
    download(f"{server.url}/f", dest, digest)
    assert dest.read_bytes() == content
    assert server.ranges("/f")[-1] == f"bytes={500_000}-"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user cannot mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux")
def test_a_disk_that_fills_up_meanwhile_is_told(server, small_disk, sentence):
    # Without a length the check before the download cannot know.
    server.serve("/f", os.urandom(8 << 20), length=False)
    dest = small_disk / "weights.pt"
    with sentence(StorageError, "is full", str(small_disk), "AUTOPROMPTSAM_HOME"):
        download(f"{server.url}/f", dest, "0" * 64)
    assert not dest.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux")
def test_a_disk_that_is_too_small_is_told_before_the_download(server, small_disk, sentence):
    server.serve("/f", os.urandom(8 << 20))
    with sentence(StorageError, "needs 8.4 MB", "free"):
        download(f"{server.url}/f", small_disk / "weights.pt", "0" * 64)
    assert list(small_disk.iterdir()) == []

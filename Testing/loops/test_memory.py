"""What the memory of done slices keeps, over restarts, damage and full disks."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.loops import memory
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.tracking import SliceMask

RUN, OTHER = "a" * 64, "b" * 64


def answer(seed: int = 0) -> SliceMask:
    rng = np.random.default_rng(seed)
    return SliceMask(rng.normal(size=(9, 7)).astype(np.float32), (3, 11), (40, 50), 0.8125 + seed)


def assert_same(one: SliceMask | None, other: SliceMask) -> None:
    assert one is not None
    np.testing.assert_array_equal(one.logits, other.logits)
    assert one.logits.dtype == np.float32
    assert (one.lower, one.shape, one.agreement) == (other.lower, other.shape, other.agreement)


@pytest.mark.parametrize("restart", [False, True])
def test_what_was_put_comes_back(tmp_path: Path, restart: bool) -> None:
    kept = SliceMemory(tmp_path / "runs")
    empty = SliceMask.from_logits(np.full((40, 50), -3, np.float32), 0.0)
    kept.put(RUN, 3, answer(3))
    kept.put(RUN, 4, empty)
    kept.put(OTHER, 3, answer(5))
    if restart:
        kept = SliceMemory(tmp_path / "runs")
    assert_same(kept.get(RUN, 3), answer(3))
    assert_same(kept.get(RUN, 4), empty)
    assert_same(kept.get(OTHER, 3), answer(5))
    assert kept.get(RUN, 5) is None
    assert kept.get("c" * 64, 3) is None


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = SliceMemory()
    kept.put(RUN, 0, answer())
    assert_same(kept.get(RUN, 0), answer())
    assert not list(tmp_path.iterdir())


def test_the_memory_is_bounded_and_the_disk_still_has_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "IN_MEMORY", 3)
    bounded, kept = SliceMemory(), SliceMemory(tmp_path)
    for n in range(5):
        bounded.put(RUN, n, answer(n))
        kept.put(RUN, n, answer(n))
    assert [n for n in range(5) if bounded.get(RUN, n) is not None] == [2, 3, 4]
    assert_same(kept.get(RUN, 0), answer(0))


def damaged(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    return {
        "empty": b"",
        "short": content[:-1],
        "half": content[:middle],
        "text": b"No slice.",
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }


@pytest.mark.parametrize("damage", ["empty", "short", "half", "text", "flipped"])
def test_a_damaged_file_counts_as_absent_and_is_replaced(tmp_path: Path, damage: str) -> None:
    SliceMemory(tmp_path).put(RUN, 3, answer())
    (file,) = (tmp_path / RUN).iterdir()
    file.write_bytes(damaged(file.read_bytes())[damage])
    kept = SliceMemory(tmp_path)
    assert kept.get(RUN, 3) is None
    kept.put(RUN, 3, answer())
    assert_same(SliceMemory(tmp_path).get(RUN, 3), answer())


@pytest.mark.parametrize(
    "change",
    [
        {"logits": np.full((9, 7), np.nan, np.float32)},
        {"logits": np.zeros((9, 7), np.float64)},
        {"logits": np.zeros(63, np.float32)},
        {"logits": np.array([{}], dtype=object)},
        {"lower": np.array([35, 11])},
        {"lower": np.array([-1, 11])},
        {"lower": np.array([1, 2, 3])},
        {"agreement": np.zeros(2)},
    ],
    ids=["nan", "float64", "flat", "pickled", "outside", "negative", "three", "two values"],
)
def test_a_file_that_makes_no_sense_counts_as_absent(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    (tmp_path / RUN).mkdir()
    values = {"logits": answer().logits, "lower": np.array([3, 11]), "shape": np.array([40, 50]), "agreement": 0.5}
    np.savez(tmp_path / RUN / "3.npz", **values)
    assert SliceMemory(tmp_path).get(RUN, 3) is not None
    np.savez(tmp_path / RUN / "3.npz", **(values | change))
    assert SliceMemory(tmp_path).get(RUN, 3) is None


def test_on_a_full_disk_it_goes_on_in_memory_with_one_warning(
    tiny_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    big = SliceMask(np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32), (0, 0), (100, 100))
    kept = SliceMemory(tiny_disk / "runs")
    with caplog.at_level(logging.WARNING):
        for n in range(6):
            kept.put(RUN, n, big)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "disk is full" in caplog.text
    assert all(kept.get(RUN, n) is not None for n in range(6))
    restarted = SliceMemory(tiny_disk / "runs")
    known = [n for n in range(6) if restarted.get(RUN, n) is not None]
    assert known == [0]
    assert [file.name for file in (tiny_disk / "runs" / RUN).iterdir()] == ["0.npz"]


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = SliceMemory(tmp_path / "file" / "runs")
    with caplog.at_level(logging.WARNING):
        kept.put(RUN, 0, answer())
        kept.put(RUN, 1, answer())
    assert len(caplog.records) == 1
    assert_same(kept.get(RUN, 1), answer())


def test_runs_that_nobody_came_back_to_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = SliceMemory(tmp_path)
    kept.put(RUN, 0, answer())
    kept.put(OTHER, 0, answer())
    (tmp_path / RUN / ".12345678-1.npz").write_bytes(b"half a sl")  # a process was killed here
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.npz").write_text("years of work")
    linked = tmp_path / ("c" * 64)
    linked.symlink_to(thesis)
    old = time.time() - memory.KEEP_SECONDS - 60
    for folder in (tmp_path / RUN, thesis):
        os.utime(folder, (old, old))
    restarted = SliceMemory(tmp_path)
    assert restarted.get(RUN, 0) is None
    assert not (tmp_path / RUN).exists()
    assert_same(restarted.get(OTHER, 0), answer())
    assert (thesis / "chapter1.npz").read_text() == "years of work"


def test_an_old_run_with_files_of_others_in_it_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "notes.txt").write_text("mine")
    os.utime(tmp_path / RUN, (0, 0))
    SliceMemory(tmp_path).put(OTHER, 0, answer())
    assert (tmp_path / RUN / "notes.txt").read_text() == "mine"

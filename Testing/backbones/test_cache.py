"""Features kept in memory and on disk."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.backbones import Backbone, Features, Frame
from AutoPromptSAMLib.backbones.cache import EmbeddingCache, feature_key

from .conftest import picture

FRAME = Frame.longest_side(30, 40, 256)
KIB = 1024


def features_of(seed: int, channels: int = 4, levels: int = 1) -> Features:
    """Features of ``256·channels·(1 + levels)`` bytes."""
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(1, channels, 8, 8, generator=generator) for _ in range(levels + 1)]
    return Features(draw[0], FRAME, tuple(draw[1:]), {"edges": torch.tensor([[seed]])})


def assert_same(actual: Features | None, expected: Features) -> None:
    assert actual is not None
    assert actual.frame == expected.frame
    pairs = [(actual.embedding, expected.embedding), *zip(actual.high_res, expected.high_res, strict=True)]
    pairs += [(actual.extras[name], expected.extras[name]) for name in expected.extras]
    assert set(actual.extras) == set(expected.extras)
    for a, b in pairs:
        torch.testing.assert_close(a, b, atol=0, rtol=0)


def disk_use(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.integers(1, 20), st.integers(0, 3))
def test_features_survive_a_restart(seed: int, channels: int, levels: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        features = features_of(seed, channels, levels)
        EmbeddingCache(Path(folder)).put("key", features)
        restarted = EmbeddingCache(Path(folder))
        assert_same(restarted.get("key"), features)
        assert restarted.get("other") is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=25))
def test_memory_holds_the_most_recently_used(steps: list[tuple[bool, int]]) -> None:
    """Against a list that is kept in the order of use: three entries of one size fit."""
    size = features_of(0).nbytes
    cache = EmbeddingCache(None, memory_bytes=3 * size + size // 2)
    recent: list[int] = []
    for is_put, number in steps:
        if is_put:
            cache.put(str(number), features_of(number))
        else:
            found = cache.get(str(number))
            assert (found is not None) == (number in recent)
            if found is not None:
                assert_same(found, features_of(number))
        if is_put or number in recent:
            recent = [*(n for n in recent if n != number), number][-3:]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), max_size=12))
def test_the_disk_is_never_used_beyond_the_limit(entries: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(Path(folder), memory_bytes=0, disk_bytes=40 * KIB)
        for key, channels in entries:
            features = features_of(key, channels)
            cache.put(str(key), features)
            assert disk_use(Path(folder)) <= 40 * KIB
            assert_same(cache.get(str(key)), features)


def test_the_disk_forgets_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, memory_bytes=0)
    for number in range(3):
        cache.put(str(number), features_of(number))
        os.utime(tmp_path / f"{number}.safetensors", (number + 1, number + 1))
    cache.disk_bytes = disk_use(tmp_path)
    assert cache.get("0") is not None  # used again, so 1 is the oldest now
    cache.put("3", features_of(3))
    assert [cache.get(str(number)) is not None for number in range(4)] == [True, False, True, True]


def test_entries_beyond_a_limit_are_not_kept(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, memory_bytes=100, disk_bytes=100)
    cache.put("small", features_of(0))
    assert cache.get("small") is None
    assert not list(tmp_path.iterdir())


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_counts_as_absent_and_goes(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        EmbeddingCache(Path(folder)).put("key", features_of(1))
        path = Path(folder) / "key.safetensors"
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans(), "truncate"):
            content = content[: data.draw(st.integers(0, len(content) - 1), "length")]
        else:
            # Any bit after the header: of the header, white space may change without a change of meaning.
            start = 8 + int.from_bytes(content[:8], "little")
            content[data.draw(st.integers(start, len(content) - 1), "byte")] ^= 1 << data.draw(
                st.integers(0, 7), "bit"
            )
        path.write_bytes(content)
        assert EmbeddingCache(Path(folder)).get("key") is None
        assert not path.exists()


def test_a_file_with_another_frame_counts_as_damaged(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path).put("key", features_of(1))
    path = tmp_path / "key.safetensors"
    content = path.read_bytes()
    assert content.count(b'\\"rows\\": 30') == 1
    path.write_bytes(content.replace(b'\\"rows\\": 30', b'\\"rows\\": 31'))
    assert EmbeddingCache(tmp_path).get("key") is None


def test_unfinished_files_are_left_alone_until_they_are_stale(tmp_path: Path) -> None:
    fresh, stale = tmp_path / ".1-a.safetensors", tmp_path / ".2-b.safetensors"
    for path in (fresh, stale):
        path.write_bytes(b"half")
    hours_ago = time.time() - 7200
    os.utime(stale, (hours_ago, hours_ago))
    EmbeddingCache(tmp_path).put("key", features_of(0))
    assert fresh.exists()
    assert not stale.exists()


def test_clearing_forgets_memory_and_disk(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put("key", features_of(0))
    cache.clear()
    assert cache.get("key") is None
    assert not list(tmp_path.iterdir())


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 1 KiB: the system refuses the write, as on a full disk."""
    resource = pytest.importorskip("resource", reason="Windows has no file size limit to set")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (KIB, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_reported_once_and_memory_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EmbeddingCache(tmp_path)
    with caplog.at_level(logging.WARNING), full_disk():
        for number in range(3):
            cache.put(str(number), features_of(number))
    assert len(caplog.records) == 1
    assert "in memory only" in caplog.text
    assert "disk is full" in caplog.text
    assert not list(tmp_path.iterdir())
    for number in range(3):
        assert_same(cache.get(str(number)), features_of(number))
    cache.put("later", features_of(9))  # there is room again
    assert_same(EmbeddingCache(tmp_path).get("later"), features_of(9))


def test_a_folder_that_cannot_be_made_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = EmbeddingCache(tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING):
        cache.put("a", features_of(1))
        cache.put("b", features_of(2))
    assert len(caplog.records) == 1
    assert_same(cache.get("a"), features_of(1))


WORKER = """
import random
import sys
from pathlib import Path
import torch
from AutoPromptSAMLib.backbones import Features, Frame
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
cache = EmbeddingCache(Path(sys.argv[1]), memory_bytes=0, disk_bytes=60_000)
hits = 0
choice = random.Random(sys.argv[2])
for step in range(300):
    number = choice.randrange(7)
    found = cache.get(str(number))
    if found is not None:
        hits += 1
        assert found.embedding.eq(number).all() and found.embedding.shape == (1, 16, 16, 16)
    cache.put(str(number), Features(torch.full((1, 16, 16, 16), float(number)), Frame.stretched(9, 9, 256)))
print(hits)
"""


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    """Three of seven entries fit, so they keep deleting what the other reads and writes.

    Entries are asked for at random: in turn, each would be the one that was just deleted.
    """
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    both = [subprocess.Popen([*command, step], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for step in "35"]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        assert int(out) > 0
        assert b"damaged" not in err
        assert b"in memory only" not in err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_image_is_encoded_once(lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    encode = lite.encode
    monkeypatch.setattr(lite, "encode", lambda images: calls.append(len(images)) or encode(images))
    image = picture(40, 50)
    first = EmbeddingCache(tmp_path).get_or_encode(lite, image)
    again = EmbeddingCache(tmp_path).get_or_encode(lite, image.copy())
    assert calls == [1]
    torch.testing.assert_close(first.embedding, again.embedding, atol=0, rtol=0)
    assert again.frame == Frame.longest_side(40, 50, 256)


def test_the_key_tells_images_and_models_apart() -> None:
    image = picture(20, 30)
    other = image.copy()
    other[7, 7, 1] ^= 1
    variants = [
        ("a", image),
        ("b", image),
        ("a", other),
        ("a", image.reshape(30, 20, 3)),
        ("a", image.view(np.int8)),
    ]
    assert len({feature_key(fingerprint, pixels) for fingerprint, pixels in variants}) == len(variants)
    assert feature_key("a", image) == feature_key("a", np.asfortranarray(image))


def test_features_come_back_without_a_graph(tmp_path: Path) -> None:
    features = features_of(0)
    learned = replace(features, embedding=features.embedding.clone().requires_grad_(True))
    cache = EmbeddingCache(tmp_path)
    cache.put("key", learned)
    for found in (cache.get("key"), EmbeddingCache(tmp_path).get("key")):
        assert found is not None
        assert not found.embedding.requires_grad

"""Work is written while a person goes on: killed processes, full disks, many changes at once."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.images import load_segmentation
from AutoPromptSAMLib.mrml import autosave as module
from AutoPromptSAMLib.mrml.autosave import unfinished_work

from .segmenting import SHAPE, Desk, random_mask, resume, saving

CHILD = """
import sys, time
from AutoPromptSAMLib.mrml.autosave import Autosave
from AutoPromptSAMLib.mrml.scene import create_scene
from Testing.mrml.segmenting import Desk, random_mask
with create_scene() as context:
    desk = Desk(context.scene)
    autosave = Autosave(desk.segmenter, sys.argv[1], "sample", desk.calls.put)
    segment_id = desk.segmenter.add_segment("block")
    desk.segmenter.add_prompt(desk.box())
    desk.settle()
    shape = desk.segmenter.volume.geometry.shape
    desk.paint(segment_id, random_mask(shape, 0))
    autosave.save_segments()
    autosave.wait()
"""
WHILE_WRITING = """
    import os
    replace = os.replace
    def hang(source, target):
        if str(target).endswith("segments.seg.nrrd"):
            print("writing", flush=True)
            time.sleep(60)
        replace(source, target)
    os.replace = hang
    desk.segmenter.rename_segment(segment_id, "renamed")
    desk.paint(segment_id, ~random_mask(shape, 0))
    autosave.save_segments()
    time.sleep(60)
"""
ALL_THE_TIME = """
    import numpy as np
    from AutoPromptSAMLib.geometry import Crop
    whole = Crop.from_full(np.ones(shape, bool))
    for number in range(100_000):
        desk.segmenter.kept.flip({segment_id: whole})
        desk.segmenter.rename_segment(segment_id, f"block {number}")
        autosave.save_segments()
        print("writing", flush=True)
"""


@pytest.mark.parametrize(
    ("after", "writings"), [(WHILE_WRITING, 1), (ALL_THE_TIME, 4), (ALL_THE_TIME, 25)],
    ids=["while writing", "early", "late"],
)  # fmt: skip
def test_a_killed_process_leaves_the_last_whole_state(fresh: Desk, tmp_path: Path, after: str, writings: int) -> None:
    folder = tmp_path / "all" / "one"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD + after, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        for _ in range(writings):
            assert any(line.strip() == "writing" for line in child.stdout)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    if after == WHILE_WRITING:
        assert len([path for path in folder.iterdir() if path.name.endswith(".nrrd")]) == 2  # one is half a file
    said: list[str] = []
    (work,) = unfinished_work(folder.parent, said.append)
    assert said == []
    resume(work, fresh).close()
    (found,) = fresh.all_voxels().values()
    first = random_mask(SHAPE, 0)
    first[4, 5:15, 6:18] = True  # what the box found
    assert np.array_equal(found, first) or (after == ALL_THE_TIME and np.array_equal(found, ~first))
    (row,) = fresh.segmenter.segments
    assert row.name == "renamed" if after == WHILE_WRITING else row.name.startswith("block ")
    assert [prompt.id for prompt in fresh.segmenter.prompts()] == [
        p.id for p in work.prompts.objects[work.active or ""]
    ]
    assert len(fresh.segmenter.prompts()) >= 1
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".lock"]


def test_only_one_write_at_a_time_and_the_newest_wins(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    autosave = saving(desk, tmp_path / "one")
    segment_id = desk.segmenter.add_segment("block")
    go, running, sizes = threading.Semaphore(0), [], []
    save = module.save_segmentation

    def slow(path: Path, crops: Any, geometry: Any) -> None:
        running.append(1)
        assert len(running) == 1
        assert threading.current_thread() is not threading.main_thread()
        go.acquire()
        sizes.append(sum(crop.count for crop in crops.values()))
        save(path, crops, geometry)
        running.pop()

    monkeypatch.setattr(module, "save_segmentation", slow)
    for count in range(1, 6):
        mask = np.zeros(SHAPE, bool)
        mask.ravel()[:count] = True
        desk.segmenter.kept.flip({segment_id: desk.segmenter.kept.known[segment_id].from_full(mask)})
        desk.segmenter.kept.by_hand.clear()
        autosave.save_segments()
        time.sleep(0.02)
        last = desk.segmenter.kept.known[segment_id]
    go.release(5)
    autosave.close()
    assert sizes == [1, last.count]
    (mask,) = load_segmentation(tmp_path / "one" / "segments.seg.nrrd")[0].values()
    np.testing.assert_array_equal(mask, last.to_full(SHAPE))


def test_a_full_disk_is_said_once_and_work_goes_on(
    desk: Desk, fresh: Desk, tiny_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    autosave = saving(desk, tiny_disk / "one")
    segment_id = desk.segmenter.add_segment("block")
    desk.paint(segment_id, random_mask(SHAPE, 1))
    autosave.save_segments()
    autosave.wait()
    filler = tiny_disk / "filler"
    with open(filler, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(512))
        except OSError:
            pass
    for seed in (2, 3):
        desk.paint(segment_id, random_mask(SHAPE, seed))
        autosave.save_segments()
        autosave.wait()
        desk.settle()
    (sentence,) = desk.said
    assert sentence.startswith("Your work is not being saved: ")
    assert sentence.endswith("could not be written because the disk is full; free some space and save again.")
    resume_me = tmp_path_factory.mktemp("copy")
    shutil.copytree(tiny_disk / "one", resume_me / "one")
    (work,) = unfinished_work(resume_me)
    resume(work, fresh).close()
    (mask,) = fresh.all_voxels().values()
    np.testing.assert_array_equal(mask, random_mask(SHAPE, 1))
    filler.unlink()
    autosave.save_segments()
    autosave.close()
    desk.settle()
    assert len(desk.said) == 1
    (mask,) = (
        m for key, m in load_segmentation(tiny_disk / "one" / "segments.seg.nrrd")[0].items() if "hand" not in key
    )
    np.testing.assert_array_equal(mask, next(iter(desk.all_voxels().values())))


def test_a_write_that_fails_leaves_the_state_before(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    autosave = saving(desk, tmp_path / "one")
    desk.segmenter.add_segment("before")
    desk.segmenter.add_prompt(desk.box())
    desk.settle()
    autosave.save_prompts()

    def full(source: Any, target: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    desk.segmenter.rename_segment(desk.segmenter.segments[0].id, "after")
    autosave.save_prompts()
    autosave.save_prompts()
    assert len(desk.said) == 1
    autosave.close()
    monkeypatch.undo()
    (work,) = unfinished_work(tmp_path)
    assert [row.name for row in work.segments] == ["before"]


def test_an_error_that_nobody_foresaw_does_not_end_saving(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    autosave = saving(desk, tmp_path / "one")
    desk.paint(desk.segmenter.add_segment("block"), random_mask(SHAPE, 1))

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "save_segmentation", fail)
    autosave.save_segments()
    autosave.wait()
    desk.settle()
    assert desk.said == [
        "Your work is not being saved: something unexpected happened (see the log); export the segments to be safe."
    ]
    monkeypatch.undo()
    autosave.save_segments()
    autosave.close()
    assert load_segmentation(tmp_path / "one" / "segments.seg.nrrd")[0]

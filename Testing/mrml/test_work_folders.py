"""The folders that autosaved work is in: damaged, in use, too many, too old."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError, StorageError
from AutoPromptSAMLib.mrml.autosave import new_work_folder, unfinished_work

from .segmenting import Desk, draw, resume, saving


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "",
        lambda text: text.replace("autopromptsam-work/2", "autopromptsam-work/9"),
        lambda text: text.replace('"segments": [{', '"segments": [3, {'),
        lambda text: text.replace('"key"', '"kex"'),
        lambda text: text.replace('"color": [1.0', '"color": ["red"'),
        lambda text: text.replace('"type": "box"', '"type": "bix"'),
        lambda text: text.replace('"shape"', '"shame"'),
        lambda text: "[]",
    ],
)
def test_damaged_work_is_left_out_with_a_sentence(desk: Desk, tmp_path: Path, damage: Any) -> None:
    for name in ("one", "two"):
        autosave = saving(desk, tmp_path / name)
        if name == "one":
            draw(desk)
        autosave.save_segments()
        autosave.close()
    path = tmp_path / "one" / "work.json"
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    said: list[str] = []
    assert [work.folder.name for work in unfinished_work(tmp_path, said.append)] == ["two"]
    (sentence,) = said
    assert sentence.startswith(f"The work in {tmp_path / 'one'} cannot be resumed (")
    assert sentence.endswith("); it is left out.")
    assert path.exists()


def test_damaged_voxels_change_nothing(desk: Desk, fresh: Desk, tmp_path: Path) -> None:
    autosave = saving(desk, tmp_path / "one")
    draw(desk)
    autosave.save_segments()
    autosave.close()
    voxels = tmp_path / "one" / "segments.seg.nrrd"
    voxels.write_bytes(voxels.read_bytes()[:-50])
    (work,) = unfinished_work(tmp_path)
    with pytest.raises(ImageError, match="is damaged and cannot be read"):
        resume(work, fresh)
    assert fresh.segmenter.segments == []
    assert fresh.session.objects == {}


def test_what_is_open_elsewhere_is_left_alone(desk: Desk, fresh: Desk, tmp_path: Path, one_sentence) -> None:
    autosave = saving(desk, tmp_path / "one")
    draw(desk)
    autosave.save_segments()
    autosave.wait()
    assert unfinished_work(tmp_path) == []
    with one_sentence(StorageError, "is in use by another window"):
        saving(fresh, tmp_path / "one")
    autosave.close()
    (work,) = unfinished_work(tmp_path)
    again = resume(work, fresh)
    work.discard()
    assert (tmp_path / "one" / "work.json").exists()
    again.close()
    autosave.save_segments()  # closed: nothing happens
    autosave.wait()
    work.discard()
    assert list(tmp_path.iterdir()) == []


def test_work_that_is_done_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    folder = new_work_folder(tmp_path)
    autosave = saving(desk, folder)
    draw(desk)
    autosave.save_segments()
    autosave.close(discard=True)
    assert list(tmp_path.iterdir()) == []


def test_only_the_newest_are_kept(desk: Desk, tmp_path: Path) -> None:
    autosave = saving(desk, tmp_path / "0")
    draw(desk)
    autosave.save_segments()
    autosave.close()
    text = json.loads((tmp_path / "0" / "work.json").read_text())
    now = time.time()
    ages = random.Random(1).sample(range(1, 25), 24)
    for age in ages:
        (tmp_path / str(age)).mkdir()
        (tmp_path / str(age) / "work.json").write_text(json.dumps(text | {"time": now - age * 24 * 3600}))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "work.json").write_text(json.dumps(text | {"time": now - 31 * 24 * 3600}))
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "work.json").write_text(
        json.dumps(text | {"segments": [], "prompts": {**text["prompts"], "objects": []}})
    )
    (tmp_path / "crashed").mkdir()
    (tmp_path / "a file").write_text("x")
    works = unfinished_work(tmp_path)
    assert [work.folder.name for work in works] == [str(n) for n in range(20)]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {str(n) for n in range(20)} | {"a file", "nothing"}
    assert unfinished_work(tmp_path / "nowhere") == []


def test_no_folder_is_removed_while_its_lock_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_on_windows(path: Path, **options: Any) -> None:
        with FileLock(path / ".lock", timeout=0):
            pass
        remove(path, **options)

    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", as_on_windows)
    for name, text in (("crashed", None), ("damaged", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".lock").touch()
        if text is not None:
            (tmp_path / name / "work.json").write_text(text)
        os.utime(tmp_path / name, (0, 0))
    assert unfinished_work(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_killed_write_are_removed(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / ".0123abcd-segments.seg.nrrd").write_bytes(b"half")
    autosave = saving(desk, folder)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    autosave.close()


def test_no_place_for_the_folder(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(AutoPromptSAMError, match="could not be written"):
        saving(desk, tmp_path / "file" / "one")

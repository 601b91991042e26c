"""Work is saved a moment after it was done, and is back with its image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.mrml.autosave import VOXELS, WORK, unfinished_work
from AutoPromptSAMLib.mrml.reports import Message
from AutoPromptSAMLib.workbench.keeping import PROMPTS_AFTER_S, VOXELS_AFTER_S, Keeper

from ..mrml.conftest import desk, fresh
from ..mrml.segmenting import Desk, draw
from .clock import Clock

__all__ = ["desk", "fresh"]


class Kept:
    """A keeper of a desk, whose segmenter tells it what changed."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.clock, self.told = Clock(), list[Message]()
        self.keeper = Keeper(folder, desk.calls.put, self.clock.later, self.told.append)
        self.changed = self.keeper.changed
        desk.segmenter.changed.connect(self.changed)


@pytest.fixture
def kept(desk: Desk, tmp_path: Path) -> Kept:
    return Kept(desk, tmp_path)


def test_work_is_saved_a_moment_after_it_was_done(desk: Desk, kept: Kept, tmp_path: Path) -> None:
    kept.keeper.image_changes("/data/ct.nrrd")
    kept.keeper.connected(desk.segmenter)
    (folder,) = tmp_path.iterdir()
    kept.clock.go_on(10)
    assert not (folder / WORK).exists()
    desk.segmenter.add_segment("liver")
    desk.segmenter.add_prompt(desk.box())
    desk.settle()
    kept.clock.go_on(PROMPTS_AFTER_S)
    assert (folder / WORK).exists()
    assert not (folder / VOXELS).exists()
    for _ in range(3):  # what goes on changing does not put saving off
        kept.clock.go_on(VOXELS_AFTER_S / 4)
        kept.changed("segments")
    kept.clock.go_on(VOXELS_AFTER_S / 4)
    kept.keeper.disconnect()
    assert (folder / VOXELS).exists()
    (work,) = kept.keeper.unfinished()
    assert (work.source, [row.name for row in work.segments]) == ("/data/ct.nrrd", ["liver"])


def test_work_is_back_with_its_image(desk: Desk, fresh: Desk, kept: Kept, tmp_path: Path) -> None:
    kept.keeper.image_changes("/data/ct.nrrd")
    kept.keeper.connected(desk.segmenter)
    draw(desk)
    before = list(desk.all_voxels().values())
    kept.keeper.image_changes("/data/other.nrrd")  # saved without waiting
    again = Kept(fresh, tmp_path)
    again.keeper.image_changes("/moved/ct.nrrd")  # the same voxels
    again.keeper.connected(fresh.segmenter)
    (message,) = again.told
    assert "Your work on this image of" in message.text
    assert "is back" in message.text
    assert all(map(np.array_equal, fresh.all_voxels().values(), before))
    again.changed("prompts")
    again.keeper.disconnect()
    assert [work.source for work in unfinished_work(tmp_path)] == ["/moved/ct.nrrd"]


def test_another_model_goes_on_with_the_same_work(desk: Desk, kept: Kept, tmp_path: Path) -> None:
    kept.keeper.image_changes("/data/ct.nrrd")
    for _ in range(2):
        kept.keeper.connected(desk.segmenter)
        kept.keeper.disconnect()
    assert len(list(tmp_path.iterdir())) == 1
    assert kept.told == []


def test_what_came_from_nowhere_is_not_kept(desk: Desk, kept: Kept, tmp_path: Path) -> None:
    kept.keeper.image_changes(None)
    kept.keeper.connected(desk.segmenter)
    draw(desk)
    kept.clock.go_on(10)
    kept.keeper.disconnect()
    assert list(tmp_path.iterdir()) == []


def test_damaged_work_is_told_and_a_new_one_begun(desk: Desk, fresh: Desk, kept: Kept, tmp_path: Path) -> None:
    kept.keeper.image_changes("/data/ct.nrrd")
    kept.keeper.connected(desk.segmenter)
    draw(desk)
    kept.keeper.disconnect()
    (folder,) = tmp_path.iterdir()
    (folder / VOXELS).write_bytes(b"torn")
    again = Kept(fresh, tmp_path)
    again.keeper.image_changes("/data/ct.nrrd")
    again.keeper.connected(fresh.segmenter)
    assert [message.kind for message in again.told] == ["warning"]
    again.keeper.disconnect()
    assert fresh.segmenter.segments == []

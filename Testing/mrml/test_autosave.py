"""Work that nobody asked to keep is there after a crash, exactly."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry import Volume
from AutoPromptSAMLib.mrml.autosave import unfinished_work
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.prompts import PromptSet

from .segmenting import SHAPE, Desk, draw, oblique_volume, random_mask, resume, saving


def everything(desk: Desk) -> list[tuple[Any, ...]]:
    """All that a person would miss, by segment in order."""
    found = []
    for row, mask in zip(desk.segmenter.segments, desk.all_voxels().values(), strict=True):
        segment = desk.segmentation_node.GetSegmentation().GetSegment(row.id)
        hand = desk.segmenter.kept.by_hand.get(row.id)
        found.append(
            (
                row.name,
                tuple(np.round(row.color, 6)),
                row.visible,
                row.opacity,
                row.locked,
                round(row.ml, 9),
                segment.GetTerminology(),
                row.id == desk.segmenter.active_segment,
                PromptSet(desk.segmenter.prompts(row.id)).to_json(),
                mask.tobytes(),
                None if hand is None or hand.is_empty else hand.to_full(SHAPE).tobytes(),
            )
        )
    return found


def test_everything_comes_back(desk: Desk, fresh: Desk, tmp_path: Path) -> None:
    autosave = saving(desk, tmp_path / "one")
    draw(desk)
    autosave.save_segments()
    autosave.close()
    before = everything(desk)
    assert [len(entry[8]) for entry in before] == [0, 1, 2]

    (work,) = unfinished_work(tmp_path)
    assert (work.source, work.source_is_there, work.model) == ("sample", True, "lite-medsam")
    assert [row.name for row in work.segments] == ["ß & Co\\n", "liver", "liver"]
    assert work.segments[1].ml == desk.segmenter.segments[1].ml > 0
    assert abs(work.time - time.time()) < 60
    fresh.segmenter.add_segment()  # as a host may have made for the first click
    again = resume(work, fresh)
    fresh.settle()
    assert everything(fresh) == before
    assert fresh.segmenter.undo_text == ""
    assert fresh.said == []

    # And on it goes in the same folder: new prompts with the old voxels, then new voxels.
    again.save_prompts()
    shutil.copytree(tmp_path / "one", tmp_path / "copies" / "one")
    with create_scene() as context:
        second = Desk(context.scene)
        resume(unfinished_work(tmp_path / "copies")[0], second).close()
        assert everything(second) == before
        second.close()
    shutil.rmtree(tmp_path / "copies")
    fresh.segmenter.add_prompt(fresh.box(2))
    fresh.settle()
    again.save_segments()
    again.close()
    (work,) = unfinished_work(tmp_path)
    after = everything(fresh)
    assert after != before
    with create_scene() as context:
        third = Desk(context.scene)
        resume(work, third).close()
        assert everything(third) == after
        third.close()


def test_resumed_painting_is_still_taken_as_it_is(desk: Desk, fresh: Desk, tmp_path: Path) -> None:
    autosave = saving(desk, tmp_path / "one")
    segment_id = desk.segmenter.add_segment("block")
    stroke = np.zeros(SHAPE, bool)
    stroke[3, 6:9, 7:9] = True
    desk.paint(segment_id, stroke)
    autosave.save_segments()
    autosave.close()
    resume(unfinished_work(tmp_path)[0], fresh).close()
    fresh.segmenter.add_prompt(fresh.box())
    fresh.segmenter.propagate()
    fresh.settle()
    (found,) = fresh.all_voxels().values()
    np.testing.assert_array_equal(found[3], stroke[3])
    assert found[4].sum() == 120


def test_prompts_are_kept_without_voxels_and_the_list_is_newer_than_they_are(
    desk: Desk, fresh: Desk, tmp_path: Path
) -> None:
    autosave = saving(desk, tmp_path / "one")
    first = desk.segmenter.add_segment("first")
    desk.paint(first, random_mask(SHAPE, 1))
    second = desk.segmenter.add_segment("second")
    desk.paint(second, random_mask(SHAPE, 2))
    autosave.save_segments()
    autosave.wait()
    desk.segmenter.remove_segment(second)
    desk.segmenter.add_segment("third")
    desk.segmenter.add_prompt(desk.box())
    desk.segmenter.rename_segment(first, "renamed")
    autosave.save_prompts()
    autosave.close()
    resume(unfinished_work(tmp_path)[0], fresh).close()
    assert [row.name for row in fresh.segmenter.segments] == ["renamed", "third"]
    masks = list(fresh.all_voxels().values())
    np.testing.assert_array_equal(masks[0], random_mask(SHAPE, 1))
    assert not masks[1].any()  # never the voxels of "second"
    assert len(fresh.segmenter.prompts(fresh.segmenter.segments[1].id)) == 1


def test_another_image_is_refused_and_changes_nothing(desk: Desk, tmp_path: Path, one_sentence) -> None:
    autosave = saving(desk, tmp_path / "one")
    draw(desk)
    autosave.save_segments()
    autosave.close()
    (work,) = unfinished_work(tmp_path)
    with create_scene() as context:
        other = Desk(context.scene, oblique_volume(shift=0.5))
        with one_sentence(GeometryError, "The saved work belongs to an image of", "open sample"):
            resume(work, other)
        assert other.segmenter.segments == []
        other.close()
    assert len(unfinished_work(tmp_path)) == 1


def test_work_of_the_segmenter_stays(desk: Desk, fresh: Desk, tmp_path: Path) -> None:
    autosave = saving(desk, tmp_path / "one")
    draw(desk)
    autosave.save_segments()
    autosave.close()
    fresh.segmenter.add_segment("empty")
    mine = fresh.segmenter.add_segment("mine")
    fresh.segmenter.add_prompt(fresh.box())
    fresh.settle()
    kept = fresh.all_voxels()[mine]
    resume(unfinished_work(tmp_path)[0], fresh).close()
    assert [row.name for row in fresh.segmenter.segments] == ["mine", "ß & Co\\n", "liver", "liver"]
    np.testing.assert_array_equal(fresh.all_voxels()[mine], kept)
    assert len(fresh.segmenter.prompts(mine)) == 1


def test_a_changed_image_is_noticed(desk: Desk, scene: Any, tmp_path: Path) -> None:
    image = tmp_path / "ct.nii"
    image.write_bytes(b"1")
    autosave = saving(desk, tmp_path / "all" / "one", str(image), "1.2.3")
    draw(desk)
    autosave.save_segments()
    autosave.close()
    (work,) = unfinished_work(tmp_path / "all")
    assert work.source_is_there
    assert (work.source, work.series) == (str(image), "1.2.3")
    voxels = desk.volume.array.copy()
    voxels[0, 0, 0] += 1
    changed = Desk(scene, Volume(voxels, desk.volume.geometry, name="CT"))
    resume(work, changed).close()
    assert changed.said == [f"{image} has changed since this work was saved; check that the segments still fit."]
    image.unlink()
    assert not work.source_is_there
    changed.close()


def test_the_same_image_from_elsewhere_is_known(desk: Desk, fresh: Desk, tmp_path: Path) -> None:
    autosave = saving(desk, tmp_path / "all" / "one", "first.nii", None)
    draw(desk)
    autosave.save_segments()
    autosave.close()
    (work,) = unfinished_work(tmp_path / "all")
    assert work.image == fresh.volume.digest
    work.resume(fresh.segmenter, fresh.calls.put, "second.nii", "1.2.3").close()
    fresh.settle()
    assert fresh.said == []
    assert everything(fresh) == everything(desk)
    (again,) = unfinished_work(tmp_path / "all")
    assert (again.source, again.series) == ("first.nii", None)  # nothing was changed, so nothing was saved

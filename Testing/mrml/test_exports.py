"""Segments, prompts and scenes as files, and files as segments and prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, ImageError, PromptError, StorageError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.images import load_labels, load_segmentation, save_segmentation
from AutoPromptSAMLib.mrml.exports import export, import_file, prepare_export
from AutoPromptSAMLib.mrml.persistence import open_scene, restore_states
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter
from AutoPromptSAMLib.prompts import PromptSet

from .segmenting import SHAPE, Desk, oblique_volume, random_mask


@pytest.fixture
def desk(scene: Any) -> Iterator[Desk]:
    desk = Desk(scene)
    yield desk
    desk.close()


def paint_two(desk: Desk, *, overlapping: bool) -> list[np.ndarray]:
    """Two segments of the same name."""
    first = random_mask(SHAPE, 1)
    second = random_mask(SHAPE, 2) if overlapping else random_mask(SHAPE, 2) & ~first
    for mask, color in ((first, (1, 0, 0)), (second, (0, 0.5, 1))):
        segment_id = desk.segmenter.add_segment("liver", color)
        desk.segmentation_node.GetSegmentation().GetSegment(segment_id).SetName("liver")
        desk.paint(segment_id, mask)
    return [first, second]


@pytest.mark.parametrize("overlapping", [False, True])
def test_segments_come_back_exactly(desk: Desk, tmp_path: Path, overlapping: bool) -> None:
    painted = paint_two(desk, overlapping=overlapping)
    desk.segmenter.add_segment("nothing yet")
    path = tmp_path / "organs.seg.nrrd"
    export(desk.segmenter, path)
    masks, geometry = load_segmentation(path)
    assert list(masks) == ["liver", "liver (2)", "nothing yet"]
    assert geometry.close_to(desk.volume.geometry, 1e-6)
    for mask, expected, shown in zip(
        masks.values(), [*painted, np.zeros(SHAPE, bool)], desk.all_voxels().values(), strict=True
    ):
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(mask, shown)

    with create_scene() as other:  # into another scene, beside what is there
        second = Desk(other.scene)
        kept = random_mask(SHAPE, 5)
        second.paint(second.segmenter.add_segment("spleen"), kept)
        import_file(second.segmenter, path)
        found = list(second.all_voxels().values())
        np.testing.assert_array_equal(found[0], kept)
        for mask, expected in zip(found[1:], masks.values(), strict=True):
            np.testing.assert_array_equal(mask, expected)
        rows = second.segmenter.segments[1:]
        assert [row.name for row in rows] == ["liver", "liver (2)", "nothing yet"]
        assert rows[1].color == pytest.approx((0, 0.5, 1))
        voxel = np.prod(geometry.spacing) / 1000
        assert [row.ml for row in rows] == pytest.approx([mask.sum() * voxel for mask in masks.values()])
        assert second.said == ["3 segments of organs.seg.nrrd were added."]
        second.settle()
        second.segmenter.undo()
        assert [row.name for row in second.segmenter.segments] == ["spleen"]
        second.segmenter.redo()
        for mask, expected in zip(second.all_voxels().values(), found, strict=True):
            np.testing.assert_array_equal(mask, expected)
        second.close()


def test_no_run_changes_what_was_imported(desk: Desk, tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[3, 6:9, 7:9] = True
    save_segmentation(tmp_path / "a.seg.nrrd", {"block": mask}, desk.volume.geometry)
    import_file(desk.segmenter, tmp_path / "a.seg.nrrd")
    desk.segmenter.undo()
    desk.segmenter.redo()
    desk.segmenter.add_prompt(desk.box())
    desk.segmenter.propagate()
    desk.settle()
    (found,) = desk.all_voxels().values()
    np.testing.assert_array_equal(found[3], mask[3])
    assert found[4].sum() == 120


def test_slicer_reads_names_and_colours(desk: Desk, scene: Any, tmp_path: Path) -> None:
    painted = paint_two(desk, overlapping=True)
    export(desk.segmenter, tmp_path / "organs.seg.nrrd")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage.SetFileName(str(tmp_path / "organs.seg.nrrd"))
    assert storage.ReadData(node)
    segmentation = node.GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(2)]
    assert names == ["liver", "liver (2)"]
    assert segmentation.GetNthSegment(1).GetColor() == pytest.approx((0, 0.5, 1))
    reader = SegmentWriter(node, desk.volume_node)
    for segment_id, mask in zip(segmentation.GetSegmentIDs(), painted, strict=True):
        np.testing.assert_array_equal(reader.read(segment_id).to_full(SHAPE), mask)


def test_label_map(desk: Desk, tmp_path: Path, one_sentence) -> None:
    first, second = paint_two(desk, overlapping=False)
    path = tmp_path / "organs.nii.gz"
    export(desk.segmenter, path)
    labels = load_labels(path, desk.volume.geometry)
    np.testing.assert_array_equal(labels, first * 1 + second * 2)
    import_file(desk.segmenter, path)
    assert [row.name for row in desk.segmenter.segments] == ["liver", "liver", "Segment_1", "Segment_2"]
    np.testing.assert_array_equal(list(desk.all_voxels().values())[3], second)
    desk.paint(desk.segmenter.segments[1].id, first)
    before = path.read_bytes()
    with one_sentence(ImageError, "overlaps another, which NIfTI cannot hold; save as .seg.nrrd instead"):
        export(desk.segmenter, path)
    assert path.read_bytes() == before


def test_edits_that_the_segmenter_has_not_noticed_yet_are_exported(desk: Desk, tmp_path: Path) -> None:
    paint_two(desk, overlapping=False)
    corner = np.zeros(SHAPE, bool)
    corner[3:5, 3, 3] = True
    before = desk.all_voxels()
    segment_id = next(iter(before))
    desk.segmenter.writer.flip(segment_id, desk.segmenter.kept.known[segment_id].from_full(corner))
    export(desk.segmenter, tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(load_segmentation(tmp_path / "a.seg.nrrd")[0]["liver"], before[segment_id] ^ corner)


def test_what_is_written_later_is_what_was_there(desk: Desk, tmp_path: Path) -> None:
    painted = paint_two(desk, overlapping=False)
    write = prepare_export(desk.segmenter, tmp_path / "a.seg.nrrd")
    for row in desk.segmenter.segments:
        desk.segmenter.remove_segment(row.id)
    write()
    masks, _ = load_segmentation(tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(masks["liver"], painted[0])


def test_scene(desk: Desk, tmp_path: Path) -> None:
    desk.segmenter.add_prompt(desk.box())
    desk.settle()
    desk.segmenter.add_segment("second")
    desk.segmenter.add_prompt(desk.box(3))
    desk.settle()
    voxels = desk.all_voxels()
    assert [mask.sum() for mask in voxels.values()] == [120, 120]
    path = tmp_path / "case.mrb"
    desk.volume_node.SetName("A & B <\"1'>")
    desk.segmentation_node.SetName("Segments & more")
    export(desk.segmenter, path, {"model": "threshold"})
    assert desk.volume_node.GetName() == "A & B <\"1'>"
    with create_scene() as other:
        open_scene(other.scene, path)
        (state,) = restore_states(other.scene)
        assert state.settings == {"model": "threshold"}
        prompts = state.remembered.prompts.objects
        assert {id: given.to_json() for id, given in prompts.items()} == {
            id: given.to_json() for id, given in desk.session.objects.items()
        }
        reader = SegmentWriter(state.segmentation_node, state.volume_node)
        for segment_id, mask in voxels.items():
            np.testing.assert_array_equal(reader.read(segment_id).to_full(SHAPE), mask)


def test_prompts_are_replayed(desk: Desk, tmp_path: Path, one_sentence) -> None:
    with one_sentence(AutoPromptSAMError, "There are no prompts to export"):
        export(desk.segmenter, tmp_path / "p.json")
    desk.segmenter.add_segment("block")
    desk.segmenter.add_prompt(desk.box())
    desk.settle()
    export(desk.segmenter, tmp_path / "p.json")
    with create_scene() as other:
        second = Desk(other.scene)
        import_file(second.segmenter, tmp_path / "p.json")
        second.settle()
        (row,) = second.segmenter.segments
        assert row.name == "block"
        assert (
            PromptSet(second.segmenter.prompts(row.id)).to_json() == PromptSet([desk.segmenter.prompts()[0]]).to_json()
        )
        np.testing.assert_array_equal(second.all_voxels()[row.id], next(iter(desk.all_voxels().values())))
        assert second.all_voxels()[row.id].sum() == 120
        second.close()


@pytest.mark.parametrize("turned", [False, True])
def test_a_cropped_or_turned_file_lands_on_its_voxels(desk: Desk, tmp_path: Path, turned: bool) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 5:12, 7:20] = random_mask((4, 7, 13), 3)
    part, geometry = mask[1:7, 3:15, 5:], desk.volume.geometry.cropped((1, 3, 5), (6, 12, 19))
    if turned:  # slices from the other end
        affine = np.array(geometry.ijk_to_ras)
        affine[:3, 3] = geometry.ras_from_ijk([0, 0, 5])
        affine[:3, 2] *= -1
        part, geometry = part[::-1], VolumeGeometry(geometry.shape, affine)
    save_segmentation(tmp_path / "part.seg.nrrd", {"part": part}, geometry)
    import_file(desk.segmenter, tmp_path / "part.seg.nrrd")
    (found,) = desk.all_voxels().values()
    np.testing.assert_array_equal(found, mask)


def test_files_of_another_image_change_nothing(desk: Desk, tmp_path: Path, one_sentence) -> None:
    own = desk.volume.geometry
    moved = oblique_volume(shift=0.4).geometry
    larger = own.cropped((0, 0, 0), (9, 20, 24))
    for geometry in (moved, larger, VolumeGeometry(SHAPE, np.diag([1, 1, 1, 1.0]))):
        save_segmentation(tmp_path / "a.seg.nrrd", {"a": np.ones(geometry.shape, bool)}, geometry)
        with one_sentence(GeometryError, "a.seg.nrrd has another geometry", "resample it to the image"):
            import_file(desk.segmenter, tmp_path / "a.seg.nrrd")
    assert desk.segmenter.segments == []
    assert desk.segmenter.undo_text == ""


def test_files_that_are_none(desk: Desk, tmp_path: Path, one_sentence) -> None:
    (tmp_path / "empty.seg.nrrd").write_bytes(b"")
    with one_sentence(ImageError, "is an empty file"):
        import_file(desk.segmenter, tmp_path / "empty.seg.nrrd")
    with one_sentence(ImageError, "does not exist"):
        import_file(desk.segmenter, tmp_path / "nowhere.json")
    (tmp_path / "p.json").write_text("{")
    with one_sentence(PromptError, "is not JSON"):
        import_file(desk.segmenter, tmp_path / "p.json")
    save_segmentation(tmp_path / "none.nii.gz", {"a": np.zeros(SHAPE, bool)}, desk.volume.geometry)
    with one_sentence(AutoPromptSAMError, "none.nii.gz has no segments"):
        import_file(desk.segmenter, tmp_path / "none.nii.gz")
    with one_sentence(AutoPromptSAMError, "There are no segments to export"):
        export(desk.segmenter, tmp_path / "a.seg.nrrd")
    with one_sentence(StorageError, "a.stl has no known file type"):
        export(desk.segmenter, tmp_path / "a.stl")
    assert desk.segmenter.segments == []


def test_disk_full(desk: Desk, tiny_disk: Path, one_sentence) -> None:
    paint_two(desk, overlapping=True)
    (tiny_disk / "filler").write_bytes(bytes(62_000))
    for name in ("a.seg.nrrd", "a.nii.gz", "a.mrb"):
        if name == "a.nii.gz":
            desk.segmenter.remove_segment(desk.segmenter.segments[1].id)
        with one_sentence(StorageError, "could not be written"):
            export(desk.segmenter, tiny_disk / name)
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]

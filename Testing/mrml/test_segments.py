"""Writing segments by the editor logic: regions, other segments, editable area."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation, slice_region
from AutoPromptSAMLib.mrml.volumes import geometry_from_node, volume_to_node

SHAPE = (8, 20, 24)


def block(lower: tuple[int, int, int], upper: tuple[int, int, int]) -> Crop:
    return Crop(np.ones(np.subtract(upper, lower), dtype=bool), lower)


def full(writer: SegmentWriter, segment_id: str) -> np.ndarray:
    return writer.read(segment_id).to_full(SHAPE)


def layers(writer: SegmentWriter) -> int:
    return writer.segmentation_node.GetSegmentation().GetNumberOfLayers()


def test_first_write_sets_exactly_the_crop(writer: SegmentWriter) -> None:
    segment_id = writer.add_segment("liver", (0.5, 0.25, 1.0))
    segment = writer.segmentation_node.GetSegmentation().GetSegment(segment_id)
    assert (segment.GetName(), segment.GetColor()) == ("liver", (0.5, 0.25, 1.0))
    assert writer.read(segment_id).is_empty
    mask = np.random.default_rng(0).random((2, 5, 6)) < 0.5
    writer.write(segment_id, Crop(mask, (3, 4, 5)))
    assert np.array_equal(full(writer, segment_id), Crop(mask, (3, 4, 5)).to_full(SHAPE))


def test_replace_redoes_the_region_and_nothing_else(writer: SegmentWriter) -> None:
    segment_id = writer.add_segment("liver")
    writer.write(segment_id, block((2, 2, 2), (5, 18, 20)))
    before = full(writer, segment_id)
    geometry = geometry_from_node(writer.volume_node)
    writer.write(segment_id, block((3, 5, 5), (4, 8, 9)), region=slice_region(geometry, 0, 3))
    expected = before.copy()
    expected[3] = False
    expected[3, 5:8, 5:9] = True
    assert np.array_equal(full(writer, segment_id), expected)

    writer.write(segment_id, Crop.empty(), region=slice_region(geometry, 0, 3))
    expected[3] = False
    assert np.array_equal(full(writer, segment_id), expected)

    mask = np.eye(6, dtype=bool)[None]
    writer.write(segment_id, Crop(mask, (2, 2, 2)))  # without a region: the crop's own block
    expected[2, 2:8, 2:8] = mask[0]
    assert np.array_equal(full(writer, segment_id), expected)


def test_add_and_erase(writer: SegmentWriter) -> None:
    segment_id = writer.add_segment("liver")
    writer.write(segment_id, block((1, 1, 1), (4, 10, 10)), region=Crop.empty())
    writer.write(segment_id, block((3, 8, 8), (6, 15, 15)), region=Crop.empty())
    expected = block((1, 1, 1), (4, 10, 10)).to_full(SHAPE) | block((3, 8, 8), (6, 15, 15)).to_full(SHAPE)
    assert np.array_equal(full(writer, segment_id), expected)
    hole = Crop(np.random.default_rng(1).random((3, 9, 9)) < 0.5, (2, 5, 5))
    writer.write(segment_id, Crop.empty(), region=hole)
    assert np.array_equal(full(writer, segment_id), expected & ~hole.to_full(SHAPE))


edits = st.tuples(st.sampled_from(["block", "slice", "add", "erase"]), st.integers(0, 2), st.integers(0, 2**32 - 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(edits, max_size=8))
def test_any_edits_leave_other_segments_alone(edits: list[tuple[str, int, int]]) -> None:
    with create_scene() as context:
        geometry = VolumeGeometry(SHAPE, np.diag([-0.7, 0.7, 2.5, 1]))
        volume_node = volume_to_node(Volume(np.zeros(SHAPE, dtype=np.int16), geometry), context.scene)
        writer = SegmentWriter(create_segmentation(volume_node), volume_node)
        ids = [writer.add_segment(name) for name in "abc"]
        expected = [np.zeros(SHAPE, dtype=bool) for _ in ids]
        for kind, target, seed in edits:
            rng = np.random.default_rng(seed)
            lower = rng.integers(0, np.array(SHAPE) - 1)
            size = [rng.integers(1, n - a + 1) for n, a in zip(SHAPE, lower, strict=True)]
            crop = Crop(rng.random(size) < 0.6, tuple(lower.tolist()))
            region = {
                "block": None, "slice": slice_region(geometry, 0, int(lower[0])), "add": Crop.empty(), "erase": crop,
            }[kind]  # fmt: skip
            crop = Crop.empty() if kind == "erase" else crop
            redone = block(crop.lower, crop.upper) if region is None else region
            expected[target][redone.slices] &= ~redone.mask
            expected[target][crop.slices] |= crop.mask
            writer.write(ids[target], crop, region)
            assert all(np.array_equal(full(writer, i), e) for i, e in zip(ids, expected, strict=True))


def test_touching_segments_share_a_layer_and_overlapping_ones_do_not(writer: SegmentWriter) -> None:
    one, other = writer.add_segment("one"), writer.add_segment("other")
    writer.write(one, block((2, 2, 2), (4, 8, 8)))
    writer.write(other, block((2, 8, 2), (4, 14, 8)))
    geometry = geometry_from_node(writer.volume_node)
    for rows in (7, 6, 8):  # prompts that are updated beside the neighbour
        writer.write(one, block((3, 2, 2), (4, rows, 8)), region=slice_region(geometry, 0, 3))
    assert layers(writer) == 1
    assert np.array_equal(full(writer, other), block((2, 8, 2), (4, 14, 8)).to_full(SHAPE))

    writer.write(one, block((2, 4, 4), (3, 12, 12)), region=Crop.empty())
    assert layers(writer) == 2
    assert np.array_equal(full(writer, other), block((2, 8, 2), (4, 14, 8)).to_full(SHAPE))
    assert full(writer, one)[2, 4:12, 4:12].all()


def test_erasing_around_another_segment_keeps_both_in_one_layer(writer: SegmentWriter) -> None:
    """Slicer moves a segment to a layer of its own when one of the same layer lies between the voxels to erase."""
    frame, inner = writer.add_segment("frame"), writer.add_segment("inner")
    writer.write(inner, block((2, 6, 6), (3, 10, 10)))
    ring = np.ones((1, 12, 12), dtype=bool)
    ring[0, 4:8, 4:8] = False
    writer.write(frame, Crop(ring, (2, 2, 2)))
    corners = np.zeros((1, 12, 12), dtype=bool)
    corners[0, [0, 11], [0, 11]] = True
    writer.write(frame, Crop.empty(), region=Crop(corners, (2, 2, 2)))
    assert layers(writer) == 1
    assert np.array_equal(full(writer, frame), Crop(ring & ~corners, (2, 2, 2)).to_full(SHAPE))
    assert np.array_equal(full(writer, inner), block((2, 6, 6), (3, 10, 10)).to_full(SHAPE))


@pytest.mark.parametrize("shared", [True, False])
def test_overwriting_takes_voxels_from_others_only_when_asked(writer: SegmentWriter, shared: bool) -> None:
    one, other = writer.add_segment("one"), writer.add_segment("other")
    writer.write(one, block((2, 2, 2), (3, 8, 8)))
    writer.write(other, block((2, 8, 2), (3, 14, 8)) if shared else block((2, 6, 2), (3, 14, 8)))
    assert layers(writer) == (1 if shared else 2)
    before = full(writer, other)
    painted, whole = block((2, 4, 4), (3, 12, 12)), block((0, 0, 0), SHAPE)

    writer.write(one, painted)
    assert np.array_equal(full(writer, other), before)
    writer.write(one, block((2, 2, 2), (3, 8, 8)), region=whole)

    node = writer.editor_node
    node.SetOverwriteMode(node.OverwriteVisibleSegments)
    writer.segmentation_node.GetDisplayNode().SetSegmentVisibility(other, False)
    writer.write(one, painted)
    assert np.array_equal(full(writer, other), before)
    writer.write(one, block((2, 2, 2), (3, 8, 8)), region=whole)

    node.SetOverwriteMode(node.OverwriteAllSegments)
    writer.write(one, painted)
    assert np.array_equal(full(writer, other), before & ~painted.to_full(SHAPE))


def test_editable_area_inside_and_outside_other_segments(writer: SegmentWriter) -> None:
    one, other = writer.add_segment("one"), writer.add_segment("other")
    area = block((2, 8, 2), (5, 14, 8)).to_full(SHAPE)
    writer.write(other, Crop.from_full(area))
    painted = block((1, 4, 4), (4, 12, 12))
    node, modes = writer.editor_node, writer.segmentation_node

    node.SetMaskMode(modes.EditAllowedOutsideAllSegments)
    writer.write(one, painted)
    assert np.array_equal(full(writer, one), painted.to_full(SHAPE) & ~area)

    node.SetMaskMode(modes.EditAllowedEverywhere)
    writer.write(one, Crop.empty(), region=painted)
    node.SetMaskMode(modes.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID(other)
    writer.write(one, painted)
    assert np.array_equal(full(writer, one), painted.to_full(SHAPE) & area)
    assert np.array_equal(full(writer, other), area)


def test_erasing_inside_one_segment_does_not_enlarge_that_segment(writer: SegmentWriter) -> None:
    one, other = writer.add_segment("one"), writer.add_segment("other")
    area, painted = block((2, 8, 2), (5, 14, 8)), block((1, 4, 4), (4, 12, 12))
    writer.write(other, area)
    writer.write(one, painted)
    node = writer.editor_node
    node.SetMaskMode(writer.segmentation_node.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID(other)
    writer.write(one, Crop.empty(), region=painted)
    assert np.array_equal(full(writer, one), painted.to_full(SHAPE) & ~area.to_full(SHAPE))
    assert np.array_equal(full(writer, other), area.to_full(SHAPE))


def test_intensity_range_limits_adding_and_erasing(writer: SegmentWriter) -> None:
    segment_id = writer.add_segment("bone")
    node = writer.editor_node
    node.SetSourceVolumeIntensityMask(True)
    node.SetSourceVolumeIntensityMaskRange(10, 15)  # a voxel's value is its i
    writer.write(segment_id, block((1, 1, 1), (4, 10, 20)))
    assert np.array_equal(full(writer, segment_id), block((1, 1, 10), (4, 10, 16)).to_full(SHAPE))
    node.SetSourceVolumeIntensityMaskRange(12, 30)
    writer.write(segment_id, Crop.empty(), region=block((0, 0, 0), SHAPE))
    assert np.array_equal(full(writer, segment_id), block((1, 1, 10), (4, 10, 12)).to_full(SHAPE))


def test_a_crop_that_does_not_fit_is_refused_and_changes_nothing(writer: SegmentWriter) -> None:
    segment_id = writer.add_segment("liver")
    with pytest.raises(GeometryError, match="The result reaches voxel"):
        writer.write(segment_id, block((1, 1, 1), (2, 9, 99)))
    assert writer.read(segment_id).is_empty


def test_editor_logic_of_the_host_is_used_with_its_settings(volume_node: Any) -> None:
    scene = volume_node.GetScene()
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode", "SegmentEditor"))
    writer = SegmentWriter(create_segmentation(volume_node), volume_node, logic)
    one, other = writer.add_segment("one"), writer.add_segment("other")
    writer.write(one, block((1, 1, 1), (2, 9, 9)))
    writer.write(other, block((1, 5, 1), (2, 9, 9)))  # Slicer's default: overwrite all
    assert full(writer, one)[1, 5:9].sum() == 0
    writer.close()
    assert logic.GetSegmentEditorNode().GetScene() is scene


def test_a_host_may_edit_another_segmentation_meanwhile(volume_node: Any) -> None:
    scene = volume_node.GetScene()
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode", "SegmentEditor"))
    writer = SegmentWriter(create_segmentation(volume_node), volume_node, logic)
    segment_id = writer.add_segment("one")
    other = create_segmentation(volume_node)
    logic.SetSegmentationNode(other)
    logic.AddEmptySegment("theirs")
    writer.write(segment_id, block((1, 1, 1), (2, 9, 9)))  # takes the logic back
    assert writer.read(segment_id).count == 64
    assert other.GetSegmentation().GetNumberOfSegments() == 1


def test_colour_volumes_have_segments_too(scene: Any) -> None:
    array = np.zeros((1, 20, 24, 3), dtype=np.uint8)
    node = volume_to_node(Volume(array, VolumeGeometry((1, 20, 24), np.diag([-1.0, -1.0, 1.0, 1.0]))), scene)
    writer = SegmentWriter(create_segmentation(node), node)
    segment_id = writer.add_segment("lesion")
    writer.write(segment_id, block((0, 3, 4), (1, 9, 11)))
    assert (writer.read(segment_id).lower, writer.read(segment_id).count) == ((0, 3, 4), 42)


def test_close_removes_only_the_own_editor_node(scene: Any, volume_node: Any) -> None:
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode")
    writer = SegmentWriter(create_segmentation(volume_node), volume_node)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == count + 1
    writer.close()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == count
    assert writer.segmentation_node.GetScene() is scene


def test_after_the_scene_was_closed(scene: Any, writer: SegmentWriter) -> None:
    segment_id = writer.add_segment("liver")
    writer.write(segment_id, block((1, 1, 1), (2, 9, 9)))
    scene.Clear(False)
    for call in (
        lambda: writer.write(segment_id, block((1, 1, 1), (2, 9, 9))),
        lambda: writer.read(segment_id),
        lambda: writer.add_segment("spleen"),
    ):
        with pytest.raises(AutoPromptSAMError, match=r"no longer in the scene; choose a volume and start again\.$"):
            call()
    writer.close()


def test_removed_segment_and_removed_area(writer: SegmentWriter) -> None:
    one, other = writer.add_segment("one"), writer.add_segment("other")
    writer.editor_node.SetMaskMode(writer.segmentation_node.EditAllowedInsideSingleSegment)
    writer.editor_node.SetMaskSegmentID(other)
    writer.segmentation_node.GetSegmentation().RemoveSegment(other)
    with pytest.raises(AutoPromptSAMError, match="limited to is no longer there; choose another editable area"):
        writer.write(one, block((1, 1, 1), (2, 9, 9)))
    with pytest.raises(AutoPromptSAMError, match="any more; choose another one"):
        writer.write(other, block((1, 1, 1), (2, 9, 9)))

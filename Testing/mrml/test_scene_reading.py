"""A scene file read beside what is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError, StorageError
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.exports import export
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.persistence import forget_states, restore_states, save_scene, store_state
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.scene_reading import DATA, read_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation
from AutoPromptSAMLib.mrml.volumes import volume_from_node, volume_to_node
from AutoPromptSAMLib.prompts import PromptSet
from AutoPromptSAMLib.session.local import LocalSession

from ..threshold_backbone import ThresholdBackbone
from .segmenting import Desk, oblique_volume
from .test_persistence import painted_state


def data(scene: Any) -> int:
    return sum(scene.GetNumberOfNodesByClass(kind) for kind in DATA)


@pytest.fixture
def written(desk: Desk, tmp_path: Path) -> Path:
    """A scene of an image, a segment, its prompt, and a point that somebody set."""
    desk.segmenter.add_segment("liver")
    desk.segmenter.add_prompt(desk.box())
    desk.settle()
    desk.volume_node.GetScene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmark")
    path = tmp_path / "case.mrb"
    export(desk.segmenter, path)
    return path


def test_image_segments_and_prompts(desk: Desk, written: Path) -> None:
    with create_scene() as context:
        other = volume_to_node(oblique_volume(), context.scene, "open already")
        found = read_scene(context.scene, written)
        assert other.GetScene() is context.scene
        assert found.volume_node is not other
        assert np.array_equal(volume_from_node(found.volume_node).array, desk.volume.array)
        assert found.segmentation_node.GetSegmentation().GetNthSegment(0).GetName() == "liver"
        assert found.remembered is not None
        (prompts,) = found.remembered.prompts.objects.values()
        assert PromptSet(prompts).to_json() == PromptSet(desk.segmenter.prompts()).to_json()
        assert restore_states(context.scene) == []  # they were handed over
        assert context.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0  # and are shown in another way
        assert not {found.volume_node, found.segmentation_node} & set(found.others)


def test_a_scene_of_somebody_else_keeps_its_markups_and_gets_a_segmentation(scene: Any, tmp_path: Path) -> None:
    volume_to_node(oblique_volume(), scene, "CT")
    scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmark")
    save_scene(scene, tmp_path / "case.mrb")
    with create_scene() as context:
        found = read_scene(context.scene, tmp_path / "case.mrb")
        assert found.remembered is None
        assert [node.GetName() for node in found.others] == ["Landmark"]
        assert found.segmentation_node.GetSegmentation().GetNumberOfSegments() == 0
        assert found.segmentation_node.GetScene() is context.scene


def test_what_cannot_be_opened_leaves_nothing(scene: Any, desk: Desk, written: Path, tmp_path: Path) -> None:
    with create_scene() as context:
        context.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmark")
        save_scene(context.scene, tmp_path / "no image.mrb")
    (tmp_path / "no scene.mrb").write_bytes(b"x")
    with create_scene() as context:
        volume_to_node(oblique_volume(), context.scene, "open already")
        assert data(context.scene) == 1
        for name, kind in (("no image", ImageError), ("no scene", StorageError)):
            with pytest.raises(AutoPromptSAMError) as caught:
                read_scene(context.scene, tmp_path / f"{name}.mrb")
            assert isinstance(caught.value, kind)
            assert data(context.scene) == 1


def test_damaged_prompts_cost_no_image_and_no_segments(scene: Any, desk: Desk, written: Path, tmp_path: Path) -> None:
    damaged = next(node for node in scene.GetNodesByClass("vtkMRMLTextNode") if "schema" in (node.GetText() or ""))
    damaged.SetText("torn")
    save_scene(scene, tmp_path / "damaged.mrb")
    with create_scene() as context:
        found = read_scene(context.scene, tmp_path / "damaged.mrb")
        assert np.array_equal(volume_from_node(found.volume_node).array, desk.volume.array)
        assert found.segmentation_node.GetSegmentation().GetNthSegment(0).GetName() == "liver"
        assert found.damage is not None
        assert "cannot be read" in found.damage
        assert found.remembered is not None
        assert not found.remembered.prompts.objects


def test_the_prompts_of_what_is_open_stay(scene: Any, writer: SegmentWriter, written: Path) -> None:
    store_state(scene, painted_state(writer))
    read_scene(scene, written)
    kept = [state.segmentation_node for state in restore_states(scene)]
    assert writer.segmentation_node in kept
    forget_states(scene)
    assert restore_states(scene) == []


def test_segments_are_where_they_were(desk: Desk, written: Path) -> None:
    (mask,) = desk.all_voxels().values()
    with create_scene() as context:
        found = read_scene(context.scene, written)
        reader = SegmentWriter(found.segmentation_node, found.volume_node)
        segment_id = found.segmentation_node.GetSegmentation().GetNthSegmentID(0)
        assert reader.read(segment_id).count == Crop.from_full(mask).count > 0
        reader.close()
        assert create_segmentation(found.volume_node) is not found.segmentation_node


def test_what_was_painted_counts_as_painted_in_the_scene_that_is_opened_again(desk: Desk, tmp_path: Path) -> None:
    segment_id = desk.segmenter.add_segment("by hand")
    painted = np.zeros(desk.volume.array.shape, bool)
    painted[3, 2:6, 4:9] = painted[5, 7, 8] = True
    desk.paint(segment_id, painted)
    export(desk.segmenter, tmp_path / "case.mrb")
    with create_scene() as context:
        found = read_scene(context.scene, tmp_path / "case.mrb")
        assert found.remembered is not None
        session = LocalSession(ThresholdBackbone())
        segmenter = InteractiveSegmenter(session, found.volume_node, found.segmentation_node, desk.calls.put)
        assert segmenter.kept.by_hand == {}
        segmenter.restore(found.remembered)
        assert len(segmenter.kept.painted_slices(segment_id, 0)) == 2
        there, hand = segmenter.kept.known[segment_id], segmenter.kept.by_hand[segment_id]
        assert there.symmetric_difference(hand).is_empty  # also where Slicer turned the image around
        assert there.count == painted.sum()
        segmenter.close()
        session.close()

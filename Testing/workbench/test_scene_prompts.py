"""Prompts in the scene, and images that change under them; slices in views that are turned."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from AutoPromptSAMLib.errors import GeometryError, PromptError
from AutoPromptSAMLib.mrml.persistence import ATTRIBUTE, SceneState, restore_state, restore_states, store_state
from AutoPromptSAMLib.mrml.planes import show_index
from AutoPromptSAMLib.mrml.remembered import Remembered
from AutoPromptSAMLib.mrml.segments import create_segmentation
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.workbench.scene_prompts import ScenePrompts, image_change
from AutoPromptSAMLib.workbench.slice_nodes import axis_of, jump, slice_along

from ..mrml.segmenting import Host


@pytest.fixture
def prompted(host: Host) -> Host:
    host.segmenter.add_segment("rod")
    host.segmenter.add_prompt(host.box(4))
    host.settle()
    return host


def stored(host: Host) -> SceneState | None:
    return restore_state(host.segmentation_node.GetScene(), host.segmentation_node)


def test_the_scene_gives_back_what_it_was_told_to_keep(prompted: Host) -> None:
    segmenter, kept = prompted.segmenter, ScenePrompts(prompted.segmenter)
    kept.restore()  # nothing
    segment_id, prompts = segmenter.active_segment, segmenter.prompts()
    assert segment_id is not None
    painted = np.zeros_like(prompted.truth)
    painted[[7, 9], 18:24, 19:25] = True
    prompted.paint(segment_id, painted)
    kept.keep()
    segmenter.clear_prompts()
    segmenter.kept.by_hand.clear()
    kept.restore()
    assert segmenter.prompts() == prompts
    assert segmenter.kept.painted_slices(segment_id, 0) == [7, 9]
    assert segmenter.kept.by_hand[segment_id].count == painted.sum()
    segmenter.clear_prompts()
    kept.keep()  # in place of the others
    state = stored(prompted)
    assert state is not None
    assert not any(state.remembered.prompts.objects.values())


def test_nothing_is_kept_without_a_scene(prompted: Host) -> None:
    segmenter = prompted.segmenter
    scene = segmenter.segmentation_node.GetScene()
    scene.RemoveNode(segmenter.segmentation_node)
    left = scene.GetNumberOfNodes()
    ScenePrompts(segmenter).keep()
    assert scene.GetNumberOfNodes() == left
    assert restore_states(scene) == []


def test_prompts_that_cannot_be_brought_back_stay_in_the_scene(prompted: Host) -> None:
    segmenter, kept = prompted.segmenter, ScenePrompts(prompted.segmenter)
    file = segmenter.session.export_prompts()
    elsewhere = segmenter.volume.geometry.transformed(np.diag([1.0, 1.0, 2.0, 1.0]))
    nodes = None, segmenter.segmentation_node  # of another image
    remembered = Remembered(PromptFile(file.objects, None, elsewhere))
    store_state(segmenter.volume_node.GetScene(), SceneState(remembered, {}, *nodes))
    segmenter.clear_prompts()
    with pytest.raises(GeometryError, match="load the image they belong to"):
        kept.restore()
    kept.keep()
    state = stored(prompted)
    assert state is not None
    assert any(state.remembered.prompts.objects.values())
    segmenter.add_prompt(prompted.box(5))
    prompted.settle()
    kept.keep()  # a person goes on without them
    assert len(segmenter.prompts()) == 1
    kept.restore()
    assert len(segmenter.prompts()) == 1


def test_a_damaged_text_of_another_segmentation_is_no_matter(prompted: Host) -> None:
    kept, scene = ScenePrompts(prompted.segmenter), prompted.segmentation_node.GetScene()
    other = create_segmentation(prompted.volume_node)
    store_state(scene, SceneState(Remembered(), {}, prompted.volume_node, other)).SetText("torn")
    kept.keep()
    prompts = prompted.segmenter.prompts()
    prompted.segmenter.clear_prompts()
    kept.restore()
    assert prompted.segmenter.prompts() == prompts
    texts = [node for node in scene.GetNodesByClass("vtkMRMLTextNode") if node.GetAttribute(ATTRIBUTE)]
    for node in texts:
        node.SetText("torn")
    with pytest.raises(PromptError, match="cannot be read"):
        kept.restore()


def test_other_voxels_and_other_places_are_told_apart(prompted: Host) -> None:
    segmenter = prompted.segmenter
    assert image_change(segmenter) is None
    node = segmenter.volume_node
    was = np.array(node.GetOrigin())
    node.SetOrigin(*(was + np.array([0, 0, 10])))
    assert image_change(segmenter) == "place"
    node.SetOrigin(*was)
    assert image_change(segmenter) is None
    node.GetImageData().GetPointData().GetScalars().SetTuple1(0, 77)
    assert image_change(segmenter) == "voxels"


def test_a_view_that_shows_such_slices_is_gone_to_and_else_one_is_turned(prompted: Host) -> None:
    segmenter = prompted.segmenter
    geometry, nodes = segmenter.volume.geometry, {}
    scene = segmenter.volume_node.GetScene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    for name in ("Red", "Green"):
        nodes[name] = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        nodes[name].SetOrientation("Axial")
        nodes[name].RotateToVolumePlane(segmenter.volume_node)
    assert slice_along({}, "", geometry, 0) == geometry.shape[0] // 2
    assert jump(nodes, "Red", segmenter, 0, 3) == "Red"  # it was scrolled out of the image
    show_index(nodes["Green"], geometry, 0, 0)
    shown = jump(nodes, "Red", segmenter, 0, 4)
    assert shown in nodes
    assert [axis_of(node, geometry) for node in nodes.values()] == [0, 0]
    assert slice_along(nodes, shown, geometry, 0) == 4
    assert jump(nodes, "Red", segmenter, 2, 5) == "Red"
    assert [axis_of(node, geometry) for node in nodes.values()] == [2, 0]
    assert slice_along(nodes, "Green", geometry, 2) == 5
    assert slice_along(nodes, "Red", geometry, 0) == 4

"""Prompts in the scene, and images that change under them; slices in views that are turned."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from AutoPromptSAMLib.mrml.planes import show_index
from AutoPromptSAMLib.workbench.scene_prompts import image_change, keep_prompts, kept_prompts
from AutoPromptSAMLib.workbench.slice_nodes import axis_of, jump, slice_along

from ..mrml.segmenting import Host


@pytest.fixture
def prompted(host: Host) -> Host:
    host.segmenter.add_segment("rod")
    host.segmenter.add_prompt(host.box(4))
    host.settle()
    return host


def test_the_scene_gives_back_what_it_was_told_to_keep(prompted: Host) -> None:
    segmenter = prompted.segmenter
    assert kept_prompts(segmenter) == []
    keep_prompts(segmenter)
    (kept,) = kept_prompts(segmenter)
    assert kept.to_json() == segmenter.session.export_prompts().to_json()
    segmenter.clear_prompts()
    keep_prompts(segmenter)  # in place of the others
    (kept,) = kept_prompts(segmenter)
    assert kept.to_json() == segmenter.session.export_prompts().to_json()


def test_nothing_is_kept_without_a_scene(prompted: Host) -> None:
    segmenter = prompted.segmenter
    segmenter.segmentation_node.GetScene().RemoveNode(segmenter.segmentation_node)
    keep_prompts(segmenter)


def test_other_voxels_and_other_places_are_told_apart(prompted: Host) -> None:
    segmenter = prompted.segmenter
    assert image_change(segmenter) is None
    node = segmenter.volume_node
    was = np.array(node.GetOrigin())
    node.SetOrigin(*(was + np.array([0, 0, 10])))
    change = image_change(segmenter)
    assert change is not None
    assert change.is_moved
    assert change.prompts is not None
    before = segmenter.session.export_prompts()
    assert change.prompts.to_json() != before.to_json()
    node.SetOrigin(*was)
    assert image_change(segmenter) is None
    node.GetImageData().GetPointData().GetScalars().SetTuple1(0, 77)
    change = image_change(segmenter)
    assert change is not None
    assert (change.is_moved, change.prompts) == (False, None)


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

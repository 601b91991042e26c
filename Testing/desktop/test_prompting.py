"""Prompts drawn in the slice views of the desktop, and what becomes of the segments."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from AutoPromptSAMLib.geometry import Crop

from ..threshold_backbone import BRIGHT, ThresholdBackbone
from .hands import AFFINE, LEFT, RIGHT, Hands, balls

SLICE = LEFT[2]


def on_slice(hands: Hands, centre: tuple[int, int, int], reach: int = 11) -> np.ndarray:
    """The bright voxels (rows, cols) within reach of a ball's centre, on its slice."""
    i, j, k = centre
    bright = hands.segmenter.volume.array[k] == BRIGHT
    near = np.zeros_like(bright)
    near[j - reach : j + reach + 1, i - reach : i + reach + 1] = True
    return bright & near


def test_a_box_becomes_a_segment(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    assert np.array_equal(two_balls.voxels()[SLICE], on_slice(two_balls, LEFT))
    assert two_balls.voxels().sum() == on_slice(two_balls, LEFT).sum()  # and nothing elsewhere
    assert two_balls.desktop.find("PromptsPanel/promptsList").count == 1
    assert "Box" in two_balls.desktop.find("PromptsPanel/promptsList").item(0).text()


def test_undo_and_redo_by_button_and_by_key(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    found = two_balls.voxels()
    two_balls.press("StatusPanel/undoButton")
    two_balls.settle()
    assert not two_balls.voxels().any()
    assert two_balls.segmenter.prompts() == ()
    two_balls.desktop.key("Ctrl+Y")
    two_balls.settle()
    assert np.array_equal(two_balls.voxels(), found)
    assert len(two_balls.segmenter.prompts()) == 1


def test_prompting_one_segment_never_changes_another(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    first, before = two_balls.segmenter.active_segment, two_balls.voxels()
    two_balls.press("InputPanel/addSegmentButton")
    two_balls.around(LEFT, reach=9)  # on the very same voxels
    assert two_balls.voxels().any()
    assert np.array_equal(two_balls.voxels(first), before)


def test_overwriting_is_a_choice(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    first = two_balls.segmenter.active_segment
    two_balls.desktop.find("InputPanel/overwriteCombo").setCurrentText("Overwrite all")
    two_balls.press("InputPanel/addSegmentButton")
    two_balls.around(LEFT)
    assert two_balls.voxels().any()
    assert not two_balls.voxels(first).any()


def test_a_click_of_a_row_goes_to_its_slice(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    two_balls.go_to(0, 3)
    rows = two_balls.desktop.find("PromptsPanel/promptsList")
    rows.itemClicked.emit(rows.item(0))
    two_balls.settle()
    assert two_balls.desk.views.shown_index(0) == SLICE


def test_remove_a_prompt_and_its_mask_goes(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    two_balls.desktop.key("Del")
    two_balls.settle()
    assert not two_balls.voxels().any()
    assert two_balls.desktop.find("PromptsPanel/promptsList").count == 0


def test_what_another_segment_has_becomes_a_mask_prompt(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    found = two_balls.voxels()
    two_balls.press("InputPanel/addSegmentButton")
    two_balls.settle()
    two_balls.press("PromptsPanel/fromSegmentButton")
    two_balls.settle()
    assert np.array_equal(two_balls.voxels()[SLICE], found[SLICE])


def test_a_prompt_outside_the_image_says_so_and_changes_nothing(two_balls: Hands) -> None:
    two_balls.tool("pointPlus")
    two_balls.desktop.click("Red", (2, 2))
    assert "outside the image" in two_balls.message
    assert two_balls.segmenter.prompts() == ()


def test_prompts_are_markups_in_a_folder(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "AutoPromptSAM prompts")
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsROINode")
    assert folder
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder


def test_a_transformed_volume_gets_the_mask_where_the_prompt_was(hands: Hands) -> None:
    turned = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    angle = np.deg2rad(20)
    matrix = np.array([
        [np.cos(angle), -np.sin(angle), 0, 12], [np.sin(angle), np.cos(angle), 0, -7], [0, 0, 1, 30], [0, 0, 0, 1],
    ])  # fmt: skip
    turned.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    volume = hands.desktop.add_volume(balls(LEFT, RIGHT), AFFINE, "turned")
    volume.SetAndObserveTransformNodeID(turned.GetID())
    hands.open(volume, ThresholdBackbone())
    hands.around(RIGHT)
    assert np.array_equal(hands.voxels()[SLICE], on_slice(hands, RIGHT))
    center = hands.geometry.ras_from_ijk([RIGHT])[0]
    assert center == pytest.approx(matrix[:3, :3] @ (AFFINE[:3, :3] @ RIGHT + AFFINE[:3, 3]) + matrix[:3, 3])
    assert hands.segmenter.prompts()[0].center_ras == pytest.approx(center, abs=1.5)


def test_prompts_go_along_with_an_image_that_is_moved(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    found, before, (prompt,) = hands.voxels(), hands.segmenter, hands.segmenter.prompts()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    for node in (hands.segmenter.volume_node, hands.segmenter.segmentation_node):
        node.SetAndObserveTransformNodeID(transform.GetID())
    matrix = np.array([[0, -1.0, 0, 15], [1, 0, 0, -20], [0, 0, 1, 35], [0, 0, 0, 1]])
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    hands.wait(lambda: hands.segmenter is not None and hands.segmenter is not before)
    hands.settle()
    assert np.array_equal(hands.voxels(), found)
    (there,) = hands.segmenter.prompts()
    assert there.id == prompt.id
    assert there.center_ras == pytest.approx(matrix[:3, :3] @ prompt.center_ras + matrix[:3, 3])
    hands.desktop.key("Del")
    hands.around(RIGHT)
    assert np.array_equal(hands.voxels()[SLICE], on_slice(hands, RIGHT))


def test_a_transform_that_comes_and_goes_leaves_prompts_and_painted_slices(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    segment_id = hands.segmenter.active_segment
    painted = np.zeros_like(hands.voxels())
    painted[3, 5:9, 5:9] = True
    hands.segmenter.writer.write(segment_id, Crop.from_full(painted), region=Crop.empty())
    hands.settle()
    volume, prompts, voxels = hands.segmenter.volume_node, hands.segmenter.prompts(), hands.voxels()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.array([[1.0, 0, 0, 15], [0, 1, 0, -20], [0, 0, 1, 35], [0, 0, 0, 1]])
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    hands.wait(lambda: hands.segmenter is None)
    assert "under different transforms" in hands.message
    hands.desktop.spin()
    volume.SetAndObserveTransformNodeID(None)
    hands.wait(lambda: hands.segmenter is not None)
    hands.settle()
    assert hands.message == ""
    assert hands.segmenter.prompts() == prompts
    assert hands.segmenter.kept.painted_slices(segment_id, 0) == [3]

    volume.SetAndObserveTransformNodeID(transform.GetID())
    hands.wait(lambda: hands.segmenter is None)
    hands.desk.parameters.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    hands.wait(lambda: hands.segmenter is not None)
    hands.settle()
    (there,) = hands.segmenter.prompts()
    assert there.center_ras == pytest.approx(prompts[0].center_ras + matrix[:3, 3])
    assert hands.segmenter.kept.painted_slices(segment_id, 0) == [3]
    assert np.array_equal(hands.voxels(), voxels)


def test_an_image_with_other_voxels_is_seen_as_it_is_now(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    before = hands.segmenter
    slicer.util.updateVolumeFromArray(hands.segmenter.volume_node, balls(RIGHT))
    hands.wait(lambda: hands.segmenter is not None and hands.segmenter is not before)
    hands.settle()
    hands.desktop.key("Del")
    hands.around(RIGHT)
    assert np.array_equal(hands.voxels()[SLICE], on_slice(hands, RIGHT))


def test_an_oblique_view_gets_the_mask_where_the_prompt_was(two_balls: Hands) -> None:
    hands = two_balls
    node, center = hands.node(), hands.geometry.ras_from_ijk([LEFT])[0]
    angle = np.deg2rad(35)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    now = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    turned = tilt @ now
    turned[:3, 3] = center
    node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(turned))
    node.UpdateMatrices()
    hands.settle()
    hands.tool("box")
    middle = np.array(hands.at(LEFT))
    reach = np.linalg.norm(middle - hands.at((LEFT[0] + 8, *LEFT[1:])))
    hands.desktop.drag("Red", tuple(middle - reach), tuple(middle + reach))
    hands.settle()
    voxels = np.argwhere(hands.voxels())[:, ::-1]
    assert len(voxels) > 50
    ras = hands.geometry.ras_from_ijk(voxels)
    off_plane = (ras - center) @ turned[:3, 2]
    assert np.abs(off_plane).max() < 2.5  # on the tilted plane, to within a voxel
    assert np.linalg.norm(ras - center, axis=1).max() < 12  # in the ball whose middle the box was around


def test_keys_are_given_back_when_the_module_is_left(two_balls: Hands) -> None:
    two_balls.desktop.key("B")
    assert two_balls.desk.placing.tool == "box"
    two_balls.desktop.exit()
    assert two_balls.desk.placing.tool is None
    two_balls.desktop.key("B")
    assert two_balls.desk.placing.tool is None
    two_balls.desktop.enter()
    two_balls.desktop.key("B")
    assert two_balls.desk.placing.tool == "box"


def test_keys_can_be_switched_off(two_balls: Hands) -> None:
    two_balls.desktop.find("AdvancedPanel/shortcutsCheck").click()
    two_balls.desktop.key("B")
    assert two_balls.desk.placing.tool is None


def test_a_segment_that_undo_brings_back_stays_the_active_one(two_balls: Hands) -> None:
    hands = two_balls
    hands.press("InputPanel/addSegmentButton")
    hands.press("InputPanel/addSegmentButton")
    hands.settle()
    _, second = [info.id for info in hands.segmenter.segments]
    hands.press("InputPanel/removeSegmentButton")
    hands.settle()
    hands.press("StatusPanel/undoButton")
    hands.desk.editor.node.Modified()  # before its selector knows
    assert hands.segmenter.active_segment == second
    hands.settle()
    assert hands.segmenter.active_segment == second
    assert hands.desk.editor.node.GetSelectedSegmentID() == second


def test_an_effect_and_a_tool_never_both_have_the_mouse(two_balls: Hands) -> None:
    two_balls.around(LEFT)
    two_balls.tool("box")
    two_balls.desk.editor.node.SetActiveEffectName("Paint")
    assert two_balls.desk.placing.tool is None
    two_balls.tool("pointPlus")
    assert not two_balls.desk.editor.node.GetActiveEffectName()

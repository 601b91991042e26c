"""Where the model is unsure, on a real scene: looks, ranking, the uncertainty over the image and on the surface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.mrml.exports import export
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.persistence import open_scene, restore_states
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.uncertainty_nodes import FROM_BITS, color_table
from AutoPromptSAMLib.mrml.volumes import geometry_from_node, volume_from_node
from AutoPromptSAMLib.session.grey import GreyCrop

from ..knows_truth import grey
from .reviewing import BAD, WORST, Reader
from .segmenting import SLICES

# -- looking ----------------------------------------------------------------------------------------------------------


def test_a_look_ranks_the_slices_and_changes_nothing(reader: Reader) -> None:
    before = reader.segmenter.undo_stack.n_commands()
    known = reader.review()
    assert known.axis == 0
    assert set(known.now()) == set(range(SLICES[0] - 1, SLICES[-1] + 2))  # and the slices beside both ends
    assert reader.ranked[:2] == [WORST, BAD]
    run = reader.segmenter.looks.expected_dice()
    assert run is not None
    assert run.agreement[WORST] < run.agreement[BAD] < run.agreement[SLICES[0]] == 1
    assert [span[:2] for span in run.sure_spans][1] == (WORST, WORST)
    assert np.array_equal(reader.voxels(), reader.wrong)
    assert reader.segmenter.undo_stack.n_commands() == before
    assert "review" in reader.changed
    assert reader.said == []


def test_a_look_at_a_range_keeps_what_is_known_of_the_rest(reader: Reader) -> None:
    reader.review(3, 5)
    known = reader.review(6, 6)
    assert set(known.now()) == {3, 4, 5, 6}
    assert reader.session.asked == [("review", 0, 3, 5), ("review", 0, 6, 6)]


def test_a_cancelled_look_keeps_the_finished_slices(reader: Reader) -> None:
    reader.session.pause.clear()
    reader.segmenter.looks.look(0, None, 0)
    while not reader.ranked:
        reader.calls.get(timeout=20)()
    reader.segmenter.undo()
    assert "A run is going on" in reader.said[-1]
    reader.segmenter.cancel()
    reader.session.pause.set()
    reader.settle()
    known = reader.segmenter.looks.of()
    assert known is not None
    assert not known.complete
    assert len(known.now()) == 1
    assert "finished are kept" in reader.said[-1]


def test_without_a_segment_or_voxels_it_says_what_to_do(reader: Reader) -> None:
    empty = reader.segmenter.add_segment("nothing")
    reader.segmenter.looks.look()
    assert reader.said[-1] == '"nothing" is empty; draw a box around the object first.'
    reader.segmenter.mending.refine()
    assert reader.said[-1].startswith('"nothing" is empty')
    reader.segmenter.remove_segment(empty)
    reader.segmenter.remove_segment(reader.id)
    reader.segmenter.looks.look()
    assert "draw a box" in reader.said[-1]
    assert reader.session.asked == []


# -- the uncertainty in the scene -------------------------------------------------------------------------------------


def test_the_uncertainty_is_a_volume_in_bits_where_the_image_is(reader: Reader) -> None:
    reader.review()
    assert np.array_equal(reader.uncertain(), (reader.truth ^ reader.wrong).astype(np.float32))
    assert np.array_equal(reader.segmenter.looks.display.values(), reader.uncertain())
    assert reader.segmenter.looks.display.nodes is not None
    node = reader.segmenter.looks.display.nodes.node(reader.id)
    assert node.GetName() == "Uncertainty of rod (bits)"
    assert node.GetSaveWithScene()
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 1)


def test_it_moves_with_the_image(reader: Reader, put_under: Any) -> None:
    matrix = np.diag([1.0, 1.0, 1.0, 1.0])
    matrix[:3, 3] = 5, -7, 11
    reader.review()
    before = geometry_from_node(reader.segmenter.looks.display.nodes.node(reader.id)).ijk_to_ras  # type: ignore[union-attr]
    reader.segmenter.close()
    put_under(reader.volume_node, matrix)
    reader.segmentation_node.SetAndObserveTransformNodeID(reader.volume_node.GetTransformNodeID())
    reader.segmenter = InteractiveSegmenter(
        reader.session, reader.volume_node, reader.segmentation_node, reader.calls.put
    )
    reader.review()
    after = geometry_from_node(reader.segmenter.looks.display.nodes.node(reader.id)).ijk_to_ras  # type: ignore[union-attr]
    assert np.allclose(after, matrix @ before)


def test_it_lies_over_the_image_and_leaves_the_views_as_they_were(reader: Reader, scene: Any) -> None:
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetForegroundVolumeID(reader.volume_node.GetID())
    composite.SetForegroundOpacity(0.25)
    reader.review()
    uncertainty = reader.segmenter.looks.display.nodes
    assert uncertainty is not None
    node = uncertainty.node(reader.id)
    assert composite.GetForegroundVolumeID() == node.GetID()
    reader.segmenter.looks.display.show(True, 0.5)
    assert composite.GetForegroundOpacity() == 0.5
    other = reader.segmenter.add_segment("other")  # which nobody looked at
    assert composite.GetForegroundVolumeID() == reader.volume_node.GetID()
    reader.segmenter.active_segment = reader.id
    assert composite.GetForegroundVolumeID() == node.GetID()
    reader.segmenter.looks.display.show(False)
    assert composite.GetForegroundVolumeID() == reader.volume_node.GetID()
    assert composite.GetForegroundOpacity() == 0.25
    reader.segmenter.active_segment = other
    reader.segmenter.remove_segment(reader.id)
    assert node.GetScene() is None
    with pytest.raises(PromptError, match="Where is it unsure"):
        reader.segmenter.looks.display.values()
    reader.segmenter.close()
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode") == 0


def test_only_the_outlines_stay_over_the_uncertainty(reader: Reader) -> None:
    display = reader.segmentation_node.GetDisplayNode()
    reader.review()
    assert not display.GetVisibility2DFill()
    assert display.GetVisibility2DOutline()
    reader.segmenter.looks.display.show(False)
    assert display.GetVisibility2DFill()
    reader.segmenter.looks.display.show(True)
    reader.segmenter.close()
    assert display.GetVisibility2DFill()


def test_the_surface_is_coloured_by_the_uncertainty_around_it(reader: Reader, scene: Any) -> None:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    display = reader.segmentation_node.GetDisplayNode()
    reader.review()
    reader.segmenter.looks.display.show_on_surface(True)
    reader.segmenter.set_surface_shown(True)
    model = scene.GetFirstNodeByClass("vtkMRMLModelNode")
    assert model.GetDisplayNode().GetScalarVisibility()
    assert not display.GetSegmentVisibility3D(reader.id)
    points = vtk_to_numpy(model.GetPolyData().GetPoints().GetData())
    values = vtk_to_numpy(model.GetPolyData().GetPointData().GetScalars())
    slices = np.rint(reader.segmenter.volume.geometry.ijk_from_ras(points)[:, 2])
    assert values[slices == WORST].max() > 0.1
    assert values[slices == WORST].max() > 2 * values[slices == SLICES[-1]].max()
    reader.segmenter.looks.display.show_on_surface(False)
    assert scene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 0
    assert display.GetSegmentVisibility3D(reader.id)


def test_a_saved_scene_has_the_uncertainty_and_still_knows_which_volume_is_the_image(
    reader: Reader, scene: Any, tmp_path: Path
) -> None:
    scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    reader.review()
    export(reader.segmenter, tmp_path / "work.mrb")
    with create_scene() as context:
        open_scene(context.scene, tmp_path / "work.mrb")
        (state,) = restore_states(context.scene)
        assert state.volume_node is not None
        assert state.volume_node.GetName() == "rod"
        node = context.scene.GetFirstNodeByName("Uncertainty of rod (bits)")
        volume = volume_from_node(node)
        at = np.argwhere(volume.array == 1)[0]
        ras = volume.geometry.ras_from_ijk(at[None, ::-1])
        k, j, i = np.rint(reader.volume.geometry.ijk_from_ras(ras)[0]).astype(int)[::-1]
        assert (reader.truth ^ reader.wrong)[k, j, i]

        # A new segmenter knows nothing of it, and could not take it away again.
        composite = context.scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        display = state.segmentation_node.GetDisplayNode()
        assert composite.GetForegroundVolumeID() == node.GetID()
        assert not display.GetVisibility2DFill()
        segmenter = InteractiveSegmenter(reader.session, state.volume_node, state.segmentation_node, reader.calls.put)
        assert composite.GetForegroundVolumeID() is None
        assert display.GetVisibility2DFill()
        segmenter.close()
        assert node.GetScene() is context.scene, "what a person saved stays"
        assert not node.GetHideFromEditors()


def test_a_node_grows_with_what_is_put_into_it(reader: Reader) -> None:
    from AutoPromptSAMLib.mrml.uncertainty_nodes import UncertaintyNodes

    nodes = UncertaintyNodes(reader.volume_node)
    mask = np.zeros(reader.truth.shape, bool)
    for index, (row, col) in enumerate([(20, 20), (0, 47), (47, 0)]):
        mask[index, row, col] = True
        nodes.write("a", "a", 0, index, grey(mask & (np.arange(12) == index)[:, None, None]))
    values = nodes.values("a")
    assert values is not None
    assert np.array_equal(values, mask.astype(np.float32))
    nodes.write("a", "a", 0, 1, GreyCrop.empty())
    mask[1] = False
    assert np.array_equal(nodes.values("a"), mask.astype(np.float32))  # type: ignore[arg-type]
    nodes.close()
    assert nodes.node("a") is None


def test_colours_get_lighter_and_what_is_certain_has_none() -> None:
    table = color_table()
    lightness = table[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) > 0).all()
    assert table[round(255 * FROM_BITS) - 1, 3] == 0
    assert table[-1].tolist() == pytest.approx([0xFC / 255, 1, 0xA4 / 255, 1])

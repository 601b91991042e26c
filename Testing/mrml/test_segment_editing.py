"""Segments whose every change can be undone by name, whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from trame_slicer.resources import resources_path

from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.exports import export, import_file
from AutoPromptSAMLib.mrml.segments import SegmentWriter
from AutoPromptSAMLib.mrml.terms import anatomy_terms

from .segmenting import Host


def test_nothing_changes_a_locked_segment(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    first = host.segmenter.active_segment
    assert first is not None
    host.segmenter.set_segment_locked(first, True)
    host.segmenter.add_prompt(host.box(3))
    host.segmenter.propagate()
    host.segmenter.remove_prompt(host.segmenter.prompts()[0].id)
    host.settle()
    assert len(host.said) == 3
    assert all("is locked" in text for text in host.said)
    # Nor does another segment, even where it may overwrite all.
    node = host.segmenter.writer.editor_node
    node.SetOverwriteMode(node.OverwriteAllSegments)
    host.segmenter.add_segment("other")
    host.segmenter.add_prompt(host.box(5, grow=2))
    painter = SegmentWriter(host.segmentation_node, host.volume_node)
    painter.write(first, Crop.empty(), region=Crop.from_full(host.only(5)))
    host.settle()
    assert np.array_equal(host.voxels(first), host.only(5))
    assert not host.voxels().any()
    painter.close()


def test_overwriting_another_segment_is_undone_for_both(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    first = host.segmenter.active_segment
    node = host.segmenter.writer.editor_node
    node.SetOverwriteMode(node.OverwriteAllSegments)
    host.segmenter.add_segment("other")
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    assert not host.voxels(first).any()
    assert np.array_equal(host.voxels(), host.only(5))
    host.segmenter.undo()
    assert np.array_equal(host.voxels(first), host.only(5))
    assert not host.voxels().any()


def test_a_removed_segment_comes_back_with_all_that_it_had(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    first = host.segmenter.active_segment
    assert first is not None
    host.segmenter.rename_segment(first, "liver")
    host.segmenter.add_segment("spleen")
    host.segmenter.remove_segment(first)
    assert [row.name for row in host.segmenter.segments] == ["spleen"]
    host.segmenter.undo()
    host.settle()
    assert [row.name for row in host.segmenter.segments] == ["liver", "spleen"]
    assert np.array_equal(host.voxels(first), host.only(5))
    assert len(host.segmenter.prompts(first)) == 1
    for text in ("Add spleen", "Rename Segment 1", "Add box"):
        assert host.segmenter.undo_text == text
        host.segmenter.undo()


def test_how_a_removed_segment_was_shown_and_what_it_was_called_comes_back(host: Host) -> None:
    segmentation, display = host.segmentation_node.GetSegmentation(), host.segmentation_node.GetDisplayNode()
    first = host.segmenter.add_segment("liver", (0.25, 0.5, 1), "a~b^c")
    second = host.segmenter.add_segment("spleen")
    for segment_id, index in ((first, 5), (second, 3)):
        host.segmenter.active_segment = segment_id
        host.segmenter.add_prompt(host.box(index))
    host.settle()
    segmentation.GetSegment(first).SetTag("Patient", "7")
    host.segmenter.set_segment_visible(first, False)
    host.segmenter.set_segment_opacity(first, 0.25)
    display.SetSegmentVisibility2DFill(first, False)
    row = next(row for row in host.segmenter.segments if row.id == first)
    host.segmenter.remove_segment(first)
    host.segmenter.undo()
    host.settle()
    assert host.segmenter.segments[0] == row
    segment, tag = segmentation.GetSegment(first), vtk.reference("")
    assert segment.GetTerminology() == "a~b^c"
    assert segment.GetTag("Patient", tag)
    assert str(tag) == "7"
    assert not display.GetSegmentVisibility2DFill(first)
    assert display.GetSegmentVisibility2DFill(second)
    assert np.array_equal(host.voxels(first), host.only(5))
    assert np.array_equal(host.voxels(second), host.only(3))
    host.segmenter.redo()
    assert [row.id for row in host.segmenter.segments] == [second]
    assert np.array_equal(host.voxels(second), host.only(3))


def test_a_name_of_the_list_brings_its_codes_and_undo_takes_them_back(host: Host, scene: Any, tmp_path: Path) -> None:
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    logic.SetModuleShareDirectory(str(resources_path() / "terminologies"))
    logic.SetMRMLScene(scene)
    liver = anatomy_terms(logic)["Liver"]
    assert "SCT^10200004^Liver" in liver
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    segment_id = host.segmenter.active_segment
    segment = host.segmentation_node.GetSegmentation().GetSegment(segment_id)
    before = segment.GetTerminology()
    host.segmenter.rename_segment(segment_id, "Liver", liver)
    assert segment.GetTerminology() == liver
    export(host.segmenter, tmp_path / "liver.seg.nrrd")
    assert f"Tags:=TerminologyEntry:{liver}|".encode() in (tmp_path / "liver.seg.nrrd").read_bytes()
    import_file(host.segmenter, tmp_path / "liver.seg.nrrd")
    host.segmenter.undo()
    host.segmenter.redo()
    imported = host.segmentation_node.GetSegmentation().GetSegment(host.segmenter.active_segment)
    assert imported is not segment
    assert imported.GetTerminology() == liver
    host.segmenter.undo()
    assert host.segmenter.undo_text == "Rename Segment 1"
    host.segmenter.undo()
    assert (segment.GetName(), segment.GetTerminology()) == ("Segment 1", before)
    host.segmenter.redo()
    assert (segment.GetName(), segment.GetTerminology()) == ("Liver", liver)


def test_a_segment_removed_elsewhere_takes_its_prompts_along(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    host.segmentation_node.GetSegmentation().RemoveSegment(host.segmenter.active_segment)
    host.settle()
    assert host.segmenter.segments == []
    assert host.segmenter.active_segment is None
    assert host.segmenter.prompts() == ()
    assert host.segmenter.undo_text == ""


def test_surfaces_are_made_when_asked_for_and_never_show_what_was(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    segment = host.segmentation_node.GetSegmentation().GetSegment(host.segmenter.active_segment)
    assert segment.GetRepresentation("Closed surface") is None
    host.segmenter.set_surface_shown(True)
    first = segment.GetRepresentation("Closed surface").GetBounds()
    host.segmenter.propagate()
    host.settle()
    assert segment.GetRepresentation("Closed surface") is None
    host.segmenter.update_surfaces()
    assert segment.GetRepresentation("Closed surface").GetBounds()[5] > first[5]
    assert host.segmenter.undo_text == "Propagate Segment 1"
    host.segmenter.set_surface_shown(False)
    host.segmenter.undo()
    host.segmenter.update_surfaces()
    assert segment.GetRepresentation("Closed surface") is None


def test_segments_that_another_editor_adds_go_and_come_with_its_step(host: Host) -> None:
    """As when islands are split: some voxels go to a new segment."""
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    first = host.segmenter.active_segment
    part = host.only(5)
    part[:, :, : part.shape[2] // 2] = False
    host.segmenter.edit_verb = "Split"
    painter = SegmentWriter(host.segmentation_node, host.volume_node)
    painter.write(first, Crop.empty(), region=Crop.from_full(part))
    second = painter.add_segment("island", (0.1, 0.2, 0.3))
    painter.write(second, Crop.from_full(part), region=Crop.empty())
    painter.close()
    host.settle()
    host.segmenter.active_segment = second
    for _ in range(2):
        assert host.segmenter.undo_text == "Split Segment 1"
        host.segmenter.undo()
        assert [row.id for row in host.segmenter.segments] == [first]
        assert host.segmenter.active_segment == first
        assert np.array_equal(host.voxels(first), host.only(5))
        host.segmenter.redo()
        assert [(row.id, row.name, row.color) for row in host.segmenter.segments][1:] == [
            (second, "island", (0.1, 0.2, 0.3))
        ]
        assert np.array_equal(host.voxels(first), host.only(5) & ~part)
        assert np.array_equal(host.voxels(second), part)

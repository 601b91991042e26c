"""Prompts, settings, markups and segments through .mrb files, between fresh scenes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import vtk

from AutoPromptSAMLib.errors import PromptError, StorageError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.mrml.markups import nodes_from_prompts
from AutoPromptSAMLib.mrml.persistence import (
    SceneState,
    open_scene,
    restore_state,
    restore_states,
    save_scene,
    store_state,
)
from AutoPromptSAMLib.mrml.remembered import KeptRun, Remembered
from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation
from AutoPromptSAMLib.mrml.volumes import geometry_from_node, volume_from_node
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point, PromptSet, Source
from AutoPromptSAMLib.prompts.file import PromptFile

from .segmenting import prompts_of

SETTINGS = {"model": "lite-medsam", "window": [40, 400.5], "square": True, "note": 'é <&> "x"\n\tß ]]>', "none": None}


def painted_state(writer: SegmentWriter) -> SceneState:
    """Two segments and all kinds of prompts, the mask large enough to make a long text."""
    geometry = geometry_from_node(writer.volume_node)
    rng = np.random.default_rng(5)
    objects = {}
    for name, k in (("liver", 2), ("Milz ß", 4)):
        segment_id = writer.add_segment(name)
        crop = Crop(rng.random((2, 15, 20)) < 0.5, (k, 2, 3))
        writer.write(segment_id, crop)
        objects[segment_id] = PromptSet(
            [
                Point(rng.uniform(-100, 100, 3), False, source=Source("prompter", "ß")),
                Box(rng.uniform(-100, 100, 3), np.eye(3), [4, 5, 0]),
                Doodle(rng.uniform(-100, 100, (5, 3)), width_mm=1.5),
                MaskPrompt(crop, geometry),
            ]
        )
    model = {"name": "lite-medsam", "sha256": "ab" * 32}
    runs = {}
    for segment_id in objects:
        mask = writer.read(segment_id)
        first = mask.lower[0]
        runs[segment_id] = KeptRun.of(Propagation(0, {first: 0.9, first + 1: 0.25}, [2], False, True), mask)
    remembered = Remembered(PromptFile(objects, model, geometry), None, runs)
    return SceneState(remembered, SETTINGS, writer.volume_node, writer.segmentation_node)


def same_prompts(one: PromptFile, other: PromptFile) -> bool:
    return one.to_json() == other.to_json()


def test_state_in_the_same_scene_is_replaced_not_doubled(scene: Any, writer: SegmentWriter) -> None:
    state = painted_state(writer)
    node = store_state(scene, state)
    state.settings = {"model": "mobile-sam"}
    assert store_state(scene, state) is node
    (back,) = restore_states(scene)
    assert same_prompts(back.remembered.prompts, state.remembered.prompts)
    assert back.remembered.runs == state.remembered.runs
    assert back.settings == {"model": "mobile-sam"}
    assert back.volume_node is writer.volume_node
    other = create_segmentation(writer.volume_node, "second reader")
    store_state(scene, SceneState(Remembered(), {}, writer.volume_node, other))
    assert [s.segmentation_node for s in restore_states(scene)] == [writer.segmentation_node, other]


def set_voxels(crop: Crop, geometry: VolumeGeometry) -> np.ndarray:
    """World positions of a crop's voxels, sorted."""
    ras = geometry.ras_from_ijk((np.argwhere(crop.mask) + crop.lower)[:, ::-1]).round(4)
    return ras[np.lexsort(ras.T)]


@pytest.mark.parametrize("left_handed", [True, False])
def test_everything_comes_back_from_a_file(
    scene: Any,
    volume_node: Any,
    put_under: Callable[..., Any],
    labels_at: Callable[..., list[str]],
    tmp_path: Path,
    left_handed: bool,
) -> None:
    if not left_handed:
        matrix = vtk.vtkMatrix4x4()
        volume_node.GetIJKToRASMatrix(matrix)
        for row in range(3):
            matrix.SetElement(row, 2, -matrix.GetElement(row, 2))
        volume_node.SetIJKToRASMatrix(matrix)
    writer = SegmentWriter(create_segmentation(volume_node), volume_node)
    volume_from_node(volume_node).array[:] = np.random.default_rng(3).permutation(8 * 20 * 24).reshape(8, 20, 24)
    state = painted_state(writer)
    parent = np.eye(4)
    parent[:3, :3] = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    parent[:3, 3] = [10.5, 0, -3]
    put_under(writer.volume_node, parent)
    writer.segmentation_node.SetAndObserveTransformNodeID(writer.volume_node.GetTransformNodeID())
    markups = nodes_from_prompts(scene, next(iter(state.remembered.prompts.objects.values())), "prompt é")
    shown = prompts_of(markups)
    store_state(scene, state)
    geometry, voxels = geometry_from_node(writer.volume_node), volume_from_node(writer.volume_node).array
    masks = {segment_id: writer.read(segment_id) for segment_id in state.remembered.prompts.objects}
    path = tmp_path / "Fall ß 1.mrb"
    save_scene(scene, path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]

    with create_scene() as fresh:
        open_scene(fresh.scene, path)
        (back,) = restore_states(fresh.scene)
        assert same_prompts(back.remembered.prompts, state.remembered.prompts)
        assert back.settings == SETTINGS
        assert back.remembered.prompts.model == state.remembered.prompts.model
        assert back.volume_node.GetScene() is fresh.scene
        assert back.segmentation_node.GetScene() is fresh.scene
        # Slicer turns left-handed volumes right-handed when it loads them: the same voxels at the same places.
        moved = geometry_from_node(back.volume_node)
        assert moved.close_to(geometry, 1e-6) is not left_handed
        there = moved.ijk_from_ras(geometry.ras_from_ijk(np.argwhere(voxels >= 0)[:, ::-1]))
        i, j, k = np.rint(there).astype(int).T
        assert np.abs(there - np.rint(there)).max() < 1e-6
        assert np.array_equal(volume_from_node(back.volume_node).array[k, j, i], voxels.ravel())
        reader = SegmentWriter(back.segmentation_node, back.volume_node)
        assert reader.segmentation_node.GetSegmentation().GetNthSegment(1).GetName() == "Milz ß"
        for segment_id, crop in masks.items():
            again = reader.read(segment_id)
            assert np.array_equal(set_voxels(again, moved), set_voxels(crop, geometry))
        nodes = [fresh.scene.GetFirstNodeByName(node.GetName()) for node in markups]
        for old, new in zip(shown, prompts_of(nodes), strict=True):
            assert (type(new), new.id, new.source) == (type(old), old.id, old.source)
            name = "center_ras" if isinstance(old, Box) else "ras"
            assert np.allclose(getattr(new, name), getattr(old, name), rtol=0, atol=1e-6)
        # The file is a scene to go on with: write, erase, store again.
        segment_id = next(iter(masks))
        corner = Crop(np.array([[[True, True, False], [True, False, False]]]), (0, 0, 0))
        reader.write(segment_id, corner, region=Crop.empty())
        assert reader.read(segment_id).count == masks[segment_id].count + 3
        for at in set_voxels(corner, moved):
            assert labels_at(reader.segmentation_node, at) == ["liver"]
        reader.write(segment_id, Crop.empty(), region=Crop(np.ones_like(corner.mask)))
        assert reader.read(segment_id).count == masks[segment_id].count
        store_state(fresh.scene, back)
        assert len(restore_states(fresh.scene)) == 1


def test_opening_into_a_scene_that_has_a_state_already(scene: Any, writer: SegmentWriter, tmp_path: Path) -> None:
    state = painted_state(writer)
    store_state(scene, state)
    save_scene(scene, tmp_path / "case.mrb")
    open_scene(scene, tmp_path / "case.mrb", clear=False)
    one, other = restore_states(scene)
    assert one.segmentation_node is writer.segmentation_node
    assert other.segmentation_node is not writer.segmentation_node
    assert other.volume_node is not writer.volume_node
    assert same_prompts(one.remembered.prompts, other.remembered.prompts)
    open_scene(scene, tmp_path / "case.mrb")
    assert len(restore_states(scene)) == 1


def test_closing_the_scene_forgets_the_state(scene: Any, writer: SegmentWriter) -> None:
    store_state(scene, painted_state(writer))
    scene.Clear(False)
    assert restore_states(scene) == []


def test_removed_nodes_are_none(scene: Any, writer: SegmentWriter) -> None:
    store_state(scene, painted_state(writer))
    scene.RemoveNode(writer.volume_node)
    (back,) = restore_states(scene)
    assert back.volume_node is None
    assert back.segmentation_node is writer.segmentation_node


def test_text_stays_in_the_scene_file(scene: Any, writer: SegmentWriter) -> None:
    node = store_state(scene, painted_state(writer))
    assert len(node.GetText()) > 1000
    node.AddDefaultStorageNode()
    assert node.GetStorageNode() is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-5],
        lambda text: text.replace("autopromptsam-scene/1", "autopromptsam-scene/9"),
        lambda text: text.replace('"settings": {', '"other": {'),
        lambda text: json.dumps(json.loads(text) | {"settings": []}),
        lambda text: text.replace('"positive": false', '"positive": 3'),
        lambda text: "[]",
    ],
)
def test_damaged_text_is_one_sentence(scene: Any, writer: SegmentWriter, damage: Callable[[str], str]) -> None:
    node = store_state(scene, painted_state(writer))
    damaged = damage(node.GetText())
    assert damaged != node.GetText()
    node.SetText(damaged)
    with pytest.raises(PromptError, match=r'"AutoPromptSAM prompts" cannot be read \(.*\); image and segments .*\.$'):
        restore_state(scene, writer.segmentation_node)
    (state,) = restore_states(scene)
    assert state.damage is not None
    assert state.segmentation_node is writer.segmentation_node
    assert not state.remembered.prompts.objects


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda text: text.replace("0.25", "1.25", 1), 1),
        (lambda text: text.replace("0.25", "NaN"), 0),
        (lambda text: text.replace('"seeds": [2]', '"seeds": "2"'), 0),
        (lambda text: text.replace('"complete": false, ', "", 1), 1),
        (lambda text: text.replace('"AutoPromptSAM.runs": {', '"AutoPromptSAM.runs": null, "others": {'), 0),
    ],
)
def test_damaged_runs_cost_nothing_but_themselves(
    scene: Any, writer: SegmentWriter, damage: Callable[[str], str], left: int
) -> None:
    state = painted_state(writer)
    node = store_state(scene, state)
    damaged = damage(node.GetText())
    assert damaged != node.GetText()
    node.SetText(damaged)
    found = restore_state(scene, writer.segmentation_node)
    assert found is not None
    assert same_prompts(found.remembered.prompts, state.remembered.prompts)
    assert len(found.remembered.runs) == left


def test_other_text_nodes_are_left_alone(scene: Any) -> None:
    scene.AddNewNodeByClass("vtkMRMLTextNode", "notes").SetText("{")
    assert restore_states(scene) == []


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"zip"])
def test_files_that_are_no_scene_leave_the_scene_as_it_was(
    scene: Any, volume_node: Any, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "case.mrb"
    if content == b"zip":
        with ZipFile(path, "w") as archive:
            archive.writestr("notes.txt", "hello")
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"could not be opened as a scene; check that it is there and is a \.mrb"):
        open_scene(scene, path)
    assert volume_node.GetScene() is scene


def test_places_that_cannot_be_written_leave_the_old_file(scene: Any, volume_node: Any, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be written"):
        save_scene(scene, tmp_path / "nowhere" / "case.mrb")
    with pytest.raises(StorageError, match=r"ends in \.mrb"):
        save_scene(scene, tmp_path / "case.nrrd")
    (tmp_path / "case.mrb").mkdir()
    with pytest.raises(StorageError, match=r"case\.mrb could not be written"):
        save_scene(scene, tmp_path / "case.mrb")
    assert [p.name for p in tmp_path.iterdir()] == ["case.mrb"]


def test_saving_is_quiet(scene: Any, volume_node: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_scene(scene, tmp_path / "quiet.mrb")
    assert "".join(capfd.readouterr()) == ""

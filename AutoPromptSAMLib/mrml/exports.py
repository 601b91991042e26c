"""A person's work as files, and files as prompts and segments."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from undo_stack import UndoCommand

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, StorageError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.geometry.lattice import crop_on
from AutoPromptSAMLib.images import load_segmentation, save_segmentation
from AutoPromptSAMLib.images.reader import check_readable
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Message
from AutoPromptSAMLib.mrml.persistence import SceneState, save_scene, store_state
from AutoPromptSAMLib.names import different
from AutoPromptSAMLib.prompts.file import load_prompts, save_prompts

SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".mrb", ".json")


def export(
    segmenter: InteractiveSegmenter, path: str | os.PathLike[str], settings: dict[str, Any] | None = None
) -> None:
    """Write the work to a file, whole or not at all: what it holds says its name.

    - .seg.nrrd: the segments, as Slicer writes them; .nii.gz, .nii: a label map, values in the list's order from 1.
    - .mrb: the whole scene, with the prompts and ``settings`` (anything that JSON can hold).
    - .json: the prompts, to be replayed.

    Raises AutoPromptSAMError: segments that overlap do not fit into a label map, there is nothing to write, the disk
    is full, the name ends otherwise.
    """
    prepare_export(segmenter, path, settings)()


def prepare_export(
    segmenter: InteractiveSegmenter, path: str | os.PathLike[str], settings: dict[str, Any] | None = None
) -> Callable[[], None]:
    """The first half of ``export``, on the host's main thread; the function that is returned does the rest on any.

    Of a scene (.mrb) all is done in the first half: nobody may change it meanwhile.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".mrb"):
        _export_scene(segmenter, path, settings or {})
        return lambda: None
    if name.endswith(".json"):
        prompts = segmenter.export_prompts()
        if not prompts.objects:
            raise AutoPromptSAMError("There are no prompts to export; give a segment a box or a click first.")
        return lambda: save_prompts(path, prompts.objects, prompts.model, prompts.geometry)
    if not name.endswith(SUFFIXES):
        raise StorageError(f"{path.name} has no known file type; export as .seg.nrrd, .nii.gz, .mrb or .json.")
    rows = segmenter.segments
    if not rows:
        raise AutoPromptSAMError("There are no segments to export; make one first.")
    names = different(row.name or "Segment" for row in rows)  # files are read by them
    crops = {name: segmenter.writer.read(row.id) for name, row in zip(names, rows, strict=True)}
    colors = {name: row.color for name, row in zip(names, rows, strict=True)}
    segmentation = segmenter.segmentation_node.GetSegmentation()
    terms = {name: segmentation.GetSegment(row.id).GetTerminology() for name, row in zip(names, rows, strict=True)}
    return lambda: save_segmentation(path, crops, segmenter.volume.geometry, colors, terms)


def import_file(segmenter: InteractiveSegmenter, path: str | os.PathLike[str]) -> None:
    """Take prompts (.json) over and find their slices again, or add the segments of a .seg.nrrd or a label map.

    Segments must lie on the image's voxels; a file that is cropped to its segments, or turned, is fine. Raises
    AutoPromptSAMError: the file is damaged or none of these, or belongs to another image.
    """
    path = Path(path)
    check_readable(path)
    if path.name.lower().endswith(".json"):
        segmenter.import_prompts(load_prompts(path))
        return
    masks, geometry = load_segmentation(path)
    placed = {name: _placed(masks.crop(name), geometry, segmenter.volume.geometry, path) for name in masks}
    if not placed:
        raise AutoPromptSAMError(f"{path.name} has no segments; choose a file with at least one.")
    with segmenter.undo_stack.group_undo_commands(f"Import {path.name}"):
        for name, crop in placed.items():
            segment_id = segmenter.add_segment(name, masks.colors.get(name), masks.terms.get(name, ""))
            segmenter.undo_stack.push(_Fill(segmenter, {segment_id: crop}))
    segmenter.said(Message(f"{len(placed)} segments of {path.name} were added."))


class _Fill(UndoCommand):
    """Fills segments that were just added; what a person imports counts as painted: no run may change it."""

    def __init__(self, segmenter: InteractiveSegmenter, crops: dict[str, Crop]) -> None:
        super().__init__()
        self.segmenter, self.crops = segmenter, crops
        self.redo()

    def redo(self) -> None:
        self.segmenter.kept.flip(self.crops, by_hand=True)
        self.segmenter.changed("segments")

    undo = redo  # flipped twice, voxels are as they were


def _export_scene(segmenter: InteractiveSegmenter, path: Path, settings: dict[str, Any]) -> None:
    scene = segmenter.volume_node.GetScene()
    remembered, there = segmenter.remembered(), {row.id for row in segmenter.segments}
    prompts = remembered.prompts
    prompts.objects = {id: given for id, given in prompts.objects.items() if id in there}
    nodes = segmenter.volume_node, segmenter.segmentation_node
    store_state(scene, SceneState(remembered, settings, *nodes))
    save_scene(scene, path)


def _placed(crop: Crop, geometry: VolumeGeometry, wanted: VolumeGeometry, path: Path) -> Crop:
    """A crop of one grid as one of another on the same voxels; GeometryError when they are not."""
    placed = crop_on(crop, geometry, wanted)
    if placed is not None:
        return placed
    raise GeometryError(
        f"{path.name} has another geometry ({geometry}) than the image ({wanted}); resample it to the image."
    )

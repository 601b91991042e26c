"""``autopromptsam review``: where a segmentation is worth a look, and prompts that mend themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table

from AutoPromptSAMLib.console import check_output, console, local_session, step_bar
from AutoPromptSAMLib.errors import GeometryError, PromptError, StorageError

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
    from AutoPromptSAMLib.images.segmentation_file import SegmentMasks
    from AutoPromptSAMLib.loops.job import Job, Progress
    from AutoPromptSAMLib.session import Review

VIEWS = {"axial": "S", "sagittal": "R", "coronal": "A"}  # and the coordinate that says where a slice is
INTERRUPTED = 130

T = TypeVar("T")


def review(
    image: Annotated[Path, typer.Argument(help="NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, or a DICOM folder.")],
    segmentation: Annotated[Path, typer.Argument(help="What is to be reviewed: .seg.nrrd, or a label map.")],
    name: Annotated[str | None, typer.Option("--object", help="Which segment; needed when there are several.")] = None,
    view: Annotated[str, typer.Option("--axis", help="Slices to go through: axial, sagittal or coronal.")] = "axial",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the uncertainty, 255 is 1 bit: .nii.gz or .nrrd.")
    ] = None,
    refined: Annotated[
        Path | None,
        typer.Option(
            "--refine",
            help="Correct boxes automatically and write all segments: .seg.nrrd, or .nii.gz, in "
            "which no other segment loses a voxel.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--show", help="How many of the least sure slices to list.", min=1)] = 10,
    window: Annotated[str | None, typer.Option(help="LEVEL,WIDTH or the name of a preset.")] = None,
    model: Annotated[str, typer.Option(help="Model to ask; see `autopromptsam models list`.")] = "lite-medsam",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Ask the model how sure it is of a segmentation: which slices to look at first.

    Ctrl-C ends it with the slices that are done.
    """
    from AutoPromptSAMLib.command_prompts import mapping_from_text
    from AutoPromptSAMLib.images import load_segmentation, load_volume, save_segmentation
    from AutoPromptSAMLib.images.segmentation_file import check_disjoint
    from AutoPromptSAMLib.images.writer import SUFFIXES, write_voxels
    from AutoPromptSAMLib.session.review import exchanged

    if view not in VIEWS:
        raise PromptError(f'--axis "{view}" is no view; use axial, sagittal or coronal.')
    for path in (output, refined):
        if path is not None:
            if not path.name.lower().endswith(SUFFIXES):
                raise StorageError(f"{path} has no known file type; use a name that ends in {' or '.join(SUFFIXES)}.")
            check_output(path)
    mapping = mapping_from_text(window)
    volume = load_volume(image)
    geometry = volume.geometry
    masks, own = load_segmentation(segmentation)
    segments = _placed(masks, own, geometry, segmentation)
    name = _chosen(segments, name, segmentation)
    is_label_map = refined is not None and refined.name.lower().endswith((".nii", ".nii.gz"))
    if is_label_map:
        check_disjoint(segments, geometry)
    axis = geometry.array_axis(view)
    with local_session(model, device) as session:
        session.set_image(volume, mapping)
        mask = segments[name]
        found, complete = _run("Reviewing", lambda report: session.review(name, mask, axis, on_progress=report))
        if output is not None:
            write_voxels(output, found.volume(geometry).to_full(geometry.shape), geometry)
        about: dict[str, Any] = {"object": name, "axis": view, "complete": found.complete}
        about["slices"] = [_about(found, index, geometry) for index in found.ranked]
        if not as_json:
            _print(about, rows)
        if refined is not None and complete:
            mended, complete = _run("Refining", lambda report: session.refine(name, mask, axis, on_progress=report))
            better = {index: each.best.mask for index, each in mended.slices.items() if each.improved}
            new = exchanged(mask, axis, better)
            if is_label_map:
                new = _without(new, [crop for other, crop in segments.items() if other != name])
            save_segmentation(refined, segments | {name: new}, geometry, masks.colors, masks.terms, masks.label_values)
            about["refined"] = sorted(better)
            console.print(f"{len(better)} slices mended their prompts; all others are as they were.")
    if as_json:
        typer.echo(json.dumps(about, indent=1))
    if not complete:
        raise typer.Exit(INTERRUPTED)


def _placed(masks: SegmentMasks, own: VolumeGeometry, geometry: VolumeGeometry, path: Path) -> dict[str, Crop]:
    """The segments of a file, by name, on the grid of the image."""
    from AutoPromptSAMLib.geometry.lattice import crop_on

    segments = {}
    for name in masks:
        crop = crop_on(masks.crop(name), own, geometry)
        if crop is None:
            raise GeometryError(f"{path} is on {own}, the image on {geometry}; give the image it was made on.")
        segments[name] = crop
    return segments


def _without(crop: Crop, others: Sequence[Crop]) -> Crop:
    """What of a crop is in none of the others."""
    from AutoPromptSAMLib.geometry import Crop

    mask = crop.mask.copy()
    for other in others:
        mask &= ~other.block(crop.lower, crop.upper)
    return Crop(mask, crop.lower)


def _chosen(segments: dict[str, Crop], name: str | None, path: Path) -> str:
    known = ", ".join(segments)
    if name is None:
        if len(segments) != 1:
            raise PromptError(f"{path} has {len(segments)} segments; name one with --object ({known or 'none'}).")
        return next(iter(segments))
    if name not in segments:
        raise PromptError(f'{path} has no segment "{name}"; it has {known or "none"}.')
    return name


def _run(text: str, start: Callable[[Callable[[Progress], None]], Job[T]]) -> tuple[T, bool]:
    """A job's result with a progress bar; after Ctrl-C what it has so far, and False. Cancelled when that is none."""
    with step_bar(text) as report:
        job = start(lambda p: report(p.done, p.total, p.text))
        try:
            return job.result(), True
        except KeyboardInterrupt:
            job.cancel()
            return job.result(), False


def _about(found: Review, index: int, geometry: VolumeGeometry) -> dict[str, Any]:
    """A slice in numbers."""
    import numpy as np

    each = found.slices[index]
    middle = (np.array(geometry.shape) - 1) / 2
    middle[found.axis] = index
    view = next(view for view in VIEWS if geometry.array_axis(view) == found.axis)
    at = geometry.ras_from_ijk([middle[::-1]])[0]["RAS".index(VIEWS[view])]
    return {
        "slice": index,
        "mm": round(float(at), 2),
        "expected_dice": round(each.expected_dice, 4),
        "expected_wrong_voxels": round(each.expected_error, 1),
        "is_empty": each.is_empty,
    }


def _print(about: dict[str, Any], rows: int) -> None:
    shown = about["slices"][:rows]
    title = f"{about['object']}: the {len(shown)} least sure of {len(about['slices'])} {about['axis']} slices"
    table = Table("slice", f"{VIEWS[about['axis']]} (mm)", "expected Dice", "expected wrong voxels", "", title=title)
    for each in shown:
        remark = "past the end: does it go on here?" if each["is_empty"] else ""
        numbers = f"{each['mm']:.1f}", f"{each['expected_dice']:.2f}", f"{each['expected_wrong_voxels']:.0f}"
        table.add_row(str(each["slice"]), *numbers, remark)
    console.print(table)

"""What the command line does with supports: ``segment --support``, and ``autopromptsam supports``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperCommand

from AutoPromptSAMLib.console import console, millilitres, step_bar
from AutoPromptSAMLib.errors import PromptError

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import Crop
    from AutoPromptSAMLib.intensity import IntensityMapping
    from AutoPromptSAMLib.session.local import LocalSession
    from AutoPromptSAMLib.supports import SupportObject, SupportPair, SupportSet

DOUBTFUL = 0.5  # confidence below which a slice is named to be looked at; a choice
MOST_NAMED = 8  # slices in a line of a table

supports = typer.Typer(no_args_is_help=True, help="Keep annotated images of other patients, to prompt new ones.")
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


class PairsCommand(TyperCommand):
    """A command whose option ``--support`` takes two values and can be repeated, which typer itself cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the second value as that of a hidden option."""
        args = [part for word in args for part in (word.split("=", 1) if word.startswith("--support=") else [word])]
        apart: list[str] = []
        for number, word in enumerate(args):
            is_mask = number > 1 and args[number - 2] == "--support" and not word.startswith("-")
            apart += ["--support-mask", word] if is_mask else [word]
        return super().parse_args(ctx, apart)


def chosen_supports(
    images: Sequence[Path],
    masks: Sequence[Path],
    name: str | None,
    task: Path | None,
    objects: Sequence[str] | None,
    model: str,
    view: str | None = None,
    mapping: IntensityMapping | None = None,
) -> SupportSet | None:
    """The supports that a command was given: files, or a set of the library; None when it was given neither.

    ``task`` must have been learned with ``model``. Files are seen from ``view`` and through ``mapping``.
    """
    from AutoPromptSAMLib.supports import SupportLibrary, SupportSet, pairs_from_files
    from AutoPromptSAMLib.supports.storage import task_model

    if len(images) != len(masks):
        raise PromptError("--support takes two files, an image and its mask, as in --support a.png a-mask.png.")
    if images and name is not None:
        raise PromptError("Both --support and --supports were given; give one of them.")
    if task is not None and task_model(task) != model:
        raise PromptError(
            f"{task} was learned with {task_model(task)} and cannot prompt {model}; give --model {task_model(task)}."
        )
    tasks = {} if task is None else {model: task}
    if name is not None:
        found = SupportLibrary().find(name)
        return replace(found, tasks={**found.tasks, **tasks})
    if not images:
        if task is not None:
            raise PromptError("A --task needs supports, too; give --support IMAGE MASK or --supports NAME.")
        return None
    known: dict[str, SupportObject] = {}
    pairs: list[SupportPair] = []
    for number, (image, mask) in enumerate(zip(images, masks, strict=True), 1):
        own, found_pairs = pairs_from_files(image, mask, objects, view=view, mapping=mapping, name=f"support {number}")
        known |= {each.name: each for each in own if each.name not in known}
        pairs += found_pairs
    return SupportSet("", "supports", tuple(known.values()), tuple(pairs), tasks)


def run_automatic(
    session: LocalSession, objects: Sequence[str] | None, axis: int | None, slices: tuple[int, int] | None
) -> tuple[dict[str, Crop], list[dict[str, Any]]]:
    """Prompt the session's image by its supports, with a progress bar and Ctrl-C; masks and summaries by object."""
    import numpy as np

    started = time.perf_counter()
    first, last = slices if slices is not None else (0, None)
    with step_bar("Prompting") as report:
        job = session.prompt_automatically(
            objects, axis, first, last, on_progress=lambda p: report(p.done, p.total, p.text)
        )
        try:
            result = job.result()
        except KeyboardInterrupt:
            job.cancel()
            job.result()
            raise
    seconds = round(time.perf_counter() - started, 2)
    summary = []
    for name, mask in result.masks.items():
        sure = result.confidence[name]
        summary.append(
            {
                "name": name,
                "voxels": mask.count,
                "ml": millilitres(mask.count, session.volume),
                "slices": len(sure),
                "seconds": seconds,
                "confidence": round(float(np.mean(list(sure.values()))), 3) if sure else 0.0,
                "confidence_by_slice": {str(n): round(value, 3) for n, value in sure.items()},
            }
        )
    return dict(result.masks), summary


def doubtful_slices(about: dict[str, Any]) -> str:
    """The slices of a summary that are worth a look, in words."""
    low = [int(n) for n, value in about.get("confidence_by_slice", {}).items() if value < DOUBTFUL]
    named = ", ".join(map(str, low[:MOST_NAMED]))
    return f"{named}, ... ({len(low)})" if len(low) > MOST_NAMED else named


def names_from_text(text: str | None) -> list[str] | None:
    """The names of "a,b"; None for None."""
    if text is None:
        return None
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise PromptError("--objects names no object; write them with commas, as in disc,cup.")
    return names


@supports.command("list")
def list_sets(as_json: AsJson = False) -> None:
    """All sets with their objects, images and whether they have learned."""
    from AutoPromptSAMLib.supports import SupportLibrary

    sets, problems = SupportLibrary().listing()
    if as_json:
        about = [
            {
                "id": each.id,
                "name": each.name,
                "objects": each.names,
                "tasks": {model: str(path) for model, path in each.tasks.items()},
                "pairs": [
                    {"id": pair.id, "name": pair.name, "objects": pair.objects, "source": pair.source}
                    for pair in each.pairs
                ],
            }
            for each in sets
        ]
        typer.echo(json.dumps({"sets": about, "problems": problems}, indent=1))
        return
    table = Table("set", "id", "objects", "images", "learned with", title="Supports")
    for each in sets:
        table.add_row(each.name, each.id, ", ".join(each.names), str(len(each.pairs)), ", ".join(each.tasks))
    Console(markup=False, emoji=False).print(table)
    for problem in problems:
        console.print(problem, style="yellow", highlight=False, soft_wrap=True)


@supports.command()
def add(
    name: Annotated[str, typer.Argument(help="The set; it is made when there is none of this name.")],
    image: Annotated[Path, typer.Argument(help="NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, or a DICOM folder.")],
    mask: Annotated[Path, typer.Argument(help="A label image, or a segmentation (.seg.nrrd, .nii.gz).")],
    objects: Annotated[str | None, typer.Option(help="Names of the labels, or which to take: disc,cup.")] = None,
    limit: Annotated[int, typer.Option(help="Slices to take of a volume.", min=1)] = 24,
    view: Annotated[str | None, typer.Option(help="Slices to take: axial, sagittal or coronal.")] = None,
    window: Annotated[str | None, typer.Option(help='LEVEL,WIDTH or a CT preset such as "lung".')] = None,
    source: Annotated[str, typer.Option(help="A remark to keep; names of files are not kept.")] = "",
    task: Annotated[Path | None, typer.Option(help="A network that has learned the objects.")] = None,
) -> None:
    """Add an annotated image to a set; of a volume, the slices that show its objects best."""
    from AutoPromptSAMLib.command_prompts import mapping_from_text
    from AutoPromptSAMLib.supports import SupportError, SupportLibrary, pairs_from_files
    from AutoPromptSAMLib.supports.pairs import checked_text
    from AutoPromptSAMLib.supports.storage import task_model

    if view is not None and view not in ("axial", "sagittal", "coronal"):
        raise PromptError(f'--view "{view}" is no view; use axial, sagittal or coronal.')
    if task is not None:
        task_model(task)
    mapping = mapping_from_text(window)
    name = checked_text(name, "The name of a set of supports")
    library = SupportLibrary()
    found, pairs = pairs_from_files(
        image, mask, names_from_text(objects), limit, view=view, mapping=mapping, source=source
    )
    known = [each for each in library.sets() if name in (each.name, each.id)]
    if len(known) > 1:
        raise SupportError(f'There are {len(known)} sets called "{name}"; name one by its id.')
    content = known[0] if known else library.create(name)
    before = len(content.pairs)
    try:
        content = library.add_pairs(content.id, pairs, found)
        if task is not None:
            content = library.attach_task(content.id, task)
    except BaseException:
        if not known:
            library.remove(content.id)
        raise
    console.print(
        f'"{content.name}": {len(content.pairs) - before} of {len(pairs)} images are new, {len(content.pairs)} in '
        f"all, showing {', '.join(content.names)}.",
        highlight=False,
        soft_wrap=True,
    )
    typer.echo(content.id)


@supports.command()
def remove(
    name: Annotated[str, typer.Argument(help="The set, by name or id.")],
    pair: Annotated[str | None, typer.Option(help="Only this image of it, by name or id.")] = None,
    network: Annotated[str | None, typer.Option(help="Only what it has learned with this model.")] = None,
) -> None:
    """Delete a set, or one image of it, or what it has learned."""
    from AutoPromptSAMLib.supports import SupportError, SupportLibrary

    library = SupportLibrary()
    if pair is not None and network is not None:
        raise PromptError("Both --pair and --network were given; give one of them.")
    if network is not None:
        library.detach_task(library.find(name).id, network)
        return
    if pair is None:
        try:
            chosen = library.find(name).id
        except SupportError:
            if not (library.folder / name).is_dir():
                raise
            chosen = name  # damaged: its id is all that is known of it
        library.remove(chosen)
        return
    content = library.find(name)
    found = [each for each in content.pairs if pair in (each.name, each.id)]
    if not found:
        known = ", ".join(each.name for each in content.pairs)
        raise SupportError(f'"{content.name}" has no image "{pair}"; it has {known or "none"}.')
    library.remove_pair(content.id, found[0].id)


@supports.command("export")
def export_set(
    name: Annotated[str, typer.Argument(help="The set, by name or id.")],
    file: Annotated[Path, typer.Argument(help="Where to write; the name gets the ending .apsupports.")],
) -> None:
    """Write a set, with its network, into one file."""
    from AutoPromptSAMLib.supports import SupportLibrary

    library = SupportLibrary()
    typer.echo(str(library.export(library.find(name).id, file)))


@supports.command("import")
def import_set(file: Annotated[Path, typer.Argument(help="A file that `supports export` wrote.")]) -> None:
    """Take over a set from a file; everything in it is checked first."""
    from AutoPromptSAMLib.supports import SupportLibrary

    content = SupportLibrary().import_(file)
    console.print(f'"{content.name}" with {len(content.pairs)} images is here.', highlight=False, soft_wrap=True)
    typer.echo(content.id)

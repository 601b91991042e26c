"""The command ``autopromptsam``; the parts that it is made of are registered below.

Exit codes: 0 done, 1 an error that its one sentence explains, 2 wrong usage, 3 done but an object came out empty,
130 interrupted (what is finished is kept, the same command goes on from there).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from AutoPromptSAMLib import __version__, learning_commands, review_commands, serve_command
from AutoPromptSAMLib.console import check_output, console, download_bar, fetch_weights, local_session, run_object
from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled, ModelError, PromptError
from AutoPromptSAMLib.evaluation.bench_cli import bench
from AutoPromptSAMLib.support_commands import (
    PairsCommand,
    chosen_supports,
    doubtful_slices,
    names_from_text,
    run_automatic,
    supports,
)

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import Crop
    from AutoPromptSAMLib.prompts import Prompt
    from AutoPromptSAMLib.zoo import ModelCard

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
models = typer.Typer(no_args_is_help=True, help="List, fetch, remove and explain models.")
app.add_typer(models, name="models")
app.add_typer(bench, name="bench")
app.command()(learning_commands.learn)
app.command()(learning_commands.train)
app.command()(review_commands.review)
app.command("train-adapter")(learning_commands.train_adapter)
app.command()(serve_command.serve)
app.add_typer(supports, name="supports")
EMPTY, INTERRUPTED = 3, 130
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Model = Annotated[str, typer.Option(help="Model to use; see `autopromptsam models list`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Port = Annotated[
    int | None,
    typer.Option(help="Port of the page; 0 takes a free one; default 8080, or a free one.", min=0, max=65535),
]


def main() -> None:
    """Entry point: every error a user can cause ends as one sentence and an exit code."""
    try:
        app(standalone_mode=True)
    except (KeyboardInterrupt, Cancelled, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:  # with which typer answers Ctrl-C
            raise
        ended = isinstance(end, Cancelled) and not end.goes_on
        text = str(end) if ended else "Interrupted; run the same command again to go on from here."
        console.print(text, style="yellow", soft_wrap=True)
        sys.exit(INTERRUPTED)
    except AutoPromptSAMError as error:
        console.print(Text.assemble(("Error:", "red"), f" {error}"), soft_wrap=True)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    """Segment medical images with prompts, examples and review."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.command(cls=PairsCommand)
def segment(
    image: Annotated[Path, typer.Argument(help="NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, or a DICOM folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write: .seg.nrrd or .nii.gz.")],
    box: Annotated[list[str] | None, typer.Option(help="NAME=VIEW:SLICE:X0,Y0,X1,Y1 in voxels; repeatable.")] = None,
    point: Annotated[list[str] | None, typer.Option(help="NAME=VIEW:SLICE:X,Y or NAME=ras:R,A,S.")] = None,
    negative_point: Annotated[list[str] | None, typer.Option(help="A click on what is not the object.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="A prompts file (JSON), as --save-prompts writes it.")] = None,
    propagate: Annotated[bool, typer.Option("--propagate", help="Go on to all slices, in both directions.")] = False,
    view: Annotated[str | None, typer.Option(help="Slices to go through: axial, sagittal or coronal.")] = None,
    slices: Annotated[str | None, typer.Option(help="First and last slice to go to, as in 10-60.")] = None,
    support: Annotated[
        list[Path] | None,
        typer.Option(metavar="IMAGE MASK", help="An annotated image that prompts this one; repeatable."),
    ] = None,
    support_mask: Annotated[list[Path] | None, typer.Option(hidden=True)] = None,
    support_set: Annotated[str | None, typer.Option("--supports", help="A set of `autopromptsam supports`.")] = None,
    task: Annotated[Path | None, typer.Option(help="A network that has learned what the supports show.")] = None,
    objects: Annotated[str | None, typer.Option(help="Names of the supports' labels, or which to find: a,b.")] = None,
    window: Annotated[str | None, typer.Option(help='LEVEL,WIDTH or a CT preset such as "lung".')] = None,
    series: Annotated[str | None, typer.Option(help="UID of the DICOM series, when the folder has several.")] = None,
    model: Model = "lite-medsam",
    device: Device = "auto",
    save_prompts: Annotated[Path | None, typer.Option(help="Also write the prompts to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Segment an image from boxes, clicks, a prompts file or supports; the result has the geometry of the image."""
    from AutoPromptSAMLib.command_prompts import box_from_text, mapping_from_text, point_from_text
    from AutoPromptSAMLib.images import load_volume, save_segmentation
    from AutoPromptSAMLib.prompts.file import load_prompts
    from AutoPromptSAMLib.prompts.file import save_prompts as write_prompts

    if not output.name.lower().endswith((".nrrd", ".nii", ".nii.gz")):
        raise typer.BadParameter("the output must end in .seg.nrrd or .nii.gz", param_hint="--output")
    for path in (output, save_prompts):
        if path is not None:
            check_output(path)
    window_of, extent = mapping_from_text(window), _slice_range(slices)
    volume = load_volume(image, series)
    geometry = volume.geometry
    axis = None if view is None else geometry.array_axis(_view(view))
    given: list[tuple[str, Prompt]] = []
    given += [box_from_text(text, geometry) for text in box or []]
    given += [point_from_text(text, geometry, True) for text in point or []]
    given += [point_from_text(text, geometry, False) for text in negative_point or []]
    file = None if prompts is None else load_prompts(prompts)
    wanted = names_from_text(objects)
    shown = chosen_supports(support or [], support_mask or [], support_set, task, wanted, model, view, window_of)
    if not given and file is None and shown is None:
        raise PromptError("There are no prompts; give a --box, a --point, a --prompts file or a --support.")
    with local_session(model, device) as session:
        session.set_image(volume, window_of)
        if file is not None:
            for remark in session.replay(file):
                console.print(remark, style="yellow")
        for name, prompt in given:
            session.add_prompt(name, prompt)
        masks: dict[str, Crop] = {}
        summary: list[dict[str, Any]] = []
        if shown is not None:
            session.set_supports(shown)
            masks, summary = run_automatic(session, wanted, axis, extent)
        for name in [each for each in session.objects if each not in masks]:
            masks[name], about = run_object(session, name, propagate, axis, extent)
            summary.append(about)
        save_segmentation(output, masks, geometry)
        if save_prompts is not None:
            done = session.export_prompts()
            write_prompts(save_prompts, done.objects, done.model, done.geometry)
        used = f"{session.backbone.card.name} on {session.backbone.device}"
    if as_json:
        typer.echo(json.dumps({"output": str(output), "model": model, "device": used, "objects": summary}, indent=1))
    else:
        columns = ["ml"] * volume.has_size + ["voxels", "slices", "seconds"]
        if shown is not None:
            columns += ["confidence", "look at slices"]
            summary = [{**about, "look at slices": doubtful_slices(about)} for about in summary]
        table = Table("object", *columns, title=f"{output} ({used})")
        for about in summary:
            table.add_row(about["name"], *(str(about.get(key, "")) for key in columns))
        console.print(table)
    empty = [about["name"] for about in summary if not about["voxels"]]
    if empty:
        remedy = "draw tighter boxes or click inside" if shown is None else "give more or other supports, or a box"
        console.print(f"Nothing was found for {', '.join(empty)}; {remedy}.", style="yellow")
        raise typer.Exit(EMPTY)


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """All models with their size, licence and whether they are here."""
    from AutoPromptSAMLib.zoo import is_installed, load_cards

    cards = list(load_cards().values())
    if as_json:
        typer.echo(json.dumps([_card_summary(card) for card in cards], indent=1))
        return
    table = Table("model", "size", "licence", "prompts", "here", title="Models")
    for card in cards:
        about = _card_summary(card)
        table.add_row(
            card.name, f"{about['megabytes']} MB", card.licence.spdx, ", ".join(about["prompts"]),
            "yes" if is_installed(card) else "no",
        )  # fmt: skip
    Console().print(table)


@models.command()
def info(name: str, as_json: AsJson = False) -> None:
    """What a model was trained on, its licence, where its weights come from and their checksum."""
    from AutoPromptSAMLib.zoo import get_card

    card = get_card(name)
    about = _card_summary(card)
    if as_json:
        typer.echo(json.dumps(about, indent=1))
        return
    table = Table(show_header=False, title=card.title)
    for key, value in about.items():
        table.add_row(key.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
    Console().print(table)


@models.command()
def fetch(
    name: str,
    force: Annotated[bool, typer.Option(help="Fetch again even if the weights are here.")] = False,
    accept_unverified: Annotated[bool, typer.Option(help="Take weights whose card names no checksum.")] = False,
) -> None:
    """Download a model's weights, check them and keep them; an interrupted download is resumed."""
    from AutoPromptSAMLib.zoo import get_card

    card = get_card(name)
    terms = f" {card.licence.terms}" if card.licence.terms else ""
    size = "" if card.size_bytes is None else f"{card.size_bytes / 1e6:.0f} MB, "
    console.print(f"{card.title}: {size}licence {card.licence.spdx} ({card.licence.url}).{terms}", soft_wrap=True)
    path = fetch_weights(card, accept_unverified=accept_unverified, force=force)
    typer.echo(str(path))


@models.command()
def remove(name: str) -> None:
    """Delete a model's weights from this machine."""
    from AutoPromptSAMLib.zoo import get_card
    from AutoPromptSAMLib.zoo import remove as remove_weights

    freed = remove_weights(get_card(name))
    console.print(f"{freed / 1e6:.0f} MB freed." if freed else f"There were no weights of {name} here.")


@app.command()
def sample(as_json: AsJson = False) -> None:
    """Fetch the sample CT with organ labels (35 MB, MIT licence, checked and cached) and print where it is."""
    from AutoPromptSAMLib.zoo import sample_ct

    with download_bar("Sample CT") as progress:
        ct = sample_ct(progress)
    if as_json:
        typer.echo(json.dumps({"image": str(ct.image), "labels": str(ct.labels), "names": ct.names}, indent=1))
    else:
        typer.echo(f"{ct.image}\n{ct.labels}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/demo"),
    headless: Annotated[bool, typer.Option("--headless", help="End with the files; serve no page.")] = False,
    model: Model = "lite-medsam",
    device: Device = "auto",
    port: Port = None,
) -> None:
    """Segment organs of the sample CT from one box each, score them, and show the result in a browser."""
    from AutoPromptSAMLib.demo import run_demo

    scene = run_demo(out, model, device, console)
    if not headless:
        web(scene, model=model, device=device, port=port)


@app.command()
def web(
    image: Annotated[Path | None, typer.Argument(help="What to open: an image, a DICOM folder, a scene.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Open the sample CT.")] = False,
    model: Model = "lite-medsam",
    device: Device = "auto",
    host: Annotated[str, typer.Option(help="Address to listen at; default: this machine only.")] = "127.0.0.1",
    port: Port = None,
    folder: Annotated[list[Path] | None, typer.Option(help="Folder that the page may look into; repeatable.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Segment in a browser: a page that this machine serves, with Slicer's own core behind it."""
    try:
        from AutoPromptSAMLib.web.serving import serve
    except ModuleNotFoundError as error:
        raise ModelError(f"'{error.name}' is not installed; run pip install 'autopromptsam[web]'.") from None
    console.print("Starting; open the address that comes, it is for you alone. Ctrl-C ends the program.")
    serve(image, sample, model, device, host, port, not no_browser, folders=folder or [], announce=typer.echo)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Versions, device, weights, and what is missing and how to get it."""
    from AutoPromptSAMLib.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], indent=1))
    else:
        table = Table("", "what", "found", "what to do", title=f"AutoPromptSAM {__version__}")
        for finding in findings:
            sign = Text("✓", "green") if finding.ok else Text("✗", "red") if finding.required else Text("–", "yellow")
            table.add_row(sign, finding.what, finding.found, finding.remedy)
        Console(markup=False).print(table)
    if any(finding.required and not finding.ok for finding in findings):
        raise typer.Exit(1)


def _slice_range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise PromptError(f'--slices "{text}" is not FIRST-LAST, as in 10-60.')
    return int(first), int(last)


def _view(text: str) -> str:
    if text not in ("axial", "sagittal", "coronal"):
        raise PromptError(f'--view "{text}" is no view; use axial, sagittal or coronal.')
    return text


def _card_summary(card: ModelCard) -> dict[str, Any]:
    from AutoPromptSAMLib.zoo import expected_sha256, is_installed, weights_path

    can = card.capabilities
    return {
        "name": card.name,
        "title": card.title,
        "architecture": card.architecture,
        "input_size": card.input_size,
        "megabytes": None if card.size_bytes is None else round(card.size_bytes / 1e6),
        "prompts": [kind for kind in ("points", "boxes", "masks") if getattr(can, kind)],
        "licence": f"{card.licence.spdx} {card.licence.url} {card.licence.terms}".strip(),
        "trained_on": card.trained_on,
        "citation": card.citation,
        "sha256": expected_sha256(card) or "not known",
        "run_here": "yes" if card.run_here else "no: only its loading code was tested, not these weights",
        "notes": card.notes,
        "installed": is_installed(card),
        "path": str(weights_path(card)),
    }


if __name__ == "__main__":
    main()

"""``autopromptsam bench speed`` and ``autopromptsam bench docs``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from AutoPromptSAMLib.console import console
from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.evaluation.commands import names

MODELS = "lite-medsam,mobile-sam"
PARTS = "encode,decode,volume,cache,memory,startup,gpu"


def speed(
    out: Annotated[Path, typer.Option(help="Folder for speed.json, speed.md and speed.png.")] = Path("out/speed"),
    model: Annotated[str, typer.Option(help="Models, with commas; see `autopromptsam models list`.")] = MODELS,
    repeats: Annotated[int, typer.Option(help="How often each thing is timed; a volume a fifth of it.", min=1)] = 10,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    engine: Annotated[str, typer.Option(help="auto, pytorch or openvino; several with commas.")] = "auto",
    parts: Annotated[str, typer.Option(help="What is measured, with commas.")] = PARTS,
    threads: Annotated[int, typer.Option(help="PyTorch's threads, the same for all; 0: as it likes.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Draws the boxes.")] = 0,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Tables only.")] = False,
) -> None:
    """Time this library beside the packages that published its models, on the sample CT, and compare their outputs.

    Nothing else should run meanwhile. Ctrl-C keeps what is done.
    """
    from AutoPromptSAMLib.evaluation.quality.plots import need_matplotlib
    from AutoPromptSAMLib.evaluation.speed import report as speed_report
    from AutoPromptSAMLib.evaluation.speed import runner as runner

    if not no_plots:
        need_matplotlib()  # better now than after an hour
    settings = runner.SpeedSettings(
        names(model), names(engine), names(parts), repeats=repeats, device=device, threads=threads, seed=seed
    )
    with console.status("Measuring") as status:
        result = runner.run(settings, out, shlex.join(["autopromptsam", *sys.argv[1:]]), status.update)
    speed_report.publish(result, out, not no_plots)
    table = Table("model", "what", "contender", "reference / contender", title=str(out))
    for row in result.rows:
        for key, ratio in row.ratios.items():
            table.add_row(row.model, row.what, key, speed_report.ratio_text(ratio))
    console.print(table)
    for entry in result.skipped:
        console.print(f"{entry.model}, {entry.part}: {entry.reason}", style="yellow", soft_wrap=True)
    if not result.complete:
        raise Cancelled("Cancelled; what was finished before is kept.")
    typer.echo(str(out / speed_report.REPORT_NAME))


def docs(
    quality: Annotated[
        list[Path] | None, typer.Option(help="Folder of a `bench quality` run; give it again for more.")
    ] = None,
    speed: Annotated[
        list[Path] | None, typer.Option(help="Folder of a `bench speed` run; give it again for more.")
    ] = None,
    proxy: Annotated[
        list[Path] | None, typer.Option(help="Folder of a `bench proxy` run; give it again for more.")
    ] = None,
    uncertainty: Annotated[
        list[Path] | None, typer.Option(help="Folder of a `bench uncertainty` run; give it again for more.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/benchmarks.md"),
) -> None:
    """Write the page of benchmarks from the folders of runs: figures, machine, seeds and how to reproduce them."""
    from AutoPromptSAMLib.evaluation.page import write_page

    write_page(quality or [], speed or [], out, proxy or [], uncertainty or [])
    typer.echo(str(out))

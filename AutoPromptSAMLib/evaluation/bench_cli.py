"""``autopromptsam bench``: measure quality on labelled images, and speed on this machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from AutoPromptSAMLib.console import console
from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.evaluation.commands import measuring_bar, names, need_models
from AutoPromptSAMLib.evaluation.proxy import cli as proxy_cli
from AutoPromptSAMLib.evaluation.speed import cli as speed_cli
from AutoPromptSAMLib.evaluation.uncertainty import cli as uncertainty_cli

if TYPE_CHECKING:
    from AutoPromptSAMLib.datasets import Dataset

bench = typer.Typer(no_args_is_help=True, help="Measure quality on labelled images, and speed on this machine.")
bench.command()(proxy_cli.proxy)
bench.command()(uncertainty_cli.uncertainty)
bench.command()(speed_cli.speed)
bench.command()(speed_cli.docs)

PROMPTS = "box,click,clicks-3"
MOST_OBJECTS = 12  # of a dataset that --list names


@bench.command()
def quality(
    data: Annotated[Path, typer.Option(help="A folder with a dataset.yaml, or a folder of such folders.")],
    out: Annotated[Path, typer.Option(help="Folder for results.json, cases.csv, report.md and plots.")] = Path(
        "out/quality"
    ),
    prompts: Annotated[
        str,
        typer.Option(
            help="With commas: box, box-IOU as in box-0.75, click, clicks-N, scribble, user, user-box; for volumes "
            "volume-box and volume-user."
        ),
    ] = PROMPTS,
    model: Annotated[str, typer.Option(help="Models, with commas; see `autopromptsam models list`.")] = "lite-medsam",
    method: Annotated[
        str,
        typer.Option(
            help="interactive (what a user gets), plain (one decode of the bare model), or both with a comma."
        ),
    ] = "interactive",
    objects: Annotated[str, typer.Option(help="Only these objects, with commas.")] = "",
    limit: Annotated[int, typer.Option(help="Images (or volumes) of each dataset; 0 for all.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Which images are drawn, and what is random in prompts.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that share the work; the figures stay the same.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Tables only.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only show what the folder holds and can be used.")] = False,
) -> None:
    """Segment labelled images from simulated prompts, as a user would get it, and score the masks.

    Ctrl-C keeps what is done; the same command goes on from there.
    """
    from AutoPromptSAMLib.datasets import find_datasets
    from AutoPromptSAMLib.evaluation.quality import runner as runner
    from AutoPromptSAMLib.evaluation.quality.plots import need_matplotlib
    from AutoPromptSAMLib.evaluation.quality.publish import publish
    from AutoPromptSAMLib.zoo import home

    datasets = find_datasets(data)
    if show:
        _list(datasets)
        return
    if not no_plots:
        need_matplotlib()  # better now than after an hour
    models = names(model)
    settings = runner.make_settings(
        datasets,
        models,
        names(prompts),
        names(method),
        objects=names(objects),
        limit=limit,
        seed=seed,
        device=device,
    )
    need_models(models)
    plan = runner.Plan(settings, tuple(datasets), out, cache_folder=home() / "embeddings")
    with measuring_bar() as report:
        outcome = runner.run(plan, workers, report)
    with console.status("Writing the report"):
        records = publish(plan, outcome, shlex.join(["autopromptsam", *sys.argv[1:]]), not no_plots)
    table = Table("dataset", "object", "model", "method", "prompt", "n", "Dice", title=str(out))
    for record in records:
        dice = record.metrics.get("dice")
        spread = "" if dice is None else f"{dice.mean:.3f}" if dice.sd is None else f"{dice.mean:.3f} ± {dice.sd:.3f}"
        table.add_row(record.dataset, record.object, record.model, record.method, record.prompt, str(record.n), spread)
    console.print(table)
    if outcome.unusable:
        console.print(
            f"{len(outcome.unusable)} things were not measured; {out / 'report.md'} says why.", style="yellow"
        )
    if not outcome.complete:
        raise Cancelled("Cancelled; what was finished before is kept.")
    typer.echo(str(out / "report.md"))


def _list(datasets: list[Dataset]) -> None:
    """What each dataset holds. Reads every pair, so that what cannot be used shows."""
    from AutoPromptSAMLib.datasets import UnusablePair, cases

    table = Table("dataset", "modality", "dimensions", "licence", "use", "usable pairs", "groups", "objects (pairs)")
    refused = []
    for dataset in datasets:
        objects: dict[str, int] = {}
        unusable = 0
        with console.status(f"Reading {dataset.name}"):
            for case in cases(dataset):
                if isinstance(case, UnusablePair):
                    unusable += 1
                    refused.append(f"{dataset.name}: {case.pair.id}: {case.reason}")
                    continue
                for name in case.masks:
                    objects[name] = objects.get(name, 0) + 1
        shown = [f"{name} ({count})" for name, count in objects.items()]
        if len(shown) > MOST_OBJECTS:
            shown = [*shown[:MOST_OBJECTS], f"and {len(shown) - MOST_OBJECTS} more"]
        pairs = f"{len(dataset.pairs) - unusable} of {len(dataset.pairs)}"
        groups = str(len({pair.group for pair in dataset.pairs}))
        table.add_row(
            dataset.name, dataset.modality, str(dataset.dimensions), dataset.licence, dataset.use, pairs, groups,
            ", ".join(shown),
        )  # fmt: skip
    Console().print(table)
    for text in refused:
        console.print(text, style="yellow", soft_wrap=True)

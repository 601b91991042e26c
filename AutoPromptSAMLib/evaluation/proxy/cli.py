"""``autopromptsam bench proxy``."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from AutoPromptSAMLib.evaluation.commands import measure, names, need_models, numbers


def proxy(
    data: Annotated[Path, typer.Option(help="A folder with a dataset.yaml, or a folder of such folders.")],
    out: Annotated[Path, typer.Option(help="Folder for results.json, report.md, plots, runs and networks.")] = Path(
        "out/proxy"
    ),
    parts: Annotated[
        str, typer.Option(help="With commas: shots, claims (or some of c1, c2, c3, c4), general, cost.")
    ] = "shots,claims,general,cost",
    model: Annotated[str, typer.Option(help="Models, with commas; see `autopromptsam models list`.")] = "lite-medsam",
    seeds: Annotated[str, typer.Option(help="As 0-4 or 0,2.")] = "0-4",
    objects: Annotated[str, typer.Option(help="Only these objects, with commas.")] = "",
    limit: Annotated[int, typer.Option(help="Test images (or volumes) of each run; 0 for all.", min=0)] = 0,
    supports: Annotated[int, typer.Option(help="Shots that prompt, where a part does not vary them.", min=1)] = 4,
    minutes: Annotated[float, typer.Option(help="Most minutes to learn a network; 0: the default.", min=0)] = 0.0,
    steps: Annotated[int, typer.Option(help="Most steps to learn a network; 0: the default.", min=0)] = 0,
    start: Annotated[
        str,
        typer.Option(help="Learning starts from: scratch, or general (the shipped weights)."),
    ] = "scratch",
    lora: Annotated[
        bool | None, typer.Option(help="Whether the model itself learns, too; by default it does on a GPU only.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Tables only.")] = False,
) -> None:
    """Let annotated images prompt others: 16 shots, the claims of the method, general weights, and what it costs.

    Learns networks for hours. Ctrl-C keeps what is done; the same command goes on from there, and parts, seeds,
    objects and models can be added in later calls with the same --out.
    """
    from AutoPromptSAMLib import __version__
    from AutoPromptSAMLib.datasets import find_datasets
    from AutoPromptSAMLib.evaluation.environment import general_weights, weights
    from AutoPromptSAMLib.evaluation.proxy import parts as work
    from AutoPromptSAMLib.evaluation.proxy.records import Settings
    from AutoPromptSAMLib.evaluation.proxy.report import publish
    from AutoPromptSAMLib.evaluation.proxy.runner import Plan, run
    from AutoPromptSAMLib.evaluation.quality.plots import need_matplotlib
    from AutoPromptSAMLib.evaluation.run_folder import REPORT_NAME
    from AutoPromptSAMLib.zoo import home

    if start not in ("scratch", "general"):
        raise typer.BadParameter("choose scratch or general", param_hint="--start")
    if not no_plots:
        need_matplotlib()  # better now than after an hour
    models = names(model)
    asked = work.Asked(
        work.expanded(names(parts)), models, numbers(seeds), names(objects), supports, start == "scratch"
    )
    known = weights(models)
    if start == "general" or "general" in asked.parts:
        known |= general_weights(models)
    settings = Settings(
        known, minutes or None, steps or None, limit, supports, start, lora, device, __version__
    )  # fmt: skip
    datasets = find_datasets(data)
    need_models(models)
    plan = Plan(
        settings, asked, tuple(datasets), out, home() / "embeddings", shlex.join(["autopromptsam", *sys.argv[1:]])
    )
    measure(partial(run, plan), lambda outcome: publish(plan, outcome, not no_plots), out / REPORT_NAME)

"""``autopromptsam bench uncertainty``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from AutoPromptSAMLib.evaluation.commands import measure, names, need_models, numbers

PARTS = "boxes,points,click,errors,slices,cost,human"


def uncertainty(
    data: Annotated[Path, typer.Option(help="A folder with a dataset.yaml, or a folder of such folders.")],
    out: Annotated[Path, typer.Option(help="Folder for results.json, report.md, plots and runs.")] = Path(
        "out/uncertainty"
    ),
    parts: Annotated[str, typer.Option(help="What is measured, with commas.")] = PARTS,
    models: Annotated[
        str, typer.Option(help="With commas; a model with an adapter is compared with the one without.")
    ] = "lite-medsam,mpa-lite-medsam",
    seeds: Annotated[str, typer.Option(help="As 0-4 or 0,2.")] = "0-4",
    limit: Annotated[int, typer.Option(help="Images (or volumes) of each set; 0 for all.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Tables only.")] = False,
) -> None:
    """See whether a model knows where it is wrong and whether prompts can be corrected automatically, with verdicts.

    Only images are tested that weights may not be trained on. Ctrl-C keeps what is done; the same command goes on from
    there, and parts, seeds and models can be added in later calls with the same --out.
    """
    from AutoPromptSAMLib import __version__
    from AutoPromptSAMLib.datasets import find_datasets
    from AutoPromptSAMLib.evaluation.quality.plots import need_matplotlib
    from AutoPromptSAMLib.evaluation.run_folder import REPORT_NAME
    from AutoPromptSAMLib.evaluation.uncertainty import parts as work
    from AutoPromptSAMLib.evaluation.uncertainty.records import Settings
    from AutoPromptSAMLib.evaluation.uncertainty.report import publish
    from AutoPromptSAMLib.evaluation.uncertainty.runner import Plan, run
    from AutoPromptSAMLib.zoo import home

    if not no_plots:
        need_matplotlib()  # better now than after an hour
    asked = work.Asked(work.expanded(names(parts)), names(models), numbers(seeds))
    datasets = find_datasets(data)
    need_models(asked.models)
    settings = Settings(weights_of(asked.models), limit, device, __version__)
    plan = Plan(
        settings, asked, tuple(datasets), out, home() / "embeddings", shlex.join(["autopromptsam", *sys.argv[1:]])
    )
    measure(partial(run, plan), lambda outcome: publish(plan, outcome, not no_plots), out / REPORT_NAME)


def weights_of(models: Sequence[str]) -> dict[str, str]:
    """What tells a model's weights from others: their hash, the adapter's, and the temperature.

    Raises ModelError for an unknown model.
    """
    from AutoPromptSAMLib.zoo import expected_sha256, get_card

    found = {}
    for name in models:
        card = get_card(name)
        text = f"weights {expected_sha256(card) or 'without a known hash'}"
        if card.adapter is not None:
            text += f", adapter {card.adapter.sha256}"
        found[name] = f"{text}, temperature {card.temperature:g}"
    return found

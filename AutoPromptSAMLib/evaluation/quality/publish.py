"""From a run to the files that people read: results, cases, report and plots, in the folder of the run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from AutoPromptSAMLib.atomic import storage_error
from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.evaluation import environment
from AutoPromptSAMLib.evaluation.quality import plots, report
from AutoPromptSAMLib.evaluation.quality.records import CaseRow, Mask, Record, summarise
from AutoPromptSAMLib.evaluation.quality.volumes import VOLUMES
from AutoPromptSAMLib.geometry import slice_plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from AutoPromptSAMLib.datasets import Case, Dataset
    from AutoPromptSAMLib.evaluation.quality.runner import Outcome, Plan

PICTURED = "dice"  # the metric of the box plots


def publish(plan: Plan, outcome: Outcome, command: str, with_plots: bool = True) -> list[Record]:
    """Write everything into the folder of ``plan`` and return the records.

    Raises StorageError, and BenchError when plots are wanted and matplotlib is missing.
    """
    folder = plan.folder
    about = {
        "command": command,
        "settings": plan.settings.to_json(),
        "environment": {
            "machine": environment.machine(),
            "versions": environment.versions(),
            "engines": outcome.engines,
        },
    }
    report.write_results(folder, outcome.rows, outcome.unusable, about, outcome.complete)
    report.write_csv(folder, outcome.rows)
    pictures = draw(plan, outcome.rows) if with_plots else {}
    report.write_report(folder, outcome.rows, outcome.unusable, about, pictures, outcome.complete)
    return summarise(outcome.rows)


def draw(plan: Plan, rows: Sequence[CaseRow]) -> dict[str, list[Path]]:
    """Write the plots of each dataset into its own folder below ``plots``; their paths by dataset."""
    pictures: dict[str, list[Path]] = {}
    for dataset in plan.datasets:
        own = [row for row in rows if row.dataset == dataset.name]
        if not own:
            continue
        folder = plan.folder / "plots" / _file_name(dataset.name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error) from error
        paths = [folder / f"{PICTURED}.png"]
        plots.box_plots(own, PICTURED, paths[0])
        for model, method in dict.fromkeys((row.model, row.method) for row in own):
            kind = [row for row in own if (row.model, row.method) == (model, method)]
            worst = plots.worst_cases(kind, plan.settings.prompts)
            shown = [row for line in worst.values() for row in line]
            if not shown:
                continue
            paths.append(folder / f"worst-{_file_name(model)}-{method}.png")
            plots.contact_sheet(worst, _pictures(dataset, shown), paths[-1])
        pictures[dataset.name] = paths
    return pictures


def _pictures(dataset: Dataset, rows: Sequence[CaseRow]) -> dict[tuple[str, ...], tuple[NDArray[np.uint8], Mask]]:
    """Image and truth of each row, read again from the files; without those that cannot be read any more."""
    from AutoPromptSAMLib.datasets import load_case, slices_of

    found: dict[tuple[str, ...], tuple[NDArray[np.uint8], Mask]] = {}
    pairs = {pair.id: pair for pair in dataset.pairs}
    for pair_id in dict.fromkeys(row.pair for row in rows):
        own = [row for row in rows if row.pair == pair_id]
        try:
            case = load_case(dataset, pairs[pair_id])
            wanted = {row.sample for row in own if row.prompt not in VOLUMES}
            samples = {sample.id: sample for sample in slices_of(case) if sample.id in wanted} if wanted else {}
            for row in own:
                if row.view is not None:
                    found[row.key] = _view(case, row)
                elif row.sample in samples:
                    found[row.key] = samples[row.sample].image, samples[row.sample].truth
        except AutoPromptSAMError:
            continue  # it was there when it was measured; a picture less is no reason to lose the report
    return found


def _view(case: Case, row: CaseRow) -> tuple[NDArray[np.uint8], Mask]:
    """A slice of a volume and the truth on it, voxel by voxel, as the mask of ``row`` is."""
    from AutoPromptSAMLib.geometry import sample_plane
    from AutoPromptSAMLib.intensity import default_mapping

    assert row.view is not None
    axis, index = row.view
    plane = slice_plane(case.volume.geometry, axis, index, square_pixels=False)
    image = default_mapping(case.volume).apply(sample_plane(case.volume, plane))
    return image, np.take(case.masks[row.object], index, axis)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text) or "_"

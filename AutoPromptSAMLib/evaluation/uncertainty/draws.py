"""Which images are tested and which objects on them, by seed; never images that weights may have been trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from AutoPromptSAMLib.datasets import Dataset, Pair, SliceSample, load_case, slices_of, split_groups
from AutoPromptSAMLib.datasets.labels import LabelMasks, ObjectRule
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.quality.runner import case_rng
from AutoPromptSAMLib.training.pool import reserved
from AutoPromptSAMLib.zoo import sample_ct

RESERVED = " (kept from training)"  # what the name of such a part of a set ends with
SAMPLE = "sample CT"
# What a person would outline on the sample CT; both kidneys are one each.
ORGANS = ("spleen", "kidney_right", "kidney_left", "liver", "aorta")
FITTED, TESTED = "fitted", "tested"


def evaluation_sets(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Those that no published weights may be trained on."""
    return [dataset for dataset in datasets if dataset.use == "evaluation"]


def reserved_sets(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Of large sets for training the groups that are kept from it, under a name that says so."""
    found = []
    for dataset in datasets:
        groups = reserved(dataset) if dataset.use == "train" else frozenset()
        if groups:
            pairs = tuple(pair for pair in dataset.pairs if pair.group in groups)
            found.append(replace(dataset, name=dataset.name + RESERVED, pairs=pairs))
    return found


def tested_sets(datasets: Sequence[Dataset]) -> list[Dataset]:
    """All that may be tested on. Raises BenchError when there is none."""
    found = [*evaluation_sets(datasets), *reserved_sets(datasets)]
    if not found:
        raise BenchError(
            "All of the data may have been trained on; give sets with `use: evaluation` in their dataset.yaml."
        )
    return found


def half(dataset: Dataset, part: str, seed: int) -> Dataset | None:
    """The pairs of one half of the groups (FITTED or TESTED); a set of one group is TESTED whole, None else."""
    groups = {pair.group for pair in dataset.pairs}
    if len(groups) < 2:
        return dataset if part == TESTED else None
    mine = split_groups(groups, {FITTED: 0.5, TESTED: 0.5}, seed)[part]
    return replace(dataset, pairs=tuple(pair for pair in dataset.pairs if pair.group in mine))


def drawn_samples(dataset: Dataset, pair: Pair, seed: int) -> list[SliceSample]:
    """One object of an image, drawn by seed, with its truth; of a volume up to three slices of that object.

    Objects of which there is too little to be measured are not drawn. Raises DatasetError when the pair cannot be
    used or shows nothing else.
    """
    from AutoPromptSAMLib.datasets import DatasetError

    case = load_case(dataset, pair)
    names = list(case.masks)
    for number in case_rng(seed, dataset.name, pair.id, "object").permutation(len(names)):
        name = names[number]
        masks = LabelMasks(case.masks.labels, {name: case.masks.objects[name]})
        if found := list(slices_of(replace(case, masks=masks))):
            return found
    raise DatasetError(dataset.name, pair.id, "its objects are of a few pixels only; leave it out.")


def volume_sets(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Sets of volumes that may be tested on, those for evaluation only."""
    return [dataset for dataset in evaluation_sets(datasets) if dataset.dimensions == 3]


def sample_set() -> Dataset:
    """The organs of the sample CT as a dataset of one volume; the CT is fetched when it is not on this machine.

    Raises DownloadError, StorageError or Cancelled.
    """
    sample = sample_ct()
    values = {name: (value,) for value, name in sample.names.items()}
    rule = ObjectRule(tuple((name, values[name]) for name in ORGANS))
    pair = Pair("ct", "ct", "CT", sample.image, sample.labels)
    return Dataset(SAMPLE, "CT", 3, rule, "MIT", "evaluation", (pair,), sample.image.parent)

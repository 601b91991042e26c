"""Labelled images in folders that each hold a ``dataset.yaml``: read, sampled, split, and cut into slices."""

from AutoPromptSAMLib.datasets.cases import Case, LabelMasks, UnusablePair, cases, load_case
from AutoPromptSAMLib.datasets.description import Dataset, Pair, find_datasets, read_dataset
from AutoPromptSAMLib.datasets.errors import DatasetError
from AutoPromptSAMLib.datasets.sampling import sample_pairs, split_groups
from AutoPromptSAMLib.datasets.slices import SliceSample, native_axis, slices_of

__all__ = [
    "Case",
    "Dataset",
    "DatasetError",
    "LabelMasks",
    "Pair",
    "SliceSample",
    "UnusablePair",
    "cases",
    "find_datasets",
    "load_case",
    "native_axis",
    "read_dataset",
    "sample_pairs",
    "slices_of",
    "split_groups",
]

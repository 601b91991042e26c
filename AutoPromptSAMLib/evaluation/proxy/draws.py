"""Which objects of which datasets are measured, and which images prompt and which are tested, by seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from AutoPromptSAMLib.datasets import Dataset, Pair, sample_pairs
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.training.pool import reserved

if TYPE_CHECKING:
    from AutoPromptSAMLib.training.shots import Example

MOST_SHOTS = 16
TEST_SLICES = 3  # of an object in a test volume, as in ``bench quality``; a case gives one slice as a shot
MOST_OBJECTS = 4  # of a dataset whose description does not name its objects
LOOKED_AT = 3  # pairs that such a dataset's objects are looked for in

# Datasets of several tasks: every group is one, and its images are of different patients.
TASKS_BY_GROUP = ("medscribble",)
# Datasets whose one object is another organ on every image.
NOT_ONE_TASK = ("sammed2d_demo_ct_slices",)

# (dataset, one pair's id, objects, slices an object) -> annotated images; a seam for tests.
Examples = Callable[[Dataset, Pair, Sequence[str], int], "list[Example]"]


@dataclass(frozen=True)
class Task:
    """An object of a dataset, the Dice to reach with 16 shots, and whether the paper measured its like.

    The published mean over 16 shots is of optic disc and cup, vessels, and two objects in ultrasound.
    """

    dataset: str
    object: str
    target: float | None = None
    in_paper: bool = False


TASKS = (
    Task("drishti_gs_disc_cup", "optic disc", 0.93, True),
    Task("drishti_gs_disc_cup", "optic cup", 0.85, True),
    Task("drive_vessels", "vessel", 0.72, True),
    Task("hc18_fetal_head_us", "fetal head", 0.94, True),
    Task("cxr_montgomery_shenzhen_lungs", "lungs", 0.95),
    Task("usgra_nerve_us", "nerve", 0.60, True),
    Task("msd_hippocampus_mri", "hippocampus", 0.82),
)
CLAIMED_ON = ("optic cup", "fetal head")  # objects that the claims are measured on, unless others are named
SWAPPED = (("drishti_gs_disc_cup", ("optic disc", "optic cup")),)  # that one network learns together


def chosen_tasks(datasets: Sequence[Dataset], objects: Sequence[str] = ()) -> list[Task]:
    """The tasks of ``TASKS`` that ``datasets`` hold; with none of them there, every object that a description names.

    ``objects``: only these, and then of any dataset that names them. Raises BenchError when there is nothing.
    """
    here = {dataset.name for dataset in datasets}
    named = [Task(dataset.name, name) for dataset in datasets for name, _ in dataset.objects.named]
    known = [task for task in TASKS if task.dataset in here]
    places = {(task.dataset, task.object) for task in known}
    found = known or named
    if objects:
        every = [*known, *(task for task in named if (task.dataset, task.object) not in places)]
        found = [task for task in every if task.object in objects]
        missing = [name for name in objects if name not in {task.object for task in found}]
        if missing:
            raise BenchError(f'No dataset names an object "{missing[0]}"; `bench quality --list` shows what there is.')
    if not found:
        raise BenchError("The datasets name no objects, so there is nothing to learn; name them in dataset.yaml.")
    return found


def examples_of_pair(dataset: Dataset, pair: Pair, objects: Sequence[str], per_object: int) -> list[Example]:
    """The annotated slices of one pair, or the image itself; empty when it cannot be used."""
    from AutoPromptSAMLib.training.shots import examples_of

    return examples_of(dataset, [pair], objects, per_object)


class Draw:
    """Images drawn from a dataset by a seed: ``shots`` that show all ``objects``, and test images of other groups.

    The first M shots are those of a smaller draw, and the test images are the same for every M up to ``most``. A
    volume gives one slice as a shot: the first case its lowest one of three, the next case its middle one, and so on;
    a test volume gives all three. ``limit`` is the number of pairs tested, 0 for all. In datasets that general weights
    were trained on, the groups that were kept from them are tested, and the others give the shots. Raises BenchError
    when there are fewer than ``most`` shots or no other group is left.
    """

    def __init__(
        self, dataset: Dataset, objects: Sequence[str], seed: int, most: int, limit: int, examples: Examples
    ) -> None:
        self._dataset, self._objects, self._limit, self._examples = dataset, tuple(objects), limit, examples
        pairs = sample_pairs(dataset, None, seed)
        kept = reserved(dataset) if dataset.use == "train" else frozenset()
        shots: list[Example] = []
        used = []
        for pair in pairs:
            if len(shots) == most:
                break
            if pair.group in kept:
                continue
            found = [example for example in self._of(pair) if self._shows_all(example)]
            if found:
                shots.append(found[len(shots) % len(found)])
                used.append(pair)
        self.shots = tuple(shots)
        groups = {pair.group for pair in used}
        self._pairs = [pair for pair in pairs if (pair.group in kept if kept else pair.group not in groups)]
        what = f"{' and '.join(self._objects)} in {dataset.name}"
        if len(shots) < most:
            raise BenchError(f"{most} annotated images are needed and {len(shots)} show {what}; give more.")
        if not self._pairs:
            raise BenchError(f"No group is left to test {what} on; give images of more patients.")

    def tests(self) -> Iterator[Example]:
        """The test images that show any of the objects, read from the files anew each time."""
        pairs = 0
        for pair in self._pairs:
            found = self._of(pair)
            yield from found
            pairs += bool(found)
            if pairs == self._limit:
                return

    def _of(self, pair: Pair) -> list[Example]:
        slices = TEST_SLICES if self._dataset.dimensions == 3 else 1
        found = self._examples(self._dataset, pair, self._objects, slices)
        return [example for example in found if any(mask.any() for mask in example.masks.values())]

    def _shows_all(self, example: Example) -> bool:
        return all(name in example.masks and example.masks[name].any() for name in self._objects)


def general_sets(datasets: Sequence[Dataset]) -> list[Dataset]:
    """The datasets for evaluation on which one image prompts the others, each of one kind of image.

    Of several channels of a body the first counts. A dataset of several tasks becomes one for each.
    """
    found = []
    for dataset in datasets:
        if dataset.use != "evaluation" or dataset.name in NOT_ONE_TASK:
            continue
        if dataset.name in TASKS_BY_GROUP:
            for group in dict.fromkeys(pair.group for pair in dataset.pairs):
                pairs = tuple(replace(pair, group=pair.id) for pair in dataset.pairs if pair.group == group)
                found.append(replace(dataset, name=f"{dataset.name}/{group}", pairs=pairs))
            continue
        channel = dataset.pairs[0].channel
        found.append(replace(dataset, pairs=tuple(pair for pair in dataset.pairs if pair.channel == channel)))
    return found


def objects_of(dataset: Dataset) -> list[str]:
    """The objects that a description names; else the largest of those that the first pairs all show."""
    if dataset.objects.named:
        return [name for name, _ in dataset.objects.named]
    from AutoPromptSAMLib.datasets import UnusablePair, cases

    sizes: dict[str, list[float]] = {}
    looked = 0
    for case in cases(dataset, sample_pairs(dataset, LOOKED_AT, 0)):
        if isinstance(case, UnusablePair):
            continue
        looked += 1
        for name, mask in case.masks.items():
            sizes.setdefault(name, []).append(float(mask.mean()))
    shared = [name for name, parts in sizes.items() if len(parts) == looked]
    return sorted(shared, key=lambda name: (-sum(sizes[name]), name))[:MOST_OBJECTS]


def source_hash(dataset: Dataset) -> str:
    """Hash of what decides which images there are; where the folder lies does not matter."""
    pairs = sorted((pair.id, pair.group, pair.modality, str(pair.object)) for pair in dataset.pairs)
    text = repr((dataset.dimensions, dataset.objects, sorted(dataset.npz_keys), pairs))
    return hashlib.sha256(text.encode()).hexdigest()

"""Many sets of images, encoded, for general weights: their labelled objects, and regions as made-up ones."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.datasets import Case, Dataset, UnusablePair, cases, native_axis, sample_pairs
from AutoPromptSAMLib.datasets.slices import MIN_PIXELS, mask_on
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry.views import radiological_plane
from AutoPromptSAMLib.intensity import default_mapping, picture_on
from AutoPromptSAMLib.training.shots import Example, Shot, shots_of

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones.base import Backbone
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache

# All of these are choices.
IMAGES = 48  # of a set, at most
SLICES = 36  # of a volume, at most, shared out over the directions that are looked at
REGIONS = 3  # made-up objects of an image
REGION = "region "  # what their names begin with
_REGION_PART = (0.01, 0.3)  # of the image's area
_MANY_GROUPS = 20
_LEAST_LINE = 30  # pixels of 256 a side
_EQUAL_VOXELS = 1.5  # up to this ratio of voxel sizes, a volume is looked at from all three sides


@dataclass(frozen=True, eq=False)
class Source:
    """The shots of one set of images."""

    name: str
    shots: tuple[Shot, ...]

    @property
    def objects(self) -> tuple[str, ...]:
        """Labelled objects that at least two shots show."""
        counts: dict[str, int] = {}
        for shot in self.shots:
            for name, there in zip(shot.objects, shot.present, strict=True):
                counts[name] = counts.get(name, 0) + there
        return tuple(sorted(name for name, n in counts.items() if n >= 2 and not name.startswith(REGION)))


def gather(
    backbone: Backbone,
    datasets: Sequence[Dataset],
    size: int,
    views: int,
    seed: int,
    cache: EmbeddingCache | None = None,
    on_image: Callable[[str, int], None] | None = None,
    on_unusable: Callable[[UnusablePair], None] | None = None,
) -> list[Source]:
    """The encoded images of all sets but those that are ``reserved``, a source a modality.

    Only give sets whose licence lets weights be shipped. Pairs that cannot be used are left out; ``on_unusable`` is
    told which and why. Raises PromptError when none can.
    """
    sources = []
    for number, dataset in enumerate(_by_modality([_without_reserved(dataset) for dataset in datasets])):
        shots: list[Shot] = []
        for n, example in enumerate(_examples(dataset, seed, on_unusable)):
            if on_image is not None:
                on_image(dataset.name, n)
            example = replace(example, masks={**example.masks, **regions(example.image, seed + n)})
            # Other draws for every image: what they have in common must not be the draw.
            shots += shots_of(
                backbone, [example], tuple(example.masks), size, views, seed + 100 * number + n, cache=cache
            )
        if shots:
            sources.append(Source(dataset.name, tuple(shots)))
    if not sources:
        raise PromptError("No image of these sets can be used; `bench quality --list` says why.")
    return sources


def _by_modality(datasets: Sequence[Dataset]) -> Iterator[Dataset]:
    for dataset in datasets:
        modalities = sorted({pair.modality for pair in dataset.pairs})
        for modality in modalities:
            pairs = tuple(pair for pair in dataset.pairs if pair.modality == modality)
            name = dataset.name if len(modalities) == 1 else f"{dataset.name} {modality}"
            yield replace(dataset, name=name, pairs=pairs)


def reserved(dataset: Dataset) -> frozenset[str]:
    """Groups that general weights are never trained on, so that they can be tested on a set that they know.

    A quarter of the groups, chosen by their names alone; none of a set with few groups.
    """
    groups = {pair.group for pair in dataset.pairs}
    if len(groups) < _MANY_GROUPS:
        return frozenset()
    return frozenset(group for group in groups if zlib.crc32(f"{dataset.name}/{group}".encode()) % 4 == 0)


def _without_reserved(dataset: Dataset) -> Dataset:
    kept = reserved(dataset)
    return replace(dataset, pairs=tuple(pair for pair in dataset.pairs if pair.group not in kept))


def _examples(dataset: Dataset, seed: int, on_unusable: Callable[[UnusablePair], None] | None) -> Iterator[Example]:
    pairs = sample_pairs(dataset, IMAGES, seed)
    each = max(1, min(SLICES, IMAGES // max(1, len(pairs))))
    for case in cases(dataset, pairs):
        if not isinstance(case, UnusablePair):
            yield from slices_through(case, each)
        elif on_unusable is not None:
            on_unusable(case)


def slices_through(case: Case, count: int) -> Iterator[Example]:
    """About ``count`` slices of a case, evenly spaced through what is labelled, with all objects on them.

    Along the native axis; along all three where voxels are about as long as wide.
    """
    geometry, mapping = case.volume.geometry, default_mapping(case.volume)
    lengths = np.array(geometry.spacing)
    flat = geometry.shape[0] == 1
    sides = (0, 1, 2) if not flat and lengths.max() <= _EQUAL_VOXELS * lengths.min() else (native_axis(geometry),)
    # One mask at a time: all of an atlas at once would take a byte a voxel each.
    labelled = np.zeros(geometry.shape, dtype=bool)
    for mask in case.masks.values():
        labelled |= mask
    planes = {}
    for axis in sides:
        here = np.flatnonzero(labelled.any(axis=tuple(other for other in range(3) if other != axis)))
        wanted = max(1, count // len(sides))
        for index in sorted({int(here[int((n + 0.5) / wanted * len(here))]) for n in range(wanted)}):
            planes[axis, index] = radiological_plane(geometry, axis, index)
    found: dict[tuple[int, int], dict[str, NDArray[np.bool_]]] = {place: {} for place in planes}
    for name, mask in case.masks.items():
        for place, plane in planes.items():
            shown = mask_on(mask, plane, geometry)
            if np.count_nonzero(shown) >= MIN_PIXELS:
                found[place][name] = shown
    for (axis, index), masks in found.items():
        if masks:
            name = f"{case.dataset}:{case.pair.id}:{'kji'[axis]}{index}"
            image = picture_on(case.volume, planes[axis, index], mapping)
            yield Example(name, case.pair.group, image, masks)


def regions(image: NDArray[np.uint8], seed: int) -> dict[str, NDArray[np.bool_]]:
    """Made-up objects of an image: up to ``REGIONS`` segments of like intensity, and the thin lines on it.

    Segments by Felzenszwalb and Huttenlocher (2004); lines, bright or dark ones, by the ridge filter of Sato et al.
    (1998): without them a network unlearns what vessels look like.
    """
    from scipy import ndimage
    from skimage.filters import sato
    from skimage.segmentation import felzenszwalb
    from skimage.transform import resize

    rng = np.random.default_rng(seed)
    small = _small(image, 128)
    labels = felzenszwalb(small, scale=float(rng.uniform(50, 400)), sigma=1.0, min_size=40, channel_axis=-1)
    areas = np.bincount(labels.ravel()) / labels.size
    fit = [n for n in range(len(areas)) if _REGION_PART[0] <= areas[n] <= _REGION_PART[1]]
    rng.shuffle(fit)
    found = {f"{REGION}{n}": labels == label for n, label in enumerate(fit[:REGIONS])}
    response = sato(_small(image, 256).mean(-1), sigmas=(1, 2), black_ridges=bool(rng.random() < 0.5))
    lines = response > max(1e-3, float(np.percentile(response, rng.uniform(88, 95))))
    pieces, _ = ndimage.label(lines, np.ones((3, 3)))
    lines &= (np.bincount(pieces.ravel()) > _LEAST_LINE)[pieces]
    if lines.mean() >= _REGION_PART[0]:
        found[f"{REGION}thin"] = lines
    return {name: resize(mask.astype(np.float32), image.shape[:2], order=1) > 0.5 for name, mask in found.items()}


def _small(image: NDArray[np.uint8], longest: int) -> NDArray[np.float64]:
    """The image with a longest side of so many pixels, in 0..1."""
    from skimage.transform import resize

    scale = longest / max(image.shape[:2])
    rows, cols = (max(1, round(side * scale)) for side in image.shape[:2])
    small: NDArray[np.float64] = resize(image, (rows, cols), anti_aliasing=True)
    return small

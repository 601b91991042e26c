"""Annotated images to learn from, and the views of them that a network is trained on.

A view is the image as it is, or changed by one draw of the augmentation; its features are computed once and kept, so
that a frozen encoder never runs during learning. All images of a task take the same draws: all supports of an episode
share one, as in the paper (rotation up to 15°, shear up to 10°, brightness, contrast and saturation ±0.1), and targets
may come from another. Scale ±15 % and mirroring are ours; every second view is mirrored, in all images alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.datasets import Case, Dataset, Pair, SliceSample, UnusablePair, cases, slices_of
from AutoPromptSAMLib.datasets.slices import mask_on
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry.views import radiological_plane

if TYPE_CHECKING:
    import torch
    from kornia.augmentation import AugmentationSequential

    from AutoPromptSAMLib.backbones.base import Backbone, Features, Frame
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache

_LEAST = 512  # pixels a side on which small models' images are changed, so that no detail gets lost. A choice.


@dataclass(frozen=True, eq=False)
class Example:
    """An annotated image: uint8 (rows, cols, 3) as networks take it, and masks (rows, cols) bool by object.

    ``group`` says what belongs together (a patient): an image is never learned from others of its group where there
    are other groups. An object whose mask is empty is not in the image; one without a mask may be, nobody looked.
    Raises PromptError when the shapes do not fit.
    """

    name: str
    group: str
    image: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.bool_]]

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise PromptError(
                f"The annotated image {self.name!r} is {self.image.dtype} of shape {self.image.shape} instead of "
                "uint8 (rows, cols, 3); convert it."
            )
        for name, mask in self.masks.items():
            if mask.shape != self.image.shape[:2] or mask.dtype != np.bool_:
                raise PromptError(
                    f"The mask of {name!r} in {self.name!r} is {mask.dtype} of shape {mask.shape} instead of bool "
                    f"{self.image.shape[:2]}; resample it to the image."
                )


@dataclass(frozen=True, eq=False)
class View:
    """An annotated image on the square that the backbone sees, S pixels a side.

    ``embedding`` (256, h, w) float16, ``image`` (3, S, S) uint8, ``masks`` (N, S, S) uint8: 255 where a pixel is
    covered wholly; in the order of the shot's objects. ``high_res`` is SAM 2's, without the batch, in float16.
    ``pixels`` (rows, cols, 3) uint8 is what was encoded, kept for an encoder that is trained, too. ``mirrored``: left
    and right are exchanged.
    """

    embedding: torch.Tensor
    frame: Frame
    image: torch.Tensor
    masks: torch.Tensor
    high_res: tuple[torch.Tensor, ...] = ()
    pixels: NDArray[np.uint8] | None = None
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Shot:
    """An example ready to be learned from: N ``objects`` in several ``views``, the first of them unchanged.

    ``present`` says which of the objects are in the image, ``known`` of which it is known whether they are.
    """

    name: str
    group: str
    objects: tuple[str, ...]
    present: tuple[bool, ...]
    known: tuple[bool, ...]
    views: tuple[View, ...]


def examples_of(
    dataset: Dataset,
    pairs: Iterable[Pair] | None = None,
    objects: Sequence[str] | None = None,
    per_object: int = 1,
    on_unusable: Callable[[UnusablePair], None] | None = None,
) -> list[Example]:
    """The slices of a dataset's ``pairs`` (default: all) that show any of ``objects`` (default: all of them).

    ``per_object`` slices an object are taken of a volume, by the rule of ``datasets.slices``, turned as
    ``geometry.views`` says; each has the masks of all the objects. Pairs that cannot be used are left out;
    ``on_unusable`` is told which and why.
    """
    found: list[Example] = []
    for case in cases(dataset, pairs):
        if isinstance(case, UnusablePair):
            if on_unusable is not None:
                on_unusable(case)
            continue
        samples = [
            sample
            for sample in slices_of(case, per_object, plane_of=radiological_plane)
            if objects is None or sample.object in objects
        ]
        firsts: dict[int, SliceSample] = {}
        for sample in samples:
            firsts.setdefault(sample.index, sample)
        for first in firsts.values():
            masks = {sample.object: sample.truth for sample in samples if sample.index == first.index}
            masks |= _others(case, first, [name for name in objects or case.masks if name not in masks])
            found.append(Example(f"{dataset.name}:{first.pair}:{first.index}", first.group, first.image, masks))
    return found


def _others(case: Case, sample: SliceSample, names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """The masks of more objects on a sample's slice. What a whole label map does not show is not there."""
    geometry = case.volume.geometry
    plane = radiological_plane(geometry, sample.axis, sample.index)
    labels_are_whole = case.pair.object is None
    return {
        name: mask_on(case.masks[name], plane, geometry) if name in case.masks else np.zeros_like(sample.truth)
        for name in names
        if name in case.masks or labels_are_whole
    }


def shots_of(
    backbone: Backbone,
    examples: Sequence[Example],
    objects: Sequence[str],
    size: int,
    views: int,
    seed: int,
    on_view: Callable[[int, int], None] | None = None,
    cache: EmbeddingCache | None = None,
    keep_pixels: bool = False,
) -> list[Shot]:
    """Encode ``views`` of every example, masks at ``size`` pixels a side; the same ``seed`` gives the same draws.

    ``on_view`` is told how many of how many views are done, and may raise to stop. ``cache`` keeps what was encoded.
    ``keep_pixels`` for an encoder that is trained.
    """
    import torch

    def encode(image: NDArray[np.uint8]) -> Features:
        return backbone.encode([image]) if cache is None else cache.get_or_encode(backbone, image)

    with torch.no_grad():
        made: list[Shot] = []
        for example in examples:
            kept = []
            for number in range(views):
                if on_view is not None:
                    on_view(len(made) * views + number, len(examples) * views)
                draw = None if number == 0 else seed * 1000 + number
                view = _view(backbone, example, objects, size, draw, number % 2 == 1, encode)
                kept.append(view if keep_pixels else replace(view, pixels=None))
            present = tuple(name in example.masks and bool(example.masks[name].any()) for name in objects)
            known = tuple(name in example.masks for name in objects)
            made.append(Shot(example.name, example.group, tuple(objects), present, known, tuple(kept)))
    return made


def _view(
    backbone: Backbone,
    example: Example,
    objects: Sequence[str],
    size: int,
    draw: int | None,
    mirrored: bool,
    encode: Callable[[NDArray[np.uint8]], Features],
) -> View:
    import torch
    from torch.nn import functional as F

    from AutoPromptSAMLib.backbones.base import Frame
    from AutoPromptSAMLib.prompters.proxy_prompt.canvas import image_canvas, mask_canvas

    rows, cols = example.image.shape[:2]
    masks = [example.masks.get(name, np.zeros((rows, cols), dtype=bool)) for name in objects]
    if draw is None:
        pixels = example.image
        features = encode(pixels)
        image, covered = image_canvas(pixels, features.frame, size), mask_canvas(masks, features.frame, size)
    else:
        side = max(backbone.card.input_size, _LEAST)
        square = Frame.longest_side(rows, cols, side)
        changed, covered = _changed(
            image_canvas(example.image, square, side)[None], mask_canvas(masks, square, side)[None], draw, mirrored
        )
        pixels = changed.permute(1, 2, 0).contiguous().numpy()
        features = encode(pixels)
        image = image_canvas(pixels, features.frame, size)
        covered = F.adaptive_avg_pool2d(covered, size)
    high_res = tuple(level[0].cpu().half() for level in features.high_res)
    embedding = features.embedding[0].cpu().half()
    return View(
        embedding, features.frame, _bytes(image), _bytes(covered.to(torch.float32)), high_res, pixels, mirrored
    )


def _changed(image: torch.Tensor, masks: torch.Tensor, draw: int, mirrored: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (3, A, A) uint8 and masks (N, A, A) in 0..1 after one draw."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw)
        new_image, new_masks = _augmentation(mirrored)(image, masks)
    return _bytes(new_image[0].clamp(0, 1)), new_masks[0].clamp(0, 1)


def _augmentation(mirrored: bool) -> AugmentationSequential:
    import kornia.augmentation as augment

    return augment.AugmentationSequential(
        augment.ColorJiggle(0.1, 0.1, 0.1, 0.0, p=1.0),
        augment.RandomAffine(15.0, shear=(-10.0, 10.0, -10.0, 10.0), scale=(0.85, 1.15), p=1.0),
        augment.RandomHorizontalFlip(p=float(mirrored)),
        data_keys=["input", "mask"],
        same_on_batch=True,
    )


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return (values * 255).round().byte()

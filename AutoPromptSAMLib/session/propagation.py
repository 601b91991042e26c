"""The stack of slices that a session's jobs go through, and an object that is carried over it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import GeometryError, PromptError
from AutoPromptSAMLib.geometry import (
    Crop,
    Plane,
    VolumeGeometry,
    paste_mask,
    sample_plane,
    slab_thickness,
    slice_plane,
)
from AutoPromptSAMLib.loops.appearance import smooth
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.slice import segment_slice
from AutoPromptSAMLib.loops.tracking import SliceMask, refine_box_mask
from AutoPromptSAMLib.loops.volume import Slices, VolumeResult, propagate, work
from AutoPromptSAMLib.prompts import PixelPrompts, Prompt, on_plane
from AutoPromptSAMLib.session.image import SessionImage, rules, united
from AutoPromptSAMLib.session.protocol import PropagationResult

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache


@dataclass(frozen=True, eq=False)
class SliceStack:
    """The slices of an image along array axis ``axis`` as a backbone sees them, encoded when they are asked for.

    Raises GeometryError for an axis that there is not.
    """

    image: SessionImage
    axis: int
    backbone: Backbone
    cache: EmbeddingCache

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2):
            raise GeometryError(
                f"A volume has array axes 0 (k), 1 (j) and 2 (i), not {self.axis}; choose one of them."
            )

    @property
    def geometry(self) -> VolumeGeometry:
        """That of the image."""
        return self.image.volume.geometry

    def __len__(self) -> int:
        return self.geometry.shape[self.axis]

    @cached_property
    def planes(self) -> list[Plane]:
        """The plane of each slice."""
        return [slice_plane(self.geometry, self.axis, n) for n in range(len(self))]

    @cached_property
    def slab(self) -> float:
        """Thickness of a slice in mm."""
        return slab_thickness(self.planes[0], self.geometry)

    def features(self, index: int) -> Features:
        """A slice encoded."""
        return self.cache.get_or_encode(self.backbone, self.image.pixels(self.planes[index]))

    def appearance(self, index: int) -> NDArray[np.float32]:
        """A slice as its appearance is judged."""
        return smooth(sample_plane(self.image.volume, self.planes[index]))

    def prompts(self, prompts: Sequence[Prompt], index: int) -> PixelPrompts:
        """What prompts say about a slice."""
        return on_plane(prompts, self.planes[index], self.slab)

    def paste(self, index: int, mask: NDArray[np.bool_]) -> Crop:
        """A mask (rows, cols) of a slice as a crop of the volume."""
        return paste_mask(mask, self.planes[index], self.geometry)

    def slices(self) -> Slices:
        """What the volume loop needs; runs are remembered under image, axis, model and the rules of this version."""
        identity = f"{self.image.identity}\n{self.axis}\n{self.backbone.fingerprint}\n{rules()}"
        return Slices(len(self), self.features, self.appearance, identity)


def propagate_prompts(
    name: str,
    stack: SliceStack,
    prompts: Sequence[Prompt],
    candidates: Collection[int],
    extent: tuple[int, int],
    memory: SliceMemory,
    control: Control,
    on_slice: Callable[[int, Crop], None] | None,
) -> PropagationResult:
    """Carry an object from the slices ``candidates`` with ``prompts`` to all of ``extent`` (first, last).

    On the session's thread; as ``Session.propagate``.
    """
    lower, upper = extent

    def show(index: int, found: SliceMask) -> None:
        if on_slice is not None:
            on_slice(index, stack.paste(index, found.mask))

    given = {index: stack.prompts(prompts, index) for index in candidates}
    # A doodle may end on the very face of a slice, a solid box miss the image beside the middle of the volume.
    seeds = [index for index in sorted(candidates) if not given[index].is_empty]
    if not seeds:
        raise no_prompts(name, lower, upper)
    total = work(seeds, lower, upper)
    known: dict[int, SliceMask] = {}
    for number, index in enumerate(seeds):
        if known and control.cancelled:
            break  # ``propagate`` ends at once with what is known
        control.check()
        control.report(number, total, f"Slice {index}")
        known[index] = _seed(stack, index, given[index])
        show(index, known[index])
    found = propagate(stack.backbone, stack.slices(), known, memory, control, lower, upper, show)
    found.complete = found.complete and len(known) == len(seeds)
    return _volume_result(name, found, stack)


def no_prompts(name: str, lower: int, upper: int) -> PromptError:
    """The error of an object without prompts in the range."""
    return PromptError(f'"{name}" has no prompt on slices {lower} to {upper} along this axis; put one there.')


def _seed(stack: SliceStack, index: int, given: PixelPrompts) -> SliceMask:
    """The slice that a person prompted."""
    backbone, encoded, base = stack.backbone, stack.features(index), None
    with_points = len(given.points) and backbone.capabilities.points  # then the model weighs all prompts
    if len(given.boxes) and given.mask is None and not with_points:
        answer = segment_slice(backbone, encoded, PixelPrompts(boxes=given.boxes))
        base = refine_box_mask(backbone, encoded, stack.appearance(index), answer, given.boxes)
    return SliceMask.from_logits(segment_slice(backbone, encoded, given, base))


def _volume_result(name: str, found: VolumeResult, stack: SliceStack) -> PropagationResult:
    slices = {n: found.slices[n] for n in sorted(found.slices)}
    mask = united(stack.paste(n, answer.mask) for n, answer in slices.items())
    agreement = {n: answer.agreement for n, answer in slices.items()}
    return PropagationResult(name, mask, stack.axis, agreement, found.seeds, found.decoded, found.complete)

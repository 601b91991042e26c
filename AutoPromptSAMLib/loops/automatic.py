"""Automatic prompting: objects on the slices of a volume, prompted by annotated images of other patients.

Slice by slice. Of all supports that annotate an object, the ``MOST_SIMILAR`` that look most like the slice prompt it;
where none of those shows the object, it is not there. A slice on which a person prompted an object keeps what the
person's prompts make of it, and is a support of the slices after that. An answer depends on the slice, on its supports
and on its prompts alone, and is remembered under them: running again after a correction computes only those slices
again that the corrected one became a support of.

At the end one rule looks at the slices together (``consistent``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.regions import dice, inside_box
from AutoPromptSAMLib.loops.slice import Logits, segment_slice
from AutoPromptSAMLib.loops.tracking import SliceMask
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners.expected import expected_dice

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features
    from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportMemory
    from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
    from AutoPromptSAMLib.supports.pool import SupportGroup, SupportPool

# A piece in 3D counts if it has this part of the largest piece's voxels: two kidneys stay. Chosen on the sample CT
# with 8 to 10 supports (spleen, right kidney, liver): a 3D Dice of .35, .45, .91 without the rule, .44, .57, .94
# with 0.1 and .89, .85, .94 with 0.5, which was as good as to know the slices that the organ is on.
LEAST_PIECE = 0.5


@dataclass(frozen=True, eq=False)
class AutomaticStack:
    """What there is to know about a stack of slices, by index.

    ``image(index)`` is uint8 (rows, cols, 3) as the model sees it, ``features(index, backbone)`` that encoded (cached
    by the caller), ``prompts`` a person's prompts by slice and object, ``identity`` names the image, its mapping, the
    axis and the model.
    """

    image: Callable[[int], NDArray[np.uint8]]
    features: Callable[[int, Backbone], Features]
    prompts: Mapping[int, Mapping[str, PixelPrompts]]
    identity: str


@dataclass
class AutomaticSlices:
    """What was found, by object and slice: the mask, and in its ``agreement`` the confidence from 0 to 1.

    ``corrected``: the slices that a person's prompts decided, by object. ``decoded``: slices that had to be computed.
    ``complete`` is False after a cancel. ``before``: what was found before the rule of all slices together.
    """

    slices: dict[str, dict[int, SliceMask]] = field(default_factory=dict)
    before: dict[str, dict[int, SliceMask]] = field(default_factory=dict)
    corrected: dict[str, tuple[int, ...]] = field(default_factory=dict)
    decoded: int = 0
    complete: bool = True


def find(
    backbone: Backbone,
    prompter: ProxyPrompter,
    features: Features,
    image: NDArray[np.uint8],
    memory: SupportMemory,
    prompts: Mapping[str, PixelPrompts] | None = None,
    own: Features | None = None,
) -> dict[str, tuple[Logits, float]]:
    """Logits (rows, cols), positive inside, and confidence from 0 to 1 of every object of ``memory`` on one image.

    ``prompts`` of a person by object: boxes, and points where the model was trained with them, join the network's
    prompts, nothing is found outside of boxes, and every click is obeyed by correcting the mask, as on any slice. A
    mask is the answer itself. Corrections are ``backbone``'s, in its ``own`` features where the prompter's are others.
    """
    import torch

    given = {name: prompts[name] for name in memory.objects if prompts and name in prompts}
    with torch.no_grad():
        prompted = prompter.prompt(features, memory, _joining(prompter.backbone, given), image=image)
        decoded = prompted.refine(prompter.backbone.decode(features, prompted.embedding))
        each = prompter.backbone.upscale(decoded.low_res[:, 0], features.frame).float().cpu().numpy()
        sharp = prompted.diagnostics["confidence"].float().cpu().numpy()
    found: dict[str, tuple[Logits, float]] = {}
    for name, logits, copied in zip(memory.objects, each, sharp, strict=True):
        if name in given:
            logits = _corrected(backbone, own or features, logits, given[name])
        found[name] = (logits, confidence(logits, float(copied)))
    return found


def confidence(logits: Logits, copied: float) -> float:
    """How sure an answer is, from 0 to 1: the Dice that its own probabilities expect of it, times ``copied``.

    ``copied`` is how sharply the supports' masks could be copied; 0 without a mask.
    """
    mask = logits > 0
    return float(np.clip(expected_dice(mask, expit(logits)) * copied, 0, 1)) if mask.any() else 0.0


def _joining(backbone: Backbone, prompts: Mapping[str, PixelPrompts]) -> dict[str, PixelPrompts]:
    """What of a person's prompts can join the network's: what the model was trained with."""
    can = backbone.capabilities
    joining = {}
    for name, given in prompts.items():
        part = PixelPrompts(box=given.box if can.boxes else None)
        if can.points:
            part = replace(part, points=given.points, labels=given.labels, boxes=np.zeros((0, 4)))
        if not part.is_empty:
            joining[name] = part
    return joining


def _corrected(backbone: Backbone, features: Features, logits: Logits, prompts: PixelPrompts) -> Logits:
    """An answer with a person's prompts obeyed."""
    if prompts.mask is not None:
        return segment_slice(backbone, features, prompts)
    if len(prompts.boxes):
        inside = np.any([inside_box(box, logits.shape) for box in prompts.boxes], axis=0)
        logits = np.where(inside, logits, np.minimum(logits, -np.abs(logits))).astype(np.float32)
        if not (logits > 0).any():  # what the supports show is not in the box, but the person says that it is
            return segment_slice(backbone, features, prompts)
    return segment_slice(backbone, features, prompts, base=logits)


def prompt_slices(
    backbone: Backbone,
    pool: SupportPool,
    stack: AutomaticStack,
    objects: Sequence[str],
    wanted: Sequence[int],
    memory: SliceMemory,
    control: Control,
    on_slice: Callable[[str, int, SliceMask], None] | None = None,
    around: Mapping[str, Mapping[int, SliceMask]] | None = None,
) -> AutomaticSlices:
    """Find ``objects`` on the slices ``wanted``; ``pool`` gets the slices that a person prompted, wanted or not.

    ``around``: what was found on other slices earlier, which the rule at the end looks at too and leaves as it is.
    ``on_slice`` gets every object of every slice as soon as it is known, an empty mask included, and again when the
    rule at the end changes it. Cancelling keeps the slices that are done, and raises Cancelled when there is none.
    """
    from AutoPromptSAMLib.prompters import Support

    result = AutomaticSlices({name: {} for name in objects})
    finder = _Finder(backbone, pool, stack, memory, result)
    prompted = {index: [name for name in objects if name in given] for index, given in stack.prompts.items()}
    prompted = {index: names for index, names in sorted(prompted.items()) if names}
    order = [(index, names, True) for index, names in prompted.items()]
    order += [(index, [n for n in objects if n not in prompted.get(index, ())], False) for index in wanted]

    def show(name: str, index: int, answer: SliceMask) -> None:
        result.slices[name][index] = answer
        if on_slice is not None:
            on_slice(name, index, answer)

    try:
        for done, (index, names, by_person) in enumerate(order):
            control.check()
            control.report(done, len(order), f"Slice {index}")
            answers = finder.answers(index, names)
            if by_person:
                masks = {name: answer.mask for name, answer in answers.items()}
                features = stack.features(index, pool.prompter.backbone)
                support = Support(features, stack.image(index), masks, f"slice {index}")
                pool.add(support, _slice_name(stack, index, masks), masks)
            for name, answer in answers.items():
                if index in wanted:
                    if by_person:
                        answer = replace(answer, agreement=1.0)
                        result.corrected[name] = (*result.corrected.get(name, ()), index)
                    show(name, index, answer)
    except Cancelled:
        result.complete = False
        if not any(result.slices.values()):
            raise
    result.before = {name: dict(slices) for name, slices in result.slices.items()}
    for name, slices in result.slices.items():
        together = {**(around or {}).get(name, {}), **slices}
        vouched = [index for index, names in prompted.items() if name in names]
        for index, answer in consistent(together, vouched).items():
            if index in slices and answer is not slices[index]:
                show(name, index, answer)
    control.report(len(order), len(order), "Done")
    return result


@dataclass
class _Finder:
    """Objects on one slice after the other, remembered or computed."""

    backbone: Backbone
    pool: SupportPool
    stack: AutomaticStack
    memory: SliceMemory
    result: AutomaticSlices

    def answers(self, index: int, objects: Sequence[str]) -> dict[str, SliceMask]:
        """The objects on a slice; empty ones that none of its supports shows."""
        if not objects:
            return {}
        features = self.stack.features(index, self.pool.prompter.backbone)
        prompts = {n: given for n, given in self.stack.prompts.get(index, {}).items() if n in objects}
        answers: dict[str, SliceMask] = {}
        # A person's mask says it all.
        asked = [name for name in objects if name not in prompts or prompts[name].mask is None]
        computed = False
        for group in self.pool.groups(features, asked):
            keys = _keys(self.stack, group, prompts)
            known = {name: answer for name, key in keys.items() if (answer := self.memory.get(key, index)) is not None}
            if len(known) < len(keys):
                computed = True
                image = self.stack.image(index)
                own = self.stack.features(index, self.backbone) if prompts else None
                found = find(self.backbone, self.pool.prompter, features, image, group.memory, prompts, own)
                known = {name: SliceMask.from_logits(logits, sure) for name, (logits, sure) in found.items()}
                for name, answer in known.items():
                    self.memory.put(keys[name], index, answer)
            answers |= known
        self.result.decoded += computed
        size = (features.frame.rows, features.frame.cols)
        return {name: answers.get(name) or self._alone(index, size, prompts.get(name)) for name in objects}

    def _alone(self, index: int, size: tuple[int, int], prompts: PixelPrompts | None) -> SliceMask:
        """What a person's prompts make of a slice of ``size`` pixels without supports; nothing without prompts."""
        if prompts is not None:
            features = self.stack.features(index, self.backbone)
            return SliceMask.from_logits(segment_slice(self.backbone, features, prompts))
        return SliceMask(np.zeros((0, 0), np.float32), (0, 0), size, 0.0)


def _keys(stack: AutomaticStack, group: SupportGroup, prompts: Mapping[str, PixelPrompts]) -> dict[str, str]:
    """What the answers of a group are remembered under, by object: all that they depend on besides the slice."""
    digest = hashlib.sha256(f"{stack.identity}\n{group.identity}\n".encode())
    for name, given in prompts.items():
        digest.update(name.encode())
        for part in (given.points, given.labels, given.boxes):
            digest.update(f"{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    run = digest.hexdigest()
    return {name: hashlib.sha256(f"{run}\n{name}".encode()).hexdigest() for name in group.objects}


def _slice_name(stack: AutomaticStack, index: int, masks: Mapping[str, NDArray[np.bool_]]) -> str:
    """Another name for every correction of a slice, so that answers from an older one are not taken for its own."""
    digest = hashlib.sha256(f"{stack.identity}\n{index}\n".encode())
    for name, mask in masks.items():
        digest.update(name.encode())
        digest.update(np.packbits(mask).data)
    return digest.hexdigest()


def consistent(slices: Mapping[int, SliceMask], corrected: Sequence[int] = ()) -> dict[int, SliceMask]:
    """An object's slices after a look at all of them together.

    Pieces that hang together over slices count as one; those with fewer than ``LEAST_PIECE`` of the voxels of the
    largest are dropped, unless a person corrected a slice that they are on. What is left of a slice is as sure as it
    was, times how well it overlaps the better of its neighbours (a slice whose neighbours are not known keeps its
    confidence). Slices that a person corrected, and those that nothing changes on, stay the same object.
    """
    known = {index: answer.mask for index, answer in sorted(slices.items())}
    if len(known) < 2 or not any(mask.any() for mask in known.values()):
        return dict(slices)
    kept = _large_pieces(known, corrected)
    result = dict(slices)
    for index, answer in slices.items():
        if index in corrected or answer.is_empty:
            continue
        mask = kept[index]
        beside = [kept[n] for n in (index - 1, index + 1) if n in kept]
        sure = answer.agreement * max((dice(mask, other) for other in beside), default=1.0)
        if not np.array_equal(mask, known[index]):
            logits = np.where(mask, answer.full_logits, np.minimum(answer.full_logits, -1e-3))
            result[index] = SliceMask.from_logits(logits.astype(np.float32), sure)
        elif sure != answer.agreement:
            result[index] = replace(answer, agreement=sure)
    return result


def _large_pieces(masks: Mapping[int, NDArray[np.bool_]], corrected: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
    """The masks of an object's slices, not all of them empty, without small pieces."""
    first, last = min(masks), max(masks)
    stack = np.zeros((last - first + 1, *masks[first].shape), dtype=bool)
    for index, mask in masks.items():
        stack[index - first] = mask
    block = Crop.from_full(stack)
    labels, _ = ndimage.label(block.mask, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    keep = sizes >= LEAST_PIECE * sizes[1:].max()
    for index in corrected:
        if block.lower[0] <= index - first < block.upper[0]:
            keep[labels[index - first - block.lower[0]]] = True
    keep[0] = False
    stack[block.slices] = keep[labels]
    return {index: stack[index - first] for index in masks}

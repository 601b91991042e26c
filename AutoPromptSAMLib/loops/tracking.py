"""Carry an object from one slice to the next: prompts from the neighbour's mask, and when to stop.

Each connected piece of the neighbour's mask is prompted on its own: one box around two vessels shows what lies between
them (aorta of the sample CT with true boxes: Dice .74 for one box a slice, .92 for one a piece). For each piece
several prompts are tried in one batch: its box with a little and with more room, and the boxes of its two halves, for
where it is about to part. Models that were trained on masks and points also get the neighbour's mask and a point. The
answer that agrees best with the neighbour wins, after the appearance of the object has had its say.

A piece ends where its best answer overlaps the neighbour with a Dice below ``STOP_DICE``, has fewer than
``MIN_PIXELS`` pixels or less than ``MIN_PART`` of the prompted slice's, or looks more like the surroundings than like
the object. The run ends with the last piece.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from AutoPromptSAMLib.loops.appearance import Appearance
from AutoPromptSAMLib.loops.regions import (
    Mask,
    Window,
    bounding_box,
    components,
    dice,
    inside_box,
    scaled,
    split,
    window,
)
from AutoPromptSAMLib.prompts import PixelPrompts

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features

# All lengths are pixels of a 512-pixel image. Choices made on the sample CT (docs/volume-loop.md has the figures).
PADS = (2, 5)
REACH = 12  # an object's border moves at most this far from slice to slice
MIN_PIXELS = 15
STOP_DICE = 0.35
# Nor does a piece that shrank below this part of the object on the slice that a person prompted: what is left of an
# organ that has ended is the beginning of something else. The aorta of the sample CT otherwise goes on in the neck.
MIN_PART = 0.02
# A piece of an answer counts only if this part of it lies on or beside the neighbour's mask.
MIN_OVERLAP = 0.4
BESIDE = 3
# Answers that grow or shrink must overlap better: each natural logarithm of area costs this much Dice.
AREA_COST = 0.2
# How fast the appearance follows the slices.
UPDATE_RATE = 0.1
OUTSIDE = -16.0  # logit of what was not decoded


@dataclass(frozen=True, eq=False)
class SliceMask:
    """One object on one slice: logits (rows, cols) of a window of the image, background elsewhere.

    ``agreement`` is the Dice with the neighbour it was prompted from, 1 for a slice that a person prompted.
    """

    logits: NDArray[np.float32] | NDArray[np.int8]
    lower: tuple[int, int]
    shape: tuple[int, int]
    agreement: float = 1.0

    @staticmethod
    def from_logits(logits: NDArray[np.float32], agreement: float = 1.0) -> SliceMask:
        """Keep the window that matters of full logits (rows, cols)."""
        mask = logits > 0
        if not mask.any():
            return SliceMask(np.zeros((0, 0), np.float32), (0, 0), mask.shape, agreement)
        rows, cols = window(mask, scaled(REACH, mask.shape))
        kept = logits[rows, cols].astype(np.float32)
        return SliceMask(kept, (rows.start, cols.start), mask.shape, agreement)

    @property
    def is_empty(self) -> bool:
        """Whether the object is not on this slice."""
        return not (self.logits > 0).any()

    @property
    def lean(self) -> SliceMask:
        """The same mask in a quarter of the memory: logits of 1 and -1."""
        return replace(self, logits=np.where(self.logits > 0, np.int8(1), np.int8(-1)))

    @property
    def full_logits(self) -> NDArray[np.float32]:
        """Logits (rows, cols) of the whole slice."""
        full = np.full(self.shape, OUTSIDE, dtype=np.float32)
        rows, cols = self.logits.shape
        full[self.lower[0] : self.lower[0] + rows, self.lower[1] : self.lower[1] + cols] = self.logits
        return full

    @property
    def mask(self) -> Mask:
        """The object on the whole slice, bool (rows, cols)."""
        return self.full_logits > 0


def decode_prompts(backbone: Backbone, features: Features, prompts: list[PixelPrompts]) -> NDArray[np.float32]:
    """Logits (N, rows, cols) of N prompts on one image, one mask each."""
    embedding = backbone.embed_prompts(features.frame, prompts)
    decoded = backbone.decode(features, embedding)
    logits: NDArray[np.float32] = backbone.upscale(decoded.low_res[:, 0], features.frame).float().cpu().numpy()
    return logits


class Tracker:
    """Follows one object slice by slice, starting from a slice that is known."""

    def __init__(self, backbone: Backbone, image: NDArray[np.float32], mask: Mask) -> None:
        """``image`` is the starting slice from ``appearance.smooth``, ``mask`` (rows, cols) must not be empty."""
        self._backbone = backbone
        self._appearance = Appearance(image, mask)
        self._mask = mask
        self._min_pixels = max(MIN_PIXELS, MIN_PART * int(mask.sum()))

    def accept(self, image: NDArray[np.float32], result: SliceMask) -> None:
        """Make a slice the neighbour of the next one; a result that was kept from an earlier run can be given too."""
        self._mask = result.mask
        if self._mask.any():
            self._appearance.update(image, self._mask, UPDATE_RATE)

    def step(self, features: Features, image: NDArray[np.float32]) -> SliceMask:
        """The object on the slice beside the last accepted one; empty where it ended."""
        shape = self._mask.shape
        pieces = components(self._mask, MIN_PIXELS)
        logits = np.full(shape, OUTSIDE, dtype=np.float32)
        prompts, owners = self._prompts(pieces)
        if not prompts:
            return SliceMask.from_logits(logits, 0.0)
        flat = [prompt for group in prompts for prompt in group]
        decoded = iter(decode_prompts(self._backbone, features, flat))
        answers: list[list[NDArray[np.float32]]] = [[] for _ in pieces]
        for group, owner in zip(prompts, owners, strict=True):
            answers[owner].append(np.max([next(decoded) for _ in group], axis=0))
        for piece, candidates in zip(pieces, answers, strict=True):
            place = window(piece, scaled(REACH, shape))
            best = self._best(piece[place], [c[place] for c in candidates], image[place])
            if best is not None:
                logits[place] = np.maximum(logits[place], best)
        return SliceMask.from_logits(logits, dice(logits > 0, self._mask))

    def _prompts(self, pieces: list[Mask]) -> tuple[list[list[PixelPrompts]], list[int]]:
        """Groups of prompts whose answers belong together, and the piece that each group is for."""
        can = self._backbone.capabilities
        groups, owners = [], []
        for owner, piece in enumerate(pieces):
            pads = [scaled(pad, piece.shape) for pad in PADS]
            own = [[PixelPrompts(box=bounding_box(piece, pad))] for pad in pads]
            halves = split(piece)
            if len(halves) == 2 and min(half.sum() for half in halves) >= MIN_PIXELS:
                own.append([PixelPrompts(box=bounding_box(half, pads[0])) for half in halves])
            box = bounding_box(piece, pads[0])
            if can.masks:
                own.append([PixelPrompts(box=box, mask=piece)])
            if can.points:
                own.append([PixelPrompts(box=box, points=innermost(piece)[None], labels=np.ones(1, np.int8))])
            groups += own
            owners += [owner] * len(own)
        return groups, owners

    def _best(
        self, piece: Mask, candidates: list[NDArray[np.float32]], image: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        """The candidate that agrees best with ``piece`` (all in one window), cleaned; None where the piece ended."""
        ratio = self._appearance.log_ratio(image)
        near = ndimage.binary_dilation(piece, iterations=BESIDE)
        area = int(piece.sum())
        chosen, mask, score = None, None, -np.inf
        for candidate in candidates:
            combined = candidate + ratio
            kept = pieces_on(combined > 0, near)
            if not kept.any():
                continue
            agreement = dice(kept, piece)
            value = agreement - AREA_COST * abs(np.log(kept.sum() / area))
            if value > score:
                chosen, mask, score = combined, kept, value
        if chosen is None or mask is None or dice(mask, piece) < STOP_DICE:
            return None
        labels, count = ndimage.label(mask)
        numbers = np.arange(1, count + 1)
        goes_on = (ndimage.mean(ratio, labels, numbers) > 0) & (ndimage.sum(mask, labels, numbers) >= self._min_pixels)
        mask = np.concatenate([[False], goes_on])[labels]
        return np.where(mask, chosen, np.minimum(chosen, -1e-3)).astype(np.float32)


def innermost(mask: Mask) -> NDArray[np.float64]:
    """(col, row) of the pixel farthest from the border of a mask that is not empty."""
    place: Window = window(mask, 1)
    distance = ndimage.distance_transform_edt(np.pad(mask[place], 1))[1:-1, 1:-1]
    row, col = np.unravel_index(int(distance.argmax()), distance.shape)
    return np.array([col + place[1].start, row + place[0].start], dtype=np.float64)


def pieces_on(mask: Mask, near: Mask) -> Mask:
    """The pieces of ``mask`` that are large enough and lie mostly on ``near``."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    on = np.bincount(labels.ravel(), near.ravel(), minlength=count + 1)
    keep = (sizes >= MIN_PIXELS) & (on >= MIN_OVERLAP * sizes)
    keep[0] = False
    return keep[labels]


def refine_box_mask(
    backbone: Backbone,
    features: Features,
    image: NDArray[np.float32],
    logits: NDArray[np.float32],
    boxes: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Better logits (rows, cols) for the slice that a person boxed, before they are carried to other slices.

    A person's box says where the object ends, so all that looks like the object inside it counts, and nothing outside
    it: boxes of the halves add what one box missed, appearance fills and trims. ``boxes`` (4,) or (B, 4) are one or
    several (x0, y0, x1, y1), each around a piece of the object, ``logits`` the answer to them (``segment_slice``).
    Seed of the sample CT's aortic arch: Dice .87 before, .96 after.
    """
    places = [inside_box(box, logits.shape) for box in np.reshape(boxes, (-1, 4))]
    inside: Mask = np.any(places, axis=0)
    mask = (logits > 0) & inside
    combined = logits
    for _ in range(2):
        halves = [half for place in places for half in split(mask & place) if half.sum() >= MIN_PIXELS]
        if not halves:
            return combined
        pad = scaled(PADS[0], mask.shape)
        answers = decode_prompts(backbone, features, [PixelPrompts(box=bounding_box(h, pad)) for h in halves])
        combined = np.maximum(logits, answers.max(axis=0)) + Appearance(image, mask).log_ratio(image)
        combined = np.where(inside, combined, np.minimum(combined, -1e-3)).astype(np.float32)
        labels, count = ndimage.label(combined > 0)
        keep = np.zeros(count + 1, dtype=bool)
        for place in places:  # a small piece that has a box of its own is no speck
            sizes = np.bincount(labels[place], minlength=count + 1)
            sizes[0] = 0
            keep |= (sizes > 0) & (sizes >= min(sizes.max(), max(MIN_PIXELS, 0.1 * sizes.max())))
        mask = keep[labels]
        combined = np.where(mask, combined, np.minimum(combined, -1e-3)).astype(np.float32)
    return combined

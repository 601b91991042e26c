"""Slice loop: the object on one slice, from the prompts that a person put there.

A click without a box becomes a search for one: boxes of several sizes around it, and the object's box moved to take
the click in or to leave it out, are decoded in one batch. Models that know boxes only (LiteMedSAM: a point beside a
true box lowers the Dice of the sample CT's spleen from .96 to .83, a point alone finds nothing) need this, and those
that were trained on points gain by it: MobileSAM's own answer to one click has a mean Dice of .49 over 11 sets of
images (.31 when it picks among its three masks), its search .62. A simulated user's first four clicks reach .48, .58,
.71, .71 with MobileSAM's own answers to all points and .63, .70, .74, .77 so (8 sets); only three clicks at random
places inside the object do better with its own, .54 against .48. Clicks beside a box go to such models as they are.

Several boxes mean the union of what is in each: all are decoded in one batch, and the largest logit counts.

Where there is no object yet, a click means the thing under it. Each answer proposes one. A thing gives the same answer
again to its own box (this counts most), has the click near its middle (least), and is rather large than small, for its
parts are things too. Chosen on, and good for a mean Dice of, .73 with 11 structures of the sample CT and .74 with four
sets of other images (X-ray, fundus, ultrasound). The best of the proposals would give .83 and .81, one box of a fixed
size .64 and .55; a box by hand is better.

Where there is an object already, a click corrects it: it adds or takes away one connected region at the click and
leaves the rest alone, because what was right must stay right. Each answer proposes such a region. People click in the
middle of what is wrong, so the region must have the click in its middle; the one that the answers agree on best is
taken. Where none will do, a disc is: its radius is the distance from the click to the object's border, which is half
the width of what is wrong when the click is in its middle. So a click always does something, and never much harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.loops.regions import Mask, bounding_box, dice, inside_box, scaled, window
from AutoPromptSAMLib.loops.tracking import OUTSIDE, PADS, decode_prompts
from AutoPromptSAMLib.prompts import PixelPrompts

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features

Logits = NDArray[np.float32]
Pixel = tuple[int, int]  # row, column

# Half sides, in pixels of a 512-pixel image, of the boxes that are tried around a click.
HALF_SIDES = (6, 10, 16, 24, 36, 56, 84, 120)
# How near the middle of a region its click must be: distance to the border there, as a part of the largest one. Of 256
# simulated clicks on the sample CT (9 structures, 3 directions, boxes up to 9 pixels off) 3.9 % did harm, 5.9 % with
# 0.5, and they mended a little more.
CENTRAL = 0.8
DISC = (3, 16)  # smallest and largest radius of the disc that a click adds or takes away when there is no region
CERTAIN = 8.0  # logit of a pixel that a person decided


def segment_slice(backbone: Backbone, features: Features, prompts: PixelPrompts, base: Logits | None = None) -> Logits:
    """Logits (rows, cols) of the object that ``prompts`` mean, positive inside.

    Several boxes give the union of the answers to each. A mask prompt is the answer where nothing else is given, else
    what clicks correct. ``base`` is an answer to the boxes that is better than the model's own (``refine_box_mask``),
    used in its place. Raises PromptError when there are no prompts on the slice.
    """
    if prompts.is_empty:
        raise PromptError("There is no prompt on this slice; put a point, a box or a doodle on it.")
    if base is not None:
        logits = base
    elif prompts.mask is not None and (prompts.box is None or not backbone.capabilities.masks):
        logits = _from_mask(prompts.mask)
    elif prompts.box is None:
        logits = np.full((features.frame.rows, features.frame.cols), OUTSIDE, dtype=np.float32)
    else:
        logits = _decode(backbone, features, prompts)
    # One click after the other, so that the answer does not depend on clicks that come later.
    clicks = [
        (_nearest_pixel(point, logits.shape), bool(label))
        for point, label in zip(prompts.points, prompts.labels, strict=True)
    ]
    for number, (at, positive) in enumerate(clicks):
        if positive and not (logits > 0).any():
            logits = _find(backbone, features, logits, clicks[: number + 1])
        if (logits[at] > 0) != positive:
            logits = _correct(backbone, features, logits, clicks[: number + 1])
    return logits


def _decode(backbone: Backbone, features: Features, prompts: PixelPrompts) -> Logits:
    """The model's answer to all prompts that it was trained on."""
    can = backbone.capabilities
    if not can.points:
        prompts = PixelPrompts(boxes=prompts.boxes, mask=prompts.mask if can.masks else None)
    if len(prompts.boxes) > 1:
        united: Logits = decode_prompts(backbone, features, _by_box(prompts)).max(axis=0)
        return united
    return decode_prompts(backbone, features, [prompts])[0]


def _by_box(prompts: PixelPrompts) -> list[PixelPrompts]:
    """Prompts of one box each: with the part of the mask inside it, and the points to which no other box is nearer."""
    parts = []
    for box, own in zip(prompts.boxes, prompts.nearest_to(prompts.boxes), strict=True):
        mask = prompts.mask
        if mask is not None:
            background = False if mask.dtype == np.bool_ else OUTSIDE
            mask = np.where(inside_box(box, mask.shape), mask, background).astype(mask.dtype)
        parts.append(PixelPrompts(prompts.points[own], prompts.labels[own], box, mask))
    return parts


def _find(backbone: Backbone, features: Features, logits: Logits, clicks: Sequence[tuple[Pixel, bool]]) -> Logits:
    """``logits``, empty so far, with the thing under the last of ``clicks``, where there is one."""
    at = clicks[-1][0]
    against = [pixel for pixel, sign in clicks if not sign]
    boxes = [_around(at, scaled(half, logits.shape), logits.shape) for half in HALF_SIDES]
    answers = decode_prompts(backbone, features, [PixelPrompts(box=box) for box in boxes])
    things = [(answer, _piece_at(answer > 0, at)) for answer in answers]
    things = [(answer, thing) for answer, thing in things if thing.any() and not any(thing[p] for p in against)]
    if not things:
        return logits
    own = [PixelPrompts(box=bounding_box(thing, scaled(PADS[0], thing.shape))) for _, thing in things]
    scores = [
        dice(thing, _piece_at(again > 0, at)) ** 2 * np.sqrt(_centrality(thing, at)) * np.log1p(thing.sum())
        for (_, thing), again in zip(things, decode_prompts(backbone, features, own), strict=True)
    ]
    answer, thing = things[int(np.argmax(scores))]
    return np.where(thing, answer, np.minimum(logits, -np.abs(answer))).astype(np.float32)


def _correct(backbone: Backbone, features: Features, logits: Logits, clicks: Sequence[tuple[Pixel, bool]]) -> Logits:
    """``logits`` with the last of ``clicks`` obeyed; those before it still hold."""
    at, positive = clicks[-1]
    mask = logits > 0
    against = [pixel for pixel, sign in clicks[:-1] if sign != positive]
    answers = decode_prompts(backbone, features, _searches(backbone, mask, clicks))
    around = len(HALF_SIDES)
    disc = _disc(mask, at, positive, against)
    regions = []
    for number, answer in enumerate(answers > 0):
        # A box around the click shows the thing that was clicked; the object's own prompts show the object.
        clicked = _piece_at(answer, at) if number < around or positive else ~answer
        region = _piece_at(clicked & (mask != positive), at)
        if region.any() and not any(region[pixel] for pixel in against) and _centrality(region, at) >= CENTRAL:
            regions.append(region)
    if regions:
        support = [np.mean([dice(region, other) for other in regions]) * _centrality(region, at) for region in regions]
        region = regions[int(np.argmax(support))]
        if region.sum() >= disc.sum():
            return _changed(logits, region, positive)
    return _changed(logits, disc, positive)


def _searches(backbone: Backbone, mask: Mask, clicks: Sequence[tuple[Pixel, bool]]) -> list[PixelPrompts]:
    """Boxes around the last click, then the object's own box moved, and points where the model was trained on them."""
    (row, col), positive = clicks[-1]
    prompts = [PixelPrompts(box=_around((row, col), scaled(half, mask.shape), mask.shape)) for half in HALF_SIDES]
    piece = mask if positive else _piece_at(mask, (row, col))
    if not piece.any():
        return prompts
    x0, y0, x1, y1 = bounding_box(piece)
    if positive:
        boxes = [(min(x0, col - 2), min(y0, row - 2), max(x1, col + 2), max(y1, row + 2))]
    else:
        boxes = [(col + 2, y0, x1, y1), (x0, y0, col - 2, y1), (x0, row + 2, x1, y1), (x0, y0, x1, row - 2)]
    limit = np.array([mask.shape[1], mask.shape[0]] * 2) - 1.0
    own = [np.clip(box, 0, limit) for box in boxes if box[2] - box[0] >= 4 and box[3] - box[1] >= 4]
    prompts += [PixelPrompts(box=box) for box in own]
    if backbone.capabilities.points:
        points = np.array([[pixel[1], pixel[0]] for pixel, _ in clicks], dtype=np.float64)
        labels = np.array([sign for _, sign in clicks], dtype=np.int8)
        shown = mask if backbone.capabilities.masks else None
        prompts.append(PixelPrompts(points, labels, bounding_box(mask), shown))
    return prompts


def _changed(logits: Logits, region: Mask, positive: bool) -> Logits:
    return np.where(region, CERTAIN if positive else -CERTAIN, logits).astype(np.float32)


def _disc(mask: Mask, at: Pixel, positive: bool, against: Sequence[Pixel]) -> Mask:
    """What a click changes by itself: a disc as wide as the mask's border is away, short of clicks against it."""
    rows, cols = np.ogrid[: mask.shape[0], : mask.shape[1]]
    distance = np.hypot(rows - at[0], cols - at[1])
    smallest, largest = (scaled(radius, (mask.shape[0], mask.shape[1])) for radius in DISC)
    border = distance[mask == positive]
    radius = float(np.clip(border.min() if border.size else smallest, smallest, largest))
    radius = min([radius, *(0.5 * float(distance[pixel]) for pixel in against)])
    return (distance <= radius) & (mask != positive)


def _centrality(region: Mask, at: Pixel) -> float:
    """How near a pixel of ``region`` is to its middle: 1 at the innermost pixel, towards 0 at the border."""
    rows, cols = window(region)
    distance = ndimage.distance_transform_edt(np.pad(region[rows, cols], 1))[1:-1, 1:-1]
    return float(distance[at[0] - rows.start, at[1] - cols.start] / distance.max())


def _piece_at(mask: Mask, at: Pixel) -> Mask:
    """The connected piece of ``mask`` at a pixel, empty when there is none."""
    if not mask[at]:
        return np.zeros_like(mask)
    labels, _ = ndimage.label(mask)
    piece: Mask = labels == labels[at]
    return piece


def _around(at: Pixel, half: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    row, col = at
    return np.array(
        [max(0, col - half), max(0, row - half), min(shape[1] - 1, col + half), min(shape[0] - 1, row + half)],
        dtype=np.float64,
    )


def _nearest_pixel(point: NDArray[np.float64], shape: tuple[int, ...]) -> Pixel:
    col, row = (int(np.clip(round(float(p)), 0, n - 1)) for p, n in zip(point, shape[::-1], strict=True))
    return row, col


def _from_mask(mask: NDArray[np.generic]) -> Logits:
    """Logits of a mask prompt: a bool mask is certain, float logits are taken as they are."""
    if mask.dtype == np.bool_:
        return np.where(mask, CERTAIN, -CERTAIN).astype(np.float32)
    return mask.astype(np.float32)

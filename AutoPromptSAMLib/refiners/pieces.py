"""Boxes of masks, and jittered boxes. Boxes are (x0, y0, x1, y1) in pixels, integer at pixel centres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from AutoPromptSAMLib.geometry.grid import FloatArray

Mask = NDArray[np.bool_]
Boxes = FloatArray

# A piece with less than this part of the mask's pixels is a speck: a box for it would cost as much as for an organ,
# and one box around it and the organ would be wrong. A choice.
SPECK = 0.02
# Bits below which a pixel is sure, however sure the others are: there is always a largest uncertainty. A choice.
LEAST_UNSURE = 0.1
MOST_PIECES = 8  # boxes that are decoded for one mask; the largest pieces. A choice.


def piece_boxes(mask: Mask) -> Boxes:
    """The boxes (B, 4) of the mask's connected pieces, largest first, without specks; none for an empty mask."""
    labels, count = ndimage.label(mask)
    if not count:
        return np.zeros((0, 4))
    sizes = np.bincount(labels.ravel())[1:]
    order = [n for n in np.argsort(-sizes, kind="stable") if sizes[n] >= SPECK * sizes.sum()]
    if not order:  # nothing but specks: dots all over the image
        order = [int(sizes.argmax())]
    places = ndimage.find_objects(labels)
    boxes = [(p[1].start, p[0].start, p[1].stop - 1, p[0].stop - 1) for p in (places[n] for n in order[:MOST_PIECES])]
    return np.array(boxes, dtype=np.float64)


def jittered(boxes: Boxes, copies: int, sigma: float, shape: tuple[int, int], seed: int) -> Boxes:
    """Copies (copies, B, 4) of boxes (B, 4) with N(0, ``sigma`` * side) added to each coordinate, inside the image.

    ``shape`` is (rows, cols). The same seed gives the same draws, in parts of the sides, whatever the boxes.
    """
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    # Box by box: the first one's draws do not depend on how many there are.
    draws = np.random.default_rng(seed).normal(size=(len(boxes), copies, 4)).swapaxes(0, 1)
    moved = boxes + sigma * sides * draws
    # A corner that went past the other changes places with it.
    moved = np.concatenate([np.minimum(moved[..., :2], moved[..., 2:]), np.maximum(moved[..., :2], moved[..., 2:])], 2)
    return np.clip(moved, 0, np.array([shape[1], shape[0]] * 2) - 1.0)


def refined_boxes(mask: Mask, uncertainty: NDArray[np.float32], threshold: float) -> Boxes:
    """Boxes (B, 4) around the pieces of ``mask`` with the unsure pixels that hang together with them.

    A pixel is unsure above ``threshold`` times the largest uncertainty (and above ``LEAST_UNSURE``). The paper takes
    the unsure pixels alone, but along crisp borders they fall to pieces, and a box around the largest piece then loses
    the object. Empty for an empty mask.
    """
    unsure = uncertainty > max(threshold * float(uncertainty.max(initial=0.0)), LEAST_UNSURE)
    labels, count = ndimage.label(mask | unsure)
    own = np.bincount(labels.ravel(), mask.ravel(), minlength=count + 1)
    own[0] = 0
    if not own.any():
        return np.zeros((0, 4))
    # Pieces are told from specks by the mask alone: an unsure fringe does not make a speck a piece.
    keep = own >= SPECK * own.sum()
    if not keep.any():
        keep[own.argmax()] = True
    order = [n for n in np.argsort(-own, kind="stable") if keep[n]][:MOST_PIECES]
    places = ndimage.find_objects(labels)
    boxes = [(p[1].start, p[0].start, p[1].stop - 1, p[0].stop - 1) for p in (places[n - 1] for n in order)]
    return np.array(boxes, dtype=np.float64)


def peaks(uncertainty: NDArray[np.float32], count: int, apart: float, taken: FloatArray) -> Boxes:
    """Up to ``count`` points (n, 2) as (col, row) of largest uncertainty; fewer where the rest is sure.

    They are at least ``apart`` pixels from each other and from the points ``taken`` (m, 2).
    """
    left = np.where(uncertainty >= LEAST_UNSURE, uncertainty, 0)
    rows, cols = left.shape
    found: list[tuple[float, float]] = []

    def clear(col: float, row: float) -> None:
        y0, y1 = max(0, int(row - apart)), min(rows, int(row + apart) + 2)
        x0, x1 = max(0, int(col - apart)), min(cols, int(col + apart) + 2)
        y, x = np.ogrid[y0:y1, x0:x1]
        left[y0:y1, x0:x1][np.hypot(y - row, x - col) < apart] = 0

    for col, row in taken:
        clear(float(col), float(row))
    while len(found) < count and left.any():
        row, col = np.unravel_index(int(left.argmax()), left.shape)
        found.append((float(col), float(row)))
        clear(float(col), float(row))
    return np.array(found, dtype=np.float64).reshape(-1, 2)

"""Small operations on masks (rows, cols) bool that the loops share; all of them work inside the mask's own window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Window = tuple[slice, slice]


def scaled(pixels: float, shape: tuple[int, int]) -> int:
    """A length that was chosen on 512-pixel images, in pixels of an image of ``shape``; at least 1."""
    return max(1, round(pixels * max(shape) / 512))


def window(mask: Mask, pad: int = 0) -> Window:
    """Rows and columns of a mask that is not empty, ``pad`` pixels wider on each side, inside the image."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - pad), min(mask.shape[0], int(rows[-1]) + 1 + pad)),
        slice(max(0, int(cols[0]) - pad), min(mask.shape[1], int(cols[-1]) + 1 + pad)),
    )


def bounding_box(mask: Mask, pad: int = 0) -> NDArray[np.float64]:
    """(x0, y0, x1, y1) of a mask that is not empty: first and last pixel centres, ``pad`` pixels wider."""
    rows, cols = window(mask, pad)
    return np.array([cols.start, rows.start, cols.stop - 1, rows.stop - 1], dtype=np.float64)


def inside_box(box: NDArray[np.floating], shape: tuple[int, ...]) -> Mask:
    """Pixels (rows, cols) of an image of ``shape`` whose centres are in a box (x0, y0, x1, y1), rounded to pixels."""
    x0, y0, x1, y1 = np.rint(box).astype(int)
    inside = np.zeros(shape, dtype=bool)
    inside[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = True
    return inside


def components(mask: Mask, min_pixels: int = 1) -> list[Mask]:
    """Connected pieces of at least ``min_pixels`` pixels, largest first."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    return [labels == n + 1 for n in order if sizes[n] >= min_pixels]


def split(mask: Mask, parts: int = 2) -> list[Mask]:
    """Cut one piece into ``parts`` compact ones by k-means on its pixel positions, started along its long axis.

    They come in the order along that axis, downwards or to the right; one that is too small to cut comes back alone.
    Where an arch becomes two vessels, one box around both shows mostly what lies between them.
    """
    yx = np.argwhere(mask).astype(np.float64)
    if len(yx) < parts:
        return [mask]
    centred = yx - yx.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    # The long axis has no direction of its own: the linear algebra library must not decide which part comes first.
    along = centred @ (axis if axis[np.abs(axis).argmax()] > 0 else -axis)
    assigned = np.searchsorted(np.quantile(along, np.arange(1, parts) / parts), along, side="right")
    for _ in range(8):
        centres = np.stack([yx[assigned == n].mean(axis=0) for n in range(parts) if (assigned == n).any()])
        nearest = ((yx[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        if np.array_equal(nearest, assigned):
            break
        assigned = nearest
    pieces = []
    for n in range(parts):
        piece = np.zeros_like(mask)
        piece[tuple(yx[assigned == n].astype(np.intp).T)] = True
        if piece.any():
            pieces.append(piece)
    return pieces


def dice(a: Mask, b: Mask) -> float:
    """Dice overlap of two masks; 0 when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 0.0

"""Strokes that a person might draw, made from the true mask (rows, cols) of an object; and where its middle is.

A synthetic doodle is two thin lines. The positive one follows the middle of the object's largest piece: a random half
to whole of the longest way through its skeleton (Zhang and Suen 1984), as people draw along a vessel and through an
organ. Round objects have hardly a skeleton; theirs is a straight line through the middle at a random angle, half as
long as fits. The negative one is a random fifth to two fifths of the way around the piece, at a distance of a tenth of
its size. The forms follow ScribblePrompt (Wong et al., ECCV 2024: line, centreline and contour scribbles); the figures
are choices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
POSITIVE_PART = (0.5, 1.0)  # of the way along the middle
NEGATIVE_PART = (0.2, 0.4)  # of the way around
STRAIGHT_PART = 0.5  # of the chord through the middle
DISTANCE = 0.1  # of the negative line, in parts of the square root of the area; at least 2 pixels
SHORT = 1.0  # a way through the skeleton that is shorter than this many times the depth is no line to follow


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected piece with the most pixels (diagonal neighbours are connected); an empty mask comes back empty."""
    labels, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count <= 1:
        return np.asarray(mask, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    piece: NDArray[np.bool_] = labels == sizes.argmax()
    return piece


def deepest(mask: NDArray[np.bool_], spacing: Sequence[float] | None = None) -> tuple[int, ...]:
    """Index of the pixel that is farthest from the mask's border, the image's border included.

    Of several as deep, the one nearest to the mean position. ``spacing``: along the array axes. For arrays of any
    dimensions, not empty.
    """
    window = ndimage.find_objects(mask.astype(np.uint8))[0]
    part = np.pad(mask[window], 1)
    depth = ndimage.distance_transform_edt(part, sampling=spacing)
    deep = np.argwhere(depth >= depth.max() * (1 - 1e-6))
    nearest = deep[np.linalg.norm(deep - np.argwhere(part).mean(axis=0), axis=1).argmin()]
    return tuple(int(n) - 1 + side.start for n, side in zip(nearest, window, strict=True))


def synthetic_doodles(truth: Mask, rng: np.random.Generator) -> tuple[Mask, Mask]:
    """(positive, negative) lines, bool (rows, cols), one pixel wide; see the module for what they look like.

    The positive one is inside ``truth`` and has at least one pixel. The negative one is outside it, and empty where
    the object leaves no room.
    """
    piece = largest_piece(truth)
    return _positive(piece, rng), _negative(truth, piece, rng)


def _positive(piece: Mask, rng: np.random.Generator) -> Mask:
    from skimage.morphology import skeletonize  # here: importing it takes half a second

    centre = deepest(piece)
    depth = float(ndimage.distance_transform_edt(np.pad(piece, 1))[centre[0] + 1, centre[1] + 1])
    way = _longest_way(skeletonize(piece))
    if len(way) > SHORT * depth and len(way) > 1:
        length = max(2, round(len(way) * rng.uniform(*POSITIVE_PART)))
        start = int(rng.integers(len(way) - length + 1))
        way = way[start : start + length]
    else:
        angle = rng.uniform(0, np.pi)
        along = np.arange(-depth * STRAIGHT_PART, depth * STRAIGHT_PART + 0.5, 0.5)
        way = np.rint(np.array(centre) + along[:, None] * [np.sin(angle), np.cos(angle)]).astype(int)
    line = np.zeros_like(piece)
    inside = ((way >= 0) & (way < piece.shape)).all(axis=1)
    line[tuple(way[inside].T)] = True
    line &= piece  # rounding may step out of a piece that is two pixels wide
    line[centre] |= not line.any()
    return line


def _longest_way(skeleton: Mask) -> NDArray[np.intp]:
    """Pixels (n, 2) as (row, col), in order, between two ends of a skeleton that are far apart along it."""
    pixels = np.argwhere(skeleton)
    if len(pixels) < 2:
        return pixels
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra
    from scipy.spatial import cKDTree

    neighbours = cKDTree(pixels).query_pairs(1.5, output_type="ndarray")
    lengths = np.linalg.norm(pixels[neighbours[:, 0]] - pixels[neighbours[:, 1]], axis=1)
    graph = coo_array((lengths, tuple(neighbours.T)), shape=(len(pixels), len(pixels))).tocsr()
    end = 0
    for _ in range(2):  # the farthest from the farthest: the longest way of a tree, and a long one elsewhere
        away, before = dijkstra(graph, directed=False, indices=end, return_predecessors=True)
        start, end = end, int(np.where(np.isfinite(away), away, -1).argmax())
    way = [end]
    while way[-1] != start:
        way.append(int(before[way[-1]]))
    ordered: NDArray[np.intp] = pixels[way]
    return ordered


def _negative(truth: Mask, piece: Mask, rng: np.random.Generator) -> Mask:
    from skimage.measure import find_contours

    away = max(2.0, DISTANCE * float(np.sqrt(np.count_nonzero(piece))))
    margin = int(away) + 2
    distance = ndimage.distance_transform_edt(~np.pad(piece, margin))
    contour = max(find_contours(distance, away), key=len) - margin
    length = max(2, round(len(contour) * rng.uniform(*NEGATIVE_PART)))
    arc = np.take(contour, np.arange(length) + int(rng.integers(len(contour))), axis=0, mode="wrap")
    way = np.rint(arc).astype(int)
    line = np.zeros_like(truth)
    inside = ((way >= 0) & (way < truth.shape)).all(axis=1)
    line[tuple(way[inside].T)] = True
    return line & ~truth

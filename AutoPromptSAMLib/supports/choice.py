"""Which slices of an annotated volume become supports.

Rule, the same every time. For each object, the slices from its first to its last are cut into n equal parts, and of
each part the slice on which the object is largest is taken (of equal ones the one nearest to the part's middle). So
the largest slice is always among them, and they are spread over all of the object. One more slice on either side, a
tenth of the object's length beyond its end, shows what is there when the object is not. n is the largest number, up to
``MOST_PARTS``, for which all objects together need no more slices than are allowed; objects share slices. With more
objects than slices allowed every object still gets its largest slice.

Where only some slices were annotated there is nothing beyond: an empty mask there means nothing. Whether an annotation
is whole is told from its areas (``looks_complete``), unless the caller knows.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

MOST_PARTS = 8  # of an object: between neighbours of so many, organs change little. A choice.
SLICES = 24  # allowed by default: 8 s of encoding by LiteMedSAM on two cores, once. A choice.
BEYOND = 0.1  # of the object's length. A choice.
FEW = 5  # fewer annotated slices than that may well be all that a person drew. A choice.
TAPERED = 0.5  # of its largest area: what an object has at most on the slices where it ends. A choice.

Areas = NDArray[np.integer]


def looks_complete(areas: Areas) -> bool:
    """Whether an annotation seems to cover all of its object.

    It does when it has some slices, no slice between its ends is without it, and it is small at its ends: one that was
    cut off, or drawn on some slices, is not. An end at that of the volume is one.
    """
    on = np.flatnonzero(areas)
    if len(on) < FEW or len(on) <= on[-1] - on[0]:
        return False
    ends = [at for at in (on[0], on[-1]) if 0 < at < len(areas) - 1]
    return bool(all(areas[at] <= TAPERED * areas.max() for at in ends))


def spread_slices(areas: Areas, parts: int) -> list[int]:
    """The slices of one object, sorted: of each of ``parts`` parts of its extent the largest. [] without the object.

    ``areas``: its pixels on every slice.
    """
    on = np.flatnonzero(areas)
    if not len(on):
        return []
    first, length = int(on[0]), int(on[-1] - on[0]) + 1
    parts = min(parts, length)
    borders = [first + round(n * length / parts) for n in range(parts + 1)]
    chosen = []
    for lower, upper in itertools.pairwise(borders):
        part = areas[lower:upper]
        largest = np.flatnonzero(part == part.max())
        if part.max():
            chosen.append(lower + int(largest[np.abs(largest - (len(part) - 1) / 2).argmin()]))
    return chosen


def slices_beyond(areas: Areas) -> list[int]:
    """A slice on either side of one object, where the volume goes on."""
    on = np.flatnonzero(areas)
    if not len(on):
        return []
    gap = max(1, round(BEYOND * (int(on[-1] - on[0]) + 1)))
    return [at for at in (int(on[0]) - gap, int(on[-1]) + gap) if 0 <= at < len(areas)]


def choose_slices(areas: Mapping[str, Areas], limit: int = SLICES, complete: Collection[str] = ()) -> list[int]:
    """The slices to take as supports, sorted; see the module's rule.

    ``areas``: pixels on every slice, by object. ``complete``: the objects that are annotated wherever they are.
    """
    beyond = {at for name in complete for at in slices_beyond(areas[name])}
    for parts in range(MOST_PARTS, 0, -1):
        chosen = {at for each in areas.values() for at in spread_slices(each, parts)}
        if len(chosen | beyond) <= limit:
            return sorted(chosen | beyond)
    return sorted({at for each in areas.values() for at in spread_slices(each, 1)})

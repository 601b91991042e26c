"""Which slices of an annotated volume become supports."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.supports.choice import (
    MOST_PARTS,
    choose_slices,
    looks_complete,
    slices_beyond,
    spread_slices,
)

AREAS = st.lists(st.integers(0, 50), min_size=1, max_size=60).map(np.array)


def organ(first: int, last: int, count: int = 40) -> np.ndarray:
    """Areas of an object that is thickest in its middle."""
    areas = np.zeros(count, dtype=int)
    index = np.arange(first, last + 1)
    areas[index] = 100 - np.abs(index - (first + last) // 2)
    return areas


@given(AREAS, st.integers(1, 10))
def test_slices_show_the_object_and_the_largest_is_among_them(areas: np.ndarray, parts: int) -> None:
    chosen = spread_slices(areas, parts)
    assert all(areas[at] > 0 for at in chosen)
    assert len(chosen) <= parts
    assert chosen == sorted(set(chosen))
    if areas.any():
        assert max(areas[at] for at in chosen) == areas.max()
    else:
        assert chosen == []


@given(AREAS.filter(lambda areas: areas.any()), st.integers(1, 10))
def test_of_every_part_the_largest_slice(areas: np.ndarray, parts: int) -> None:
    """Stated again, slice by slice, in place of borders: a slice's part is its place times the number of parts."""
    on = np.flatnonzero(areas)
    first, length = on[0], on[-1] - on[0] + 1
    parts = min(parts, length)
    borders = [first + round(n * length / parts) for n in range(parts + 1)]
    largest = {max(areas[a:b]) for a, b in itertools.pairwise(borders)} - {0}
    assert {areas[at] for at in spread_slices(areas, parts)} == largest


@given(st.lists(AREAS, min_size=1, max_size=5), st.integers(1, 30), st.booleans())
def test_no_more_slices_than_allowed_unless_every_object_needs_one(
    each: list[np.ndarray], limit: int, complete: bool
) -> None:
    count = max(len(areas) for areas in each)
    areas = {str(n): np.pad(one, (0, count - len(one))) for n, one in enumerate(each)}
    chosen = choose_slices(areas, limit, areas if complete else ())
    present = [one for one in areas.values() if one.any()]
    assert len(chosen) <= max(limit, len(present))
    for one in present:
        assert max(one[at] for at in chosen) == one.max()


def test_spread_over_the_extent_with_a_slice_beyond_either_end() -> None:
    chosen = choose_slices({"organ": organ(10, 29)}, 10, ["organ"])
    assert chosen[0] == 10 - 2
    assert chosen[-1] == 29 + 2
    inside = chosen[1:-1]
    assert len(inside) == MOST_PARTS
    assert np.diff(inside).max() <= 5  # 20 slices in 8 parts
    assert choose_slices({"organ": organ(10, 29)}, 10) == inside


def test_objects_share_slices() -> None:
    organs = {"a": organ(5, 30), "b": organ(5, 30)}
    assert choose_slices(organs, 12) == choose_slices({"a": organs["a"]}, 12)


def test_nothing_beyond_the_volume() -> None:
    assert slices_beyond(organ(0, 39)) == []
    assert slices_beyond(organ(1, 20)) == [22]
    assert slices_beyond(np.zeros(5, dtype=int)) == []


def tapered(first: int, last: int) -> np.ndarray:
    areas = organ(first, last, 20)
    areas[[first, last]] = 30
    return areas


def with_gap() -> np.ndarray:
    areas = tapered(3, 11)
    areas[4] = 0
    return areas


@pytest.mark.parametrize(
    ("areas", "complete"),
    [
        (tapered(3, 11), True),
        (tapered(3, 5), False),
        (with_gap(), False),
        (organ(3, 11, 20), False),  # cut off: as large at its ends as in its middle
        (organ(0, 19, 20), True),  # there is no more of it in the volume
        (np.zeros(20, dtype=int), False),
    ],
)
def test_an_annotation_is_whole_if_it_has_no_gap_and_gets_small_at_its_ends(areas: np.ndarray, complete: bool) -> None:
    assert looks_complete(areas) is complete

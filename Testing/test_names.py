"""Names that have to differ from each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.names import different, free_name

NAMES = st.sampled_from(["liver", "liver (2)", "liver (3)", "", "{}", "spleen"])


@given(st.lists(NAMES))
def test_all_are_there_in_their_order_and_none_twice(names: list[str]) -> None:
    found = different(names)
    assert len(set(found)) == len(found) == len(names)
    assert all(new.startswith(old) for new, old in zip(found, names, strict=True))


def test_the_first_free_number_is_taken() -> None:
    assert different(["liver", "liver", "liver (2)", "liver"]) == ["liver", "liver (2)", "liver (2) (2)", "liver (3)"]
    assert free_name("Segment", {"Segment"}, "{} {}", first=1) == "Segment 1"


@given(st.integers(6, 12), st.integers(0, 12))
def test_a_long_name_makes_room_for_its_number(most: int, count: int) -> None:
    taken: list[str] = []
    for _ in range(count + 1):
        taken.append(free_name("a name that is long", taken, most=most))
    assert len(set(taken)) == len(taken)
    assert all(len(name) <= most for name in taken)

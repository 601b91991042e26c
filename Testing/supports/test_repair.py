"""What can still be done with a set of which files were lost, and with names that are as long as they may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from AutoPromptSAMLib.supports import SupportError, SupportLibrary, SupportPair, SupportSet
from AutoPromptSAMLib.supports.pairs import MOST_LETTERS

from .doubles import blob_picture


def pair(number: int) -> SupportPair:
    image, disc = blob_picture(20 + number, 30, size=72)
    return SupportPair.of(f"eye {number}", image, {"disc": disc})


@pytest.fixture
def library(tmp_path: Path) -> SupportLibrary:
    return SupportLibrary(tmp_path / "supports")


@pytest.fixture
def torn(library: SupportLibrary) -> SupportSet:
    """A set of three pairs; of the first the file is lost, of the second half of it, and both thumbnails."""
    made = library.create("eyes")
    made = library.add_pairs(made.id, [pair(0), pair(1), pair(2)])
    files = [library.folder / made.id / "pairs" / f"{each.id}.zip" for each in made.pairs]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    for each in made.pairs[:2]:
        assert each.thumbnail is not None
        each.thumbnail.unlink()
    return library.get(made.id)


def test_damaged_pairs_are_removed_one_by_one_and_added_again(library: SupportLibrary, torn: SupportSet) -> None:
    for each in torn.pairs[:2]:
        left = library.remove_pair(torn.id, each.id)
    assert [each.name for each in left.pairs] == ["eye 2"]
    whole = library.add_pairs(torn.id, [pair(0), pair(1)])
    assert [bool(each.masks["disc"].any()) for each in whole.pairs] == [True] * 3
    assert all(each.thumbnail is not None and each.thumbnail.is_file() for each in whole.pairs)


def test_a_damaged_pair_keeps_nothing_else_from_changing(library: SupportLibrary, torn: SupportSet) -> None:
    assert library.rename(torn.id, "old eyes").name == "old eyes"
    assert library.change_object(torn.id, "disc", "nerve").names == ("nerve",)
    assert len(library.add_pairs(torn.id, [pair(3)]).pairs) == 4


def test_a_pair_that_is_new_and_damaged_is_not_taken(library: SupportLibrary, torn: SupportSet) -> None:
    other = library.create("other")
    with pytest.raises(SupportError, match="is damaged"):
        library.add_pairs(other.id, torn.pairs)
    assert library.get(other.id).pairs == ()
    assert not list((library.folder / other.id).glob("pairs/*"))


def test_the_longest_name_twice(library: SupportLibrary) -> None:
    name = "x" * MOST_LETTERS
    assert [library.create(name).name for _ in range(2)] == [name, f"{'x' * (MOST_LETTERS - 4)} (2)"]

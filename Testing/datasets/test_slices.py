"""Which slices of a volume are measured, and how they look; which pairs are taken, and how groups are shared out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.datasets import (
    Case,
    Dataset,
    DatasetError,
    LabelMasks,
    Pair,
    native_axis,
    sample_pairs,
    slices_of,
    split_groups,
)
from AutoPromptSAMLib.datasets.labels import ObjectRule
from AutoPromptSAMLib.datasets.slices import chosen_slices
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.intensity import default_mapping


def case_of(labels: np.ndarray, spacing: tuple[float, float, float], **more: object) -> Case:
    """A case with a bright object of every label; ``spacing`` along (i, j, k)."""
    array = np.where(labels > 0, 100 + labels, 20).astype(np.uint8)
    geometry = VolumeGeometry(labels.shape, np.diag([*spacing, 1.0]))
    masks = LabelMasks(labels, {f"label {n}": (n,) for n in np.unique(labels[labels > 0]).tolist()})
    return Case("set", Pair("a", "g", "MR"), Volume(array, geometry), masks, **({"has_spacing": True} | more))


def geometry(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> VolumeGeometry:
    return VolumeGeometry(shape, np.diag([*spacing, 1.0]))


def test_slices_are_cut_along_the_longest_voxels_and_axially_where_all_are_alike() -> None:
    assert native_axis(geometry((9, 9, 9), (0.7, 0.7, 3))) == 0
    assert native_axis(geometry((9, 9, 9), (0.7, 5, 0.7))) == 1
    assert native_axis(geometry((9, 9, 9), (4, 0.5, 0.5))) == 2
    assert native_axis(geometry((9, 9, 9), (1, 1, 1))) == 0
    assert native_axis(geometry((9, 9, 9), (1, 1, 0.95))) == 0
    assert native_axis(geometry((1, 9, 9), (4, 1, 1))) == 0  # an image
    # The first array axis goes from left to right and the second from foot to head: axial is the second.
    affine = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    assert native_axis(VolumeGeometry((9, 9, 9), affine)) == 1


def test_slices_lie_evenly_in_the_part_where_the_object_is_large() -> None:
    mask = np.zeros((40, 20, 20), dtype=bool)
    mask[5:35, 8:12, 8:12] = True
    assert chosen_slices(mask, 0, 3) == [10, 20, 30]
    assert chosen_slices(mask, 0, 1) == [20]
    mask[35:39, 9, 9] = True  # a tail of one of 16 pixels
    assert chosen_slices(mask, 0, 3) == [10, 20, 30]
    assert chosen_slices(mask, 1, 10) == [8, 9, 10, 11]  # no more than there are
    assert chosen_slices(np.zeros_like(mask), 0, 3) == []


def test_slices_of_a_volume() -> None:
    labels = np.zeros((12, 30, 40), dtype=np.uint8)
    labels[2:11, 5:15, 5:25] = 1
    labels[4:6, 20:28, 20:28] = 2
    case = case_of(labels, (0.5, 0.5, 4))
    shown = default_mapping(case.volume).apply(np.array([[101, 102]], dtype=np.uint8))[0]
    assert (shown[0] != shown[1]).all()
    found = list(slices_of(case))
    assert [(one.object, one.index) for one in found] == [
        ("label 1", 3),
        ("label 1", 6),
        ("label 1", 9),
        ("label 2", 4),
        ("label 2", 5),
    ]
    assert len({one.id for one in found}) == 5
    for one in found:
        assert one.image.shape == (30, 40, 3)
        assert one.image.dtype == np.uint8
        assert one.truth.dtype == np.bool_
        assert one.spacing == (0.5, 0.5)
        assert one.axis == 0
        np.testing.assert_array_equal(one.truth, labels[one.index] == int(one.object[-1]))
        assert (one.image[one.truth] == shown[int(one.object[-1]) - 1]).all()
    assert [one.id for one in slices_of(case_of(labels, (0.5, 0.5, 4)))] == [one.id for one in found]


def test_pixels_become_square_and_the_truth_with_them() -> None:
    labels = np.zeros((6, 20, 30), dtype=np.uint8)
    labels[:, 4:10, 5:20] = 1
    one = next(iter(slices_of(case_of(labels, (1, 2, 5)))))
    assert one.image.shape == (40, 30, 3)
    assert one.spacing == (1, 1)
    assert one.truth.sum() == 2 * 6 * 15
    nearly = next(iter(slices_of(case_of(labels, (1, 1.005, 5)))))  # rows are 1.005 mm apart
    assert nearly.spacing == pytest.approx((1.005, 1))


def test_sagittal_slices_and_rows_and_columns_in_order() -> None:
    labels = np.zeros((20, 30, 6), dtype=np.uint8)
    labels[4:16, 10:25, 1:5] = 1
    one = next(iter(slices_of(case_of(labels, (3, 0.7, 0.7)), per_object=1)))
    assert one.axis == 2
    np.testing.assert_array_equal(one.truth, labels[:, :, one.index] == 1)


def test_images_are_their_only_slice_and_keep_their_scribbles() -> None:
    labels = np.zeros((1, 30, 40), dtype=np.uint8)
    labels[0, 5:15, 5:25] = 1
    labels[0, 20:22, 20:22] = 2  # four pixels
    drawn = labels == 1
    case = case_of(labels, (1, 1, 1), has_spacing=False, scribbles=((drawn, ~drawn),))
    (one,) = slices_of(case)
    assert (one.id, one.spacing) == ("a:label 1", None)
    positive, negative = one.scribbles[0]
    np.testing.assert_array_equal(positive, drawn[0])
    np.testing.assert_array_equal(negative, ~drawn[0])
    assert [one.object for one in slices_of(case, min_pixels=1)] == ["label 1", "label 2"]


def dataset_of(groups: list[str]) -> Dataset:
    pairs = tuple(Pair(f"{group}-{n}", group, "CT") for n, group in enumerate(groups))
    return Dataset("set", "CT", 2, ObjectRule(each=True), "CC0", "train", pairs, Path())


def test_samples_are_of_different_groups_first() -> None:
    dataset = dataset_of([f"p{n % 10}" for n in range(50)])
    taken = sample_pairs(dataset, 10, seed=0)
    assert len({pair.group for pair in taken}) == 10
    more = sample_pairs(dataset, 25, seed=0)
    assert more[:10] == taken
    assert sorted(Counter(pair.group for pair in more).values()) == [2] * 5 + [3] * 5
    everything = sample_pairs(dataset, None, seed=0)
    assert sorted(pair.id for pair in everything) == sorted(pair.id for pair in dataset.pairs)


def test_samples_follow_their_seed_and_not_the_order_of_the_file() -> None:
    groups = [f"p{n // 3}" for n in range(30)]
    dataset = dataset_of(groups)
    backwards = Dataset(**{**vars(dataset), "pairs": dataset.pairs[::-1]})
    assert sample_pairs(dataset, 8, 0) == sample_pairs(backwards, 8, 0)
    assert sample_pairs(dataset, 8, 0) != sample_pairs(dataset, 8, 1)


@given(
    st.integers(1, 40),
    st.lists(st.floats(0.05, 1), min_size=1, max_size=4),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_groups_are_shared_out_whole_and_near_to_the_shares(count: int, weights: list[float], seed: int) -> None:
    names = [f"p{n}" for n in range(count)]
    fractions = {f"part {n}": weight / sum(weights) for n, weight in enumerate(weights)}
    if count < len(fractions):
        with pytest.raises(DatasetError, match="cannot be shared out"):
            split_groups(names, fractions, seed)
        return
    parts = split_groups([*names, *names], fractions, seed)
    assert sorted(name for part in parts.values() for name in part) == sorted(names)
    for part, share in fractions.items():
        assert len(parts[part]) >= 1
        assert abs(len(parts[part]) - share * count) < 1 + len(fractions)
    assert parts == split_groups(names[::-1], fractions, seed)


def test_shares_of_groups() -> None:
    names = [f"p{n}" for n in range(20)]
    parts = split_groups(names, {"train": 0.7, "validation": 0.1, "test": 0.2}, seed=1)
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [14, 2, 4]
    assert parts != split_groups(names, {"train": 0.7, "validation": 0.1, "test": 0.2}, seed=2)
    assert split_groups(names, {"train": 1.0, "test": 0.0}, seed=0)["test"] == ()
    for wrong in ({}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": float("nan")}):
        with pytest.raises(DatasetError, match="add up to 1"):
            split_groups(names, wrong, seed=0)

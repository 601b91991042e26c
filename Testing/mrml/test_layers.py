"""What others changed is found layer by layer, and is what reading every segment would find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.kept_segments import KeptSegments
from AutoPromptSAMLib.mrml.layers import Layer
from AutoPromptSAMLib.mrml.segments import SegmentWriter
from AutoPromptSAMLib.mrml.volumes import volume_from_node, volume_to_node

from .segmenting import random_mask

SHAPE = (8, 20, 24)


@pytest.fixture
def three(writer: SegmentWriter) -> list[str]:
    """Segments that overlap, so that there is more than one layer."""
    ids = [writer.add_segment(name) for name in "abc"]
    for seed, segment_id in enumerate(ids):
        writer.write(segment_id, Crop.from_full(random_mask(SHAPE, seed)), region=Crop.empty())
    return ids


def full(crop: Crop) -> np.ndarray:
    return crop.to_full(SHAPE)


def read(writer: SegmentWriter, ids: list[str]) -> dict[str, np.ndarray]:
    return {id: full(writer.read(id)) for id in ids}


def check(kept: KeptSegments, before: dict[str, np.ndarray]) -> None:
    """``take_edits`` gives all that changed, and the segments are known as they are."""
    ids = list(kept.node.GetSegmentation().GetSegmentIDs())
    now = read(kept.writer, ids)
    nothing = np.zeros(SHAPE, bool)
    changed = {id: now[id] ^ before.get(id, nothing) for id in ids}
    flips = kept.take_edits()
    assert set(flips) == {id for id, mask in changed.items() if mask.any()}
    assert all(np.array_equal(full(flip), changed[id]) for id, flip in flips.items())
    assert all(np.array_equal(full(kept.known[id]), now[id]) for id in ids)


@pytest.mark.parametrize("overwrite", ["OverwriteNone", "OverwriteAllSegments"])
def test_changes_are_those_of_reading_every_segment(writer: SegmentWriter, three: list[str], overwrite: str) -> None:
    kept, node = KeptSegments(writer, lambda: None), writer.editor_node
    assert all(np.array_equal(full(kept.known[id]), mask) for id, mask in read(writer, three).items())
    assert list(kept.known) == three
    node.SetOverwriteMode(getattr(node, overwrite))
    rng = np.random.default_rng(3)
    for number in range(12):
        before = read(writer, three)
        for segment_id in rng.choice(three, 2):
            lower = rng.integers(0, 4, 3)
            mask = np.zeros(SHAPE, bool)
            mask[tuple(slice(a, a + 4) for a in lower)] = rng.random((4, 4, 4)) < 0.6
            crops = Crop.from_full(mask), Crop.empty()
            writer.write(segment_id, *(crops[::-1] if number % 3 == 0 else crops))
        check(kept, before)
    before = read(writer, three)
    writer.write(three[0], Crop.empty(), region=Crop.from_full(np.ones(SHAPE, bool)))  # a layer may be empty then
    check(kept, before)
    check(kept, read(writer, three))
    before = read(writer, three)
    writer.write(writer.add_segment("d"), Crop.from_full(random_mask(SHAPE, 9)), region=Crop.empty())
    check(kept, before)


def test_on_a_volume_whose_slices_run_the_other_way(writer: SegmentWriter, three: list[str]) -> None:
    volume, flip = volume_from_node(writer.volume_node), np.diag([1.0, 1, -1, 1])
    flip[2, 3] = SHAPE[0] - 1
    geometry = VolumeGeometry(SHAPE, volume.geometry.ijk_to_ras @ flip)
    node = volume_to_node(Volume(volume.array[::-1], geometry), writer.volume_node.GetScene())
    other = SegmentWriter(writer.segmentation_node, node)
    kept, before = KeptSegments(other, lambda: None), read(other, three)
    assert all(np.array_equal(full(kept.known[id]), before[id]) for id in three)
    writer.write(three[1], Crop(np.ones((1, 3, 3), bool), (1, 4, 5)), region=Crop.empty())
    check(kept, before)
    other.close()


def test_segments_that_hide_each_other_in_one_layer_have_lost_voxels(writer: SegmentWriter, three: list[str]) -> None:
    kept, segmentation = KeptSegments(writer, lambda: None), writer.segmentation_node.GetSegmentation()
    before = read(writer, three)
    assert segmentation.GetNumberOfLayers() > 1
    segmentation.CollapseBinaryLabelmaps(True)
    assert segmentation.GetNumberOfLayers() == 1
    check(kept, before)
    assert (sum(read(writer, three).values()) <= 1).all()


def test_an_edit_reads_no_segment_as_a_whole(
    writer: SegmentWriter, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptSegments(writer, lambda: None)

    def nobody(*_: Any) -> None:
        raise AssertionError("a segment was read as a whole")

    monkeypatch.setattr(SegmentWriter, "read", nobody)
    writer.write(three[1], Crop.from_full(np.ones(SHAPE, bool)), region=Crop.empty())
    assert list(kept.take_edits()) == [three[1]]


def test_values_may_be_any_whole_numbers() -> None:
    values = np.zeros(SHAPE, np.int32)
    labels = {"usual": 3, "from an atlas": 2**30, "negative": -2}  # the box of every value up to 2**30 takes 8 GB
    for number, label in enumerate(labels.values()):
        values[number : number + 2, 3 + number, 4:9] = label
    layer = Layer(values, (0, 0, 0), labels)
    crops = layer.crops(labels)
    assert all(np.array_equal(full(crops[id]), values == label) for id, label in labels.items())
    assert layer.changes(crops) == {}
    changes = layer.changes({"usual": crops["usual"]})
    assert all(np.array_equal(full(changes[id]), values == labels[id]) for id in ("from an atlas", "negative"))
    assert set(changes) == {"from an atlas", "negative"}

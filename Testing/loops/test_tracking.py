"""From slice to slice, with the default model's own weights."""

from __future__ import annotations

import numpy as np
import pytest

from AutoPromptSAMLib.backbones import Backbone
from AutoPromptSAMLib.loops.appearance import smooth
from AutoPromptSAMLib.loops.regions import bounding_box, dice
from AutoPromptSAMLib.loops.slice import segment_slice
from AutoPromptSAMLib.loops.tracking import (
    OUTSIDE,
    REACH,
    SliceMask,
    Tracker,
    decode_prompts,
    innermost,
    refine_box_mask,
)
from AutoPromptSAMLib.prompts import PixelPrompts

from ..threshold_backbone import ThresholdBackbone
from .phantom import SIZE, Picture, ellipse, picture

ONE = ellipse(128, 110, 30, 24)
MOVED = ellipse(131, 112, 27, 22)
PARTED = ellipse(108, 110, 14, 14) | ellipse(150, 110, 14, 14)
NOTHING = np.zeros_like(ONE)


@pytest.fixture(scope="module")
def pictures(lite: Backbone) -> dict[str, Picture]:
    scenes = {"one": ONE, "moved": MOVED, "parted": PARTED, "nothing": NOTHING}
    return {name: picture(lite, scene, seed) for seed, (name, scene) in enumerate(scenes.items())}


def step(
    lite: Backbone, pictures: dict[str, Picture], name: str, start: str = "one", mask: np.ndarray = ONE
) -> SliceMask:
    tracker = Tracker(lite, pictures[start].appearance, mask)
    return tracker.step(pictures[name].features, pictures[name].appearance)


def test_an_object_that_moves_and_shrinks_is_followed(lite: Backbone, pictures: dict[str, Picture]) -> None:
    found = step(lite, pictures, "moved")
    assert dice(found.mask, MOVED) > 0.95
    assert found.agreement == pytest.approx(dice(found.mask, ONE))


def test_two_pieces_stay_two(lite: Backbone, pictures: dict[str, Picture]) -> None:
    assert dice(step(lite, pictures, "parted", "parted", PARTED).mask, PARTED) > 0.9


def test_an_object_that_is_gone_ends(lite: Backbone, pictures: dict[str, Picture]) -> None:
    found = step(lite, pictures, "nothing")
    assert found.is_empty
    assert found.agreement == 0


def test_after_the_end_there_is_nothing(lite: Backbone, pictures: dict[str, Picture]) -> None:
    tracker = Tracker(lite, pictures["one"].appearance, ONE)
    tracker.accept(pictures["nothing"].appearance, SliceMask.from_logits(np.full(ONE.shape, -1, np.float32)))
    assert tracker.step(pictures["one"].features, pictures["one"].appearance).is_empty


def test_only_the_place_of_the_object_counts(lite: Backbone, pictures: dict[str, Picture]) -> None:
    # The left of two alike things was meant: the right one is as bright and next to it.
    left = ellipse(108, 110, 14, 14)
    found = step(lite, pictures, "parted", "parted", left).mask
    assert dice(found, left) > 0.9
    assert not found[110, 150]


def test_pieces_too_small_to_prompt_end(lite: Backbone, pictures: dict[str, Picture]) -> None:
    speck = NOTHING.copy()
    speck[110, 128:131] = True
    assert step(lite, pictures, "one", mask=speck).is_empty


def test_the_seed_of_a_box_around_two_things_is_both_and_stays_inside_the_box(
    lite: Backbone, pictures: dict[str, Picture]
) -> None:
    here = pictures["parted"]
    box = bounding_box(PARTED)
    logits = decode_prompts(lite, here.features, [PixelPrompts(box=box)])[0]
    refined = refine_box_mask(lite, here.features, here.appearance, logits, box) > 0
    assert dice(refined, PARTED) > max(0.93, dice(logits > 0, PARTED) - 1e-9)
    rows, cols = np.nonzero(refined)
    assert (cols.min(), rows.min()) >= (box[0], box[1])
    assert (cols.max(), rows.max()) <= (box[2], box[3])


def test_the_seed_of_two_boxes_is_in_both_and_in_nothing_between(lite: Backbone) -> None:
    small, large, between = ellipse(60, 110, 5, 5), ellipse(170, 110, 30, 30), ellipse(110, 110, 12, 12)
    here = picture(lite, small | large | between)
    boxes = np.stack([bounding_box(small), bounding_box(large)])
    logits = segment_slice(lite, here.features, PixelPrompts(boxes=boxes))
    refined = refine_box_mask(lite, here.features, here.appearance, logits, boxes) > 0
    assert dice(refined & large, large) > 0.95
    # Less than a tenth of the large one, which in one box with it would be a speck.
    assert dice(refined & ~large, small) > 0.85
    assert not refined[between].any()


def test_the_seed_of_a_box_around_a_few_pixels_is_the_answer_to_the_box() -> None:
    backbone = ThresholdBackbone()
    image = np.full((48, 48), 50, dtype=np.uint8)
    image[10:14, 10:15] = 200  # 20 pixels: their halves are too small for boxes of their own
    features = backbone.encode([np.repeat(image[..., None], 3, axis=2)])
    logits = np.where(image > 100, 8, -8).astype(np.float32)
    refined = refine_box_mask(backbone, features, smooth(image), logits, np.array([10, 10, 14, 13]))
    np.testing.assert_array_equal(refined > 0, image > 100)


def test_an_empty_answer_to_the_box_stays_empty(lite: Backbone, pictures: dict[str, Picture]) -> None:
    here = pictures["nothing"]
    logits = np.full(ONE.shape, OUTSIDE, dtype=np.float32)
    assert not (refine_box_mask(lite, here.features, here.appearance, logits, bounding_box(ONE)) > 0).any()


@pytest.mark.parametrize("mask", [ONE, PARTED, NOTHING, ~NOTHING, ellipse(0, 0, 9, 9), ellipse(255, 255, 3, 3)])
def test_a_slice_mask_keeps_the_mask_and_little_else(mask: np.ndarray) -> None:
    logits = np.where(mask, 2.5, -0.5).astype(np.float32)
    kept = SliceMask.from_logits(logits, 0.7)
    np.testing.assert_array_equal(kept.mask, mask)
    assert kept.is_empty == (not mask.any())
    assert kept.shape == (SIZE, SIZE)
    assert (kept.full_logits[mask] == 2.5).all()
    reach = REACH * SIZE // 512
    if mask.any():
        extent = np.ptp(np.argwhere(mask), axis=0) + 1
        assert (np.array(kept.logits.shape) <= extent + 2 * reach).all()


def test_the_innermost_pixel_is_farthest_from_the_border_and_from_the_images_edge() -> None:
    np.testing.assert_array_equal(innermost(ellipse(60, 40, 20, 10)), [60, 40])
    bar = NOTHING.copy()
    bar[:9, :200] = True
    col, row = innermost(bar)
    assert row == 4
    assert 4 <= col <= 195

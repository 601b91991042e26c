"""Clicks, boxes and masks on one slice, with the default model's own weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.backbones import Backbone, Frame, PromptEmbedding
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.loops.regions import bounding_box, dice
from AutoPromptSAMLib.loops.slice import CERTAIN, segment_slice
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo.card import Capabilities

from ..conftest import SEEDS
from ..threshold_backbone import ThresholdBackbone, rod
from .phantom import Picture, ellipse, picture

LEFT, RIGHT = ellipse(80, 120, 28, 36), ellipse(180, 130, 22, 22)


@pytest.fixture(scope="module")
def scene(lite: Backbone) -> Picture:
    return picture(lite, LEFT | RIGHT)


def clicks(*pixels: tuple[float, float, bool], **others: np.ndarray) -> PixelPrompts:
    return PixelPrompts([pixel[:2] for pixel in pixels], [int(pixel[2]) for pixel in pixels], **others)


def test_a_box_finds_what_it_is_around(lite: Backbone, scene: Picture) -> None:
    found = segment_slice(lite, scene.features, PixelPrompts(box=bounding_box(LEFT))) > 0
    assert dice(found, LEFT) > 0.95


def test_several_boxes_mean_what_is_in_each_and_not_what_lies_between(lite: Backbone) -> None:
    between = ellipse(132, 122, 14, 20)
    here = picture(lite, LEFT | between | RIGHT)
    boxes = np.stack([bounding_box(LEFT), bounding_box(RIGHT)])
    found = segment_slice(lite, here.features, PixelPrompts(boxes=boxes)) > 0
    assert dice(found, LEFT | RIGHT) > 0.95
    assert not found[between].any()
    each = [segment_slice(lite, here.features, PixelPrompts(box=box)) for box in boxes]
    np.testing.assert_allclose(
        segment_slice(lite, here.features, PixelPrompts(boxes=boxes)), np.max(each, axis=0), atol=1e-4
    )
    # A click corrects the union and not one of its parts.
    clicked = segment_slice(lite, here.features, clicks((132, 122, True), boxes=boxes)) > 0
    assert clicked[122, 132]
    assert clicked[found].all()


class AllPrompts(ThresholdBackbone):
    """Takes points and masks too, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = Capabilities(points=True, boxes=True, masks=True, multimask=False, memory=False)
        self.given: list[PixelPrompts] = []

    def embed_prompts(self, frame: Frame, prompts: Sequence[PixelPrompts], low_res: None = None) -> PromptEmbedding:
        self.given += prompts
        return super().embed_prompts(frame, prompts)


def test_with_several_boxes_each_gets_its_own_points_and_part_of_the_mask() -> None:
    backbone = AllPrompts()
    volume, truth = rod([0], count=1)
    features = backbone.encode([np.repeat(volume.array[0][..., None], 3, axis=2)])
    boxes = np.array([[13.0, 11, 31, 29], [35, 35, 40, 40]])
    prompts = clicks((22, 20, True), (34, 33, False), (37, 37, False), boxes=boxes, mask=truth[0])
    segment_slice(backbone, features, prompts)
    first, second = backbone.given[:2]
    np.testing.assert_array_equal([first.box, second.box], boxes)
    np.testing.assert_array_equal(first.points, [[22, 20]])
    np.testing.assert_array_equal(second.points, [[34, 33], [37, 37]])
    assert second.labels.tolist() == [0, 0]
    np.testing.assert_array_equal(first.mask, truth[0])
    assert not second.mask.any()


@pytest.mark.parametrize(("col", "row", "truth"), [(80, 120, LEFT), (72, 135, LEFT), (180, 130, RIGHT)])
def test_a_click_alone_finds_the_thing_under_it(
    lite: Backbone, scene: Picture, col: float, row: float, truth: np.ndarray
) -> None:
    found = segment_slice(lite, scene.features, clicks((col, row, True))) > 0
    assert dice(found, truth) > 0.85


def test_a_second_click_adds_a_second_thing_and_keeps_the_first(lite: Backbone, scene: Picture) -> None:
    one = segment_slice(lite, scene.features, PixelPrompts(box=bounding_box(LEFT))) > 0
    both = segment_slice(lite, scene.features, clicks((180, 130, True), box=bounding_box(LEFT))) > 0
    assert both[one].all()
    assert dice(both, LEFT | RIGHT) > 0.9


def test_a_negative_click_takes_the_thing_under_it_away_and_nothing_else(lite: Backbone, scene: Picture) -> None:
    found = segment_slice(lite, scene.features, clicks((180, 130, False), mask=LEFT | RIGHT)) > 0
    assert not found[130, 180]
    assert found[LEFT].all()
    assert (found & RIGHT).sum() < 0.2 * RIGHT.sum()


def test_what_a_click_already_says_changes_nothing(lite: Backbone, scene: Picture) -> None:
    prompts = clicks((80, 120, True), (180, 130, False), mask=LEFT)
    np.testing.assert_array_equal(segment_slice(lite, scene.features, prompts) > 0, LEFT)


# Opposite clicks may be 2 pixels apart; at 1, the disc of one would have to be smaller than a pixel.
PLACES = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), min_size=1, max_size=8, unique=True)


@given(PLACES, SEEDS, st.sampled_from(["nothing", "rod", "everything"]))
@settings(max_examples=40)
def test_every_click_is_obeyed_and_later_ones_undo_no_earlier_ones(
    places: list[tuple[int, int]], seed: int, start: str
) -> None:
    backbone = ThresholdBackbone()
    volume, truth = rod([0], count=1)
    features = backbone.encode([np.repeat(volume.array[0][..., None], 3, axis=2)])
    mask = {"nothing": np.zeros_like(truth[0]), "rod": truth[0], "everything": np.ones_like(truth[0])}[start]
    signs = np.random.default_rng(seed).random(len(places)) < 0.5
    prompts = clicks(*[(2 * col, 2 * row, sign) for (col, row), sign in zip(places, signs, strict=True)], mask=mask)
    found = segment_slice(backbone, features, prompts) > 0
    assert [bool(found[2 * row, 2 * col]) for col, row in places] == signs.tolist()


def test_clicks_between_pixels_and_on_the_outer_half_of_the_last_pixel_count(lite: Backbone, scene: Picture) -> None:
    found = segment_slice(lite, scene.features, clicks((255.49, 255.49, True), (-0.49, 9.5, True), mask=LEFT)) > 0
    assert found[255, 255]
    assert found[10, 0]


def test_a_small_hole_is_closed_without_touching_the_rest(lite: Backbone, scene: Picture) -> None:
    hole = ellipse(75, 110, 6, 6)
    found = segment_slice(lite, scene.features, clicks((75, 110, True), mask=LEFT & ~hole)) > 0
    assert found[hole].mean() > 0.7
    assert (found & ~LEFT).sum() == 0


def test_a_mask_alone_is_the_answer(lite: Backbone, scene: Picture) -> None:
    logits = segment_slice(lite, scene.features, PixelPrompts(mask=LEFT))
    np.testing.assert_array_equal(logits, np.where(LEFT, CERTAIN, -CERTAIN))
    soft = np.where(LEFT, 0.5, -2.0).astype(np.float32)
    np.testing.assert_array_equal(segment_slice(lite, scene.features, PixelPrompts(mask=soft)), soft)


def test_a_better_answer_to_the_box_is_what_clicks_correct(lite: Backbone, scene: Picture) -> None:
    base = np.where(LEFT, 3.0, -3.0).astype(np.float32)
    box = bounding_box(RIGHT)
    np.testing.assert_array_equal(segment_slice(lite, scene.features, PixelPrompts(box=box), base), base)
    found = segment_slice(lite, scene.features, clicks((180, 130, True), box=box), base) > 0
    assert found[LEFT].all()
    assert found[130, 180]


def test_a_slice_without_prompts_is_refused(lite: Backbone, scene: Picture) -> None:
    with pytest.raises(PromptError, match="put a point, a box or a doodle on it"):
        segment_slice(lite, scene.features, PixelPrompts())

"""Simulated people: where their boxes, clicks and scribbles are, and that a seed gives the same again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompts import simulators
from AutoPromptSAMLib.prompts.simulators import (
    box_at_iou,
    box_iou,
    click_at_centre,
    correction_click,
    get_simulator,
    random_clicks,
    scribble_prompts,
    synthetic_doodles,
    tight_box,
    volume_box,
    volume_correction,
)


def blob(seed: int, size: int = 96) -> np.ndarray:
    """A random mask of one or several pieces, anywhere in the image, from a few pixels to most of it."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(size // 2, size, size=2).tolist())
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(2, 12))
    return noise >= np.quantile(noise, rng.uniform(0.3, 0.99))


def painted_iou(one: np.ndarray, other: np.ndarray, shape: tuple[int, int]) -> float:
    """IoU of two boxes counted on a grid of 8 x 8 points a pixel."""
    fine = 8
    col, row = ((np.arange(n * fine) + 0.5) / fine - 0.5 for n in shape[::-1])
    masks = [
        ((row >= y0 - 0.5) & (row <= y1 + 0.5))[:, None] & ((col >= x0 - 0.5) & (col <= x1 + 0.5))
        for x0, y0, x1, y1 in (one, other)
    ]
    return np.count_nonzero(masks[0] & masks[1]) / np.count_nonzero(masks[0] | masks[1])


seeds = st.integers(0, 2**32 - 1)


def test_tight_box_of_first_and_last_pixels() -> None:
    truth = np.zeros((30, 40), dtype=bool)
    truth[5:9, 12] = truth[7, 12:20] = True
    assert tight_box(truth).tolist() == [12, 5, 19, 8]
    with pytest.raises(PromptError, match="no pixels"):
        tight_box(np.zeros((3, 3), dtype=bool))


@given(seeds, st.sampled_from([0.9, 0.75, 0.5, 0.3]))
@settings(max_examples=60, deadline=None)
def test_a_box_has_the_iou_that_was_asked_for_and_is_in_the_image(seed: int, iou: float) -> None:
    truth = blob(seed)
    box = box_at_iou(truth, iou, np.random.default_rng(seed))
    assert painted_iou(box, tight_box(truth), truth.shape) == pytest.approx(iou, abs=0.03)
    assert box_iou(box, tight_box(truth)) == pytest.approx(iou, abs=0.002)
    x0, y0, x1, y1 = box
    assert 0 <= x0 <= x1 <= truth.shape[1] - 1
    assert 0 <= y0 <= y1 <= truth.shape[0] - 1


def test_boxes_go_off_in_all_directions_and_both_grow_and_shrink() -> None:
    truth = np.zeros((200, 200), dtype=bool)
    truth[80:120, 70:130] = True
    tight = tight_box(truth)
    off = np.array([box_at_iou(truth, 0.75, np.random.default_rng(seed)) - tight for seed in range(200)])
    for side in range(4):
        assert 40 < np.count_nonzero(off[:, side] > 0) < 160
    widths = off[:, 2] - off[:, 0]
    assert 40 < np.count_nonzero(widths > 0) < 160


def test_an_object_that_fills_the_image_still_gets_its_box() -> None:
    box = box_at_iou(np.ones((50, 60), dtype=bool), 0.5, np.random.default_rng(0))
    assert box_iou(box, np.array([0.0, 0, 59, 49])) == pytest.approx(0.5, abs=0.01)


def test_where_no_box_can_be_that_far_off_the_closest_comes_back() -> None:
    assert box_at_iou(np.ones((1, 1), dtype=bool), 0.5, np.random.default_rng(0)).tolist() == [0, 0, 0, 0]
    for iou in (0.0, 1.5, float("nan")):
        with pytest.raises(PromptError, match="IoU"):
            box_at_iou(np.ones((4, 4), dtype=bool), iou, np.random.default_rng(0))


def test_click_in_the_middle_of_the_largest_piece() -> None:
    truth = np.zeros((60, 80), dtype=bool)
    truth[10:31, 20:41] = True
    truth[50:55, 0:10] = True
    assert click_at_centre(truth).tolist() == [30, 20]
    # Of a long bar all of the middle line is as deep; the middle of it is the centre.
    bar = np.zeros((20, 61), dtype=bool)
    bar[5:10, 3:58] = True
    assert click_at_centre(bar).tolist() == [30, 7]
    # The border of the image counts as a border of the object.
    assert click_at_centre(np.ones((21, 21), dtype=bool)).tolist() == [10, 10]


def test_a_click_is_on_the_object_also_where_its_mean_is_not() -> None:
    row, col = np.mgrid[:101, :101]
    away = np.hypot(row - 50, col - 50)
    ring = (away > 30) & (away < 40)
    x, y = click_at_centre(ring).astype(int)
    assert ring[y, x]
    assert away[y, x] == pytest.approx(35, abs=1.5)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_random_clicks_are_different_pixels_inside(seed: int) -> None:
    truth = blob(seed)
    clicks = random_clicks(truth, 5, np.random.default_rng(seed)).astype(int)
    assert truth[clicks[:, 1], clicks[:, 0]].all()
    assert len(np.unique(clicks, axis=0)) == min(5, truth.sum()) == len(clicks)


def test_as_many_random_clicks_as_there_are_pixels() -> None:
    truth = np.zeros((5, 5), dtype=bool)
    truth[1, 1:3] = True
    assert sorted(random_clicks(truth, 9, np.random.default_rng(0)).tolist()) == [[1, 1], [2, 1]]
    with pytest.raises(PromptError):
        random_clicks(truth, 0, np.random.default_rng(0))


def test_random_clicks_are_everywhere_alike() -> None:
    truth = np.ones((40, 40), dtype=bool)
    clicks = np.concatenate([random_clicks(truth, 3, np.random.default_rng(seed)) for seed in range(300)])
    assert clicks.mean(axis=0) == pytest.approx([19.5, 19.5], abs=1.5)
    assert clicks.std(axis=0) == pytest.approx([11.5, 11.5], abs=1)


def test_corrections_go_to_the_largest_error() -> None:
    truth = np.zeros((100, 100), dtype=bool)
    truth[10:50, 10:50] = True
    mask = truth.copy()
    mask[20:31, 20:31] = False  # 121 pixels are missing
    mask[60:69, 60:69] = True  # 81 are too much
    assert [correction_click(truth, mask)[0].tolist(), correction_click(truth, mask)[1]] == [[25, 25], True]
    mask[70:90, 70:91] = True  # 420 more are too much
    point, positive = correction_click(truth, mask)
    assert not positive
    assert 79 <= point[0] <= 81
    assert 79 <= point[1] <= 80
    assert correction_click(truth, truth) is None
    with pytest.raises(PromptError):
        correction_click(truth, mask[:50])


def test_the_first_correction_of_nothing_is_the_click_at_the_centre() -> None:
    for seed in range(5):
        truth = blob(seed)
        point, positive = correction_click(truth, np.zeros_like(truth))
        assert positive
        assert point.tolist() == click_at_centre(truth).tolist()


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_correction_is_always_where_something_is_wrong(seed: int) -> None:
    truth = blob(seed)
    mask = np.roll(truth, (3, 5), axis=(0, 1))
    clicked = correction_click(truth, mask)
    if clicked is None:
        assert np.array_equal(truth, mask)
    else:
        (x, y), positive = clicked
        assert truth[int(y), int(x)] == positive
        assert mask[int(y), int(x)] != positive


def test_volumes_are_prompted_on_their_largest_slice_and_corrected_where_most_is_wrong() -> None:
    truth = np.zeros((12, 30, 40), dtype=bool)
    truth[3:9, 10:20, 10:20] = True
    truth[5:8, 8:22, 6:25] = True
    assert (volume_box(truth, 0)[0], volume_box(truth, 0)[1].tolist()) == (6, [6, 8, 24, 21])
    index, box = volume_box(truth, 2)  # sagittal slices: rows are k, columns j
    assert 10 <= index < 20
    assert box.tolist() == [8, 3, 21, 8]
    mask = truth.copy()
    mask[5:8] = False
    (k, j, i), positive = volume_correction(truth, mask, (5.0, 1.0, 1.0))
    assert positive
    assert k == 6
    assert truth[k, j, i]
    assert volume_correction(truth, truth) is None


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_doodles_are_lines_inside_and_outside(seed: int) -> None:
    truth = blob(seed)
    positive, negative = synthetic_doodles(truth, np.random.default_rng(seed))
    assert positive.any()
    assert not (positive & ~truth).any()
    assert not (negative & truth).any()
    for line in (positive, negative):  # no more than two pixels thick anywhere
        assert not ndimage.binary_erosion(line, np.ones((3, 3))).any()
    again = synthetic_doodles(truth, np.random.default_rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip((positive, negative), again, strict=True))


def test_a_doodle_follows_a_vessel() -> None:
    row, col = np.mgrid[:120, :200]
    vessel = np.abs(row - 60 - 30 * np.sin(col / 25)) < 4
    vessel[:, :10] = vessel[:, 190:] = False
    positive, negative = synthetic_doodles(vessel, np.random.default_rng(1))
    depth = ndimage.distance_transform_edt(vessel)
    assert np.ptp(np.argwhere(positive)[:, 1]) > 80  # half of the way at least
    assert np.median(depth[positive]) >= 2
    assert ndimage.distance_transform_edt(~vessel)[negative].min() >= 2
    assert np.count_nonzero(negative) > 40


def test_a_negative_doodle_leaves_other_pieces_of_the_object_alone() -> None:
    truth = np.zeros((80, 120), dtype=bool)
    truth[20:60, 20:60] = truth[20:60, 63:100] = True  # three pixels apart; the line runs four away
    for seed in range(20):
        _, negative = synthetic_doodles(truth, np.random.default_rng(seed))
        assert negative.any()
        assert not (negative & truth).any()


def test_doodles_of_things_without_a_skeleton_or_without_room() -> None:
    row, col = np.mgrid[:80, :80]
    disc = np.hypot(row - 40, col - 40) < 20
    positive, _ = synthetic_doodles(disc, np.random.default_rng(0))
    pixels = np.argwhere(positive)
    length = np.linalg.norm(pixels[:, None] - pixels[None], axis=2).max()
    assert length == pytest.approx(20, abs=2)  # half of the disc's diameter
    one = np.zeros((9, 9), dtype=bool)
    one[4, 4] = True
    positive, negative = synthetic_doodles(one, np.random.default_rng(0))
    assert np.array_equal(positive, one)
    assert negative.any()
    positive, negative = synthetic_doodles(np.ones((30, 30), dtype=bool), np.random.default_rng(0))
    assert positive.any()
    assert not negative.any()


def test_scribbles_become_points_spread_over_them() -> None:
    positive, negative = np.zeros((2, 60, 90), dtype=bool)
    positive[30, 10:80] = True
    negative[5, 10:13] = True
    prompts = scribble_prompts(positive, negative)
    inside = prompts.points[prompts.labels == 1]
    assert len(inside) == 16
    assert {10.0, 79.0} <= set(inside[:, 0])
    assert np.diff(np.sort(inside[:, 0])).max() < 10  # 70 pixels, 16 points: nowhere a hole
    outside = prompts.points[prompts.labels == 0]
    assert (outside[:, 1] == 5).all()
    assert 1 <= len(outside) <= 2  # nearer than 2 pixels says the same again
    assert scribble_prompts(positive & False, negative & False).is_empty


def test_simulators_by_name() -> None:
    truth = blob(3)
    rng = np.random.default_rng

    assert get_simulator("box").prompts(truth, rng(0)).box.tolist() == tight_box(truth).tolist()
    box = get_simulator("box-0.5").prompts(truth, rng(0)).box
    assert box_iou(box, tight_box(truth)) == pytest.approx(0.5, abs=0.03)
    click = get_simulator("click").prompts(truth, rng(0))
    assert click.points.tolist() == [click_at_centre(truth).tolist()]
    assert click.labels.tolist() == [1]
    assert len(get_simulator("clicks-3").prompts(truth, rng(0)).points) == 3
    assert get_simulator("user").prompts(truth, rng(0)).is_empty
    assert get_simulator("user-box").prompts(truth, rng(0)).box is not None
    kinds = {name: get_simulator(name).kind for name in ("box", "user", "user-box", "volume-box")}
    assert kinds == {"box": "fixed", "user": "user", "user-box": "user", "volume-box": "volume"}


@pytest.mark.parametrize("name", ["box-0.75", "clicks-4", "scribble"])
def test_the_same_seed_gives_the_same_prompts_and_another_seed_others(name: str) -> None:
    truth = blob(5)

    def drawn(seed: int) -> list:
        prompts = get_simulator(name).prompts(truth, np.random.default_rng(seed))
        return [prompts.points.tolist(), prompts.boxes.tolist()]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_persons_scribble_is_taken_where_there_is_one() -> None:
    truth = np.zeros((20, 20), dtype=bool)
    truth[5:15, 5:15] = True
    people = []
    for col in (6, 12):
        positive, negative = np.zeros((2, 20, 20), dtype=bool)
        positive[7, col] = negative[1, col] = True
        people.append((positive, negative))
    nobody = (np.zeros((20, 20), dtype=bool), np.ones((20, 20), dtype=bool))
    taken = {
        tuple(get_simulator("scribble").prompts(truth, np.random.default_rng(seed), [nobody, *people]).points[0])
        for seed in range(20)
    }
    assert taken == {(6, 7), (12, 7)}


@pytest.mark.parametrize("name", ["", "boxes", "box-0", "box-1", "box-1.5", "box--.5", "clicks-0", "clicks-", "BOX"])
def test_unknown_simulators_are_refused_with_a_list_of_those_there_are(name: str) -> None:
    with pytest.raises(PromptError, match="clicks-N"):
        get_simulator(name)


def test_an_empty_object_cannot_be_prompted() -> None:
    for name in ("box", "box-0.5", "click", "clicks-2", "scribble", "user"):
        with pytest.raises(PromptError, match="no pixels"):
            get_simulator(name).prompts(np.zeros((8, 8), dtype=bool), np.random.default_rng(0))
    assert simulators.simulator_names() == simulators.PATTERNS

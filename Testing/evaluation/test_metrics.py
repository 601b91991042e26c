"""Metrics: shapes whose distances are known, independent formulas, and what empty masks count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

pytest.importorskip("monai", reason="the metrics are MONAI's")

from AutoPromptSAMLib.evaluation import metrics
from AutoPromptSAMLib.evaluation.metrics import MetricsError


def box(shape: tuple[int, ...], lower: tuple[int, ...], upper: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = True
    return mask


CUBE = box((40, 40, 40), (10, 10, 10), (30, 30, 30))


def borders(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)


def plain_hd95(one: np.ndarray, other: np.ndarray, spacing: tuple[float, ...]) -> float:
    """The definition in words, with every distance between border voxels written out."""
    a, b = (np.argwhere(borders(mask)) * spacing for mask in (one, other))
    distances = np.linalg.norm(a[:, None] - b[None], axis=2)
    return max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))


def test_equal_masks_are_perfect_and_disjoint_ones_are_not() -> None:
    assert metrics.score(CUBE, CUBE) == {"dice": 1, "iou": 1, "hd95": 0, "nsd": 1}
    other = box(CUBE.shape, (0, 0, 0), (3, 3, 3))
    scores = metrics.score(other, CUBE)
    assert (scores["dice"], scores["iou"], scores["nsd"]) == (0, 0, 0)
    assert set(metrics.METRICS) == set(scores) == set(metrics.HIGHER_IS_BETTER)


def test_overlap_of_a_shifted_cube() -> None:
    shifted = np.roll(CUBE, 5, axis=0)
    assert metrics.dice(shifted, CUBE) == pytest.approx(15 / 20)
    assert metrics.iou(shifted, CUBE) == pytest.approx(15 / 25)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_distances_are_in_mm_along_every_axis(axis: int) -> None:
    spacing = (5.0, 0.5, 2.0)
    shifted = np.roll(CUBE, 4, axis=axis)
    assert metrics.hd95(shifted, CUBE, spacing) == pytest.approx(4 * spacing[axis])
    assert metrics.hd95(shifted, CUBE) == pytest.approx(4)
    wanted = 4 * spacing[axis]
    assert metrics.nsd(shifted, CUBE, spacing, tolerance=wanted) == pytest.approx(1)
    assert metrics.nsd(shifted, CUBE, spacing, tolerance=0.99 * wanted) < 1


def test_surface_dice_counts_area_and_not_voxels() -> None:
    # A beam of 200 x 20 x 20 mm in voxels of 10 x 1 x 1 mm, moved by 3 voxels along its long axis. Its sides still lie
    # on each other over 170 of 200 mm; each end (400 mm²) and 30 mm of the sides (2400 mm²) of either one does not.
    beam = box((40, 40, 40), (5, 10, 10), (25, 30, 30))
    moved = np.roll(beam, 3, axis=0)
    sides, end = 4 * 20 * 200, 20 * 20
    expected = 4 * 20 * 170 / (sides + 2 * end)
    found = metrics.nsd(moved, beam, (10.0, 1.0, 1.0), tolerance=0.6)
    # The inner ends of the common part touch the other's sides along their rim, and corners are cut: some 2 %.
    assert found == pytest.approx(expected, abs=0.03)
    voxels = borders(beam)
    touching = ndimage.distance_transform_edt(~borders(moved), sampling=(10, 1, 1))[voxels] <= 0.6
    assert abs(found - touching.mean()) > 0.05  # counting border voxels says something else


def test_a_square_that_grew_by_one_pixel() -> None:
    one, other = box((64, 64), (20, 20), (40, 40)), box((64, 64), (19, 19), (41, 41))
    assert metrics.nsd(one, other, tolerance=0.5) == pytest.approx(0, abs=0.02)
    assert metrics.nsd(one, other, tolerance=1.5) == 1
    assert metrics.nsd(one, other, (3.0, 3.0)) == pytest.approx(0, abs=0.02)  # 3 mm off, 2 mm allowed
    assert metrics.hd95(one, other, (3.0, 3.0)) == pytest.approx(3)


def test_masks_that_touch_the_border_of_the_image() -> None:
    full = np.ones((20, 30), dtype=bool)
    half = full.copy()
    half[:, :10] = False
    assert metrics.hd95(half, full) == pytest.approx(10)
    assert metrics.score(full, full) == {"dice": 1, "iou": 1, "hd95": 0, "nsd": 1}


def test_what_empty_masks_count() -> None:
    nothing = np.zeros((30, 40), dtype=bool)
    something = box((30, 40), (5, 5), (9, 9))
    assert metrics.score(nothing, nothing) == {"dice": 1, "iou": 1, "hd95": 0, "nsd": 1}
    for one, other in ((nothing, something), (something, nothing)):
        assert metrics.score(one, other) == {"dice": 0, "iou": 0, "hd95": 50, "nsd": 0}
        assert metrics.hd95(one, other, (2.0, 0.5)) == pytest.approx(math.hypot(60, 20))
    volume = np.zeros((3, 4, 12), dtype=bool)
    assert metrics.hd95(volume, ~volume) == 13


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_against_independent_formulas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (10, 12, 14)[: int(rng.integers(2, 4))]
    one, other = (ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.05 for _ in range(2))
    one[(5,) * len(shape)] = other[(6,) * len(shape)] = True
    spacing = tuple(rng.uniform(0.3, 4, size=len(shape)).tolist())
    found = metrics.score(one, other, spacing)
    common = np.count_nonzero(one & other)
    assert found["dice"] == pytest.approx(2 * common / (one.sum() + other.sum()), abs=1e-6)
    assert found["iou"] == pytest.approx(common / np.count_nonzero(one | other), abs=1e-6)
    assert found["hd95"] == pytest.approx(plain_hd95(one, other, spacing), rel=1e-5, abs=1e-6)
    assert found == pytest.approx(metrics.score(other, one, spacing), abs=1e-5)  # neither side is preferred


@pytest.mark.parametrize(
    ("mask", "spacing", "tolerance"),
    [
        (np.zeros((4, 5), dtype=bool), None, 2.0),
        (np.zeros((4, 4), dtype=np.uint8), None, 2.0),
        (np.zeros((4, 4), dtype=bool), (1.0, 1.0, 1.0), 2.0),
        (np.zeros((4, 4), dtype=bool), (1.0, 0.0), 2.0),
        (np.zeros((4, 4), dtype=bool), None, math.nan),
    ],
)
def test_what_cannot_be_compared_is_refused(mask: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> None:
    with pytest.raises(MetricsError):
        metrics.score(mask, np.zeros((4, 4), dtype=bool), spacing, tolerance)


def test_area_under_dice_over_clicks() -> None:
    assert metrics.dice_auc([1, 1, 1, 1, 1]) == 1
    assert metrics.dice_auc([0, 0.25, 0.5, 0.75, 1]) == pytest.approx(0.5)
    dices = [0.2, 0.7, 0.8, 0.85, 0.9]
    assert metrics.dice_auc([*dices, 0.99]) == pytest.approx(np.trapezoid(dices) / 4)  # a sixth click does not count
    assert metrics.dice_auc([0.5, 1.0]) == pytest.approx(metrics.dice_auc([0.5, 1, 1, 1, 1]))
    assert math.isnan(metrics.dice_auc([]))
    with pytest.raises(MetricsError):
        metrics.dice_auc([1.0], clicks=1)


def test_clicks_to_reach_a_dice() -> None:
    dices = [0.5, 0.85, 0.7, 0.9]
    assert metrics.clicks_to_reach(dices, 0.85) == 2
    assert metrics.clicks_to_reach(dices, 0.9) == 4
    assert metrics.clicks_to_reach(dices, 0.95) is None
    assert metrics.clicks_to_reach([], 0.1) is None


TRUTH = box((64, 80), (20, 30), (40, 60))


def video(*masks: np.ndarray) -> dict[str, float]:
    pytest.importorskip("py_sod_metrics", reason="pysodmetrics is not installed")
    return metrics.video_metrics(masks, [TRUTH] * len(masks))


def test_a_perfect_video() -> None:
    found = video(TRUTH, TRUTH)
    assert set(found) == set(metrics.VIDEO_METRICS)
    for name in ("s_measure", "weighted_f", "dice", "sensitivity"):
        assert found[name] == pytest.approx(1, abs=1e-6)
    assert 0.99 < found["e_measure"] < 1  # the lowest of 256 thresholds takes the whole frame
    assert 0.99 < found["f_measure"] < 1


def test_a_video_that_misses_half() -> None:
    half = TRUTH & (np.arange(80) < 45)
    found = video(half)
    assert found["sensitivity"] == pytest.approx(0.5)
    assert found["dice"] == pytest.approx(2 / 3)
    # F with beta² .3 of precision 1 and recall .5, at 255 thresholds; at the lowest all of the frame is found.
    precision = TRUTH.mean()
    everything = 1.3 * precision / (0.3 * precision + 1)
    assert found["f_measure"] == pytest.approx((255 * 1.3 * 0.5 / (0.3 + 0.5) + everything) / 256, abs=1e-3)
    worse = video(~TRUTH)
    assert all(worse[name] < 0.01 for name in metrics.VIDEO_METRICS)
    assert video(half, TRUTH)["dice"] == pytest.approx((2 / 3 + 1) / 2)


def test_probabilities_of_a_video() -> None:
    assert video(np.where(TRUTH, 0.9, 0.2))["dice"] == 1
    with pytest.raises(MetricsError, match="sigmoid"):
        video(np.where(TRUTH, 4.0, -4.0))
    with pytest.raises(MetricsError, match="no frames"):
        video()

"""The measures of uncertainty against their definitions, and on a model whose doubt is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.datasets import SliceSample, find_datasets
from AutoPromptSAMLib.evaluation.uncertainty import draws, errors
from AutoPromptSAMLib.evaluation.uncertainty.images import STARTS
from AutoPromptSAMLib.refiners.calibration import expected_calibration_error

from .fakes import PLAIN, Seeing, make_discs


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SliceSample:
    (dataset,) = find_datasets(make_discs(tmp_path_factory.mktemp("data") / "discs", 1))
    return draws.drawn_samples(dataset, dataset.pairs[0], 0)[0]


def test_the_region_holds_mask_and_doubt_and_a_tenth_on_each_side() -> None:
    mask, doubt = np.zeros((100, 100), bool), np.zeros((100, 100))
    mask[40:60, 30:50] = True
    doubt[45, 50:70] = 0.06  # to column 69
    doubt[90, 90] = 0.05  # not above it
    assert errors.region(mask, doubt) == (slice(38, 62), slice(26, 74))
    corner = np.zeros((100, 100), bool)
    corner[:20, :20] = True
    assert errors.region(corner, doubt * 0) == (slice(0, 22), slice(0, 22))
    assert errors.region(mask & ~mask, doubt * 0) is None


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40))
def test_auroc_is_the_chance_that_a_wrong_pixel_has_more_doubt(pixels: list[tuple[int, bool]]) -> None:
    doubt, wrong = np.array([p[0] for p in pixels], float), np.array([p[1] for p in pixels])
    pairs = [(a > b) + 0.5 * (a == b) for a in doubt[wrong] for b in doubt[~wrong]]
    found = errors.auroc(doubt, wrong)
    assert found == (pytest.approx(np.mean(pairs)) if pairs else None)


def test_risks_are_those_of_the_surest_pixels() -> None:
    doubt = np.arange(20) / 20
    wrong = doubt >= 0.75
    found = errors.risks(doubt, wrong)
    assert found[errors.COVERAGES.index(0.75)] == 0
    assert found[errors.COVERAGES.index(0.8)] == pytest.approx(1 / 16)
    assert found[-1] == pytest.approx(0.25)
    assert errors.risks(1 - doubt, wrong)[0] == 1


def test_tables_of_reliability_add_up_to_the_calibration_error() -> None:
    rng = np.random.default_rng(0)
    parts = [(rng.random((8, 9)), rng.random((8, 9)) < 0.3) for _ in range(3)]
    p, truth = (np.stack(each) for each in zip(*parts, strict=True))
    p[0, 0, :2] = 0, 1
    table = np.sum([errors.reliability(a, b) for a, b in zip(p, truth, strict=True)], axis=0)
    assert errors.calibration_error(table.ravel()) == pytest.approx(expected_calibration_error(p, truth))
    assert table[0].sum() == pytest.approx(3)


def test_another_temperature_leaves_the_model_alone(sample: SliceSample) -> None:
    backbone = Seeing(PLAIN)
    features = backbone.encode([sample.image])
    _, tables = errors.measure(backbone, features, sample, 0, {"none": 1.0, "hot": 40.0})
    assert backbone.card.temperature == 1.0
    for start in STARTS:
        cold, hot = (np.reshape(tables[f"{start}/reliability/{name}"], (3, errors.BINS)) for name in ("none", "hot"))
        assert cold[0].sum() == pytest.approx(1) == hot[0].sum()
        assert cold[0, [0, -1]].sum() > 0.5  # logits are ±10 where the boxes agree: all is certain
        assert hot[0, [0, -1]].sum() == 0  # and with a temperature of 40 nothing is


def test_doubt_lies_where_the_model_is_wrong(sample: SliceSample) -> None:
    """Boxes cut the bright disc at other places, so only pixels near the box's border can be wrong or in doubt."""
    backbone = Seeing(PLAIN)
    figures, tables = errors.measure(backbone, backbone.encode([sample.image]), sample, 0, {"none": 1.0})
    poor = figures["0.5/wrong/mean"]
    tight = figures["tight/wrong/mean"]
    assert poor is not None
    assert tight is not None
    assert poor > tight
    assert tables["0.5/risk"][-1] == pytest.approx(poor)
    assert np.all(tables["0.5/images"] == 1)


def test_pixels_to_fit_on_are_the_logits_of_all_copies(sample: SliceSample) -> None:
    backbone = Seeing(PLAIN)
    found = errors.fitting_pixels(backbone, backbone.encode([sample.image]), sample, 0)
    assert len(found) == len(STARTS)
    for logits, truth in found:
        assert logits.shape == (3, len(truth))
        assert np.abs(logits).max() == pytest.approx(10)
        assert 0 < truth.mean() < 1
        assert len(truth) <= errors.PIXELS

"""Spread and ratios of samples, against numpy and scipy; and that records survive their file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from AutoPromptSAMLib.evaluation.speed.records import (
    REFERENCE,
    RESULTS_NAME,
    Noise,
    NoiseMeter,
    Rate,
    Ratio,
    Row,
    Skipped,
    SpeedRun,
    Spread,
)

TIMES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30)


@given(TIMES)
def test_spread_is_numpys(samples: list[float]) -> None:
    spread = Spread.of(samples)
    assert (spread.n, spread.value) == (len(samples), pytest.approx(np.median(samples)))
    assert (spread.q1, spread.q3) == pytest.approx(np.quantile(samples, (0.25, 0.75)))


def test_a_total_is_a_sum_without_quartiles() -> None:
    assert Spread.of([1.0, 2.0, 4.0], total=True) == Spread(3, 7.0, None, None)


@pytest.mark.parametrize("total", [False, True])
def test_interval_is_scipys_paired_bootstrap(total: bool) -> None:
    rng = np.random.default_rng(1)
    common = rng.lognormal(0, 0.3, 25)  # what disturbs both
    reference, own = common * rng.normal(2, 0.2, 25), common * rng.normal(1, 0.1, 25)
    middle = np.sum if total else np.median
    expected = stats.bootstrap(
        (reference, own),
        lambda a, b, axis: middle(a, axis=axis) / middle(b, axis=axis),
        paired=True, vectorized=True, method="percentile", n_resamples=9999, random_state=2,
    ).confidence_interval  # fmt: skip
    ratio = Ratio.of(list(reference), list(own), total)
    assert ratio.value == pytest.approx(middle(reference) / middle(own))
    assert (ratio.low, ratio.high) == pytest.approx(tuple(expected), abs=0.05)
    assert expected.high - expected.low > 0.06  # or the line above could not fail


def test_what_disturbs_both_does_not_widen_the_interval() -> None:
    own = [1.0, 1.1, 9.0, 1.0, 5.0]
    ratio = Ratio.of([3 * seconds for seconds in own], own)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3, 3, 3))


def test_two_samples_have_no_interval_and_unequal_numbers_no_ratio() -> None:
    assert Ratio.of([2.0, 2.0], [1.0, 1.0]) == Ratio(2.0, None, None)
    with pytest.raises(ValueError, match="inhomogeneous"):
        Ratio.of([2.0, 2.0, 2.0], [1.0, 1.0])


def test_a_run_survives_its_file(tmp_path: Path) -> None:
    row = Row("m", "encode", "encode one slice", {REFERENCE: [2.0, 2.2, 2.1], "auto": [1.0, 1.1, 1.0]},
              equal={"auto": {"logits": 1e-4, "dice": 1.0}}, noise=Noise(0.5, 0.6, 0.01))  # fmt: skip
    run = SpeedRun(
        {"command": "c", "settings": {}, "environment": {}},
        {"m": {"auto": "us"}},
        [row],
        [Rate("m", "auto", "encode one slice", "float32", 1, 0.5, 75.0, 200.0)],
        [Skipped("m", "gpu", "not measured: no GPU here")],
        True,
    )
    run.write(tmp_path)
    content = json.loads((tmp_path / RESULTS_NAME).read_text())
    assert content["records"][0]["ratios"]["auto"]["value"] == pytest.approx(2.1)
    assert content["records"][0]["spreads"][REFERENCE]["q3"] == pytest.approx(2.15)
    assert content["rates"][0]["gflops"] == 150.0
    assert content["rates"][0]["fraction"] == 0.75
    assert content["rates"][0]["slices_per_second"] == 2.0
    assert SpeedRun.from_json(content) == run


def test_without_a_reference_there_is_no_ratio() -> None:
    row = Row("m", "encode", "encode one slice", {"auto": [1.0]})
    assert row.ratios == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_noise_is_read_from_the_system() -> None:
    meter = NoiseMeter()
    while meter.stop().steal is None:  # until the clock has ticked once
        sum(range(100_000))
    noise = meter.stop()
    assert noise.steal is not None
    assert 0 <= noise.steal <= 1
    assert noise.load_before is not None
    assert noise.load_before >= 0

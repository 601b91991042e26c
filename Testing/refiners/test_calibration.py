"""Temperatures and calibration errors of probabilities whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.refiners.calibration import expected_calibration_error, fit_temperature

from ..conftest import SentenceCheck


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_comes_out(temperature: float) -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 3, (200, 200))
    truth = rng.random(honest.shape) < expit(honest)
    assert fit_temperature(temperature * honest, truth) == pytest.approx(temperature, rel=0.05)


def test_copies_are_averaged_as_probabilities() -> None:
    rng = np.random.default_rng(1)
    copies = rng.normal(0, 3, (3, 150, 150))
    truth = rng.random((150, 150)) < expit(copies).mean(axis=0)
    assert fit_temperature(2 * copies, truth) == pytest.approx(2, rel=0.07)


def test_a_fitted_temperature_makes_the_probabilities_honest() -> None:
    rng = np.random.default_rng(2)
    honest = rng.normal(0, 2, 40_000)
    truth = rng.random(honest.shape) < expit(honest)
    loud = 5 * honest
    before = expected_calibration_error(expit(loud), truth)
    after = expected_calibration_error(expit(loud / fit_temperature(loud, truth)), truth)
    assert before > 0.1
    assert after < 0.02


def test_the_error_of_known_probabilities() -> None:
    p = np.array([0.9] * 10 + [0.1] * 10)
    assert expected_calibration_error(p, np.array([True] * 9 + [False] * 10 + [True])) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(p, np.array([True] * 10 + [False] * 10)) == pytest.approx(0.1)
    assert expected_calibration_error(p, np.array([False] * 10 + [True] * 10)) == pytest.approx(0.9)


@given(st.integers(0, 999), st.integers(1, 30))
def test_the_error_is_from_0_to_1_and_0_for_the_truth_itself(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    truth, p = rng.random(50) < 0.4, rng.random(50)
    assert 0 <= expected_calibration_error(p, truth, bins) <= 1
    assert expected_calibration_error(truth.astype(float), truth, bins) == 0
    assert expected_calibration_error(np.full(50, truth.mean()), truth, bins) == pytest.approx(0, abs=1e-9)


def test_what_does_not_fit_together_is_refused(one_sentence: SentenceCheck) -> None:
    with one_sentence(PromptError, "shape"):
        fit_temperature(np.zeros((4, 4)), np.zeros((4, 5), dtype=bool))
    with one_sentence(PromptError, "finite"):
        fit_temperature(np.full(4, np.nan), np.zeros(4, dtype=bool))
    with one_sentence(PromptError, "finite"):
        fit_temperature(np.zeros(0), np.zeros(0, dtype=bool))
    with one_sentence(PromptError, "probabilities"):
        expected_calibration_error(np.zeros(4), np.zeros(5, dtype=bool))

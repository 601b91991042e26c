"""Mean probability and entropy of jittered prompts, by a network that finds what is bright inside a box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from AutoPromptSAMLib.backbones import PromptEmbedding
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners import Settings, estimate, expected_dice, wrong_probability
from AutoPromptSAMLib.refiners.uncertainty import Estimate, entropy

from ..conftest import SentenceCheck
from .doubles import SoftBackbone, encoded, everywhere

PROBABILITIES = hnp.arrays(np.float32, (6, 5), elements=st.floats(0, 1, width=32))
MASKS = hnp.arrays(np.bool_, (6, 5))


@given(PROBABILITIES)
def test_entropy_is_from_no_bit_to_one_and_the_same_for_yes_and_no(probability: np.ndarray) -> None:
    bits = entropy(probability)
    assert bits.dtype == np.float32
    assert ((bits >= 0) & (bits <= 1)).all()
    np.testing.assert_allclose(bits, entropy(1 - probability), atol=1e-5)


def test_entropy_of_known_probabilities() -> None:
    np.testing.assert_allclose(entropy(np.array([0, 0.11, 0.5, 1.0])), [0, 0.4999, 1, 0], atol=1e-3)


def test_all_copies_are_one_decode_and_agree_far_from_the_border() -> None:
    backbone = SoftBackbone()
    features = encoded(backbone, everywhere())
    found = estimate(backbone, features, PixelPrompts(box=[20, 20, 60, 60]), Settings(boxes=5, sigma=0.1))
    assert backbone.batches == [5]
    assert found.probability.shape == found.uncertainty.shape == (96, 80)
    assert found.uncertainty[40, 40] < 1e-3
    assert found.uncertainty[90, 75] < 1e-3
    border = found.uncertainty[20:61, [19, 20, 21, 59, 60, 61]]
    assert border.max() > 0.5, "copies that disagree are unsure"
    assert found.score == pytest.approx(found.uncertainty.mean())
    assert found.mask[40, 40]
    assert not found.mask[90, 75]


def test_the_same_seed_gives_the_same_answer_and_no_jitter_none_to_doubt() -> None:
    backbone = SoftBackbone()
    features, prompts = encoded(backbone, everywhere()), PixelPrompts(box=[20, 20, 60, 60])
    one, same, other = (estimate(backbone, features, prompts, Settings(seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.probability, same.probability)
    assert not np.array_equal(one.probability, other.probability)
    assert estimate(backbone, features, prompts, Settings(sigma=0)).uncertainty.max() < 1e-3


def test_several_boxes_are_united_copy_by_copy() -> None:
    backbone = SoftBackbone()
    features = encoded(backbone, everywhere())
    boxes = [[5, 5, 25, 25], [50, 60, 75, 90]]
    found = estimate(backbone, features, PixelPrompts(boxes=boxes), Settings(boxes=4))
    assert backbone.batches == [8]
    for x0, y0, x1, y1 in boxes:
        assert found.mask[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3].all()
    assert not found.mask[30:55].any()


def test_a_mask_stands_for_the_boxes_of_its_pieces() -> None:
    backbone = SoftBackbone()
    features = encoded(backbone, everywhere())
    mask = np.zeros((96, 80), dtype=bool)
    mask[5:26, 5:26] = True
    mask[60:91, 50:76] = True
    boxes = PixelPrompts(boxes=[[50, 60, 75, 90], [5, 5, 25, 25]])
    by_mask = estimate(backbone, features, PixelPrompts(mask=mask))
    np.testing.assert_array_equal(by_mask.probability, estimate(backbone, features, boxes).probability)
    logits = np.where(mask, 4, -4).astype(np.float32)
    by_logits = estimate(backbone, features, PixelPrompts(mask=logits))
    np.testing.assert_array_equal(by_mask.probability, by_logits.probability)


@pytest.mark.parametrize("takes_points", [True, False])
def test_points_go_with_the_nearest_box_to_models_that_take_them(takes_points: bool) -> None:
    backbone = SoftBackbone(points=takes_points)
    features = encoded(backbone, everywhere())
    prompts = PixelPrompts([[10, 10], [70, 80]], [1, 0], boxes=[[5, 5, 25, 25], [50, 60, 75, 90]])
    estimate(backbone, features, prompts, Settings(boxes=2))
    shown = [prompt.points.tolist() for prompt in backbone.prompts]
    assert shown == ([[[10, 10]], [[70, 80]]] * 2 if takes_points else [[], [], [], []])


def test_the_temperature_of_the_card_makes_probabilities_softer() -> None:
    plain, soft = SoftBackbone(), SoftBackbone(temperature=5.0)
    prompts = PixelPrompts(box=[20, 20, 60, 60])
    one, other = (estimate(b, encoded(b, everywhere()), prompts, Settings(sigma=0)) for b in (plain, soft))
    assert one.probability[40, 40] == pytest.approx(1 / (1 + np.exp(-10)), abs=1e-6)
    assert other.probability[40, 40] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)


@pytest.mark.parametrize("prompts", [PixelPrompts([[3, 3]], [1]), PixelPrompts(mask=np.zeros((96, 80), dtype=bool))])
def test_without_a_box_or_a_mask_there_is_nothing_to_jitter(
    prompts: PixelPrompts, one_sentence: SentenceCheck
) -> None:
    backbone = SoftBackbone()
    with one_sentence(PromptError, "box"):
        estimate(backbone, encoded(backbone, everywhere()), prompts)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"boxes": 0}, "boxes"),
        ({"boxes": 1000}, "boxes"),
        ({"sigma": -0.1}, "jitter"),
        ({"sigma": float("nan")}, "jitter"),
        ({"points": -1}, "points"),
        ({"labels": "negative"}, "Labels"),
        ({"rounds": -1}, "rounds"),
        ({"threshold": 0}, "threshold"),
        ({"acceptance": "never"}, "Acceptance"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_without_sense_are_refused(wrong: dict, word: str, one_sentence: SentenceCheck) -> None:
    with one_sentence(PromptError, word):
        Settings(**wrong)


@given(MASKS, PROBABILITIES)
def test_expected_dice_is_from_0_to_1_and_1_for_what_is_certain(mask: np.ndarray, probability: np.ndarray) -> None:
    assert 0 <= expected_dice(mask, probability) <= 1
    assert expected_dice(mask, mask.astype(np.float32)) == 1
    if mask.any():
        assert expected_dice(mask, (~mask).astype(np.float32)) == 0


def test_expected_dice_of_a_known_case() -> None:
    mask = np.array([[True, True, False, False]])
    probability = np.array([[1.0, 0.5, 0.5, 0.0]])
    assert expected_dice(mask, probability) == pytest.approx(2 * 1.5 / (2.0 + 2))
    assert expected_dice(np.zeros((1, 4), dtype=bool), probability) == 0
    assert expected_dice(np.zeros((1, 4), dtype=bool), 0.1 * probability) == pytest.approx(0.9)


@given(MASKS, PROBABILITIES)
def test_what_is_wrong_is_what_would_be_right_the_other_way(mask: np.ndarray, probability: np.ndarray) -> None:
    wrong = wrong_probability(mask, probability)
    np.testing.assert_allclose(wrong + wrong_probability(~mask, probability), 1, atol=1e-6)
    np.testing.assert_allclose(wrong[mask], 1 - probability[mask])
    best = Estimate.of(probability).mask
    assert wrong_probability(best, probability).sum() <= wrong.sum() + 1e-3


def test_no_gradient_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = SoftBackbone()
    plain = backbone.decode

    def decode(features: object, embedding: PromptEmbedding, *rest: object) -> object:
        assert not torch.is_grad_enabled()
        return plain(features, embedding, *rest)

    monkeypatch.setattr(backbone, "decode", decode)
    estimate(backbone, encoded(backbone, everywhere()), PixelPrompts(box=[20, 20, 60, 60]))

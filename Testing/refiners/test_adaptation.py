"""Prompts that mend themselves: what is proposed, what is accepted, and that it never gets less sure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners import Estimate, Refinement, Settings, Step, adaptation, estimate, refine
from AutoPromptSAMLib.refiners.adaptation import contradicted, instead_of, proposed

from .doubles import SHAPE, SoftBackbone, encoded, everywhere, rectangle

OBJECT = (20, 24, 60, 70)


def belief(probability: float, bright: np.ndarray, elsewhere: float = 0.001) -> Estimate:
    """An estimate with one probability on the object and one everywhere else."""
    return Estimate.of(np.where(bright, probability, elsewhere).astype(np.float32))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the given estimates be the answers, one after the other."""

    def use(*estimates: Estimate) -> None:
        queue = list(estimates)
        monkeypatch.setattr(adaptation, "estimate", lambda *_: queue.pop(0))

    return use


def refined(given: PixelPrompts, settings: Settings | None = None, **more: bool) -> Refinement:
    backbone = SoftBackbone()
    return refine(backbone, encoded(backbone, rectangle(*OBJECT)), given, settings, **more)


def test_a_box_that_cuts_the_object_finds_its_border() -> None:
    found = refined(PixelPrompts(box=[22, 26, 66, 76]))
    truth = rectangle(*OBJECT)
    before, after = (int((step.estimate.mask ^ truth).sum()) for step in (found.steps[0], found.best))
    assert found.improved
    assert after < 0.6 * before
    assert found.best.estimate.score < 0.6 * found.steps[0].estimate.score


def test_a_round_is_one_decode_and_every_round_is_in_the_history() -> None:
    backbone = SoftBackbone()
    features = encoded(backbone, rectangle(*OBJECT))
    given = PixelPrompts(box=[22, 26, 66, 76])
    found = refine(backbone, features, given, Settings(boxes=3, rounds=2))
    assert backbone.batches == [3] * len(found.steps)
    assert found.steps[0].prompts is given
    assert found.steps[0].accepted
    known = estimate(backbone, features, given)
    again = refine(backbone, features, given, Settings(rounds=2), first=known)
    assert again.steps[0].estimate is known
    np.testing.assert_array_equal(again.best.estimate.probability, found.best.estimate.probability)
    assert backbone.batches == [3] * 2 * len(found.steps), "the known estimate was not made again"


@given(
    x=st.tuples(st.floats(0, 79), st.floats(0, 79)),
    y=st.tuples(st.floats(0, 95), st.floats(0, 95)),
    sigma=st.floats(0, 0.3),
    rounds=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_accepted_rounds_are_surer_and_only_the_last_may_be_refused(
    x: tuple[float, float], y: tuple[float, float], sigma: float, rounds: int, seed: int
) -> None:
    box = [min(x), min(y), max(x), max(y)]
    found = refined(PixelPrompts(box=box), Settings(sigma=sigma, rounds=rounds, seed=seed))
    scores = [step.estimate.score for step in found.steps if step.accepted]
    assert (np.diff(scores) < 0).all()
    assert found.best.estimate.score == min(scores)
    assert all(step.accepted for step in found.steps[:-1])
    assert 1 <= len(found.steps) <= rounds + 1
    assert found.improved == (found.chosen > 0)
    assert all(step.reason for step in found.steps)


@given(st.integers(0, 999), st.sampled_from(["uncertainty", "always"]))
def test_the_refined_box_holds_the_mask_it_came_from(seed: int, acceptance: str) -> None:
    rng = np.random.default_rng(seed)
    x0, y0 = rng.integers(5, 50, 2)
    box = [x0, y0, x0 + rng.integers(3, 29), y0 + rng.integers(3, 40)]
    found = refined(PixelPrompts(box=box), Settings(rounds=2, acceptance=acceptance))
    for before, after in zip(found.steps, found.steps[1:], strict=False):
        rows, cols = np.nonzero(before.estimate.mask)
        left, top, right, bottom = after.prompts.box
        assert (left <= cols.min(), top <= rows.min(), right >= cols.max(), bottom >= rows.max()) == (True,) * 4


def test_nothing_else_to_try_ends_it() -> None:
    found = refined(PixelPrompts(box=list(OBJECT)), Settings(sigma=0))
    assert len(found.steps) == 1
    assert not found.improved


def test_nothing_found_is_nothing_to_start_from() -> None:
    backbone = SoftBackbone()
    dark = encoded(backbone, np.zeros(SHAPE, dtype=bool))
    found = refine(backbone, dark, PixelPrompts(box=[20, 20, 60, 60]))
    assert len(found.steps) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (belief(0.001, rectangle(20, 20, 49, 49)), "nothing was found"),
        (belief(0.99, rectangle(20, 20, 40, 40)), "too much of the mask was lost"),
        (belief(0.99, everywhere()), "the mask grew too much"),
        (belief(0.8, rectangle(20, 20, 49, 49)), "not surer"),
        (belief(0.9, rectangle(20, 20, 49, 49)), "not surer"),
    ],
)
def test_a_round_is_refused_for_a_reason(answers: Callable[..., None], answer: Estimate, reason: str) -> None:
    answers(belief(0.9, rectangle(20, 20, 49, 49)), answer)
    found = refine(SoftBackbone(), None, PixelPrompts(box=[22, 22, 40, 40]))
    assert len(found.steps) == 2
    assert not found.steps[1].accepted
    assert found.steps[1].reason.startswith(reason)
    assert found.best is found.steps[0]


def test_every_round_is_kept_where_that_is_asked_for(answers: Callable[..., None]) -> None:
    worse = belief(0.8, rectangle(20, 20, 45, 45))
    answers(belief(0.9, rectangle(20, 20, 49, 49)), worse, belief(0.99, rectangle(20, 20, 24, 24)))
    settings = Settings(acceptance="always", rounds=2)
    found = refine(SoftBackbone(), None, PixelPrompts(box=[22, 22, 40, 40]), settings)
    assert [step.accepted for step in found.steps] == [True, True, True]
    assert found.best.estimate.mask.sum() == 25
    assert found.steps[1].reason.startswith("not surer")


@pytest.mark.parametrize(("at", "label"), [((47, 47), 1), ((25, 25), 0)])
@pytest.mark.parametrize("points", [True, False])
def test_no_round_may_contradict_a_click(
    answers: Callable[..., None], at: tuple[int, int], label: int, points: bool
) -> None:
    surer = belief(0.99, rectangle(20, 20, 44, 44))
    backbone, free = SoftBackbone(points=points), PixelPrompts(box=[22, 22, 40, 40])
    answers(belief(0.9, rectangle(20, 20, 49, 49)), surer, surer)
    assert refine(backbone, None, free, Settings(rounds=1)).improved
    answers(belief(0.9, rectangle(20, 20, 49, 49)), surer, surer)
    clicked = refine(backbone, None, PixelPrompts([at], [label], [22, 22, 40, 40]), Settings(rounds=1))
    assert clicked.steps[1].reason == "it contradicts a click"
    assert not clicked.improved


def test_a_mask_that_obeys_a_click_gives_way_to_none_that_does_not(answers: Callable[..., None]) -> None:
    whole = rectangle(20, 20, 49, 49)
    cut = whole.copy()
    cut[:, 35:] = False  # a person clicked a half away
    for at, label, obeyed in (((45, 30), 0, True), ((45, 30), 1, False)):
        answers(belief(0.95, whole))
        first = refine(SoftBackbone(), None, PixelPrompts([at], [label], [20, 20, 49, 49]), Settings(rounds=0))
        found = instead_of(cut, first)
        assert found.improved is not obeyed
        assert (found.steps[1].reason == "it contradicts a click") is obeyed


def test_clicks_beside_the_image_count_at_its_border() -> None:
    mask = rectangle(0, 0, 10, 10)
    assert not contradicted(mask, PixelPrompts([[-0.4, -0.4]], [1]))
    assert contradicted(mask, PixelPrompts([[-0.4, -0.4]], [0]))


def unsure_step() -> tuple[Step, PixelPrompts]:
    """A mask with two unsure places at its ends, inside and outside, and the prompts behind it."""
    probability = np.where(rectangle(20, 20, 49, 49), 0.98, 0.001)
    probability[30, 21], probability[30, 52] = 0.6, 0.4
    given = PixelPrompts([[35, 35]], [1], [15, 15, 60, 60])
    return Step(given, Estimate.of(probability.astype(np.float32)), True, ""), given


@pytest.mark.parametrize(("labels", "signs"), [("positive", [1, 1]), ("sign", [1, 0]), ("none", [])])
def test_points_go_where_it_is_least_sure(labels: str, signs: list[int]) -> None:
    step, given = unsure_step()
    tried = proposed(step, given, Settings(points=2, labels=labels), points=True)
    assert tried is not None
    np.testing.assert_array_equal(tried.points[0], [35, 35])
    added = dict(zip(map(tuple, tried.points[1:].tolist()), tried.labels[1:].tolist(), strict=True))
    assert added == dict(zip([(21, 30), (52, 30)], signs, strict=False))


def test_points_are_for_models_that_take_them() -> None:
    step, given = unsure_step()
    counts = {}
    for points in (True, False):
        tried = proposed(step, given, points=points)
        assert tried is not None
        counts[points] = len(tried.points)
    assert counts == {True: 1 + 3, False: 1}


def test_the_box_of_a_person_stays_where_that_is_asked_for() -> None:
    step, given = unsure_step()
    free, kept = (proposed(step, given, points=True, keep=keep) for keep in (False, True))
    assert free is not None
    assert kept is not None
    np.testing.assert_array_equal(kept.boxes, given.boxes)
    np.testing.assert_array_equal(free.boxes, [[20, 20, 49, 49]])
    assert proposed(step, given, points=False, keep=True) is None, "without points nothing would be new"


def test_each_piece_has_its_box() -> None:
    two = rectangle(5, 5, 20, 20) | rectangle(40, 50, 70, 90)
    given = PixelPrompts(box=[0, 0, 79, 95])
    tried = proposed(Step(given, belief(0.97, two), True, ""), given, points=False)
    assert tried is not None
    np.testing.assert_array_equal(tried.boxes, [[40, 50, 70, 90], [5, 5, 20, 20]])

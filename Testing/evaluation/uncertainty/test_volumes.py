"""Shares of the error by slice, and a reviewer whose steps can be told from the ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.datasets import Case, find_datasets, load_case
from AutoPromptSAMLib.evaluation.metrics import dice
from AutoPromptSAMLib.evaluation.uncertainty import volumes
from AutoPromptSAMLib.evaluation.uncertainty.volumes import PART, PARTS, ROUGH, TIGHT
from AutoPromptSAMLib.prompts import MaskPrompt
from AutoPromptSAMLib.session.local import LocalSession

from ...threshold_backbone import ThresholdBackbone
from ..quality.bright_sets import make_volumes
from .fakes import KnownRanks

pytest.importorskip("monai", reason="the extra `bench` is not installed")

NAME = "rod"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    (dataset,) = find_datasets(make_volumes(Path(tmp_path_factory.mktemp("data")) / "volumes"))
    return load_case(dataset, dataset.pairs[0])


def test_shares_follow_the_order() -> None:
    wrong = np.array([0, 60, 0, 30, 10])
    found = volumes.shares(wrong, [1, 3, 4, 2])  # the first slice is not looked at
    assert found[PARTS.index(0.0)] == 0
    assert found[PARTS.index(0.25)] == pytest.approx(0.6)
    assert found[PARTS.index(0.5)] == pytest.approx(0.9)
    assert found[-1] == 1
    assert volumes.shares(np.array([5, 5]), [1])[-1] == 0.5  # what nobody looks at counts as error too


def broken(case: Case, slices: list[int]) -> np.ndarray:
    """The truth with half of the object missing on some slices."""
    found = case.masks[NAME].copy()
    for index in slices:
        found[index, :, :22] = False
    return found


def test_a_reviewer_with_ranks_goes_to_what_is_wrong(case: Case) -> None:
    truth = case.masks[NAME]
    bad = [5, 6, 7, 8]
    start = broken(case, bad)
    assert dice(start, truth) < 0.90
    doubts = {n: 0.9 - n / 100 if n in bad else 0.1 for n in range(1, 9)}
    session: Any = KnownRanks(doubts, truth)
    ranked = volumes.reviewed(session, case, NAME, 0, start, "ranked")
    assert (ranked.looked, ranked.corrected) == ranked.reached[0.95]
    assert ranked.looked == ranked.corrected <= len(bad)
    corrected = [prompt for prompt in session.accepted if isinstance(prompt, MaskPrompt)]
    assert [int(prompt.crop.lower[0]) for prompt in corrected] == bad[: ranked.corrected]
    in_order = volumes.reviewed(KnownRanks({}, truth), case, NAME, 0, start, "in order")  # type: ignore[arg-type]
    # The slice before the object and four right ones come first; they are looked at, and not corrected.
    assert in_order.reached[0.95] == (ranked.looked + 5, ranked.corrected)


def test_a_correction_that_is_carried_saves_others_and_is_looked_at_anew(case: Case) -> None:
    truth = case.masks[NAME]
    start = broken(case, [2, 3, 4, 5, 6, 7])
    doubts = {n: 0.9 if n == 4 else 0.5 for n in range(1, 9)}
    session: Any = KnownRanks(doubts, truth, carried=1)
    found = volumes.reviewed(session, case, NAME, 0, start, "ranked")
    assert found.corrected == 3  # slices 4, 2 and 6, each with its neighbours
    assert found.dice == pytest.approx(1)
    assert session.asked[0] == (0, len(truth) - 1)
    assert session.asked[1] == (0, 4 + volumes.REACH + 1)
    alone = volumes.reviewed(KnownRanks(doubts, truth), case, NAME, 0, start, "ranked")  # type: ignore[arg-type]
    assert alone.corrected == 5


def test_a_goal_that_is_reached_before_costs_nothing(case: Case) -> None:
    found = volumes.reviewed(KnownRanks({}, case.masks[NAME]), case, NAME, 0, case.masks[NAME].copy(), "in order")  # type: ignore[arg-type]
    assert found.reached == {0.90: (0, 0), 0.95: (0, 0)}


def test_a_session_gives_a_start_its_ranks_and_its_review(case: Case) -> None:
    session = LocalSession(ThresholdBackbone(), EmbeddingCache(None))
    session.set_image(case.volume)
    truth = case.masks[NAME]
    try:
        tight = volumes.begun(session, case, NAME, 0, TIGHT, 0)
        rough = volumes.begun(session, case, NAME, 0, ROUGH, 0)
        assert not session.objects[NAME].prompts  # nothing of a rough start is a person's
        again, other = (volumes.begun(session, case, NAME, 0, ROUGH, seed) for seed in (0, 1))
        assert np.array_equal(rough, again)
        assert not np.array_equal(rough, other)
        assert dice(rough, truth) < dice(tight, truth)
        figures, tables = volumes.slices(session, case, NAME, 0)
        # Only the slice beyond the bright rod's end is wrong: the truth is a slice longer there.
        assert figures["dice"] == pytest.approx(dice(tight, truth))
        assert figures["share/best"] == 1
        assert figures["share"] == pytest.approx(float(np.interp(PART, PARTS, tables["ranked"])))
        found = volumes.human(session, case, NAME, 0, ROUGH, 0)
        ranked, in_order = (found[f"{ROUGH}/{order}/corrected/0.90"] for order in volumes.ORDERS)
        assert ranked is not None
        assert in_order is not None
        assert 1 <= ranked <= in_order
    finally:
        session.close(cancel=True)

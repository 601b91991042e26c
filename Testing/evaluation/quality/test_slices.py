"""A simulated user on one slice: what counts, when they stop, and that they get what the application gives."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.quality import plots as plots
from AutoPromptSAMLib.evaluation.quality.slices import (
    AUC_CLICKS,
    MOST_CLICKS,
    clicks_to,
    segment_once,
    segment_with_corrections,
)
from AutoPromptSAMLib.loops.slice import segment_slice
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.prompts.simulators import correction_click, tight_box

from ...threshold_backbone import BRIGHT, DARK, ThresholdBackbone

pytest.importorskip("monai", reason="the extra `bench` is not installed")


def disc(col: float, row: float, radius: float, shape: tuple[int, int] = (96, 96)) -> np.ndarray:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return (cols - col) ** 2 + (rows - row) ** 2 <= radius**2


def image(bright: np.ndarray) -> np.ndarray:
    return np.repeat(np.where(bright, BRIGHT, DARK).astype(np.uint8)[..., None], 3, axis=2)


# The truth has a part that is dark, and a bright thing beside it does not belong to it.
TRUTH = disc(40, 48, 20) | disc(64, 48, 7)
BRIGHT_PART = disc(40, 48, 20) | disc(40, 20, 14)


@pytest.mark.parametrize("first", [PixelPrompts(), PixelPrompts(box=tight_box(TRUTH))], ids=["user", "user-box"])
def test_going_on_from_the_last_answer_is_the_answer_to_all_clicks(first: PixelPrompts) -> None:
    backbone = ThresholdBackbone()
    features = backbone.encode([image(BRIGHT_PART)])
    answer = segment_with_corrections(
        backbone, features, first, TRUTH, partial(correction_click, TRUTH), "interactive"
    )
    assert len(answer.prompts.points) == AUC_CLICKS
    assert np.array_equal(answer.mask, segment_slice(backbone, features, answer.prompts) > 0)
    common = 2 * (answer.mask & TRUTH).sum() / (answer.mask.sum() + TRUTH.sum())
    assert answer.trace[AUC_CLICKS] == pytest.approx(common)
    assert answer.trace[AUC_CLICKS] > answer.trace[1]
    if first.is_empty:
        assert answer.trace[0] == 0
        assert set(answer.prompts.labels) == {0, 1}


def test_a_user_whom_nothing_helps_gives_up() -> None:
    class Blind(ThresholdBackbone):
        """It takes points and never finds anything."""

        def __init__(self) -> None:
            super().__init__()
            self.capabilities = replace(self.capabilities, points=True)

        def embed_prompts(self, frame, prompts, low_res=None):  # type: ignore[no-untyped-def]
            return super().embed_prompts(frame, [PixelPrompts(box=np.array([0, 0, 1, 1]))] * len(prompts))

    backbone = Blind()
    features = backbone.encode([image(np.zeros_like(TRUTH))])
    answer = segment_with_corrections(
        backbone, features, PixelPrompts(), TRUTH, partial(correction_click, TRUTH), "plain"
    )
    assert answer.trace == (0.0,) * (MOST_CLICKS + 1)
    assert answer.figures == {"clicks_to_0.85": MOST_CLICKS, "clicks_to_0.90": MOST_CLICKS, "dice_auc5": 0}
    assert len(answer.prompts.points) == AUC_CLICKS


def test_a_user_with_nothing_to_correct_stops_and_keeps_the_dice() -> None:
    backbone = ThresholdBackbone()
    truth = disc(40, 48, 20)
    features = backbone.encode([image(truth)])
    box = PixelPrompts(box=tight_box(truth))
    answer = segment_with_corrections(backbone, features, box, truth, partial(correction_click, truth), "interactive")
    assert answer.trace == (1.0,)
    assert answer.figures == {"clicks_to_0.85": 0, "clicks_to_0.90": 0, "dice_auc5": 1}


@pytest.mark.parametrize(
    ("trace", "clicks"), [([0.9], 0), ([0.1, 0.85], 1), ([0.1, 0.8, 0.9, 0.2], 2), ([0.1, 0.849], MOST_CLICKS)]
)
def test_clicks_are_counted_until_the_goal_is_reached_for_the_first_time(trace: list[float], clicks: int) -> None:
    assert clicks_to(0.85, trace) == clicks


def test_a_bare_model_that_knows_boxes_only_refuses_clicks() -> None:
    backbone = ThresholdBackbone()
    features = backbone.encode([image(TRUTH)])
    click = PixelPrompts(np.array([[40.0, 48.0]]), np.array([1], dtype=np.int8))
    with pytest.raises(PromptError, match="interactive"):
        segment_once(backbone, features, click, "plain")
    assert segment_once(backbone, features, click, "interactive").mask.any()


def test_without_matplotlib_one_sentence_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(BenchError, match=r'pip install "autopromptsam\[bench\]"'):
        plots.need_matplotlib()

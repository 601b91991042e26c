"""A review in the words of a panel."""

from __future__ import annotations

from dataclasses import replace

from AutoPromptSAMLib.workbench.review_desk import ReviewRow, ReviewSummary, StepText
from AutoPromptSAMLib.workbench.review_texts import review_texts

ROW = ReviewRow(9, "S 24.0 mm", 71, 2, "Expected Dice 71 %", False)
SUMMARY = ReviewSummary("Expected Dice 88 % on average of 5 slices.", (ROW,), (), 0, "", None)


def test_before_a_look_there_is_nothing_to_do() -> None:
    texts = review_texts(None)
    assert (texts.looked, texts.about, texts.rows) == (False, "Nothing was looked at yet.", ())
    assert (texts.carry, texts.can_carry) == ("Carry to the neighbours", False)
    assert (texts.suggested, texts.step, texts.can_step_back, texts.can_step_forward) == ("", "", False, False)


def test_a_look_names_its_slices_and_what_was_corrected() -> None:
    texts = review_texts(SUMMARY)
    assert texts.rows == (("Slice 9 (S 24.0 mm): 71 %", 9, "Expected Dice 71 %"),)
    assert (texts.looked, texts.about, texts.can_carry) == (True, SUMMARY.about, False)
    flat = review_texts(replace(SUMMARY, rows=(replace(ROW, position=""),)))
    assert flat.rows == (("Slice 9: 71 %", 9, "Expected Dice 71 %"),)
    texts = review_texts(replace(SUMMARY, corrected=(4, 9), suggested="a box"))
    assert (texts.carry, texts.can_carry) == ("Carry 2 to the neighbours", True)
    assert texts.suggested == "Suggested here: a box"


def test_the_first_and_the_last_step_end_the_way() -> None:
    ways = []
    for number in range(3):
        texts = review_texts(replace(SUMMARY, steps=StepText(9, number, 3, f"step {number}", "Refused: worse.")))
        assert texts.step == f"step {number}. Refused: worse."
        ways.append((texts.can_step_back, texts.can_step_forward))
    assert ways == [(False, True), (True, True), (True, False)]

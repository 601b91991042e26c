"""Texts in the language of the application."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from AutoPromptSAMLib.workbench import language
from AutoPromptSAMLib.workbench.packages import size_text
from AutoPromptSAMLib.workbench.requirements import REQUIREMENTS


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    before = language._translate
    language.use(None)
    yield
    language.use(before)


def test_without_an_application_texts_are_as_they_are() -> None:
    assert size_text(62) == "62 MB"


def test_an_application_is_asked_when_a_text_is_shown_in_the_context_of_slicers_tools() -> None:
    asked = []

    def translate(context: str, text: str) -> str:
        asked.append((context, text))
        return {"{size} MB": "{size} Mo", "runs the models": "calcule"}[text]

    language.use(translate)
    assert size_text(62) == "62 Mo"
    assert REQUIREMENTS[0].reason == "calcule"
    assert asked == [("workbench.packages", "{size} MB"), ("workbench.requirements", "runs the models")]


@pytest.mark.parametrize("wrong", ["{taille} Mo", "Mo", "{} Mo"])
def test_a_translation_that_cannot_be_filled_in_is_none(wrong: str) -> None:
    language.use(lambda context, text: wrong)
    assert size_text(62) == "62 MB"

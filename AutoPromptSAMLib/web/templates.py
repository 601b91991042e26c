"""The templates of the page, as they lie in ``pages/``."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from AutoPromptSAMLib.workbench.shortcuts import hint

PAGES = Path(__file__).with_name("pages")
# The slice that is shown in the direction that the page works along.
SHOWN = "({axial: view_axial, coronal: view_coronal, sagittal: view_sagittal})[propagate_view].index"

# Why a button is disabled, "" when it is not: there is nothing to work on, to make examples of, or to prompt with.
NOT_READY = "(tools_ready ? '' : 'Open an image first, or wait for its model')"
NO_SCENE = (
    f"({NOT_READY} || (segments.some((s) => s.visible && s.ml !== '–') ? ''"
    " : 'No segment is visible and filled: draw an object on a slice first'))"
)
NO_RUN = (
    f"({NOT_READY} || (!examples_pairs.length ? 'This set has no examples yet: add some in the gallery'"
    " : examples_learning ? 'Learning is going on: wait for its end, or stop it and keep the best so far' : ''))"
)
NO_LEARNING = (
    f"({NOT_READY} || (examples_pairs.length < 2 ? 'Learning needs at least two examples: add more in the gallery'"
    " : phase === 'propagating' ? 'A run is going on: wait for its end, or cancel it' : ''))"
)


def page(name: str, /, **words: str) -> str:
    """The Vue template ``pages/<name>.html``.

    A name in double square brackets stands for one of the ``words``; the name of an action ("tool:box") for what
    tooltips add, its key in brackets.
    """

    def meaning(found: re.Match[str]) -> str:
        return words[found[1]] if found[1] in words else hint(found[1])

    return re.sub(r"\[\[([^]\s]+)]]", meaning, _text(name))


@cache
def _text(name: str) -> str:
    return (PAGES / f"{name}.html").read_text(encoding="utf-8")

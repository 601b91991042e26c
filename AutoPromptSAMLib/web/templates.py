"""The templates of the page, as they lie in ``pages/``."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from AutoPromptSAMLib.workbench.shortcuts import hint

PAGES = Path(__file__).with_name("pages")
# The slice that is shown in the direction that the page works along.
SHOWN = "({axial: view_axial, coronal: view_coronal, sagittal: view_sagittal})[propagate_view].index"


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

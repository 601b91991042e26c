"""The language that the application is shown in: its own translation when it has one, else the texts as they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

Translate = Callable[[str, str], str]

_translate: Translate | None = None


def use(translate: Translate | None) -> None:
    """Let ``translate(context, text)`` translate all texts from now on; None leaves them as they are."""
    global _translate
    _translate = translate


def tr(text: str) -> str:
    """``text`` in the language of the application; import it as ``_``, which tools that collect texts look for.

    The context is that of Slicer's tools: folder and name of the file that asks. A translation with other fields in
    braces than the text is none: filling it in would fail.
    """
    if _translate is None:
        return text
    path = Path(sys._getframe(1).f_code.co_filename)
    translated = str(_translate(f"{path.parent.name}.{path.stem}", text))
    return translated if _fields(translated) == _fields(text) else text


def _fields(text: str) -> set[str]:
    return set(re.findall(r"{(\w*)", text))

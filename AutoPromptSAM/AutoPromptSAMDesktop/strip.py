"""A strip along the slices: which were prompted, how sure the others are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import qt

if TYPE_CHECKING:
    from AutoPromptSAMLib.workbench.strips import Mark

WIDTH = 1000  # of the picture; the label stretches it
HEIGHT = 12
COLORS = {"done": "#4CAF7D", "weak": "#FDE725", "seed": "#FFFFFF"}
BACKGROUND = "#2B3138"


def strip(count: int, marks: Iterable[Mark], shown: int) -> Any:
    """A pixmap of ``count`` slices with their ``marks``, and a line at ``shown``."""
    from AutoPromptSAMLib.mrml.reports import SURE_COLORS

    picture = qt.QPixmap(WIDTH, HEIGHT)
    picture.fill(qt.QColor(BACKGROUND))
    painter = qt.QPainter(picture)
    step = WIDTH / max(count, 1)
    for mark in marks:
        color = SURE_COLORS[mark.level] if mark.kind == "sure" else COLORS[mark.kind]
        top, least = (0, 4) if mark.kind == "seed" else (2, 1)
        width = max(int((mark.last - mark.first + 1) * step), least)
        painter.fillRect(int(mark.first * step), top, width, HEIGHT - 2 * top, qt.QColor(color))
    painter.fillRect(int((shown + 0.5) * step) - 1, 0, 3, HEIGHT, qt.QColor("#F34A33"))
    painter.end()
    return picture

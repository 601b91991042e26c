"""A strip along the slices: which were prompted, how sure the others are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import qt

WIDTH = 1000  # of the picture; the label stretches it
HEIGHT = 12
DONE, WEAK, SEED = "#4CAF7D", "#FDE725", "#FFFFFF"
BACKGROUND = "#2B3138"


def strip(count: int, spans: Iterable[tuple[int, int, str]], seeds: Iterable[int], shown: int) -> Any:
    """A pixmap of ``count`` slices: ``spans`` (first, last, colour), white for ``seeds``, a line at ``shown``."""
    picture = qt.QPixmap(WIDTH, HEIGHT)
    picture.fill(qt.QColor(BACKGROUND))
    painter = qt.QPainter(picture)
    step = WIDTH / max(count, 1)
    for first, last, color in spans:
        painter.fillRect(int(first * step), 2, max(int((last - first + 1) * step), 1), HEIGHT - 4, qt.QColor(color))
    for index in seeds:
        painter.fillRect(int(index * step), 0, max(int(step), 4), HEIGHT, qt.QColor(SEED))
    painter.fillRect(int((shown + 0.5) * step) - 1, 0, 3, HEIGHT, qt.QColor("#F34A33"))
    painter.end()
    return picture

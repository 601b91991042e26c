"""Names that have to differ from each other."""

from __future__ import annotations

from collections.abc import Container


def free_name(name: str, taken: Container[str], numbered: str = "{} ({})", first: int = 2) -> str:
    """``name``, or, when it is ``taken``, it with the first free number from ``first`` on, put as in ``numbered``."""
    free, number = name, first
    while free in taken:
        free, number = numbered.format(name, number), number + 1
    return free

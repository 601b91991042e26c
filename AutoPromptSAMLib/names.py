"""Names that have to differ from each other."""

from __future__ import annotations

from collections.abc import Container, Iterable


def free_name(
    name: str, taken: Container[str], numbered: str = "{} ({})", first: int = 2, most: int | None = None
) -> str:
    """``name``, or, when it is ``taken``, it with the first free number from ``first`` on, put as in ``numbered``.

    With ``most`` letters at most the name is cut so that the number still fits.
    """
    free, number = name[:most], first
    while free in taken:
        ending = len(numbered.format("", number))
        free, number = numbered.format(name if most is None else name[: most - ending], number), number + 1
    return free


def different(names: Iterable[str]) -> list[str]:
    """The names in their order, those that came before with a number."""
    found: list[str] = []
    for name in names:
        found.append(free_name(name, found))
    return found

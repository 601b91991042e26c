"""What the values of a label map mean: which objects a dataset has, and where each is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.datasets.sections import Section
from AutoPromptSAMLib.geometry.grid import BoolArray

NONZERO = "nonzero"
EACH = "each"

Values = tuple[int, ...] | None  # None: all that are not 0


@dataclass(frozen=True)
class ObjectRule:
    """How objects follow from label values.

    ``named``: (object, its label values) pairs, the values None for all that are not 0. ``each``: every value but 0
    is an object of its own. ``by_mask``: (file name of a label map without ending, its ``named``) pairs; the name ""
    stands for all label maps.
    """

    named: tuple[tuple[str, Values], ...] = ()
    each: bool = False
    by_mask: tuple[tuple[str, tuple[tuple[str, Values], ...]], ...] = ()

    @property
    def single(self) -> str | None:
        """The name of the only object; None when there are several, or only the label map knows."""
        return self.named[0][0] if len(self.named) == 1 else None

    def objects_in(self, labels: NDArray[Any], mask_name: str, only_name: str | None = None) -> dict[str, Values]:
        """The objects that a label map of any shape holds, by name, in the order of the description.

        ``mask_name``: its file name without ending. ``only_name``: another name for the only object.
        """
        present = set(np.unique(labels).tolist())
        if self.each:
            return {f"label {value}": (value,) for value in sorted(present - {0})}
        named = self.named
        if self.by_mask:
            tables = dict(self.by_mask)
            named = tables.get(mask_name, tables.get("", ()))
        found = {
            name: values
            for name, values in named
            if (present - {0} if values is None else present.intersection(values))
        }
        return dict.fromkeys([only_name], *found.values()) if only_name and found else found


def mask_of(labels: NDArray[Any], values: Values) -> BoolArray:
    """Where ``labels`` has one of ``values``: bool of its shape."""
    if values is None:
        found: BoolArray = labels != 0
    elif len(values) == 1:
        found = labels == values[0]
    else:
        found = np.isin(labels, values)
    return found


class LabelMasks(Mapping[str, BoolArray]):
    """Masks of a label map by object, made when asked for: 100 organs of a CT at once would take gigabytes."""

    def __init__(self, labels: NDArray[Any], objects: Mapping[str, Values]) -> None:
        self.labels, self.objects = labels, dict(objects)

    def __getitem__(self, name: str) -> BoolArray:
        return mask_of(self.labels, self.objects[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.objects)

    def __len__(self) -> int:
        return len(self.objects)


def read_objects(section: Section, folder: Path) -> ObjectRule:
    """The "objects" of a dataset.yaml.

    A mapping of names to lists of label values or to "nonzero"; or ``labels: each``; or ``labels: FILE.json``.
    Raises DatasetError for anything else.
    """
    part = section.section("objects")
    labels = part.content.get("labels")
    if isinstance(labels, str) and labels != NONZERO:
        part.seen.add("labels")
        part.finish()
        if labels == EACH:
            return ObjectRule(each=True)
        if labels.lower().endswith(".json"):
            return _from_json(part, part.path("labels", folder))
        part.refuse("labels", f'must be a list of label values, "{NONZERO}", "{EACH}" or a JSON file, not "{labels}"')
    if not part.content:
        section.refuse("objects", "must name at least one object")
    named = []
    for name in part.content:
        if not isinstance(name, str) or not name.strip():
            part.refuse(str(name), "is no name of an object; put it in quotes")
        named.append((name, _values(part, name)))
    part.finish()
    return ObjectRule(tuple(named))


def _values(part: Section, name: str) -> Values:
    values = part.value(name)
    if values == NONZERO:
        return None
    fits = isinstance(values, list) and values and all(type(value) is int and value != 0 for value in values)
    if not fits or len(set(values)) != len(values):
        part.refuse(name, f'must be a list of different label values other than 0, or "{NONZERO}"')
    return tuple(values)


def _from_json(part: Section, path: Path) -> ObjectRule:
    """{"1": "spleen", ...} for all label maps, or {"file name without ending": {"1": "spleen", ...}, ...}."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        part.refuse("labels", f"names {path.name}, which cannot be read as JSON ({error})")
    tables = content if isinstance(content, dict) else {}
    if not any(isinstance(table, dict) for table in tables.values()):
        tables = {"": tables}
    return ObjectRule(by_mask=tuple((name, _table(part, path, table)) for name, table in tables.items()))


def _table(part: Section, path: Path, table: Any) -> tuple[tuple[str, Values], ...]:
    named: dict[str, tuple[int, ...]] = {}
    try:
        for value, name in table.items():
            if int(value) == 0 or not isinstance(name, str) or not name.strip():
                raise ValueError
            named[name] = (*named.get(name, ()), int(value))
    except (AttributeError, TypeError, ValueError):
        named = {}
    if not named:
        part.refuse("labels", f"names {path.name}, which must map label values other than 0 to names of objects")
    return tuple(named.items())

"""Sets of examples, examples and their objects as rows of lists; colours are "#RRGGBB"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.mrml.segment_list import hexadecimal
from AutoPromptSAMLib.supports import SupportObject, SupportPair, SupportSet
from AutoPromptSAMLib.zoo import load_cards


@dataclass(frozen=True)
class ObjectColour:
    """An object of a set."""

    name: str
    colour: str


@dataclass(frozen=True)
class SetRow:
    """A set: ``about`` as "3 examples", the models it ``learned`` with, ``thumbnail`` the picture of its first."""

    id: str
    name: str
    about: str
    objects: tuple[ObjectColour, ...]
    learned: tuple[str, ...]
    thumbnail: Path | None


@dataclass(frozen=True)
class PairRow:
    """An example: its picture, the ``colours`` of the objects that are annotated on it, all of it in words."""

    id: str
    name: str
    thumbnail: Path | None
    colours: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class ObjectRow:
    """An object that can be looked for. ``sure``: the mean over the slices that it was found on, in percent.

    ``sure`` is None and ``text`` "" when it was found on none; ``ran`` says whether it was looked for.
    """

    name: str
    colour: str
    sure: int | None
    text: str
    ran: bool


@dataclass(frozen=True)
class Unsure:
    """The least sure slice of all: of which object, and how ``sure`` it is, in percent."""

    name: str
    colour: str
    slice: int
    sure: int


@dataclass(frozen=True)
class ExamplesSummary:
    """What a set found on an image, along one axis.

    ``ran``: whether there is a result. ``vouched``: how many slices a person prompted, painted or accepted;
    ``accepted``: the slices on which all that was found was accepted or painted.
    """

    objects: tuple[ObjectRow, ...] = ()
    ran: bool = False
    unsure: Unsure | None = None
    vouched: int = 0
    accepted: tuple[int, ...] = ()


def set_row(content: SupportSet) -> SetRow:
    """The row of a set."""
    objects = tuple(ObjectColour(each.name, hexadecimal(each.colour)) for each in content.objects)
    first = next((pair.thumbnail for pair in content.pairs if pair.thumbnail is not None), None)
    return SetRow(content.id, content.name, count_text(content), objects, tuple(map(_title, content.tasks)), first)


def _title(model: str) -> str:
    card = load_cards().get(model)
    return model if card is None else card.title


def pair_row(pair: SupportPair, content: SupportSet) -> PairRow:
    """The row of an example of a set."""
    shown = [each for each in content.objects if each.name in pair.objects]
    text = f"{pair.name}: {', '.join(each.name for each in shown)}"
    return PairRow(pair.id, pair.name, pair.thumbnail, tuple(hexadecimal(each.colour) for each in shown), text)


def object_row(each: SupportObject, run: Propagation | None) -> ObjectRow:
    """The row of an object of a set; ``run``: what examples found of it, None when it was not looked for."""
    # What a person drew is sure, and says nothing of how well the others were found.
    agreement = {} if run is None else {n: sure for n, sure in run.agreement.items() if n not in run.seeds}
    sure, text = None, ""
    if agreement:
        sure = percent(sum(agreement.values()) / len(agreement))
        worst = min(agreement, key=agreement.__getitem__)
        count = f"{len(agreement)} slice{'' if len(agreement) == 1 else 's'}"
        text = f"Found on {count}, {sure} % sure on average; least sure: slice {worst}, {percent(agreement[worst])} %"
    elif run is not None and run.seeds:
        text = "Only on slices that you prompted"
    return ObjectRow(each.name, hexadecimal(each.colour), sure, text, run is not None)


def count_text(content: SupportSet) -> str:
    """How many examples a set has, as "3 examples"."""
    return f"{len(content.pairs)} example{'' if len(content.pairs) == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names as a title: "liver, spleen and kidney"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def percent(sure: float) -> int:
    """A confidence from 0 to 1 in percent."""
    return round(100 * sure)

"""What Slicer's widgets and Python modules have: the interface facts, in Qt's normal form of signatures."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("facts")
# Bases that have no facts of their own and add nothing to be used here.
KNOWN_BASES = {"qMRMLAbstractViewWidget": "qMRMLWidget", "qMRMLVolumeWidget": "qMRMLWidget"}
PARAMETER = re.compile(r"^(?P<type>.*[\s*>])(?P<name>[A-Za-z_]\w*)$")


@dataclass(frozen=True)
class Property:
    name: str
    type: str
    writable: bool


@dataclass(frozen=True)
class WidgetFacts:
    """One class: what it adds to its base. Signatures are ``name(Type,Type)``."""

    name: str
    base: str
    properties: dict[str, Property]
    signals: tuple[str, ...]
    slots: tuple[str, ...]
    methods: tuple[str, ...]

    @property
    def callables(self) -> set[str]:
        """Names of slots and methods, without constructors."""
        return {name_of(s) for s in self.slots + self.methods} - {self.name}


def name_of(signature: str) -> str:
    return signature.partition("(")[0].strip()


def arguments_of(signature: str) -> list[str]:
    """The types between the brackets of a normal signature."""
    inside = signature[signature.index("(") + 1 : signature.rindex(")")]
    parts, depth = [""], 0
    for letter in inside:
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _plain_type(parameter: str) -> str:
    """``QString`` of ``const QString& id = QString()``."""
    text = parameter.partition("=")[0].strip()
    text = re.sub(r"\bconst\b", " ", text).replace("&", " ")
    text = re.sub(r"\s*\*\s*", "* ", text)
    text = re.sub(r"\s+", " ", text).strip()
    named = PARAMETER.match(text)
    if named and named["type"].strip() not in ("unsigned", "long", "signed", "short"):
        text = named["type"]
    return re.sub(r"\s*([*<>,])\s*", r"\1", text.strip())


def normal(signature: str) -> str:
    """Qt's normal form: no names of parameters, no defaults, no const references, no spaces."""
    name = name_of(signature)
    if "(" not in signature or not signature.rstrip().endswith(")") or not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(f'"{signature}" is no signature such as "clicked(bool)"')
    return f"{name}({','.join(_plain_type(part) for part in arguments_of(signature))})"


@functools.cache
def widgets() -> dict[str, WidgetFacts]:
    """The facts of the ctk, qMRML and qSlicer classes by class name."""
    classes = json.loads((FOLDER / "widgets.json").read_text())["classes"]
    return {
        name: WidgetFacts(
            name,
            KNOWN_BASES.get(entry["base"], entry["base"]),
            {each["name"]: Property(**each) for each in entry["properties"]},
            tuple(map(normal, entry["signals"])),
            tuple(map(normal, entry["slots"])),
            tuple(map(normal, entry["methods"])),
        )
        for name, entry in classes.items()
    }


@functools.cache
def python_modules() -> dict[str, Any]:
    """Functions and classes of Slicer's Python modules by module name."""
    modules: dict[str, Any] = json.loads((FOLDER / "python.json").read_text())["modules"]
    return {name: entry for name, entry in modules.items() if isinstance(entry, dict)}


def lineage(name: str) -> list[WidgetFacts]:
    """The facts of a class and of its bases that have facts, the class first."""
    known, found = widgets(), []
    while name in known:
        found.append(known[name])
        name = known[name].base
    return found

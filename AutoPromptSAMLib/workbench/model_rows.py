"""The models as rows of a list, and what runs where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

"""Backbones: encode an image once, decode many prompts. Importing this package does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from AutoPromptSAMLib.backbones.base import Backbone, Decoded, Features, Frame, PromptEmbedding
from AutoPromptSAMLib.backbones.llvm import settle_triton
from AutoPromptSAMLib.errors import ModelError

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.zoo.card import ModelCard

__all__ = [
    "Backbone",
    "Decoded",
    "Features",
    "Frame",
    "PromptEmbedding",
    "adapted_backbone",
    "device_name",
    "load_backbone",
    "plain_backbone",
    "resolve_device",
]


def load_backbone(
    model: str | ModelCard, device: str = "auto", weights: Path | None = None, engine: str = "auto"
) -> Backbone:
    """Load a model of the zoo, ready to encode, on ``device`` ("auto", "cpu", "cuda", "cuda:1", ...).

    ``weights`` is a checkpoint in the official layout to use instead of the installed one. Nothing is downloaded here.
    ``engine`` "auto" is OpenVINO for the small models on the CPU, else PyTorch, or either by name ("openvino",
    "pytorch"); the first time, OpenVINO takes some seconds to prepare a model.
    Raises ModelError when the model is unknown, its weights are not installed, damaged or another model's, or when the
    device, the engine asked for or a package it needs is missing.
    """
    from AutoPromptSAMLib.zoo.card import get_card
    from AutoPromptSAMLib.zoo.download import file_sha256
    from AutoPromptSAMLib.zoo.store import expected_sha256, verify

    card = get_card(model) if isinstance(model, str) else model
    if weights is None:
        path, sha256 = verify(card, remembered=True), expected_sha256(card)
    else:
        path, sha256 = Path(weights), None
        if not path.is_file():
            raise ModelError(f"There are no weights of {card.name} at {path}; give the path of a checkpoint.")
    settle_triton()
    try:
        from AutoPromptSAMLib.backbones.build import build_backbone
    except ImportError as error:
        raise ModelError(
            f"The Python package '{error.name}' is needed to run models; install PyTorch and the other requirements "
            "first (`autopromptsam doctor` lists what is missing)."
        ) from error
    return build_backbone(card, resolve_device(device), path, sha256 or file_sha256(path), engine)


def adapted_backbone(backbone: Backbone) -> Backbone:
    """The model with the adapter that the project has for it, sharing its features; the model itself without one.

    Other weights of the model than the published ones have none. Raises ModelError when the adapter's file is missing
    or damaged.
    """
    from AutoPromptSAMLib.backbones.multi_prompt_adapter import KIND, load_adapted
    from AutoPromptSAMLib.backbones.sam_family import SamBackbone
    from AutoPromptSAMLib.backbones.tensor_file import read_header
    from AutoPromptSAMLib.zoo.card import load_cards

    if isinstance(backbone, SamBackbone):
        for card in load_cards().values():
            if card.base == backbone.card.name and card.adapter is not None:
                path = card.adapter.path
                if read_header(path, KIND).fingerprint == backbone.fingerprint:
                    return load_adapted(path, backbone, card, card.adapter.sha256)
    return backbone


def plain_backbone(backbone: Backbone) -> Backbone:
    """The model without its adapter, for networks that were trained with it so; any other backbone is returned."""
    plain: Backbone = getattr(backbone, "plain", backbone)
    return plain


def resolve_device(device: str) -> torch.device:
    """The torch device called ``device``; "auto" is CUDA where there is one, else the CPU.

    Raises ModelError for a name that torch does not know or a device that this machine does not have.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"The device '{device}' cannot be used on this machine; choose auto, cpu or cuda.") from error
    return chosen


def device_name(device: torch.device) -> str:
    """What a device is called: a GPU by its maker's name, any other by its kind, as "CPU"."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type).upper()

"""From a model card and a checkpoint to a backbone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from AutoPromptSAMLib.backbones.checkpoint import load_strict, read_state_dict
from AutoPromptSAMLib.backbones.engines import ENGINES
from AutoPromptSAMLib.backbones.multi_prompt_adapter import load_adapted
from AutoPromptSAMLib.backbones.preprocess import preprocessor_of
from AutoPromptSAMLib.backbones.sam2_image import Sam2Backbone, build_sam2_network
from AutoPromptSAMLib.backbones.sam_family import SamBackbone, SamNetwork
from AutoPromptSAMLib.backbones.sam_vit import VIT_SIZES, build_vit_encoder
from AutoPromptSAMLib.backbones.tiny_vit import STEMS, UNUSED_KEYS, TinyVitEncoder, official_key, optimise
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.zoo.card import get_card

if TYPE_CHECKING:
    from AutoPromptSAMLib.zoo.card import ModelCard


def build_backbone(
    card: ModelCard, device: torch.device, weights: Path, sha256: str, engine: str = "auto"
) -> SamBackbone:
    """Build the network that ``card`` describes, load ``weights`` into it strictly and put it on ``device``.

    ``sha256`` is that of ``weights``; ``engine`` is one of ``ENGINES``. Raises ModelError when the card describes no
    network, a package is missing, the weights do not fit or the engine cannot be used.
    """
    if engine not in ENGINES:
        raise ModelError(f"There is no engine '{engine}'; choose one of {', '.join(ENGINES)}.")
    # The other models are made for GPUs, and a second copy of their weights takes up to 2.6 GB.
    if engine == "openvino" and card.architecture != "tiny-vit-sam":
        raise ModelError(f"{card.title} runs with PyTorch only; choose the engine auto or pytorch.")
    preprocessor = preprocessor_of(card)
    kind: type[SamBackbone] = SamBackbone
    network: nn.Module
    if card.architecture == "tiny-vit-sam":
        stem = _choice(card, "stem", STEMS)
        if card.input_size != STEMS[stem]:
            raise ModelError(f"The card of {card.name} must have the input_size {STEMS[stem]} for the stem {stem}.")
        encoder = TinyVitEncoder(stem)
        network = SamNetwork(encoder, card.input_size)
        load_strict(network, read_state_dict(weights, card.name), card.name, official_key, UNUSED_KEYS)
        optimise(encoder)
    elif card.architecture == "sam-vit":
        network = SamNetwork(build_vit_encoder(_choice(card, "encoder", VIT_SIZES)), card.input_size)
        load_strict(network, read_state_dict(weights, card.name), card.name)
    elif card.architecture == "sam2":
        kind, network = Sam2Backbone, build_sam2_network(str(card.variant.get("config")), card.input_size)
        load_strict(network, read_state_dict(weights, card.name), card.name)
    else:
        raise ModelError(f"The card of {card.name} names the unknown architecture '{card.architecture}'.")
    plain = card if card.base is None else get_card(card.base, card.path.parent if card.path else None)
    backbone = kind(plain, network, preprocessor, f"{card.architecture}/{sha256}", device)
    if card.architecture == "tiny-vit-sam":
        backbone.use_engine(engine, sha256)
    return backbone if card.adapter is None else load_adapted(card.adapter.path, backbone, card, card.adapter.sha256)


def _choice(card: ModelCard, key: str, choices: Collection[str]) -> str:
    value = card.variant.get(key)
    if not isinstance(value, str) or value not in choices:
        raise ModelError(f"The card of {card.name} must have one of {', '.join(choices)} at 'variant.{key}'.")
    return value

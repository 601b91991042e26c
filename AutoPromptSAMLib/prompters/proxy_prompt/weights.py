"""Proxy Prompt networks on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from AutoPromptSAMLib.backbones.base import Backbone
from AutoPromptSAMLib.backbones.checkpoint import load_strict
from AutoPromptSAMLib.backbones.tensor_file import (
    Header,
    header_for,
    read_header,
    read_tensors,
    require_backbone,
    write_tensors,
)
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork, grown
from AutoPromptSAMLib.zoo.card import cards_folder

KIND = "Proxy Prompt task"


def save_network(
    network: ProxyPromptNetwork, path: Path, backbone: Backbone, info: Mapping[str, Any] | None = None
) -> str:
    """Write network, configuration and ``info`` (plain values: objects, data, figures, ...); returns the sha256.

    Raises StorageError when the file cannot be written.
    """
    return write_tensors(path, header_for(backbone, KIND, network.config.to_dict(), info), network.state_dict())


def load_network(path: Path, backbone: Backbone) -> tuple[ProxyPromptNetwork, Header]:
    """The network, ready to prompt on the backbone's device, and what the file says.

    Raises ModelError when the file is missing, damaged, something else, or made for another backbone.
    """
    network, header = _read(path)
    require_backbone(header, path, backbone)
    return network.eval().to(backbone.device), header


def load_start(path: Path, backbone: Backbone) -> ProxyPromptNetwork:
    """A network to train on from, which may have served another model: much of what it knows is not of that model.

    Blocks that it lacks are added, and change nothing until they are trained. Raises ModelError when the file is
    missing, damaged or something else, or its network prompts in another way.
    """
    network, header = _read(path)
    network = grown(network)
    if network.config != ProxyPromptConfig.small(memory=backbone.capabilities.memory):
        raise ModelError(
            f"{path.name} prompts {header.backbone} in a way that {backbone.card.name} cannot be prompted; start from "
            "other weights, or from none."
        )
    return network


def _read(path: Path) -> tuple[ProxyPromptNetwork, Header]:
    header, tensors = read_tensors(path, KIND)
    with torch.device("meta"):
        network = ProxyPromptNetwork(ProxyPromptConfig.from_dict(header.config))
    load_strict(network, tensors, path.name)
    return network, header


def is_for(path: Path, backbone: Backbone) -> bool:
    """Whether a task was learned with this model, of whichever weights; True for a file that cannot be read, too."""
    try:
        return read_header(path, KIND).backbone == backbone.card.name
    except ModelError:
        return True


def general_path(backbone: Backbone) -> Path:
    """Where the general weights for a backbone are, if the project has some: beside the model cards."""
    return cards_folder() / f"proxy-prompt-{backbone.card.name}.safetensors"


def general_network(backbone: Backbone) -> ProxyPromptNetwork | None:
    """The general weights, for tasks that nobody taught; None when there are none for this model.

    Raises ModelError when they are damaged or the model's own weights are others than those they were made for.
    """
    path = general_path(backbone)
    return load_network(path, backbone)[0] if path.is_file() else None

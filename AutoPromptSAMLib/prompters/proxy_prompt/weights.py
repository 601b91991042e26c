"""Proxy Prompt networks on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from AutoPromptSAMLib.backbones.base import Backbone
from AutoPromptSAMLib.backbones.checkpoint import load_strict
from AutoPromptSAMLib.backbones.lora import with_additions
from AutoPromptSAMLib.backbones.tensor_file import (
    Header,
    header_for,
    read_tensors,
    require_backbone,
    write_tensors,
)
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork, grown
from AutoPromptSAMLib.zoo.card import cards_folder

KIND = "Proxy Prompt task"
_ADDED = "added to the model."  # before the names of additions


@dataclass(frozen=True, eq=False)
class Task:
    """A network that has learned a task, and the model that it prompts.

    ``backbone`` is the model itself, or a model of its own with what the task added to that (``additions`` as
    ``Lora.additions``, empty for none).
    """

    network: ProxyPromptNetwork
    backbone: Backbone
    header: Header
    additions: Mapping[str, torch.Tensor]


def save_task(
    network: ProxyPromptNetwork,
    path: Path,
    backbone: Backbone,
    info: Mapping[str, Any] | None = None,
    additions: Mapping[str, torch.Tensor] | None = None,
) -> str:
    """Write network, configuration and ``info`` (plain values: objects, data, figures, ...); returns the sha256.

    ``backbone`` is the plain one, ``additions`` what was learned in it. Raises StorageError when the file cannot be
    written.
    """
    added = {_ADDED + name: tensor for name, tensor in (additions or {}).items()}
    header = header_for(backbone, KIND, network.config.to_dict(), info)
    return write_tensors(path, header, network.state_dict() | added)


def load_task(path: Path, backbone: Backbone) -> Task:
    """The task, ready to prompt on the backbone's device.

    Raises ModelError when the file is missing, damaged, something else, or made for another backbone.
    """
    network, header, additions = _read(path)
    require_backbone(header, path, backbone)
    prompted = with_additions(backbone, additions) if additions else backbone
    return Task(network.eval().to(backbone.device), prompted, header, additions)


def load_start(path: Path, backbone: Backbone) -> ProxyPromptNetwork:
    """A network to train on from, which may have served another model: much of what it knows is not of that model.

    Blocks that it lacks are added, and change nothing until they are trained. Raises ModelError when the file is
    missing, damaged or something else, or its network prompts in another way.
    """
    network, header, _ = _read(path)
    network = grown(network)
    if network.config != ProxyPromptConfig.small(memory=backbone.capabilities.memory):
        raise ModelError(
            f"{path.name} prompts {header.backbone} in a way that {backbone.card.name} cannot be prompted; start from "
            "other weights, or from none."
        )
    return network


def _read(path: Path) -> tuple[ProxyPromptNetwork, Header, dict[str, torch.Tensor]]:
    header, tensors = read_tensors(path, KIND)
    additions = {name.removeprefix(_ADDED): tensors.pop(name) for name in list(tensors) if name.startswith(_ADDED)}
    with torch.device("meta"):
        network = ProxyPromptNetwork(ProxyPromptConfig.from_dict(header.config))
    load_strict(network, tensors, path.name)
    return network, header, additions


def general_path(model: str) -> Path:
    """Where the general weights for a model are, if the project has some: beside the model cards."""
    return cards_folder() / f"proxy-prompt-{model}.safetensors"


def general_network(backbone: Backbone) -> ProxyPromptNetwork | None:
    """The general weights, for tasks that nobody taught; None when there are none for this model.

    Raises ModelError when they are damaged or the model's own weights are others than those they were made for.
    """
    path = general_path(backbone.card.name)
    return load_task(path, backbone).network if path.is_file() else None

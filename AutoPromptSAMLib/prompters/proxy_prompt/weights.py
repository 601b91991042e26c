"""Proxy Prompt networks on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from AutoPromptSAMLib.backbones.base import Backbone
from AutoPromptSAMLib.backbones.checkpoint import load_strict
from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
from AutoPromptSAMLib.prompters.tensor_file import Header, header_for, read_tensors, require_backbone, write_tensors

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
    header, tensors = read_tensors(path, KIND)
    require_backbone(header, path, backbone)
    with torch.device("meta"):
        network = ProxyPromptNetwork(ProxyPromptConfig.from_dict(header.config))
    load_strict(network, tensors, path.name)
    return network.eval().to(backbone.device), header

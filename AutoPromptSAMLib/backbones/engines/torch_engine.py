"""PyTorch as an engine: any device, any number of tokens, gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from AutoPromptSAMLib.backbones.engines import cpu_name

_Decoder = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class TorchEngine:
    """See ``Engine``."""

    def __init__(self, encoder: nn.Module, decoder: _Decoder, device: torch.device) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self.name = torch_name(device)

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """See ``Engine.encode``."""
        embedding: torch.Tensor = self._encoder(batch)
        return embedding

    def decode(self, source: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Engine.decode``."""
        return self._decoder(source, tokens)


def torch_name(device: torch.device) -> str:
    """The name of PyTorch on ``device``, as in ``Engine.name``."""
    release = torch.__version__.split("+")[0]
    if device.type == "cpu":
        return cpu_name("PyTorch", release, torch.get_num_threads())
    return f"PyTorch {release}, {torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type}"

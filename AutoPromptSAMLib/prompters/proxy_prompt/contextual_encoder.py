"""What a support image shows, seen together with one object's mask: a Vision Mamba encoder on four channels."""

from __future__ import annotations

import torch
from torch import nn

from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.scan import VimLayer

_STD = 0.02  # of the positions at the start, as in ViT


class ContextualEncoder(nn.Module):
    """Image and mask (B, 4, S, S) to V (B, width, grid, grid).

    Learned absolute positions, no class token. The paper cuts patches of 16 px; the default stem of small networks is
    one convolution of stride 2 for every halving, as thin objects do not survive a single coarse one.
    """

    def __init__(self, config: ProxyPromptConfig) -> None:
        super().__init__()
        width, self.grid = config.context_width, config.grid
        self.stem: nn.Module
        if config.context_stem == "patches":
            self.stem = nn.Conv2d(4, width, config.patch, config.patch)
        else:
            self.stem = _convolutions(width, config.patch)
        self.position = nn.Parameter(torch.randn(1, config.grid**2, width) * _STD)
        self.layers = nn.ModuleList(VimLayer(width, config.context_state) for _ in range(config.context_depth))
        self.norm = nn.RMSNorm(width, eps=1e-5)

    def forward(self, image: torch.Tensor, mask: torch.Tensor, implementation: str = "auto") -> torch.Tensor:
        """``image`` (B, 3, S, S) in 0..1 and ``mask`` (B, 1, S, S), the fraction of each pixel that is covered."""
        # Both centred on 0.
        tokens = self.stem(torch.cat([image, mask], dim=1) * 2 - 1).flatten(2).transpose(1, 2) + self.position
        for layer in self.layers:
            tokens = layer(tokens, implementation)
        return self.norm(tokens).transpose(1, 2).unflatten(2, (self.grid, self.grid))


def _convolutions(width: int, patch: int) -> nn.Sequential:
    halvings = patch.bit_length() - 1
    widths = [4, *(width // 2 ** (halvings - 1 - n) for n in range(halvings))]
    layers: list[nn.Module] = []
    for n in range(halvings):
        layers += [nn.Conv2d(widths[n], widths[n + 1], 3, stride=2, padding=1), nn.GELU()]
    return nn.Sequential(*layers[:-1])

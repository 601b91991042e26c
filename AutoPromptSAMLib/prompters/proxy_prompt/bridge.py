"""Bridge Unit: joins a support's features with its contextual code, ResBlock - CBAM - ResBlock (after STCN's fuser).

Joining the objects on channels, as the paper's text says, would fix their number when the network is built. By default
all objects share the blocks, and see each other only in the channel gate, through the mean over objects: any number of
objects, and their order does not matter. ``fixed_objects`` is the literal reading.
"""

from __future__ import annotations

import torch
from torch import nn

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig

_REDUCTION = 16  # CBAM's, as published
_KERNEL = 7


class ResBlock(nn.Module):
    """Two convolutions after ReLU each, plus the input; (B, inside, h, w) to (B, outside, h, w).

    With a bottleneck: 1×1 to that many channels, 3×3, 1×1. Inputs of another width come round by a convolution.
    """

    def __init__(self, inside: int, outside: int, bottleneck: int | None) -> None:
        super().__init__()
        kernel = 3 if bottleneck is None else 1
        self.around = nn.Conv2d(inside, outside, kernel, padding=kernel // 2) if inside != outside else nn.Identity()
        layers: list[nn.Module] = [nn.ReLU(), nn.Conv2d(inside, bottleneck or outside, kernel, padding=kernel // 2)]
        if bottleneck is not None:
            layers += [nn.ReLU(), nn.Conv2d(bottleneck, bottleneck, 3, padding=1)]
        layers += [nn.ReLU(), nn.Conv2d(bottleneck or outside, outside, kernel, padding=kernel // 2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.around(x) + self.layers(x)
        return out


class Cbam(nn.Module):
    """Channel gate, then spatial gate (Woo et al., ECCV 2018); (K, N, C, h, w) to the same.

    The channel gate sees an object's own pooled vector and the mean over the N objects.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = nn.Sequential(
            nn.Linear(2 * channels, channels // _REDUCTION), nn.ReLU(), nn.Linear(channels // _REDUCTION, channels)
        )
        self.spatial = nn.Conv2d(2, 1, _KERNEL, padding=_KERNEL // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        gate = torch.sigmoid(self._vote(x.mean((-2, -1))) + self._vote(x.amax((-2, -1))))
        x = x * gate[..., None, None]
        pooled = torch.stack([x.amax(2), x.mean(2)], dim=2)
        return x * torch.sigmoid(self.spatial(pooled.flatten(0, 1))).unflatten(0, x.shape[:2])

    def _vote(self, pooled: torch.Tensor) -> torch.Tensor:
        """(K, N, C) to the same."""
        others = pooled.mean(1, keepdim=True).expand_as(pooled)
        vote: torch.Tensor = self.channel(torch.cat([pooled, others], dim=-1))
        return vote


class BridgeUnit(nn.Module):
    """Features (K, C, h, w) and codes (K, N, width, h, w) of K supports to A (K, N, C, h, w)."""

    def __init__(self, config: ProxyPromptConfig, channels: int) -> None:
        super().__init__()
        self.fixed, self.adds = config.fixed_objects, config.bridge_sum
        factor = config.fixed_objects or 1
        inside, outside = factor * (channels + config.context_width), factor * channels
        self.first = ResBlock(inside, outside, config.bottleneck)
        self.attention = Cbam(outside)
        self.second = ResBlock(outside, outside, config.bottleneck)

    def forward(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Raises PromptError when the network is for another, fixed number of objects."""
        supports, objects = codes.shape[:2]
        joined = torch.cat([features[:, None].expand(-1, objects, -1, -1, -1), codes], dim=2)
        if self.fixed is not None:
            if objects != self.fixed:
                raise PromptError(
                    f"This network was made for {self.fixed} objects at a time, not {objects}; ask for {self.fixed}."
                )
            joined = joined.flatten(1, 2)[:, None]
        x = self.first(joined.flatten(0, 1)).unflatten(0, joined.shape[:2])
        x = x + self.attention(x) if self.adds else self.attention(x)
        x = self.second(x.flatten(0, 1))
        return x.reshape(supports, objects, -1, *x.shape[-2:])

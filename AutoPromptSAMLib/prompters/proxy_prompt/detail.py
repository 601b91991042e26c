"""Fine detail from the encoder's early features: what 64×64 cells cannot show, such as vessels of a few pixels.

Not in the paper. In the supports, the mean early feature inside of an object and of its surroundings; in the target,
how much each fine pixel is like either, seen together with what the map read and with the decoder's own logits. The
last layer starts at zero, so that an untrained path adds nothing.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig

# Features.extras of the encoder's first stage: (B, C0, 256, 256) for TinyViT.
STAGE = "stage0"

_AROUND = 7  # fine pixels beside an object that count as its surroundings; a choice
_LOGIT_SCALE = 8.0  # brings the decoder's logits, some tens at most, to the size of the other inputs
_EPS = 1e-6


class DetailPath(nn.Module):
    """Adds to low-resolution logits. C0 is ``detail_channels`` and D ``detail_width`` of the configuration."""

    def __init__(self, config: ProxyPromptConfig, channels: int) -> None:
        super().__init__()
        width = config.detail_width
        self.project = nn.Conv2d(config.detail_channels, width, 1)
        self.reduce = nn.Conv2d(channels + 1, width, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * width + 3, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 1, 1),
        )
        nn.init.zeros_(self.mix[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.mix[-1].bias)  # type: ignore[arg-type]

    def summarise(self, fine: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Sums (K, N, 2, D + 1) inside and around the objects of K supports; the last entry is the area.

        ``fine`` is (K, C0, h, w), ``masks`` (K, N, S, S) in 0..1.
        """
        inside = F.adaptive_avg_pool2d(masks, (fine.shape[-2], fine.shape[-1]))
        around = F.max_pool2d(inside, 2 * _AROUND + 1, stride=1, padding=_AROUND) - inside
        regions = torch.stack([inside, around], dim=2).flatten(3)
        features = self._projected(fine).flatten(2)
        counted = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
        return torch.einsum("knrp,kdp->knrd", regions, counted)

    def forward(
        self,
        fine: torch.Tensor,
        sums: torch.Tensor,
        read: torch.Tensor,
        copied: torch.Tensor,
        logits: torch.Tensor,
    ) -> torch.Tensor:
        """What to add to ``logits`` (N, M, H, W), of that shape.

        ``fine`` is (1, C0, h, w) of the target, ``sums`` (N, 2, D + 1) those of ``summarise`` over all supports,
        ``read`` (N, C, g, g) the read-out and ``copied`` (N, 1, g, g) the copied masks.
        """
        size, (objects, masks) = logits.shape[-2:], logits.shape[:2]
        features = _resized(self._projected(fine), size)
        means = sums[..., :-1] / (sums[..., -1:] + _EPS)
        likeness = torch.einsum("dhw,nrd->nrhw", features[0], means) / features.shape[1] ** 0.5
        context = _resized(self.reduce(torch.cat([read, copied], dim=1)), size)
        shared = torch.cat([features.expand(objects, -1, -1, -1), context, likeness], dim=1)
        each = torch.cat(
            [shared.repeat_interleave(masks, dim=0), (logits / _LOGIT_SCALE).reshape(-1, 1, *size).tanh()], dim=1
        )
        added: torch.Tensor = self.mix(each)
        return added.reshape(logits.shape)

    def _projected(self, fine: torch.Tensor) -> torch.Tensor:
        """(B, D, h, w) with mean 0 and variance 1 in every pixel."""
        x = self.project(fine).movedim(1, -1)
        return F.layer_norm(x, x.shape[-1:]).movedim(-1, 1)


def _resized(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)

"""Fine detail from the image itself: what 64×64 cells cannot show, such as vessels of a few pixels.

Not in the paper. A small convolutional pyramid reads the image's pixels. In the supports, the mean description of the
pixels inside of an object and of its surroundings; in the target, how much each pixel is like either, seen together
with what the map read and with the decoder's own logits. The last layer starts at zero, so that an untrained path adds
nothing.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig

_AROUND = 7  # pixels beside an object that count as its surroundings; a choice
_LOGIT_SCALE = 8.0  # brings the decoder's logits, some tens at most, to the size of the other inputs
_EPS = 1e-6


class DetailPath(nn.Module):
    """Adds to low-resolution logits. S is ``detail_size`` of the configuration, D twice its ``detail_width``."""

    def __init__(self, config: ProxyPromptConfig, channels: int) -> None:
        super().__init__()
        self.size, width = config.detail_size, config.detail_width
        self.at_full = nn.Sequential(_convolution(3, width), _convolution(width, width))
        self.at_half = nn.Sequential(_convolution(width, 2 * width, 2), _convolution(2 * width, 2 * width))
        self.at_quarter = nn.Sequential(_convolution(2 * width, 4 * width, 2), _convolution(4 * width, 4 * width))
        self.describe = nn.Conv2d(3 * width, 2 * width, 1)
        self.reduce = nn.Conv2d(channels + 1, 2 * width, 1)
        self.mix_quarter = nn.Sequential(_convolution(6 * width + 3, 4 * width), _convolution(4 * width, 4 * width))
        self.mix_half = nn.Sequential(_convolution(6 * width + 3, 2 * width), _convolution(2 * width, 2 * width))
        self.mix_full = _convolution(3 * width + 3, width)
        self.added = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.added.weight)
        nn.init.zeros_(self.added.bias)  # type: ignore[arg-type]

    def pyramid(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images (B, 3, S, S) in 0..1 at S, S/2 and S/4, and the descriptions (B, D, S, S) of their pixels."""
        full = self.at_full(image * 2 - 1)
        half = self.at_half(full)
        return full, half, self.at_quarter(half), self._described(full, half).movedim(-1, 1)

    def _described(self, full: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """Descriptions (B, S, S, D) of pixels.

        ``describe`` sees both levels at once; as it mixes channels only, its share of ``half`` is taken before that is
        enlarged, at a quarter of the arithmetic.
        """
        at_full, at_half = self.describe.weight.flatten(1).split([full.shape[1], half.shape[1]], dim=1)
        below = F.linear(half.movedim(1, -1), at_half).movedim(-1, 1)
        here = F.linear(full.movedim(1, -1), at_full, self.describe.bias)
        described = here + _resized(below, full.shape[-2:]).movedim(1, -1)
        return F.layer_norm(described, described.shape[-1:])

    def summarise(self, image: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Sums (K, N, 2, D + 1) inside and around the objects of K supports; the last entry is the area.

        ``image`` is (K, 3, S, S) in 0..1, ``masks`` (K, N, S, S) in 0..1.
        """
        # The maximum over a square is that over its columns of that over its rows, in a fifth of the time.
        side = 2 * _AROUND + 1
        wide = F.max_pool2d(masks, (1, side), stride=1, padding=(0, _AROUND))
        around = F.max_pool2d(wide, (side, 1), stride=1, padding=(_AROUND, 0)) - masks
        regions = torch.stack([masks, around], dim=2).flatten(3)
        full = self.at_full(image * 2 - 1)
        described = self._described(full, self.at_half(full)).flatten(1, 2)
        # (K, N·2, S·S) by (K, S·S, D): sums over the pixels, which lie channels-last here.
        sums = (regions.flatten(1, 2) @ described).unflatten(1, regions.shape[1:3])
        return torch.cat([sums, regions.sum(-1, keepdim=True)], dim=-1)

    def forward(
        self,
        pyramid: tuple[torch.Tensor, ...],
        sums: torch.Tensor,
        read: torch.Tensor,
        copied: torch.Tensor,
        logits: torch.Tensor,
    ) -> torch.Tensor:
        """What to add to ``logits`` (N, M, H, W), of that shape.

        ``pyramid`` is that of one target, ``sums`` (N, 2, D + 1) those of ``summarise`` over all supports, ``read``
        (N, C, g, g) the read-out and ``copied`` (N, 1, g, g) the copied masks.
        """
        full, half, quarter, described = pyramid
        objects, masks = logits.shape[:2]
        means = sums[..., :-1] / (sums[..., -1:] + _EPS)
        likeness = torch.einsum("dhw,nrd->nrhw", described[0], means) / described.shape[1] ** 0.5
        context = self.reduce(torch.cat([read, copied], dim=1))
        each = (logits / _LOGIT_SCALE).reshape(-1, 1, *logits.shape[-2:]).tanh()

        def at(level: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
            """All that is known at the size of ``level``, a row an object and mask; ``others`` already are."""
            size = level.shape[-2:]
            seen = torch.cat([level.expand(objects, -1, -1, -1), _resized(likeness, size)], dim=1)
            return torch.cat([seen.repeat_interleave(masks, dim=0), _resized(each, size), *others], dim=1)

        x = self.mix_quarter(at(quarter, _resized(context, quarter.shape[-2:]).repeat_interleave(masks, dim=0)))
        x = self.mix_half(at(half, _resized(x, half.shape[-2:])))
        x = self.mix_full(at(full, _resized(x, full.shape[-2:])))
        return _resized(self.added(x), logits.shape[-2:]).reshape(logits.shape)


def _convolution(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1), nn.GroupNorm(min(4, outside), outside), nn.GELU()
    )


def _resized(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    if x.shape[-2:] == size:
        return x
    if x.shape[-1] > size[-1]:
        return F.adaptive_avg_pool2d(x, (size[0], size[1]))
    return F.interpolate(x, size, mode="bilinear", align_corners=False)

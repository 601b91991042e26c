"""Contextual Colorization Module: from what each target cell read to a few prompt tokens.

Two streams, the target's features F and the read-out E, are halved in length and attend to each other, block by block.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig


class ConvolutionHalving(nn.Module):
    """Merges pairs of neighbouring tokens along one axis of the grid; at first their mean. Fits any grid."""

    def __init__(self, width: int, rows: bool) -> None:
        super().__init__()
        size = (2, 1) if rows else (1, 2)
        self.conv = nn.Conv2d(width, width, size, stride=size)
        with torch.no_grad():
            self.conv.weight.copy_((torch.eye(width) / 2)[..., None, None].expand_as(self.conv.weight))
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """(N, rows·cols, width) to (N, rows·cols/2, width)."""
        halved: torch.Tensor = self.conv(tokens.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2)
        return halved


class LinearHalving(nn.Module):
    """The paper's: a learned matrix along the token axis, for one length only."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.linear = nn.Linear(length, length // 2)

    def forward(self, tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """(N, length, width) to (N, length/2, width)."""
        halved: torch.Tensor = self.linear(tokens.transpose(1, 2)).transpose(1, 2)
        return halved


class _Update(nn.Module):
    """x ← LN(x + CA(x, other)); x ← LN(x + FFN(x))."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, ffn), nn.GELU(), nn.Linear(ffn, width))
        self.ffn_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        x = self.norm(x + self.attention(x, other, other, need_weights=False)[0])
        out: torch.Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class _Block(nn.Module):
    def __init__(self, config: ProxyPromptConfig, number: int) -> None:
        super().__init__()
        self.rows = number % 2 == 0

        def halving() -> nn.Module:
            if config.linear_halving:
                return LinearHalving(config.grid**2 // 2**number)
            return ConvolutionHalving(config.width, self.rows)

        self.halve_target, self.halve_read = halving(), halving()
        self.target = _Update(config.width, config.heads, config.ffn)
        self.read = _Update(config.width, config.heads, config.ffn)

    def forward(
        self, target: torch.Tensor, read: torch.Tensor, grid: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
        target, read = self.halve_target(target, grid), self.halve_read(read, grid)
        target = self.target(target, read)
        read = self.read(read, target)
        return target, read, (grid[0] // 2, grid[1]) if self.rows else (grid[0], grid[1] // 2)


class ContextualColorization(nn.Module):
    """Target (1, C, h, w), read-out (N, C, h, w) and positional code (1, C, h, w) to tokens P (N, n, C).

    The code is added to both streams before the first halving. P is the read-out's stream, the last to be updated; the
    paper does not say which of the two.
    """

    def __init__(self, config: ProxyPromptConfig, channels: int) -> None:
        super().__init__()
        narrow = config.width != channels
        self.enter_target = nn.Linear(channels, config.width) if narrow else nn.Identity()
        self.enter_read = nn.Linear(channels, config.width) if narrow else nn.Identity()
        self.blocks = nn.ModuleList(_Block(config, number) for number in range(config.halvings))
        self.leave = nn.Linear(config.width, channels) if narrow else nn.Identity()

    def forward(self, target: torch.Tensor, read: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """See the class."""
        grid = (int(read.shape[-2]), int(read.shape[-1]))
        f = self.enter_target((target + code).flatten(2).transpose(1, 2)).expand(len(read), -1, -1)
        e = self.enter_read((read + code).flatten(2).transpose(1, 2))
        for block in self.blocks:
            f, e, grid = block(f, e, grid)
        tokens: torch.Tensor = self.leave(e)
        return tokens


class PooledReadOut(nn.Module):
    """In place of the module: the read-out, with the positional code, pooled to as many tokens; nothing is learned."""

    def __init__(self, config: ProxyPromptConfig) -> None:
        super().__init__()
        rows = 2 ** ((config.halvings + 1) // 2)
        self.cells = (rows, 2**config.halvings // rows)

    def forward(self, target: torch.Tensor, read: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """Arguments and result as those of ``ContextualColorization``; ``target`` is not looked at."""
        return F.avg_pool2d(read + code, self.cells).flatten(2).transpose(1, 2)

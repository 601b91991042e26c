"""The Proxy Prompt network: K annotated images and a target's features to prompt tokens of N objects.

Steps b to g of the paper; the backbone before and the decoder after are not part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from AutoPromptSAMLib.backbones.base import PromptEmbedding
from AutoPromptSAMLib.prompters.proxy_prompt import selective_map
from AutoPromptSAMLib.prompters.proxy_prompt.bridge import BridgeUnit
from AutoPromptSAMLib.prompters.proxy_prompt.colorization import ContextualColorization, PooledReadOut
from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.contextual_encoder import ContextualEncoder
from AutoPromptSAMLib.prompters.proxy_prompt.detail import DetailPath
from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportEncoding, SupportMemory

CHANNELS = 256  # of every SAM-like embedding
MEMORY_CHANNELS = 64  # of a token in SAM 2's memory

# On a GPU so many supports are read from in one fused kernel; beyond, one by one, and memory stays flat. The CPU reads
# one by one in less time than its fused kernel takes (45 against 65 ms with 4 supports of 32×32 cells on one core).
_TOGETHER = 4
_EPS = 1e-6


@dataclass(frozen=True, eq=False)
class ProxyOutput:
    """Of N objects: ``tokens`` (N, n, 256), ``dense`` (N, 256, H, W) to add to the no-mask vector or None.

    ``memory`` (N, n, 64), or (N, n, 256) to be split, is the tokens on their way into SAM 2's memory; None where they
    are sparse prompts.

    ``copied`` (N, H, W) is the supports' masks as the map copies them, in 0..1; ``auxiliary`` (N, H, W) are coarse
    mask logits for an auxiliary loss; ``confidence`` (N,) is how sharp the copied mask is, Σm²/Σm: 1 where every cell
    reads from inside or from outside only, 0 where nothing is found. ``refine`` maps decoded logits (N, M, h, w) to
    what the detail path adds to them; None without the image. H×W is the embedding's grid.
    """

    tokens: torch.Tensor
    dense: torch.Tensor | None
    memory: torch.Tensor | None
    copied: torch.Tensor
    auxiliary: torch.Tensor
    confidence: torch.Tensor
    refine: partial[torch.Tensor] | None

    def embedding(self, no_mask: torch.Tensor) -> PromptEmbedding:
        """What the backbone decodes; ``no_mask`` (256, H, W) is its dense prompt of an object without a mask."""
        dense = None if self.dense is None else no_mask + self.dense
        if self.memory is None:
            return PromptEmbedding(self.tokens, dense)
        return PromptEmbedding(self.tokens[:, :0], dense, memory=self.memory)


class ProxyPromptNetwork(nn.Module):
    """Built from a configuration; see ``encode_supports`` and ``forward``."""

    def __init__(self, config: ProxyPromptConfig) -> None:
        super().__init__()
        self.config = config
        self.context = ContextualEncoder(config)
        self.bridge = BridgeUnit(config, CHANNELS)
        self.colorization = ContextualColorization(config, CHANNELS) if config.colorization else PooledReadOut(config)
        if config.selective_map and config.key_channels is not None:
            self.key = nn.Conv2d(CHANNELS, config.key_channels, 1, bias=False)
            # An orthogonal projection of this gain has, on average, the paper's distances at the start.
            nn.init.orthogonal_(self.key.weight.flatten(1), gain=(CHANNELS / config.key_channels) ** 0.25)
            self.log_sharpness = nn.Parameter(torch.zeros(()))
        if config.copied_mask:
            self.copied_mask = nn.Conv2d(1, CHANNELS, 1)
        coarse = CHANNELS
        if config.dense:
            coarse = config.fusion
            self.fusion = nn.Sequential(
                nn.Conv2d(2 * CHANNELS + 1, coarse, 1), nn.GELU(), nn.Conv2d(coarse, coarse, 3, padding=1), nn.GELU()
            )
            self.left_out = nn.Dropout2d(config.dropout)
            dilations = [2**n for n in range(1, config.fusion_blocks + 1)]
            self.surroundings = nn.Sequential(*(_Surroundings(coarse, d, config.dropout) for d in dilations))
            self.dense = nn.Conv2d(coarse, CHANNELS, 1)
            nn.init.zeros_(self.dense.weight)
            nn.init.zeros_(self.dense.bias)  # type: ignore[arg-type]
        self.auxiliary = nn.Conv2d(coarse, 1, 1)
        if config.detail_size:
            self.detail = DetailPath(config, CHANNELS)
        if config.memory == "learned":
            self.narrow = nn.Linear(CHANNELS, MEMORY_CHANNELS)

    def encode_supports(
        self,
        objects: tuple[str, ...],
        embedding: torch.Tensor,
        image: torch.Tensor,
        masks: torch.Tensor,
    ) -> SupportMemory:
        """Steps b to d for K supports.

        ``embedding`` (K, 256, H, W), ``image`` (K, 3, S, S) in 0..1, ``masks`` (K, N, S, S) in 0..1 in the order of
        ``objects``; S is the configuration's ``canvas_size``. Raises PromptError when the network is for another,
        fixed number of objects.
        """
        supports, count = masks.shape[:2]
        size = self.config.context_size
        seen, marked = _pooled(image, size), _pooled(masks, size)
        codes = self.context(
            seen[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1), marked.flatten(0, 1)[:, None]
        ).unflatten(0, (supports, count))
        features = self._gridded(embedding)
        joined = self.bridge(features, codes)
        cells = F.adaptive_avg_pool2d(masks, self.config.grid)
        values = torch.cat([joined, cells[:, :, None]], dim=2).flatten(3).transpose(2, 3)
        keys = selective_map.as_keys(self._compared(features))
        sums: Iterable[torch.Tensor | None] = [None] * supports
        if self.config.detail_size:
            fine = self.config.detail_size
            sums = self.detail.summarise(_pooled(image, fine), _pooled(masks, fine))
        encodings = (SupportEncoding(*parts) for parts in zip(keys, values, sums, strict=True))
        return SupportMemory(objects, tuple(encodings))

    def forward(
        self,
        embedding: torch.Tensor,
        memory: SupportMemory,
        code: torch.Tensor,
        image: torch.Tensor | None = None,
        *,
        chunked: bool | None = None,
        top_k: int | None = None,
    ) -> ProxyOutput:
        """Steps e to g for one target.

        ``embedding`` (1, 256, H, W), ``code`` the backbone's dense positional code (1, 256, H, W), ``image``
        (1, 3, S, S) in 0..1 or None, then masks are not refined. ``chunked`` (by default on the CPU and with more than
        4 supports) and ``top_k`` as in ``selective_map.read_out``; neither matters without a map.
        """
        features = self._gridded(embedding)
        read, copied = self._read(features, memory, chunked, top_k)
        tokens = self.colorization(features, read, F.adaptive_avg_pool2d(code, self.config.grid))
        fused, copied_there = self._fused(embedding, read, copied)
        refine = None
        sums = memory.sums
        if self.config.detail_size and image is not None and sums is not None:
            pyramid = self.detail.pyramid(_pooled(image, self.config.detail_size))
            refine = partial(self.detail, pyramid, sums, read, copied)
        return ProxyOutput(
            tokens=tokens,
            dense=self.dense(fused) if self.config.dense else None,
            memory=self._narrowed(tokens),
            copied=copied_there[:, 0],
            auxiliary=self.auxiliary(fused)[:, 0],
            confidence=copied.square().sum((1, 2, 3)) / (copied.sum((1, 2, 3)) + _EPS),
            refine=refine,
        )

    def coarse(self, embedding: torch.Tensor, memory: SupportMemory) -> torch.Tensor:
        """The ``auxiliary`` logits of ``forward`` alone, with gradients for what comes after the map only.

        Such a target costs a sixth of a whole one (0.10 of 0.58 s on one core), so that a step of learning can look at
        many more images.
        """
        with torch.no_grad():
            read, copied = self._read(self._gridded(embedding), memory)
        out: torch.Tensor = self.auxiliary(self._fused(embedding, read, copied)[0])
        return out[:, 0]

    def _read(
        self, features: torch.Tensor, memory: SupportMemory, chunked: bool | None = None, top_k: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Steps e and f: read-out (N, 256, grid, grid) and copied masks (N, 1, grid, grid)."""
        values = [support.values for support in memory.supports]
        if self.config.selective_map:
            read = selective_map.read_out(
                selective_map.as_queries(self._compared(features))[0],
                [support.keys for support in memory.supports],
                values,
                chunked=(features.device.type == "cpu" or len(memory) > _TOGETHER) if chunked is None else chunked,
                top_k=top_k,
            )
        else:
            read = selective_map.mean_read_out(self.config.grid**2, values)
        read = read.transpose(1, 2).unflatten(2, (self.config.grid, self.config.grid))
        read, copied = read[:, :-1], read[:, -1:]
        if self.config.copied_mask:
            read = read + self.copied_mask(copied)
        return read, copied

    def _fused(
        self, embedding: torch.Tensor, read: torch.Tensor, copied: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What was read, seen together with the target at the embedding's size, and the copied masks there."""
        size = embedding.shape[-2:]
        read = F.interpolate(read, size, mode="bilinear", align_corners=False)
        copied = F.interpolate(copied, size, mode="bilinear", align_corners=False)
        if not self.config.dense:
            return read, copied
        target = self.left_out(self._normalised(embedding).expand(len(read), -1, -1, -1))
        return self.surroundings(self.fusion(torch.cat([target, read, copied], dim=1))), copied

    def _narrowed(self, tokens: torch.Tensor) -> torch.Tensor | None:
        """What becomes of the tokens (N, n, 256) in a memory, see ``ProxyOutput``."""
        if self.config.memory == "learned":
            narrowed: torch.Tensor = self.narrow(tokens)
            return narrowed
        return tokens if self.config.memory == "split" else None

    def _normalised(self, embedding: torch.Tensor) -> torch.Tensor:
        if not self.config.normalise:
            return embedding
        return F.layer_norm(embedding.movedim(1, -1), (CHANNELS,)).movedim(-1, 1)

    def _gridded(self, embedding: torch.Tensor) -> torch.Tensor:
        """(B, 256, grid, grid)."""
        return self._normalised(F.adaptive_avg_pool2d(embedding, self.config.grid))

    def _compared(self, features: torch.Tensor) -> torch.Tensor:
        """What the map compares, (B, grid·grid, Ck); of no channel where there is no map."""
        if not self.config.selective_map:
            features = features[:, :0]
        elif self.config.key_channels is not None:
            features = self.key(features) * self.log_sharpness.exp()
        return features.flatten(2).transpose(1, 2)


class _Surroundings(nn.Module):
    """Adds to every cell what a dilated convolution sees around it; nothing before it is trained. (B, C, h, w)."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        inner = 4 * round(channels / 6)  # two thirds, in four groups
        last = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(
            nn.GroupNorm(4, channels),
            nn.Conv2d(channels, inner, 1),
            nn.GroupNorm(4, inner),
            nn.GELU(),
            nn.Dropout2d(dropout),
            nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation),
            nn.GroupNorm(4, inner),
            nn.GELU(),
            last,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.layers(x)
        return out


def grown(network: ProxyPromptNetwork) -> ProxyPromptNetwork:
    """A copy with the ``fusion_blocks`` of the small configuration, unless it has more, and its ``dropout``.

    It answers as before until it is trained.
    """
    small = ProxyPromptConfig.small()
    blocks = max(network.config.fusion_blocks, small.fusion_blocks)
    config = replace(network.config, fusion_blocks=blocks, dropout=small.dropout)
    larger = ProxyPromptNetwork(config).to(network.auxiliary.weight.device)
    larger.load_state_dict(larger.state_dict() | network.state_dict())
    return larger.train(network.training)


def _pooled(canvas: torch.Tensor, size: int) -> torch.Tensor:
    """A canvas (..., S, S) at ``size`` pixels a side, no more than S."""
    return canvas if canvas.shape[-1] == size else F.adaptive_avg_pool2d(canvas, size)

"""The Proxy Prompt network: K annotated images and a target's features to prompt tokens of N objects.

Steps b to g of the paper; the backbone before and the decoder after are not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompters.proxy_prompt import selective_map
from AutoPromptSAMLib.prompters.proxy_prompt.bridge import BridgeUnit
from AutoPromptSAMLib.prompters.proxy_prompt.colorization import ContextualColorization
from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.contextual_encoder import ContextualEncoder
from AutoPromptSAMLib.prompters.proxy_prompt.detail import DetailPath
from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportEncoding, SupportMemory

CHANNELS = 256  # of every SAM-like embedding

# On a GPU so many supports are read from in one fused kernel; beyond, one by one, and memory stays flat. The CPU reads
# one by one in less time than its fused kernel takes (45 against 65 ms with 4 supports of 32×32 cells on one core).
_TOGETHER = 4
_EPS = 1e-6


@dataclass(frozen=True, eq=False)
class ProxyOutput:
    """Of N objects: ``tokens`` (N, n, 256), ``dense`` (N, 256, H, W) to add to the no-mask vector or None.

    ``copied`` (N, H, W) is the supports' masks as the map copies them, in 0..1; ``auxiliary`` (N, H, W) are coarse
    mask logits for an auxiliary loss; ``confidence`` (N,) is how sharp the copied mask is, Σm²/Σm: 1 where every cell
    reads from inside or from outside only, 0 where nothing is found. ``refine`` maps decoded logits (N, M, h, w) to
    what the detail path adds to them; None without early features. H×W is the embedding's grid.
    """

    tokens: torch.Tensor
    dense: torch.Tensor | None
    copied: torch.Tensor
    auxiliary: torch.Tensor
    confidence: torch.Tensor
    refine: partial[torch.Tensor] | None


class ProxyPromptNetwork(nn.Module):
    """Built from a configuration; see ``encode_supports`` and ``forward``."""

    def __init__(self, config: ProxyPromptConfig) -> None:
        super().__init__()
        self.config = config
        self.context = ContextualEncoder(config)
        self.bridge = BridgeUnit(config, CHANNELS)
        self.colorization = ContextualColorization(config, CHANNELS)
        if config.key_channels is not None:
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
            self.dense = nn.Conv2d(coarse, CHANNELS, 1)
            nn.init.zeros_(self.dense.weight)
            nn.init.zeros_(self.dense.bias)  # type: ignore[arg-type]
        self.auxiliary = nn.Conv2d(coarse, 1, 1)
        if config.detail_channels:
            self.detail = DetailPath(config, CHANNELS)

    def encode_supports(
        self,
        objects: tuple[str, ...],
        embedding: torch.Tensor,
        image: torch.Tensor,
        masks: torch.Tensor,
        fine: torch.Tensor | None = None,
    ) -> SupportMemory:
        """Steps b to d for K supports.

        ``embedding`` (K, 256, H, W), ``image`` (K, 3, S, S) in 0..1, ``masks`` (K, N, S, S) in 0..1 in the order of
        ``objects``, ``fine`` (K, C0, h, w) or None; S is the configuration's ``context_size``. Raises PromptError when
        the network is for another, fixed number of objects; ModelError when ``fine`` has other channels.
        """
        supports, count = masks.shape[:2]
        codes = self.context(
            image[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1), masks.flatten(0, 1)[:, None]
        ).unflatten(0, (supports, count))
        features = self._gridded(embedding)
        joined = self.bridge(features, codes)
        cells = F.adaptive_avg_pool2d(masks, self.config.grid)
        values = torch.cat([joined, cells[:, :, None]], dim=2).flatten(3).transpose(2, 3)
        keys = selective_map.as_keys(self._compared(features))
        sums = self.detail.summarise(self._checked(fine), masks) if self._has_detail(fine) else [None] * supports
        encodings = (SupportEncoding(*parts) for parts in zip(keys, values, sums, strict=True))
        return SupportMemory(objects, tuple(encodings))

    def forward(
        self,
        embedding: torch.Tensor,
        memory: SupportMemory,
        code: torch.Tensor,
        fine: torch.Tensor | None = None,
        *,
        chunked: bool | None = None,
        top_k: int | None = None,
    ) -> ProxyOutput:
        """Steps e to g for one target.

        ``embedding`` (1, 256, H, W), ``code`` the backbone's dense positional code (1, 256, H, W), ``fine``
        (1, C0, h, w) or None. ``chunked`` (by default on the CPU and with more than 4 supports) and ``top_k`` as in
        ``selective_map.read_out``.
        """
        features = self._gridded(embedding)
        read = selective_map.read_out(
            selective_map.as_queries(self._compared(features))[0],
            [support.keys for support in memory.supports],
            [support.values for support in memory.supports],
            chunked=(embedding.device.type == "cpu" or len(memory) > _TOGETHER) if chunked is None else chunked,
            top_k=top_k,
        )
        read = read.transpose(1, 2).unflatten(2, (self.config.grid, self.config.grid))
        read, copied = read[:, :-1], read[:, -1:]
        if self.config.copied_mask:
            read = read + self.copied_mask(copied)
        tokens = self.colorization(features, read, F.adaptive_avg_pool2d(code, self.config.grid))

        size = embedding.shape[-2:]
        coarse = F.interpolate(read, size, mode="bilinear", align_corners=False)
        copied_there = F.interpolate(copied, size, mode="bilinear", align_corners=False)
        dense = None
        if self.config.dense:
            target = self._normalised(embedding).expand(len(read), -1, -1, -1)
            coarse = self.fusion(torch.cat([target, coarse, copied_there], dim=1))
            dense = self.dense(coarse)
        refine = None
        sums = memory.sums
        if self._has_detail(fine) and sums is not None:
            refine = partial(self.detail, self._checked(fine), sums, read, copied)
        return ProxyOutput(
            tokens=tokens,
            dense=dense,
            copied=copied_there[:, 0],
            auxiliary=self.auxiliary(coarse)[:, 0],
            confidence=copied.square().sum((1, 2, 3)) / (copied.sum((1, 2, 3)) + _EPS),
            refine=refine,
        )

    def _normalised(self, embedding: torch.Tensor) -> torch.Tensor:
        if not self.config.normalise:
            return embedding
        return F.layer_norm(embedding.movedim(1, -1), (CHANNELS,)).movedim(-1, 1)

    def _gridded(self, embedding: torch.Tensor) -> torch.Tensor:
        """(B, 256, grid, grid)."""
        return self._normalised(F.adaptive_avg_pool2d(embedding, self.config.grid))

    def _compared(self, features: torch.Tensor) -> torch.Tensor:
        """What the map compares, (B, grid·grid, Ck)."""
        if self.config.key_channels is not None:
            features = self.key(features) * self.log_sharpness.exp()
        return features.flatten(2).transpose(1, 2)

    def _has_detail(self, fine: torch.Tensor | None) -> bool:
        return bool(self.config.detail_channels) and fine is not None

    def _checked(self, fine: torch.Tensor | None) -> torch.Tensor:
        assert fine is not None
        if fine.shape[1] != self.config.detail_channels:
            raise ModelError(
                f"The network refines masks with {self.config.detail_channels} channels of early features, but this "
                f"backbone gives {fine.shape[1]}; use the backbone that it was made for."
            )
        return fine

"""Selective map: every cell of the target reads from the support cells that look like it.

The map is softmax over memory cells i of (2·f_i·x_j − |f_i|²)/√C, which is the negative squared distance but for a
term that all i share. With one more channel, [2f, −|f|²] and [x, 1], it is plain dot-product attention, so the fused
kernels apply, which never hold the map. All in float32: the squares lose too much in half precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

_ALIGN = 8  # fused kernels want equal widths of keys and values, divisible by this


def as_keys(features: torch.Tensor) -> torch.Tensor:
    """Memory features (..., M, C) with the extra channel: (..., M, C + 1)."""
    return torch.cat([2 * features, -features.square().sum(-1, keepdim=True)], dim=-1)


def as_queries(features: torch.Tensor) -> torch.Tensor:
    """Target features (..., Q, C) with the extra channel: (..., Q, C + 1)."""
    return torch.cat([features, torch.ones_like(features[..., :1])], dim=-1)


def read_out(
    queries: torch.Tensor,
    keys: Sequence[torch.Tensor],
    values: Sequence[torch.Tensor],
    *,
    chunked: bool = False,
    top_k: int | None = None,
) -> torch.Tensor:
    """What every target cell reads: (N, Q, V).

    ``queries`` is (Q, C + 1) of ``as_queries``; ``keys`` (M, C + 1) of ``as_keys`` and ``values`` (N, M, V) are one
    tensor for each support, and the softmax runs over the cells of all of them. ``chunked`` goes through the supports
    one by one and merges their shares by log-sum-exp: what is held at once does not grow with their number. ``top_k``
    reads from the k most similar cells only (and those that equal the last of them). Raises ValueError without
    supports or with top_k < 1.
    """
    if not keys or len(keys) != len(values):
        raise ValueError(f"{len(keys)} keys and {len(values)} values; give as many, at least one")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    with torch.autocast(queries.device.type, enabled=False):
        queries = queries.float() / math.sqrt(queries.shape[-1] - 1)
        if top_k is not None or chunked:
            return _streamed(queries, keys, values, _threshold(queries, keys, top_k))
        return _fused(queries, torch.cat(list(keys)).float(), torch.cat(list(values), dim=1).float())


def mean_read_out(cells: int, values: Sequence[torch.Tensor]) -> torch.Tensor:
    """The same for ``cells`` target cells without a map: each reads the mean over all supports' cells, (N, Q, V)."""
    total = torch.stack([value.float().sum(1) for value in values]).sum(0)
    return (total / sum(value.shape[1] for value in values))[:, None].expand(-1, cells, -1)


def _fused(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    width = math.ceil(max(keys.shape[-1], values.shape[-1]) / _ALIGN) * _ALIGN
    query, key, value = (F.pad(tensor, (0, width - tensor.shape[-1])) for tensor in (queries, keys, values))
    objects = value.shape[0]
    # Objects take the place of heads.
    out = F.scaled_dot_product_attention(
        query.expand(1, objects, -1, -1), key.expand(1, objects, -1, -1), value[None], scale=1.0
    )
    return out[0, ..., : values.shape[-1]]


def _threshold(queries: torch.Tensor, keys: Sequence[torch.Tensor], top_k: int | None) -> torch.Tensor | None:
    """Each query's k-th largest score over all supports (Q, 1); None when all cells count."""
    if top_k is None or top_k >= sum(len(key) for key in keys):
        return None
    best = queries.new_empty(len(queries), 0)
    with torch.no_grad():
        for key in keys:
            scores = torch.cat([best, queries @ key.float().T], dim=1)
            best = scores.topk(min(top_k, scores.shape[1]), dim=1).values
    return best[:, -1:]


def _streamed(
    queries: torch.Tensor,
    keys: Sequence[torch.Tensor],
    values: Sequence[torch.Tensor],
    threshold: torch.Tensor | None,
) -> torch.Tensor:
    highest = queries.new_full((len(queries), 1), -torch.inf)
    total = queries.new_zeros(len(queries), 1)
    read = queries.new_zeros(1)
    for key, value in zip(keys, values, strict=True):
        scores = queries @ key.float().T
        if threshold is not None:
            scores = scores.masked_fill(scores < threshold, -torch.inf)
        # The reference level cancels out, so no gradient has to go through it.
        level = torch.maximum(highest, scores.detach().amax(1, keepdim=True))
        # Both -inf: nothing of any support so far is among the k most similar.
        known = level.isfinite()
        shrink = torch.where(known, torch.exp(highest - torch.where(known, level, 0.0)), 0.0)
        share = torch.exp(scores - torch.where(known, level, 0.0))
        total = total * shrink + share.sum(1, keepdim=True)
        read = read * shrink + share @ value.float()
        highest = level
    return read / total

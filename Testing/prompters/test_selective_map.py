from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from AutoPromptSAMLib.prompters.proxy_prompt.selective_map import (
    as_keys,
    as_queries,
    mean_read_out,
    read_out,
)

CHANNELS, QUERIES, CELLS = 12, 20, 16


def naive(target: torch.Tensor, memory: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """softmax over memory of (2 f·x − |f|²)/√C, as the formula stands."""
    scores = torch.zeros(len(memory), len(target), dtype=torch.float64)
    for i, f in enumerate(memory.double()):
        scores[i] = (2 * (target.double() @ f) - f.square().sum()) / math.sqrt(CHANNELS)
    return (values.double().transpose(1, 2) @ scores.softmax(0)).transpose(1, 2).float()


def scene(
    supports: int, objects: int = 2, width: int = 5
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    torch.manual_seed(supports)
    target = torch.randn(QUERIES, CHANNELS)
    memory = [torch.randn(CELLS, CHANNELS) for _ in range(supports)]
    return target, memory, [torch.randn(objects, CELLS, width) for _ in range(supports)]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("supports", [1, 2, 5])
@pytest.mark.parametrize(("objects", "width"), [(1, 5), (3, 40)])
def test_it_is_the_formula(supports: int, objects: int, width: int, chunked: bool) -> None:
    target, memory, values = scene(supports, objects, width)
    found = read_out(as_queries(target), [as_keys(m) for m in memory], values, chunked=chunked)
    torch.testing.assert_close(found, naive(target, torch.cat(memory), torch.cat(values, 1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("supports", [1, 3])
def test_without_a_map_every_cell_reads_the_mean(supports: int) -> None:
    _, _, values = scene(supports)
    values[0] = torch.cat([values[0]] * 2, dim=1)  # twice as many cells count twice
    wanted = torch.cat(values, dim=1).mean(1, keepdim=True).expand(-1, QUERIES, -1)
    torch.testing.assert_close(mean_read_out(QUERIES, values), wanted)


def test_large_features_do_not_overflow() -> None:
    target, memory, values = scene(3)
    target, memory = 100 * target, [100 * m for m in memory]
    for chunked in (False, True):
        found = read_out(as_queries(target), [as_keys(m) for m in memory], values, chunked=chunked)
        torch.testing.assert_close(found, naive(target, torch.cat(memory), torch.cat(values, 1)), atol=1e-3, rtol=1e-3)


def test_gradients_do_not_depend_on_chunks() -> None:
    gradients = []
    for chunked in (False, True):
        target, memory, values = scene(3)
        leaves = [t.requires_grad_() for t in (target, *memory, *values)]
        found = read_out(as_queries(target), [as_keys(m) for m in memory], values, chunked=chunked)
        gradients.append(torch.autograd.grad(found.square().sum(), leaves))
    for whole, piece in zip(*gradients, strict=True):
        torch.testing.assert_close(piece, whole, atol=1e-4, rtol=1e-4)


def test_top_k() -> None:
    target, memory, values = scene(3)
    queries, keys = as_queries(target), [as_keys(m) for m in memory]
    whole = read_out(queries, keys, values)
    torch.testing.assert_close(read_out(queries, keys, values, top_k=3 * CELLS), whole, atol=1e-5, rtol=1e-5)
    # One cell only: the nearest of all supports.
    nearest = torch.cdist(target, torch.cat(memory)).argmin(1)
    torch.testing.assert_close(read_out(queries, keys, values, top_k=1), torch.cat(values, 1)[:, nearest])
    few = read_out(queries, keys, values, top_k=5)
    assert not torch.allclose(few, whole, atol=1e-3)
    scores = 2 * target @ torch.cat(memory).T - torch.cat(memory).square().sum(1)
    best = scores.topk(5, dim=1)
    weights = (best.values / math.sqrt(CHANNELS)).softmax(1)
    wanted = (torch.cat(values, 1)[:, best.indices] * weights[..., None]).sum(2)
    torch.testing.assert_close(few, wanted, atol=1e-5, rtol=1e-5)


class Sizes(TorchDispatchMode):
    """The most numbers in any tensor that is made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return out


def largest(supports: int, chunked: bool, top_k: int | None = None) -> int:
    target, memory, values = scene(supports)
    keys = [as_keys(m) for m in memory]
    with torch.no_grad(), Sizes() as sizes:
        read_out(as_queries(target), keys, values, chunked=chunked, top_k=top_k)
    return sizes.largest


def test_memory_does_not_grow_with_the_supports_in_chunks() -> None:
    assert largest(32, chunked=True) == largest(2, chunked=True)
    assert largest(32, chunked=True, top_k=4) == largest(2, chunked=True, top_k=4)
    assert largest(32, chunked=False) > 8 * largest(2, chunked=False)


def test_half_precision_is_not_used_inside() -> None:
    target, memory, values = scene(2)
    with torch.autocast("cpu", torch.bfloat16):
        found = read_out(as_queries(target), [as_keys(m) for m in memory], values)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, naive(target, torch.cat(memory), torch.cat(values, 1)), atol=1e-5, rtol=1e-5)


def test_nothing_to_read_from_is_refused() -> None:
    target, memory, values = scene(1)
    with pytest.raises(ValueError, match="at least one"):
        read_out(as_queries(target), [], [])
    with pytest.raises(ValueError, match="top_k"):
        read_out(as_queries(target), [as_keys(memory[0])], values, top_k=0)

"""Vision Mamba: layers that read a sequence in both directions through a selective state space.

Sources: Gu and Dao, Mamba (2023), equations 2a and algorithm 2; Zhu et al., Vision Mamba (2024), algorithm 1.
The recurrence h[t] = a[t]·h[t-1] + x[t] has three implementations with equal results:

- ``mamba_ssm``'s fused kernels, on CUDA where they are installed;
- ``mambapy``'s parallel scan, on other accelerators, where launching 1024 small kernels would cost more than it takes;
- one step after another, on the CPU, in pieces that stay in the cache. The small configuration encodes four supports
  in 0.13 s and needs 0.39 s with gradients, on one core; by the parallel scan, which writes all states to memory, 0.17
  and 0.63 s.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

IMPLEMENTATIONS = ("auto", "kernels", "parallel", "in-order")

_AT_ONCE = 2**18  # numbers of states that the in-order scan holds: 1 MB stays in a core's cache
_CONV = 4  # taps of the causal convolution, as published
_DT_MIN, _DT_MAX = 1e-3, 1e-1  # range of step sizes at the start, as published


def selective_scan(
    x: torch.Tensor,
    delta: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    d: torch.Tensor,
    implementation: str = "auto",
) -> torch.Tensor:
    """y[t] = c[t]·h[t] + d·x[t] with h[t] = exp(delta[t]·a)·h[t-1] + delta[t]·b[t]·x[t], h[-1] = 0; (B, L, D).

    ``x`` and ``delta`` are (B, L, D), ``a`` (D, S), ``b`` and ``c`` (B, L, S), ``d`` (D,). ``implementation`` is
    one of ``IMPLEMENTATIONS``. Raises ValueError for another.
    """
    if implementation == "auto":
        implementation = best_implementation(x.device)
    if implementation == "kernels":
        return _fused(x, delta, a, b, c, d)
    # The sequence comes first, so that one step's numbers lie together.
    x, delta, b, c = (tensor.transpose(0, 1).contiguous() for tensor in (x, delta, b, c))
    if implementation == "parallel":
        from mambapy.pscan import pscan

        decay, inputs = _terms(x, delta, b, a)
        states = pscan(decay.transpose(0, 1), inputs.transpose(0, 1)).transpose(0, 1)
        y = (states * c[:, :, None]).sum(-1)
    elif implementation == "in-order":
        y = _InOrder.apply(x, delta, b, c, a)
    else:
        raise ValueError(f"no implementation {implementation!r}; one of {IMPLEMENTATIONS}")
    return (y + d * x).transpose(0, 1)


def best_implementation(device: torch.device) -> str:
    """What "auto" means on ``device``."""
    if device.type == "cuda" and _has_kernels():
        return "kernels"
    return "parallel" if device.type != "cpu" and _has_parallel() else "in-order"


@cache
def _has_parallel() -> bool:
    return importlib.util.find_spec("mambapy") is not None


@cache
def _has_kernels() -> bool:
    # It imports Triton, which is not there where ``backbones.llvm`` had to hide it.
    return all(importlib.util.find_spec(name) is not None for name in ("mamba_ssm", "triton"))


def _fused(
    x: torch.Tensor, delta: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor
) -> torch.Tensor:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    x_, delta_, b_, c_ = (tensor.transpose(1, 2).contiguous() for tensor in (x, delta, b, c))
    y: torch.Tensor = selective_scan_fn(x_, delta_, a.float().contiguous(), b_, c_, d.float())
    return y.transpose(1, 2)


def _terms(
    x: torch.Tensor, delta: torch.Tensor, b: torch.Tensor, a: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decay and input of the recurrence (L, B, D, S); ``x`` and the others have the sequence first."""
    return torch.exp(delta[..., None] * a), (delta * x)[..., None] * b[:, :, None]


class _InOrder(torch.autograd.Function):
    """c·h (L, B, D), one step after another, in pieces of the sequence whose states stay in the cache.

    The backward pass computes each piece again from its first state. It is written out, as autograd would go over the
    states (L, B, D, S) twice as often.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, delta: torch.Tensor, b: torch.Tensor, c: torch.Tensor, a: torch.Tensor
    ) -> torch.Tensor:
        state = x.new_zeros(*x.shape[1:], a.shape[1])
        starts, out = [], []
        for x_, delta_, b_, c_ in _pieces(state.numel(), x, delta, b, c):
            starts.append(state)
            _, states = _states(state, x_, delta_, b_, a)
            out.append((states @ c_[..., None])[..., 0])
            state = states[-1].clone()
        ctx.save_for_backward(x, delta, b, c, a, *starts)
        return torch.cat(out)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, delta, b, c, a, *starts = ctx.saved_tensors
        of_a, later = torch.zeros_like(a), torch.zeros_like(starts[0])
        found: list[tuple[torch.Tensor, ...]] = []
        pieces = _pieces(later.numel(), x, delta, b, c, gradients[0])
        for start, (x_, delta_, b_, c_, dy) in reversed(list(zip(starts, pieces, strict=True))):
            decay, states = _states(start, x_, delta_, b_, a)
            # Of the states: what y says, and what comes back through all later ones.
            of_states = dy[..., None] * c_[:, :, None]
            of_states[-1] += later
            steps, decays = of_states.unbind(0), decay.unbind(0)
            for t in range(len(steps) - 2, -1, -1):
                steps[t].addcmul_(decays[t + 1], steps[t + 1])
            later = decay[0] * of_states[0]
            of_c = (dy[:, :, None] @ states)[:, :, 0]
            of_b = ((delta_ * x_)[:, :, None] @ of_states)[:, :, 0]
            of_input = (of_states @ b_[..., None])[..., 0]
            # Of delta·a, in the place of the decay.
            decay[1:] *= states[:-1]
            decay[0] *= start
            decay *= of_states
            of_a += (decay * delta_[..., None]).sum((0, 1))
            of_delta = (decay.mul_(a)).sum(-1) + of_input * x_
            found.append((of_input * delta_, of_delta, of_b, of_c))
        of_x, of_delta, of_b, of_c = (torch.cat(parts[::-1]) for parts in zip(*found, strict=True))
        return of_x, of_delta, of_b, of_c, of_a


def _pieces(state_size: int, *sequences: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    return list(zip(*(s.split(max(1, _AT_ONCE // state_size)) for s in sequences), strict=True))


def _states(
    start: torch.Tensor, x: torch.Tensor, delta: torch.Tensor, b: torch.Tensor, a: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decay and states h[t] = decay[t]·h[t-1] + inputs[t] of some steps after ``start`` (B, D, S)."""
    decay, states = _terms(x, delta, b, a)
    before = start
    for here, factor in zip(states.unbind(0), decay.unbind(0), strict=True):
        before = here.addcmul_(factor, before)
    return decay, states


class _Direction(nn.Module):
    """Causal convolution, SiLU and selective scan of one direction, with parameters of its own; (B, L, D) to same."""

    def __init__(self, channels: int, state: int, dt_rank: int) -> None:
        super().__init__()
        self.split = (dt_rank, state, state)
        self.conv = nn.Conv1d(channels, channels, _CONV, groups=channels, padding=_CONV - 1)
        self.select = nn.Linear(channels, sum(self.split), bias=False)
        self.step = nn.Linear(dt_rank, channels)
        self.a_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(channels, 1))
        self.d = nn.Parameter(torch.ones(channels))
        nn.init.uniform_(self.step.weight, -(dt_rank**-0.5), dt_rank**-0.5)
        with torch.no_grad():
            # Step sizes spread evenly on a log scale; the bias is the inverse of softplus.
            dt = torch.exp(torch.rand(channels) * math.log(_DT_MAX / _DT_MIN) + math.log(_DT_MIN))
            self.step.bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def forward(self, x: torch.Tensor, implementation: str) -> torch.Tensor:
        x = F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        dt, b, c = self.select(x).split(self.split, dim=-1)
        return selective_scan(x, F.softplus(self.step(dt)), -self.a_log.exp(), b, c, self.d, implementation)


class VimLayer(nn.Module):
    """A residual Vision Mamba layer on tokens (B, L, width): the mean of both directions, gated.

    The inner width is twice ``width`` and the rank of the step size ``width``/16, as in Vim-Ti.
    """

    def __init__(self, width: int, state: int = 16) -> None:
        super().__init__()
        inner, dt_rank = 2 * width, math.ceil(width / 16)
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.onward = _Direction(inner, state, dt_rank)
        self.backward_ = _Direction(inner, state, dt_rank)
        self.leave = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: torch.Tensor, implementation: str = "auto") -> torch.Tensor:
        """Tokens (B, L, width); ``implementation`` as in ``selective_scan``."""
        x, gate = self.enter(self.norm(tokens)).chunk(2, dim=-1)
        mixed = self.onward(x, implementation) + self.backward_(x.flip(1), implementation).flip(1)
        return tokens + self.leave(mixed / 2 * F.silu(gate))

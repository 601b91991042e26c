from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch

from AutoPromptSAMLib.prompters.proxy_prompt import scan
from AutoPromptSAMLib.prompters.proxy_prompt.scan import VimLayer, selective_scan


def reference(
    x: torch.Tensor, delta: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor
) -> torch.Tensor:
    """The definition, one step after another."""
    h, out = x.new_zeros(x.shape[0], *a.shape), []
    for t in range(x.shape[1]):
        h = torch.exp(delta[:, t, :, None] * a) * h + delta[:, t, :, None] * b[:, t, None] * x[:, t, :, None]
        out.append((h * c[:, t, None]).sum(-1) + d * x[:, t])
    return torch.stack(out, dim=1)


def arguments(length: int, device: str = "cpu") -> list[torch.Tensor]:
    torch.manual_seed(length)
    batch, channels, state = 2, 6, 4
    shapes = [(batch, length, channels)] * 2 + [(channels, state)] + [(batch, length, state)] * 2 + [(channels,)]
    made = [torch.randn(shape, device=device) for shape in shapes]
    made[1] = made[1].abs() / 3  # step sizes
    made[2] = -made[2].abs() - 0.1  # decays
    return [tensor.requires_grad_() for tensor in made]


def results(function, made: list[torch.Tensor], *more: str) -> list[torch.Tensor]:  # type: ignore[no-untyped-def]
    y = function(*made, *more)
    weights = torch.linspace(-1, 1, y.numel(), device=y.device).reshape(y.shape)
    return [y, *torch.autograd.grad((y * weights).sum(), made)]


def test_kernels_need_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {name: ModuleType(name) for name in ("mamba_ssm", "triton")}
    for name, module in there.items():
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    has_kernels = scan._has_kernels.__wrapped__  # what it found once it does not look for again
    assert has_kernels()
    monkeypatch.setitem(sys.modules, "triton", None)
    assert not has_kernels()


@pytest.mark.parametrize(
    ("kernels", "parallel", "expected"),
    [(True, True, "kernels"), (False, True, "parallel"), (False, False, "in-order")],
)
def test_a_gpu_computes_with_what_is_there(
    monkeypatch: pytest.MonkeyPatch, kernels: bool, parallel: bool, expected: str
) -> None:
    monkeypatch.setattr(scan, "_has_kernels", lambda: kernels)
    monkeypatch.setattr(scan, "_has_parallel", lambda: parallel)
    assert scan.best_implementation(torch.device("cuda")) == expected
    assert scan.best_implementation(torch.device("cpu")) == "in-order"


@pytest.mark.parametrize("implementation", ["in-order", "parallel"])
@pytest.mark.parametrize("length", [1, 2, 7, 64, 100])
def test_all_scans_are_the_definition(implementation: str, length: int) -> None:
    if implementation == "parallel":
        pytest.importorskip("mambapy")
    made = arguments(length)
    for found, wanted in zip(results(selective_scan, made, implementation), results(reference, made), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pieces", [1, 7, 50, 64])
def test_pieces_of_the_sequence_change_nothing(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = arguments(100)
    monkeypatch.setattr(scan, "_AT_ONCE", pieces * 2 * 6 * 4)
    for found, wanted in zip(results(selective_scan, made, "in-order"), results(reference, made), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(selective_scan(*made, "in-order"), reference(*made), atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("implementation", ["kernels", "parallel", "in-order"])
def test_all_scans_on_a_gpu(implementation: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if implementation != "in-order":
        pytest.importorskip({"kernels": "mamba_ssm", "parallel": "mambapy"}[implementation])
    made = arguments(100, "cuda")
    for found, wanted in zip(results(selective_scan, made, implementation), results(reference, made), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)


def test_a_scan_that_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="backwards"):
        selective_scan(*arguments(3), "backwards")


def test_every_token_sees_all_others() -> None:
    torch.manual_seed(0)
    layer = VimLayer(16, state=4)
    tokens = torch.randn(1, 9, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(tokens)[0, 4].sum(), tokens)
    assert (gradient[0].abs().sum(-1) > 1e-8).all()


def test_reversed_tokens_and_swapped_directions_give_the_reverse() -> None:
    torch.manual_seed(0)
    layer, tokens = VimLayer(16, state=4), torch.randn(2, 9, 16)
    plain = layer(tokens)
    layer.onward, layer.backward_ = layer.backward_, layer.onward
    torch.testing.assert_close(layer(tokens.flip(1)).flip(1), plain)

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones import Frame
from AutoPromptSAMLib.errors import ModelError, PromptError
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.bridge import BridgeUnit
from AutoPromptSAMLib.prompters.proxy_prompt.canvas import image_canvas, mask_canvas
from AutoPromptSAMLib.prompters.proxy_prompt.colorization import ContextualColorization, ConvolutionHalving
from AutoPromptSAMLib.prompters.proxy_prompt.contextual_encoder import ContextualEncoder
from AutoPromptSAMLib.prompters.proxy_prompt.detail import DetailPath
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork

from .scenes import TINY

CONFIGS = [ProxyPromptConfig.small(), ProxyPromptConfig.paper(), TINY]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_configuration_survives_a_dictionary(config: ProxyPromptConfig) -> None:
    assert ProxyPromptConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "word"),
    [({"grid": "32"}, "grid"), ({"grid": True}, "grid"), ({"bottleneck": 1.5}, "bottleneck"), ({"new": 1}, "new")],
)
def test_other_dictionaries_are_refused(change: dict, word: str, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(ModelError, word):
        ProxyPromptConfig.from_dict({**asdict(ProxyPromptConfig()), **change})
    with one_sentence(ModelError, "grid"):
        ProxyPromptConfig.from_dict({k: v for k, v in asdict(ProxyPromptConfig()).items() if k != "grid"})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"heads": 7}, "heads"),
        ({"context_size": 250}, "context_size"),
        ({"grid": 30}, "grid"),
        ({"context_stem": "steps"}, "context_stem"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict, word: str, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(ModelError, word):
        replace(ProxyPromptConfig(), **change)


def test_the_papers_sizes() -> None:
    with torch.device("meta"):
        network = ProxyPromptNetwork(ProxyPromptConfig.paper())
    sizes = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in network.named_children()}
    assert sizes["context"] == pytest.approx(7.75, rel=0.05)
    assert sizes["bridge"] == pytest.approx(3.84, rel=0.05)
    assert sizes["colorization"] == pytest.approx(28.6, rel=0.05)
    assert ProxyPromptConfig.paper().tokens == 256


def test_the_small_default_fits_into_15_megabytes() -> None:
    with torch.device("meta"):
        network = ProxyPromptNetwork(ProxyPromptConfig.small())
    assert sum(p.numel() * 4 for p in network.parameters()) < 15e6
    assert ProxyPromptConfig.small().tokens == 64


@pytest.mark.parametrize("stem", ["patches", "convolutions"])
def test_the_context_is_of_image_and_mask(stem: str) -> None:
    torch.manual_seed(0)
    encoder = ContextualEncoder(replace(TINY, context_stem=stem))
    image, mask = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    code = encoder(image, mask)
    assert code.shape == (2, 32, 16, 16)
    assert not torch.allclose(encoder(1 - image, mask), code, atol=1e-3)
    assert not torch.allclose(encoder(image, 1 - mask), code, atol=1e-3)


@pytest.mark.parametrize("bottleneck", [None, 16])
def test_the_bridge_treats_objects_alike_and_lets_them_talk(bottleneck: int | None) -> None:
    torch.manual_seed(0)
    bridge = BridgeUnit(replace(TINY, bottleneck=bottleneck), 32)
    features, codes = torch.randn(2, 32, 4, 4), torch.randn(2, 3, TINY.context_width, 4, 4)
    joined = bridge(features, codes)
    assert joined.shape == (2, 3, 32, 4, 4)
    torch.testing.assert_close(bridge(features, codes[:, [2, 0, 1]]), joined[:, [2, 0, 1]])
    other = codes.clone()
    other[:, 2] += 1
    assert not torch.equal(bridge(features, other)[:, 0], joined[:, 0])


def test_the_literal_bridge_is_for_one_number_of_objects(one_sentence) -> None:  # type: ignore[no-untyped-def]
    bridge = BridgeUnit(replace(TINY, fixed_objects=2), 32)
    codes = torch.randn(1, 2, TINY.context_width, 4, 4)
    assert bridge(torch.randn(1, 32, 4, 4), codes).shape == (1, 2, 32, 4, 4)
    with one_sentence(PromptError, "2 objects", "not 1"):
        bridge(torch.randn(1, 32, 4, 4), codes[:, :1])


@pytest.mark.parametrize("rows", [True, False])
def test_halving_starts_as_the_mean_of_pairs(rows: bool) -> None:
    image = torch.randn(2, 3, 4, 6)
    tokens = ConvolutionHalving(3, rows)(image.flatten(2).transpose(1, 2), (4, 6))
    wanted = (image[:, :, ::2] + image[:, :, 1::2]) / 2 if rows else (image[..., ::2] + image[..., 1::2]) / 2
    torch.testing.assert_close(tokens, wanted.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("halvings", [1, 3, 4])
def test_each_block_halves_the_tokens(linear: bool, halvings: int) -> None:
    config = replace(TINY, linear_halving=linear, halvings=halvings)
    read = torch.randn(3, 24, 16, 16)
    tokens = ContextualColorization(config, 24)(torch.randn(1, 24, 16, 16), read, torch.randn(1, 24, 16, 16))
    assert tokens.shape == (3, 256 // 2**halvings, 24)
    assert config.tokens == tokens.shape[1]


def test_detail_finds_the_place_that_the_logits_have() -> None:
    torch.manual_seed(0)
    path = DetailPath(TINY, 24)
    fine, masks = torch.randn(2, 8, 32, 32), (torch.rand(2, 3, 64, 64) > 0.5).float()
    sums = path.summarise(fine, masks)
    assert sums.shape == (2, 3, 2, TINY.detail_width + 1)
    torch.testing.assert_close(sums[:, :, 0, -1], masks.mean((2, 3)) * 32 * 32)
    arguments = (fine[:1], sums.sum(0), torch.randn(3, 24, 16, 16), torch.rand(3, 1, 16, 16))
    assert torch.equal(path(*arguments, torch.randn(3, 2, 64, 64)), torch.zeros(3, 2, 64, 64))
    torch.nn.init.normal_(path.mix[-1].weight)  # type: ignore[arg-type]
    logits = torch.randn(3, 2, 64, 64)
    added = path(*arguments, logits)
    changed = logits.clone()
    changed[1, 1, 20:24, 40:44] += 9
    row, col = (path(*arguments, changed) - added)[1, 1].abs().nonzero().T
    assert (row.min(), row.max(), col.min(), col.max()) == (18, 25, 38, 45)
    assert torch.equal(path(*arguments, changed)[0], added[0])


def test_the_canvas_lies_where_the_backbone_has_the_image() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[20:, :40] = 255
    mask = image[..., 0] > 0
    frame = Frame.longest_side(40, 80, 256)
    placed, covered = image_canvas(image, frame, 64), mask_canvas([mask, ~mask], frame, 64)
    assert placed.shape == (3, 64, 64)
    assert covered.shape == (2, 64, 64)
    assert placed[:, 20:32, :28].min() > 0.99
    assert placed[:, 32:].max() == 0
    torch.testing.assert_close(covered[0], placed[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(covered[1, :32], 1 - covered[0, :32])
    # A line of one pixel in 256 keeps its share of a pixel in 64.
    line = np.zeros((256, 256), bool)
    line[:, 100] = True
    thin = mask_canvas([line], Frame.longest_side(256, 256, 256), 64)[0]
    assert thin.sum(1).mean() == pytest.approx(0.25, abs=0.02)

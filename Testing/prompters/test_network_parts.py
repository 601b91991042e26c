from __future__ import annotations

from dataclasses import asdict, replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from AutoPromptSAMLib.backbones import Frame
from AutoPromptSAMLib.errors import ModelError, PromptError
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.bridge import BridgeUnit
from AutoPromptSAMLib.prompters.proxy_prompt.canvas import image_canvas, mask_canvas
from AutoPromptSAMLib.prompters.proxy_prompt.colorization import (
    ContextualColorization,
    ConvolutionHalving,
    PooledReadOut,
)
from AutoPromptSAMLib.prompters.proxy_prompt.contextual_encoder import ContextualEncoder
from AutoPromptSAMLib.prompters.proxy_prompt.detail import DetailPath
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork, grown

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


def test_files_from_before_an_option_existed_stay_readable() -> None:
    written = TINY.to_dict()
    for name in ("selective_map", "colorization", "memory", "fusion_blocks", "dropout"):
        del written[name]
        assert ProxyPromptConfig.from_dict(written) == TINY
    assert (TINY.selective_map, TINY.colorization, TINY.memory) == (True, True, "none")
    assert (TINY.fusion_blocks, TINY.dropout) == (0, 0.0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"heads": 7}, "heads"),
        ({"context_size": 250}, "context_size"),
        ({"grid": 30}, "grid"),
        ({"context_stem": "steps"}, "context_stem"),
        ({"memory": "kept"}, "memory"),
        ({"dropout": 1.0}, "dropout"),
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


def tensors(config: ProxyPromptConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in ProxyPromptNetwork(config).state_dict().items()}


@pytest.mark.parametrize(
    ("config", "expected"),
    [(ProxyPromptConfig(), "fc24f54d25d0d6bd"), (ProxyPromptConfig.small(), "ada08068f09a6cee")],
)
def test_the_networks_tensors_stay_what_they_are(config: ProxyPromptConfig, expected: str) -> None:
    """Weights that were saved must fit; change this only together with the version of the file."""
    listed = "\n".join(f"{name} {shape}" for name, shape in sorted(tensors(config).items()))
    assert sha256(listed.encode()).hexdigest()[:16] == expected


def test_a_network_that_grows_answers_as_before() -> None:
    torch.manual_seed(0)
    network = ProxyPromptNetwork(TINY).eval()
    larger = grown(network)
    assert larger.config == replace(TINY, fusion_blocks=3, dropout=0.25)
    assert not larger.training
    image, embedding = torch.rand(2, 3, 64, 64), torch.randn(2, 256, 16, 16)
    masks, code = (torch.rand(2, 1, 64, 64) > 0.5).float(), torch.randn(1, 256, 16, 16)
    with torch.no_grad():
        for one, other in zip(
            *(
                (out.tokens, out.dense, out.auxiliary)
                for out in (
                    each(embedding[:1], each.encode_supports(("a",), embedding, image, masks), code)
                    for each in (network, larger)
                )
            ),
            strict=True,
        ):
            torch.testing.assert_close(one, other)
    assert grown(larger).config == larger.config


@pytest.mark.parametrize(
    ("change", "without", "added"),
    [
        ({"selective_map": False}, ("key.", "log_sharpness"), {}),
        ({"colorization": False}, ("colorization.",), {}),
        ({"selective_map": False, "colorization": False}, ("key.", "log_sharpness", "colorization."), {}),
        ({"memory": "split"}, (), {}),
        ({"memory": "learned"}, (), {"narrow.weight": (64, 256), "narrow.bias": (64,)}),
    ],
)
def test_options_take_away_and_add_only_what_is_theirs(change: dict, without: tuple[str, ...], added: dict) -> None:
    default = tensors(ProxyPromptConfig.small())
    left = {name: shape for name, shape in default.items() if not name.startswith(without or "no such tensor")}
    assert without == () or len(left) < len(default)
    assert tensors(replace(ProxyPromptConfig.small(), **change)) == left | added


def test_a_backbones_memory_decides_where_tokens_go() -> None:
    for make in (ProxyPromptConfig.small, ProxyPromptConfig.paper):
        assert make(memory=True) == replace(make(), memory="learned")


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


@pytest.mark.parametrize(("halvings", "rows", "cols"), [(0, 1, 1), (1, 2, 1), (3, 4, 2), (4, 4, 4)])
def test_without_colorization_tokens_are_pooled(halvings: int, rows: int, cols: int) -> None:
    config = replace(TINY, halvings=halvings, colorization=False)
    read, code = torch.randn(3, 24, 16, 16), torch.randn(1, 24, 16, 16)
    tokens = PooledReadOut(config)(torch.randn(1, 24, 16, 16), read, code)
    assert tokens.shape == (3, config.tokens, 24)
    last = (read + code)[:, :, 16 - rows :, 16 - cols :].mean((2, 3))
    torch.testing.assert_close(tokens[:, -1], last)
    second = (read + code)[:, :, :rows, cols : 2 * cols].mean((2, 3))
    torch.testing.assert_close(tokens[:, 1], second)


def test_detail_sums_inside_and_around_the_objects() -> None:
    path = DetailPath(TINY, 24)
    masks = torch.zeros(2, 3, 64, 64)
    masks[:, 1, 20:30, 40:44] = 1
    sums = path.summarise(torch.rand(2, 3, 64, 64), masks)
    assert sums.shape == (2, 3, 2, 2 * TINY.detail_width + 1)
    inside, around = sums[0, 1, :, -1]
    assert (inside, around) == (40, 24 * 18 - 40)  # seven pixels on every side
    assert not sums[:, 0].any()


def test_a_pixel_is_described_by_one_convolution_over_both_levels() -> None:
    torch.manual_seed(0)
    path = DetailPath(TINY, 24).eval()
    image, masks = torch.rand(2, 3, 64, 64), (torch.rand(2, 1, 64, 64) > 0.5).float()
    full, half, _, described = path.pyramid(image)
    joined = torch.cat([full, F.interpolate(half, full.shape[-2:], mode="bilinear", align_corners=False)], dim=1)
    expected = F.layer_norm(path.describe(joined).movedim(1, -1), (2 * TINY.detail_width,)).movedim(-1, 1)
    torch.testing.assert_close(described, expected, atol=1e-4, rtol=1e-4)
    inside = path.summarise(image, masks)[:, 0, 0, :-1]
    torch.testing.assert_close(inside, (expected * masks).sum((-2, -1)), atol=1e-2, rtol=1e-4)


def test_detail_adds_where_the_image_and_the_logits_say() -> None:
    torch.manual_seed(0)
    path = DetailPath(TINY, 24).eval()
    image, masks = torch.rand(2, 3, 64, 64), (torch.rand(2, 3, 64, 64) > 0.5).float()
    sums = path.summarise(image, masks).sum(0)
    read, copied, logits = torch.randn(3, 24, 16, 16), torch.rand(3, 1, 16, 16), torch.randn(3, 2, 64, 64)
    pyramid = path.pyramid(image[:1])
    assert torch.equal(path(pyramid, sums, read, copied, logits), torch.zeros(3, 2, 64, 64))
    torch.nn.init.normal_(path.added.weight)
    added = path(pyramid, sums, read, copied, logits)
    assert added.shape == logits.shape
    changed = logits.clone()
    changed[1, 1, 20:24, 40:44] += 9
    difference = (path(pyramid, sums, read, copied, changed) - added).detach().abs()
    assert torch.equal(difference[0], torch.zeros(2, 64, 64))
    # Normalisation spreads a little of it; most is where the change was.
    there = difference[1, 1, 14:30, 34:50]
    assert there.mean() > 3 * difference[1, 1].mean()
    other = path(path.pyramid(image[1:]), sums, read, copied, logits)
    assert (other - added).abs().max() > 1e-3


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

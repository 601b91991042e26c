"""The Multi-Prompt Adapter: its places, its file, and that the plain model never notices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import ImageEncoderViT

from AutoPromptSAMLib.backbones import (
    Backbone,
    PromptEmbedding,
    adapted_backbone,
    load_backbone,
    plain_backbone,
)
from AutoPromptSAMLib.backbones.multi_prompt_adapter import (
    AdaptedBackbone,
    AdapterConfig,
    _with_adapters,
    load_adapted,
)
from AutoPromptSAMLib.backbones.preprocess import preprocessor_of
from AutoPromptSAMLib.backbones.sam_family import SamBackbone, SamNetwork
from AutoPromptSAMLib.backbones.sam_vit import build_vit_encoder
from AutoPromptSAMLib.backbones.tiny_vit import TinyVitEncoder
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import get_card

from ..prompters.scenes import random_backbone, random_sam2_backbone, scene

BOX = PixelPrompts(box=np.array([10.0, 12.0, 40.0, 44.0]))
CLICK = PixelPrompts(np.array([[20.0, 22.0]]), np.array([1]))


def adapted(plain: SamBackbone, config: AdapterConfig | None = None) -> AdaptedBackbone:
    return AdaptedBackbone(plain, replace(plain.card, name="adapted", base=plain.card.name), config)


def trained(backbone: AdaptedBackbone, seed: int = 0) -> AdaptedBackbone:
    """As if it had been trained: every weight moved."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in backbone.train():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    backbone.train(False)
    return backbone


def answers(backbone: SamBackbone, *prompts: PixelPrompts) -> torch.Tensor:
    features = backbone.encode([scene(1)[0]])
    return backbone.decode(features, backbone.embed_prompts(features.frame, prompts)).low_res


def test_untrained_it_says_what_the_plain_model_says() -> None:
    plain = random_backbone()
    torch.testing.assert_close(answers(adapted(plain), BOX, CLICK), answers(plain, BOX, CLICK), atol=1e-5, rtol=0)


def test_trained_it_says_otherwise_and_the_plain_model_the_same_to_the_bit() -> None:
    plain = random_backbone()
    before, fingerprint = answers(plain, BOX, CLICK), plain.fingerprint
    own = trained(adapted(plain))
    changed = answers(own, BOX, CLICK)
    assert (changed - before).abs().max() > 1e-3
    assert torch.equal(answers(plain, BOX, CLICK), before)
    assert plain.fingerprint == fingerprint != own.fingerprint


def test_behind_the_encoder_it_shares_the_plain_models_features() -> None:
    plain = random_backbone()
    own = trained(adapted(plain))
    image = scene(1)[0]
    assert torch.equal(own.encode([image]).embedding, plain.encode([image]).embedding)
    assert own.features_fingerprint == plain.features_fingerprint
    assert own.engine == plain.engine


@pytest.mark.parametrize("kind", ["tiny-vit", "vit"])
def test_in_the_blocks_it_changes_what_the_encoder_says(kind: str) -> None:
    plain = random_backbone()
    if kind == "tiny-vit":
        torch.manual_seed(0)
        card, encoder = get_card("lite-medsam"), TinyVitEncoder("stride1-1x1")
        network = SamNetwork(encoder, card.input_size)
        plain = SamBackbone(card, network, preprocessor_of(card), "random", torch.device("cpu"))
    else:
        plain.network.image_encoder = ImageEncoderViT(img_size=64, patch_size=4, embed_dim=32, depth=2, num_heads=2)
        plain = SamBackbone(plain.card, plain.network, preprocessor_of(plain.card), "random", plain.device)
    image = scene(1)[0]
    before = plain.encode([image]).embedding
    own = adapted(plain, AdapterConfig("blocks", width=4))
    torch.testing.assert_close(own.encode([image]).embedding, before, atol=1e-5, rtol=0)
    trained(own)
    assert (own.encode([image]).embedding - before).abs().max() > 1e-3
    assert torch.equal(plain.encode([image]).embedding, before)
    assert own.features_fingerprint != plain.features_fingerprint


def test_the_published_adapter_of_vit_b_has_7_million_parameters() -> None:
    with torch.device("meta"):
        network = SamNetwork(build_vit_encoder("vit_b"), 1024)
    _, added = _with_adapters(network.image_encoder, 0)
    assert len(added) == 12
    assert sum(p.numel() for p in added.parameters()) == pytest.approx(7.1e6, rel=0.02)


def test_gradients_reach_the_adapter_and_nothing_else() -> None:
    plain = random_backbone()
    own = adapted(plain)
    trained(own)
    parameters = own.train()
    answers(own, BOX, CLICK).square().mean().backward()
    unasked = ("prompts.masks", "prompts.points")  # no mask prompt; and not every kind of point
    asked_for = [p for name, p in own.own.named_parameters() if not name.startswith(unasked)]
    assert len(parameters) > len(asked_for) >= 4
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in asked_for)
    assert all(p.grad is None for p in plain.network.parameters())
    own.train(False)
    assert not answers(own, BOX).requires_grad


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    plain = random_backbone()
    own = trained(adapted(plain))
    digest = own.save(tmp_path / "adapter.safetensors", {"sets": ["made up"]})
    again = load_adapted(tmp_path / "adapter.safetensors", plain, own.card, digest)
    assert torch.equal(answers(again, BOX, CLICK), answers(own, BOX, CLICK))
    assert again.fingerprint == own.fingerprint


def test_a_file_that_does_not_fit_is_refused_in_one_sentence(tmp_path: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    plain, file = random_backbone(), tmp_path / "adapter.safetensors"
    own = trained(adapted(plain))
    own.save(file)
    with one_sentence(ModelError, "not the one on the card"):
        load_adapted(file, plain, own.card, "0" * 64)
    with one_sentence(ModelError, "other weights"):
        load_adapted(file, random_backbone(seed=1), own.card)
    with one_sentence(ModelError, "There are no weights"):
        load_adapted(tmp_path / "nowhere.safetensors", plain, own.card)
    content = bytearray(file.read_bytes())
    content[-100] ^= 255
    file.write_bytes(content)
    with one_sentence(ModelError, "damaged"):
        load_adapted(file, plain, own.card)


@pytest.mark.parametrize("values", [{"places": "decoder"}, {"kernel": 2}, {"width": "much"}, {"colour": 1}])
def test_settings_without_sense_are_refused(values: dict[str, object], one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(ModelError, "get its file again"):
        AdapterConfig.from_dict(values)


def test_sam_2_takes_none(one_sentence) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("sam2")
    with one_sentence(ModelError, "no Multi-Prompt Adapter"):
        adapted(random_sam2_backbone())


def test_other_prompts_join_as_they_do_with_the_plain_model() -> None:
    own = trained(adapted(random_backbone()))
    features = own.encode([scene(1)[0]])
    prompts = own.embed_prompts(features.frame, [BOX])
    memory = PromptEmbedding(torch.zeros(1, 0, 256), memory=torch.randn(1, 3, 256, generator=torch.Generator()))
    assert own.decode(features, prompts.join(memory)).low_res.shape == (1, 1, 64, 64)


def test_the_shipped_adapter_finds_from_a_click_what_its_model_does_not(lite_weights: Path) -> None:
    plain = load_backbone("lite-medsam", "cpu", lite_weights)
    own = adapted_backbone(plain)
    assert isinstance(own, AdaptedBackbone)
    assert own.card == get_card("mpa-lite-medsam")
    image, masks = scene(3, 128, 160)
    features = plain.encode([image])
    assert own.features_fingerprint == plain.features_fingerprint
    for name, truth in masks.items():
        row, col = (int(place.mean()) for place in np.nonzero(truth))
        click = PixelPrompts(np.array([[col, row]]), np.array([1]))

        def found(backbone: Backbone, click: PixelPrompts = click) -> np.ndarray:
            low_res = backbone.decode(features, backbone.embed_prompts(features.frame, [click])).low_res[0, 0]
            return backbone.upscale(low_res, features.frame).numpy() > 0

        overlap = [2 * (mask & truth).sum() / (mask.sum() + truth.sum()) for mask in (found(plain), found(own))]
        assert overlap[1] > max(0.6, overlap[0] + 0.15), name


def test_only_the_published_weights_get_the_adapter(lite: Backbone) -> None:
    assert adapted_backbone(lite) is lite  # another preprocessing than the card's
    own = random_backbone()
    assert adapted_backbone(own) is own
    assert plain_backbone(adapted(own)) is own


def test_an_image_is_adapted_once_and_anew_after_training() -> None:
    own = adapted(random_backbone())
    calls = []
    own._behind.register_forward_hook(lambda *_: calls.append(1))
    features = own.encode([scene(1)[0]])
    prompts = own.embed_prompts(features.frame, (BOX,))
    first = own.decode(features, prompts).low_res
    assert torch.equal(own.decode(features, prompts).low_res, first)
    assert len(calls) == 1
    other = own.encode([scene(2)[0]])
    assert not torch.equal(own.decode(other, prompts).low_res, first)
    assert len(calls) == 2
    trained(own)
    assert not torch.equal(own.decode(features, own.embed_prompts(features.frame, (BOX,))).low_res, first)

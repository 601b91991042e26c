from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones import lora as lora_module
from AutoPromptSAMLib.backbones.lora import RANK, Lora, rank_for, rank_of, takes_lora, with_additions
from AutoPromptSAMLib.backbones.multi_prompt_adapter import AdaptedBackbone
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompters import Request
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
from AutoPromptSAMLib.prompts import PixelPrompts

from ..prompters.scenes import random_backbone, random_sam2_backbone, scene, support, tiny_network

BOX = PixelPrompts(box=np.array([10, 10, 40, 40]))


def trained(plain, rank: int = RANK) -> Lora:  # type: ignore[no-untyped-def]
    lora = Lora(plain, rank)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.normal_(std=0.3)
    return lora


def answers(backbone) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        features = backbone.encode([scene(0)[0]])
        return features.embedding, backbone.decode(features, backbone.embed_prompts(features.frame, [BOX])).low_res


@pytest.mark.parametrize("make", [random_backbone, random_sam2_backbone])
def test_the_plain_model_never_changes(make) -> None:  # type: ignore[no-untyped-def]
    plain = make()
    before, fingerprint, engine = answers(plain), plain.fingerprint, plain.engine
    names = [name for name, _ in plain.network.named_parameters()]
    untrained = answers(Lora(plain).backbone)
    for now, then in zip(untrained, before, strict=True):
        torch.testing.assert_close(now, then)
    lora = trained(plain)
    with_it = answers(lora.backbone)
    assert not torch.allclose(with_it[0], before[0], atol=1e-3)
    assert not torch.allclose(with_it[1], before[1], atol=1e-3)
    for now, then in zip(answers(plain), before, strict=True):
        assert torch.equal(now, then)
    assert (plain.fingerprint, plain.engine) == (fingerprint, engine)
    assert [name for name, _ in plain.network.named_parameters()] == names
    assert not any(parameter.requires_grad for parameter in plain.network.parameters())


@pytest.mark.parametrize("make", [random_backbone, random_sam2_backbone])
def test_without_peft_the_additions_answer_as_they_were_learned(make, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    plain = make()
    lora = trained(plain, rank=2)
    learned, additions = answers(lora.backbone), lora.additions()
    assert rank_of(additions) == 2
    monkeypatch.setitem(sys.modules, "peft", None)
    merged = with_additions(make(), additions)
    for now, then in zip(answers(merged), learned, strict=True):
        torch.testing.assert_close(now, then, atol=1e-3, rtol=1e-3)
    assert merged.fingerprint == merged.features_fingerprint != plain.fingerprint
    with torch.no_grad():
        lora.parameters()[0].add_(1)
    assert with_additions(plain, lora.additions()).fingerprint != merged.fingerprint


def test_weights_that_nothing_is_added_to_are_shared() -> None:
    plain = random_backbone()
    merged = with_additions(plain, trained(plain).additions())
    own = {id(p) for p in plain.network.parameters()}
    apart = [name for name, p in merged.network.named_parameters() if id(p) not in own]
    assert apart
    # A layer's bias comes with the copy of its weight.
    assert all(name.split(".")[-2] in ("qkv", "q_proj", "v_proj") for name in apart)


def test_only_the_additions_learn_in_encoder_and_decoder() -> None:
    lora = Lora(random_backbone())
    backbone = lora.backbone
    prompter = ProxyPrompter(tiny_network(), backbone)
    features = backbone.encode([scene(1)[0]])
    request = Request(("disc",), (support(backbone, 0),))
    backbone.decode(features, prompter(features, request).embedding).low_res.square().mean().backward()
    assert all(p.grad is not None for p in lora.parameters())
    learning = {name for name, p in backbone.network.named_parameters() if p.grad is not None}
    assert all("lora_" in name for name in learning)
    assert {name.split(".")[0] for name in learning} == {"image_encoder", "mask_decoder"}


def test_learning_goes_on_from_additions() -> None:
    plain = random_backbone()
    first = trained(plain)
    second = Lora(plain)
    second.load(first.additions())
    for now, then in zip(answers(second.backbone), answers(first.backbone), strict=True):
        torch.testing.assert_close(now, then)
    kept = first.additions()
    with torch.no_grad():
        first.parameters()[0].add_(1)
    assert not torch.equal(next(iter(kept.values())), next(iter(first.additions().values())))


def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch, one_sentence) -> None:  # type: ignore[no-untyped-def]
    plain = random_backbone()
    additions = trained(plain).additions()
    with one_sentence(ModelError, "shape"):
        Lora(plain, rank=2).load(additions)
    path = next(iter(additions)).removesuffix(".0.weight")
    wrong = [
        {f"image_encoder/patches{part}": additions[path + part] for part in (".0.weight", ".1.weight")},
        {f"image_encoder/nowhere/qkv{part}": additions[path + part] for part in (".0.weight", ".1.weight")},
        {path + ".0.weight": additions[path + ".0.weight"]},
        {path + ".0.weight": torch.zeros(4, 7), path + ".1.weight": torch.zeros(9, 4)},
    ]
    for each in wrong:
        with one_sentence(ModelError, "does not fit"):
            with_additions(plain, each)
    adapted = AdaptedBackbone(plain, plain.card)
    assert not takes_lora(adapted)
    with one_sentence(ModelError, "takes no LoRA"):
        Lora(adapted)
    with one_sentence(ModelError, "does not take"):
        with_additions(adapted, additions)
    monkeypatch.setitem(sys.modules, "peft", None)
    with one_sentence(ModelError, "pip install peft"):
        Lora(plain)


def test_it_is_for_a_gpu_unless_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = random_backbone()
    assert rank_for(plain) == 0
    assert rank_for(plain, True) == RANK
    plain.device = torch.device("cuda")
    assert rank_for(plain) == RANK
    assert rank_for(plain, False) == 0
    monkeypatch.setattr(lora_module, "find_spec", lambda name: None)
    assert rank_for(plain) == 0

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from AutoPromptSAMLib.backbones.tensor_file import header_for, write_tensors
from AutoPromptSAMLib.errors import ModelError, StorageError
from AutoPromptSAMLib.prompters import Request
from AutoPromptSAMLib.prompters.lora import LoraAdapter
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
from AutoPromptSAMLib.prompters.proxy_prompt.weights import KIND, load_network, load_start, save_network
from AutoPromptSAMLib.prompts import PixelPrompts

from .scenes import TINY, random_backbone, scene, support, target, tiny_network


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "task.safetensors"
    save_network(tiny_network(), path, random_backbone(), {"objects": ["disc"], "shots": 16})
    return path


def test_a_network_comes_back(tmp_path: Path) -> None:
    backbone, network, path = random_backbone(), tiny_network(), tmp_path / "task.safetensors"
    digest = save_network(network, path, backbone, {"objects": ["disc"], "shots": 16})
    loaded, header = load_network(path, random_backbone())
    assert loaded.config == TINY
    assert header.sha256 == digest
    assert header.info == {"objects": ["disc"], "shots": 16}
    assert (header.backbone, header.fingerprint) == ("random", backbone.fingerprint)
    request = Request(("disc",), (support(backbone, 0),))
    one, two = (ProxyPrompter(n, backbone)(target(backbone, 9), request) for n in (network, loaded))
    torch.testing.assert_close(two.embedding.sparse, one.embedding.sparse, atol=1e-4, rtol=1e-3)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad for p in loaded.parameters())
    assert [p.name for p in tmp_path.iterdir()] == ["task.safetensors"]


def test_a_file_from_before_an_option_existed_stays_readable(tmp_path: Path) -> None:
    backbone, network, path = random_backbone(), tiny_network(), tmp_path / "task.safetensors"
    config = {k: v for k, v in TINY.to_dict().items() if k not in ("selective_map", "colorization", "memory")}
    write_tensors(path, header_for(backbone, KIND, config, None), network.state_dict())
    loaded, _ = load_network(path, backbone)
    assert loaded.config == TINY
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_another_backbone_is_refused(saved: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    other = random_backbone()
    other.card, other.fingerprint = replace(other.card, name="mobile-sam"), "other"
    with one_sentence(ModelError, "random", "mobile-sam"):
        load_network(saved, other)
    with one_sentence(ModelError, "other weights"):
        load_network(saved, random_backbone(seed=1))


def test_training_may_start_from_the_weights_of_another_model(
    saved: Path, monkeypatch: pytest.MonkeyPatch, one_sentence
) -> None:  # type: ignore[no-untyped-def]
    other = random_backbone(seed=1)
    with one_sentence(ModelError, "start from other weights, or from none"):
        load_start(saved, other)  # a network of another size
    monkeypatch.setattr(ProxyPromptConfig, "small", classmethod(lambda cls, memory=False: TINY))
    found, kept = load_start(saved, other).state_dict(), tiny_network().state_dict()
    assert all(torch.equal(found[name], value) for name, value in kept.items())
    with one_sentence(ModelError, "nowhere.safetensors"):
        load_start(saved.with_name("nowhere.safetensors"), other)


def test_other_files_are_refused(tmp_path: Path, saved: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    backbone = random_backbone()
    with one_sentence(ModelError, "There are no weights"):
        load_network(tmp_path / "nothing.safetensors", backbone)
    text = tmp_path / "text.safetensors"
    text.write_text("not weights at all")
    with one_sentence(ModelError, "damaged"):
        load_network(text, backbone)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(3)}, foreign)
    with one_sentence(ModelError, "no Proxy Prompt task"):
        load_network(foreign, backbone)
    for said in ("[]", "{}", '{"version": 1}', '{"version": "x"}', "5"):
        save_file({"x": torch.zeros(3)}, foreign, {"autopromptsam": said})
        with one_sentence(ModelError, "no Proxy Prompt task"):
            load_network(foreign, backbone)
    save_file({"x": torch.zeros(3)}, foreign, {"autopromptsam": json.dumps({"version": 99, "new": 1})})
    with one_sentence(ModelError, "newer"):
        load_network(foreign, backbone)
    adapter = LoraAdapter(backbone)
    adapter.save(tmp_path / "lora.safetensors")
    adapter.switch(False)
    with one_sentence(ModelError, "holds a LoRA adapter"):
        load_network(tmp_path / "lora.safetensors", backbone)


def test_damage_is_noticed(saved: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    content = bytearray(saved.read_bytes())
    saved.write_bytes(content[:-100])
    with one_sentence(ModelError, "damaged"):
        load_network(saved, random_backbone())
    content[-100] ^= 1
    saved.write_bytes(content)
    with one_sentence(ModelError, "damaged"):
        load_network(saved, random_backbone())


def test_a_file_that_cannot_be_written(tmp_path: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(StorageError, "could not be written"):
        save_network(tiny_network(), tmp_path / "no folder" / "task.safetensors", random_backbone())


# -- LoRA ----------------------------------------------------------------------------------------------------


def test_an_adapter_is_nothing_until_it_is_trained_and_gone_when_off() -> None:
    backbone = random_backbone()
    image = scene(0)[0]
    before, fingerprint = backbone.encode([image]), backbone.fingerprint
    names = [name for name, _ in backbone.network.named_parameters()]
    prompt = backbone.embed_prompts(before.frame, [PixelPrompts(box=np.array([10, 10, 40, 40]))])
    plain = backbone.decode(before, prompt).low_res
    adapter = LoraAdapter(backbone, "task")
    assert sum(p.numel() for p in adapter.parameters()) > 0
    assert torch.equal(backbone.encode([image]).embedding, before.embedding)
    assert backbone.fingerprint != fingerprint
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
    changed = backbone.encode([image])
    assert not torch.allclose(changed.embedding, before.embedding, atol=1e-3)
    assert not torch.allclose(backbone.decode(before, prompt).low_res, plain, atol=1e-3)
    untrained = backbone.fingerprint
    adapter.switch(True)
    assert backbone.fingerprint not in (untrained, fingerprint)
    adapter.switch(False)
    assert torch.equal(backbone.encode([image]).embedding, before.embedding)
    assert backbone.fingerprint == fingerprint
    assert [name for name, _ in backbone.network.named_parameters()] == names
    assert torch.equal(backbone.decode(before, prompt).low_res, plain)


def test_only_the_adapter_learns_in_encoder_and_decoder() -> None:
    backbone = random_backbone()
    adapter = LoraAdapter(backbone)
    request = Request(("disc",), (support(backbone, 0),))
    prompter = ProxyPrompter(tiny_network(), backbone)
    features = backbone.encode([scene(1)[0]])
    backbone.decode(features, prompter(features, request).embedding).low_res.square().mean().backward()
    assert all(p.grad is not None for p in adapter.parameters())
    trained = {name for name, p in backbone.network.named_parameters() if p.grad is not None}
    assert trained
    assert all("lora_" in name for name in trained)
    assert {name.split(".")[0] for name in trained} == {"image_encoder", "mask_decoder"}


def test_an_adapter_comes_back(tmp_path: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    backbone, image = random_backbone(), scene(0)[0]
    adapter = LoraAdapter(backbone, "task", rank=2)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
    path = tmp_path / "lora.safetensors"
    adapter.save(path)
    assert path.stat().st_size < 200_000
    other = random_backbone()
    loaded = LoraAdapter.load(path, other)
    assert (loaded.name, loaded.rank) == ("task", 2)
    assert torch.equal(other.encode([image]).embedding, backbone.encode([image]).embedding)
    adapter.switch(True)
    assert other.fingerprint == backbone.fingerprint
    with one_sentence(ModelError, "another LoRA adapter"):
        LoraAdapter(other)
    loaded.switch(False)
    LoraAdapter(other, "second").switch(False)
    with one_sentence(ModelError, "other weights"):
        LoraAdapter.load(path, random_backbone(seed=1))
    with one_sentence(ModelError, "a.b"):
        LoraAdapter(other, "a.b")

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from AutoPromptSAMLib.backbones.tensor_file import header_for, write_tensors
from AutoPromptSAMLib.errors import ModelError, StorageError
from AutoPromptSAMLib.prompters import Request
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
from AutoPromptSAMLib.prompters.proxy_prompt.weights import KIND, load_start, load_task, save_task

from .scenes import TINY, random_backbone, support, target, tiny_network


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "task.safetensors"
    save_task(tiny_network(), path, random_backbone(), {"objects": ["disc"], "shots": 16})
    return path


def test_a_network_comes_back(tmp_path: Path) -> None:
    backbone, network, path = random_backbone(), tiny_network(), tmp_path / "task.safetensors"
    digest = save_task(network, path, backbone, {"objects": ["disc"], "shots": 16})
    task = load_task(path, random_backbone())
    loaded, header = task.network, task.header
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
    loaded = load_task(path, backbone).network
    assert loaded.config == TINY
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_another_backbone_is_refused(saved: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    other = random_backbone()
    other.card, other.fingerprint = replace(other.card, name="mobile-sam"), "other"
    with one_sentence(ModelError, "random", "mobile-sam"):
        load_task(saved, other)
    with one_sentence(ModelError, "other weights"):
        load_task(saved, random_backbone(seed=1))


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
        load_task(tmp_path / "nothing.safetensors", backbone)
    text = tmp_path / "text.safetensors"
    text.write_text("not weights at all")
    with one_sentence(ModelError, "damaged"):
        load_task(text, backbone)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(3)}, foreign)
    with one_sentence(ModelError, "no Proxy Prompt task"):
        load_task(foreign, backbone)
    for said in ("[]", "{}", '{"version": 1}', '{"version": "x"}', "5"):
        save_file({"x": torch.zeros(3)}, foreign, {"autopromptsam": said})
        with one_sentence(ModelError, "no Proxy Prompt task"):
            load_task(foreign, backbone)
    save_file({"x": torch.zeros(3)}, foreign, {"autopromptsam": json.dumps({"version": 99, "new": 1})})
    with one_sentence(ModelError, "newer"):
        load_task(foreign, backbone)
    write_tensors(tmp_path / "other.safetensors", header_for(backbone, "Multi-Prompt Adapter", {}, None), {})
    with one_sentence(ModelError, "holds a Multi-Prompt Adapter"):
        load_task(tmp_path / "other.safetensors", backbone)


def test_damage_is_noticed(saved: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    content = bytearray(saved.read_bytes())
    saved.write_bytes(content[:-100])
    with one_sentence(ModelError, "damaged"):
        load_task(saved, random_backbone())
    content[-100] ^= 1
    saved.write_bytes(content)
    with one_sentence(ModelError, "damaged"):
        load_task(saved, random_backbone())


def test_a_file_that_cannot_be_written(tmp_path: Path, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(StorageError, "could not be written"):
        save_task(tiny_network(), tmp_path / "no folder" / "task.safetensors", random_backbone())

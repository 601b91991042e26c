"""Supports as networks take them, and which of them look like a target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.backbones.lora import Lora
from AutoPromptSAMLib.backbones.tensor_file import content_sha256
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompters.proxy_prompt.weights import save_task
from AutoPromptSAMLib.supports import SupportPair, SupportSet
from AutoPromptSAMLib.supports import pool as pool_module
from AutoPromptSAMLib.supports.encode import encode_pairs, most_similar, prompter_for, signature
from AutoPromptSAMLib.supports.pairs import as_objects
from AutoPromptSAMLib.supports.pool import SupportPool

from ..conftest import SentenceCheck
from ..prompters.scenes import random_backbone, scene, tiny_network
from .doubles import ContrastBackbone, CopyPrompter, blob_picture


def pair(row: int, col: int, name: str = "disc") -> SupportPair:
    image, disc = blob_picture(row, col)
    return SupportPair.of(f"{row},{col}", image, {name: disc})


def test_a_pair_is_encoded_once(tmp_path: Path) -> None:
    backbone, cache = ContrastBackbone(), EmbeddingCache(tmp_path)
    pairs = [pair(20, 20), pair(40, 40)]
    for _ in range(2):
        supports = encode_pairs(backbone, cache, pairs)
    assert backbone.encoded == 2
    assert [support.name for support in supports] == ["20,20", "40,40"]
    np.testing.assert_array_equal(supports[0].image, pairs[0].image)
    assert supports[0].has("disc")


def test_the_most_similar_are_those_with_the_object_at_the_same_place() -> None:
    backbone, cache = ContrastBackbone(), EmbeddingCache(None)
    places = [(12, 12), (50, 50), (12, 50), (15, 14), (50, 12)]
    supports = encode_pairs(backbone, cache, [pair(*place) for place in places])
    target = backbone.encode([blob_picture(14, 13)[0]])
    assert set(most_similar(target, supports, 2)) == {0, 3}
    assert most_similar(target, supports, 2) == most_similar(target, [signature(s.features) for s in supports], 2)
    assert len(most_similar(target, supports, 99)) == 5
    assert most_similar(target, [], 3) == []
    assert most_similar(backbone.encode([pair(50, 12).image]), supports, 1) == [4]


def test_padding_beside_an_image_does_not_count() -> None:
    backbone = random_backbone()
    image = scene(0)[0][:32]
    features = backbone.encode([image])
    filled = replace(features, embedding=features.embedding.clone())
    filled.embedding[:, :, 8:] = 99.0  # 32 of 64 rows are image
    torch.testing.assert_close(signature(filled), signature(features))
    assert float(signature(features).norm()) == pytest.approx(1.0)


def test_the_network_of_a_set_is_the_one_that_it_learned_with(tmp_path: Path, one_sentence: SentenceCheck) -> None:
    backbone = random_backbone()
    path = tmp_path / "task.safetensors"
    digest = save_task(tiny_network(), path, backbone)
    content = SupportSet("", "s", as_objects(["disc"]), (pair(20, 20),), {backbone.card.name: path})
    prompter, name = prompter_for(backbone, content)
    assert name == digest
    assert not prompter.network.training
    assert not prompter.copying, "it has learned the task"
    with one_sentence(ModelError, "made for"):
        prompter_for(random_backbone(seed=1), content)


def test_a_task_that_changed_the_model_prompts_that_model(tmp_path: Path) -> None:
    backbone, path = random_backbone(), tmp_path / "task.safetensors"
    save_task(tiny_network(), path, backbone, None, Lora(backbone).additions())
    prompter, _ = prompter_for(
        backbone, SupportSet("", "s", as_objects(["disc"]), (pair(20, 20),), {backbone.card.name: path})
    )
    assert prompter.backbone is not backbone
    assert prompter.backbone.features_fingerprint != backbone.features_fingerprint


def test_without_a_general_network_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, one_sentence: SentenceCheck
) -> None:
    monkeypatch.setattr("AutoPromptSAMLib.supports.encode.general_network", lambda backbone: None)
    with one_sentence(ModelError, "autopromptsam learn"):
        prompter_for(random_backbone(), SupportSet("", "s", as_objects(["disc"]), (pair(20, 20),)))
    network = tiny_network()
    monkeypatch.setattr("AutoPromptSAMLib.supports.encode.general_network", lambda backbone: network)
    prompter, name = prompter_for(random_backbone(), SupportSet("", "s", ()))
    assert prompter.network is network
    assert prompter.copying
    assert name.startswith(content_sha256(network.state_dict()))


def pool_of(*pairs: SupportPair) -> tuple[SupportPool, CopyPrompter]:
    backbone = ContrastBackbone()
    prompter = CopyPrompter(backbone)
    pool = SupportPool(prompter, "copy")  # type: ignore[arg-type]
    for each, support in zip(pairs, encode_pairs(backbone, EmbeddingCache(None), pairs), strict=True):
        pool.add(support, each.id, each.objects)
    return pool, prompter


def target(row: int, col: int):  # type: ignore[no-untyped-def]
    return ContrastBackbone().encode([blob_picture(row, col)[0]])


def test_a_support_counts_for_the_objects_that_are_annotated_on_it() -> None:
    both = SupportPair.of("both", blob_picture(30, 30)[0], {n: blob_picture(30, 30)[1] for n in ("disc", "cup")})
    pool, _ = pool_of(both, pair(20, 20), pair(30, 31, "cup"))
    groups = {group.objects: len(group.candidates) for group in pool.groups(target(30, 30), ["disc", "cup"])}
    assert groups == {("disc",): 2, ("cup",): 2}
    pool, _ = pool_of(both, both)
    (group,) = pool.groups(target(30, 30), ["disc", "cup"])
    assert (group.objects, len(group.candidates)) == (("disc", "cup"), 1)  # the same content is there once


def test_an_object_that_none_of_the_nearest_supports_shows_is_left_out() -> None:
    image, disc = blob_picture(50, 50)
    near = [SupportPair.of(f"{n}", blob_picture(14 + n, 14)[0], {"disc": disc & False}) for n in range(4)]
    pool, _ = pool_of(*near, SupportPair.of("far", image, {"disc": disc}))
    assert pool.groups(target(15, 14), ["disc"]) == []
    assert [group.objects for group in pool.groups(target(50, 50), ["disc"])] == [("disc",)]


def test_a_support_is_made_ready_once_for_any_number_of_slices() -> None:
    pool, prompter = pool_of(*(pair(10 + 8 * n, 20) for n in range(6)))
    for row in range(10, 50, 4):
        (group,) = pool.groups(target(row, 20), ["disc"])
        assert len(group.memory) == 4
        assert group.memory.objects == ("disc",)
    # Those that are chosen together are encoded together, so some come twice, but not once a slice.
    assert len(prompter.encoded) <= 4 * 3
    before = len(prompter.encoded)
    other = pool.copy()
    other.groups(target(10, 20), ["disc"])[0].memory  # noqa: B018 - a property that computes
    assert len(prompter.encoded) == before


def test_what_was_not_used_for_longest_is_let_go_when_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, prompter = pool_of(pair(20, 20))
    (first,) = pool.groups(target(20, 20), ["disc"])
    size = first.memory.nbytes
    monkeypatch.setattr(pool_module, "MOST_BYTES", 5 * size)
    corrected = encode_pairs(prompter.backbone, EmbeddingCache(None), [pair(20 + n, 24) for n in range(1, 30)])
    for number, support in enumerate(corrected):
        run = pool.copy()  # what a run over the volume gets
        run.add(support, f"slice {number}", ["disc"])
        (group,) = run.groups(target(20, 20), ["disc"])
        assert len(group.memory) == 2
    assert sum(memory.nbytes for memory in pool._memories.values()) == 5 * size
    before = len(prompter.encoded)
    assert first.memory.nbytes == size  # used in every run
    assert len(prompter.encoded) == before
    monkeypatch.setattr(pool_module, "MOST_BYTES", 0)
    assert len(group.memory) == 2  # what is needed at once is there whatever it takes

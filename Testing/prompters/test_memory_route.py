"""Proxy Prompt's tokens in place of SAM 2's memory."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompters import Request
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
from AutoPromptSAMLib.prompters.proxy_prompt.weights import load_task, save_task
from AutoPromptSAMLib.prompts import PixelPrompts

from .scenes import TINY, random_backbone, random_sam2_backbone, scene, support, target, tiny_network, tiny_prompter

needs_sam2 = pytest.mark.skipif(find_spec("sam2") is None, reason="the optional package sam2 is not installed")

BOTH = ("disc", "square")
LEARNED, SPLIT = (replace(TINY, memory=memory) for memory in ("learned", "split"))


@pytest.fixture(scope="module")
def sam2():  # type: ignore[no-untyped-def]
    return random_sam2_backbone()


@pytest.fixture(scope="module")
def supports(sam2):  # type: ignore[no-untyped-def]
    return tuple(support(sam2, seed) for seed in range(2))


@pytest.fixture(scope="module")
def image(sam2):  # type: ignore[no-untyped-def]
    return target(sam2, 100)


@needs_sam2
@pytest.mark.parametrize(("config", "width"), [(LEARNED, 64), (SPLIT, 256)])
def test_the_decoder_gets_no_prompt(sam2, supports, image, config, width) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(sam2, replace(config, dense=False))
    embedding = prompter(image, Request(BOTH, supports)).embedding
    assert embedding.sparse.shape == (2, 0, 256)
    assert embedding.dense is None
    assert embedding.memory is not None
    assert embedding.memory.shape == (2, TINY.tokens, width)
    found = sam2.decode(image, embedding).low_res
    swapped = [replace(s, masks={"disc": s.masks["square"], "square": s.masks["disc"]}) for s in supports]
    again = sam2.decode(image, prompter(image, Request(BOTH, tuple(swapped))).embedding).low_res
    torch.testing.assert_close(again, found.flip(0), atol=1e-5, rtol=1e-4)
    assert (found[0] - found[1]).abs().max() > 1e-4


@needs_sam2
def test_split_tokens_are_those_that_would_be_sparse(sam2, supports, image) -> None:  # type: ignore[no-untyped-def]
    sparse, split = (tiny_prompter(sam2, config)(image, Request(BOTH, supports)).embedding for config in (TINY, SPLIT))
    assert sparse.memory is None
    assert split.memory is not None
    assert torch.equal(split.memory, sparse.sparse)
    assert (sam2.decode(image, split).low_res - sam2.decode(image, sparse).low_res).abs().max() > 1e-4


@needs_sam2
@pytest.mark.parametrize("config", [LEARNED, SPLIT])
def test_gradients_reach_every_parameter(sam2, supports, image, config) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(sam2, config)
    prompted = prompter(image, Request(BOTH, supports, image=scene(100)[0]))
    refined = prompted.refine(sam2.decode(image, prompted.embedding)).low_res
    (refined.square().mean() + prompted.diagnostics["auxiliary"].square().mean()).backward()
    without = [name for name, p in prompter.network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(p.grad is None for p in sam2.network.parameters())


@needs_sam2
def test_clicks_of_the_user_join(sam2, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(sam2, LEARNED)
    memory = prompter.encode_supports(supports, BOTH)
    click = PixelPrompts(points=np.array([[20.0, 30.0]]), labels=np.array([1]))
    own, joined = (prompter.prompt(image, memory, prompts).embedding for prompts in ({}, {"square": click}))
    theirs = sam2.embed_prompts(image.frame, [click])
    assert joined.token_counts == (0, theirs.token_counts[0])
    assert torch.equal(joined.tokens(1), theirs.tokens(0))
    assert joined.memory is not None
    assert torch.equal(joined.memory, own.memory)
    found, plain = (sam2.decode(image, embedding).low_res for embedding in (joined, own))
    torch.testing.assert_close(found[0], plain[0], atol=1e-5, rtol=1e-4)
    assert (found[1] - plain[1]).abs().max() > 1e-5


@needs_sam2
def test_the_learned_map_is_saved(sam2, supports, image, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(sam2, LEARNED)
    save_task(prompter.network, tmp_path / "task.safetensors", sam2)
    loaded = load_task(tmp_path / "task.safetensors", sam2).network
    assert torch.equal(loaded.narrow.weight, prompter.network.narrow.weight)
    one, two = (p(image, Request(BOTH, supports)).embedding.memory for p in (prompter, ProxyPrompter(loaded, sam2)))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("config", [LEARNED, SPLIT])
def test_a_model_without_a_memory_is_refused(config, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(ModelError, "LiteMedSAM", "memory", "SAM 2"):
        ProxyPrompter(tiny_network(config=config), random_backbone())

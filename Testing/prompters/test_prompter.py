from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompters import Prompter, Request, Support
from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportMemory
from AutoPromptSAMLib.prompts import PixelPrompts

from .scenes import GRID, SIZE, TINY, random_backbone, scene, support, target, tiny_prompter

BOTH = ("disc", "square")


@pytest.fixture(scope="module")
def backbone():  # type: ignore[no-untyped-def]
    return random_backbone()


@pytest.fixture(scope="module")
def supports(backbone) -> list[Support]:  # type: ignore[no-untyped-def]
    return [support(backbone, seed) for seed in range(6)]


@pytest.fixture(scope="module")
def image(backbone):  # type: ignore[no-untyped-def]
    return target(backbone, 100)


@pytest.fixture(autouse=True)
def no_gradients(request):  # type: ignore[no-untyped-def]
    with torch.set_grad_enabled("gradients" in request.node.name):
        yield


def masks_of(prompted, backbone, image) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return prompted.refine(backbone.decode(image, prompted.embedding)).low_res


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("objects", [("disc",), BOTH, (*BOTH, "half")])
def test_any_number_of_supports_and_objects(backbone, supports, image, count, objects) -> None:  # type: ignore[no-untyped-def]
    half = np.arange(SIZE) < 30
    known = [replace(s, masks={**s.masks, "half": np.tile(half, (SIZE, 1))}) for s in supports]
    prompter = tiny_prompter(backbone)
    assert isinstance(prompter, Prompter)
    prompted = prompter(image, Request(objects, tuple(known[:count])))
    number = len(objects)
    assert prompted.objects == objects
    assert prompted.embedding.sparse.shape == (number, TINY.tokens, 256)
    assert prompted.embedding.dense is not None
    assert prompted.embedding.dense.shape == (number, 256, GRID, GRID)
    assert prompted.diagnostics["copied_mask"].shape == (number, GRID, GRID)
    assert prompted.diagnostics["auxiliary"].shape == (number, GRID, GRID)
    assert prompted.diagnostics["confidence"].shape == (number,)
    assert masks_of(prompted, backbone, image).shape == (number, 1, SIZE, SIZE)


def test_supports_of_different_sizes(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    wide = support(backbone, 7, 40, 90)
    prompted = tiny_prompter(backbone)(image, Request(BOTH, (supports[0], wide)))
    assert prompted.embedding.sparse.isfinite().all()


def test_the_order_of_objects_does_not_matter(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    one = prompter(image, Request(BOTH, tuple(supports[:2])))
    two = prompter(image, Request(BOTH[::-1], tuple(supports[:2])))
    torch.testing.assert_close(two.embedding.sparse, one.embedding.sparse.flip(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        masks_of(two, backbone, image), masks_of(one, backbone, image).flip(0), atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(one.embedding.sparse[0], one.embedding.sparse[1], atol=1e-3)


def test_the_order_of_supports_does_not_matter(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    one = prompter(image, Request(BOTH, tuple(supports)))
    two = prompter(image, Request(BOTH, tuple(supports[::-1])))
    torch.testing.assert_close(two.embedding.sparse, one.embedding.sparse, atol=1e-5, rtol=1e-4)
    other = prompter(image, Request(BOTH, tuple(supports[:2])))
    assert not torch.allclose(other.embedding.sparse, one.embedding.sparse, atol=1e-4)


def test_swapped_masks_swap_the_objects(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    swapped = [replace(s, masks={"disc": s.masks["square"], "square": s.masks["disc"]}) for s in supports[:2]]
    one = masks_of(prompter(image, Request(BOTH, tuple(supports[:2]))), backbone, image)
    two = masks_of(prompter(image, Request(BOTH, tuple(swapped))), backbone, image)
    torch.testing.assert_close(two, one.flip(0), atol=1e-4, rtol=1e-4)
    assert (two - one).abs().max() > 1e-3


def test_chunks_change_nothing(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    memory = prompter.encode_supports(supports, BOTH)
    plain, chunked = (prompter.prompt(image, memory, chunked=chunked) for chunked in (False, True))
    torch.testing.assert_close(chunked.embedding.sparse, plain.embedding.sparse, atol=1e-5, rtol=1e-4)
    every = prompter.prompt(image, memory, top_k=len(supports) * GRID**2)
    torch.testing.assert_close(every.embedding.sparse, plain.embedding.sparse, atol=1e-5, rtol=1e-4)


def test_a_memory_serves_many_targets_and_grows(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    memory = prompter.encode_supports(supports, BOTH)
    for features in (image, target(backbone, 101)):
        direct = prompter(features, Request(BOTH, tuple(supports)))
        assert torch.equal(prompter.prompt(features, memory).embedding.sparse, direct.embedding.sparse)
    parts = [prompter.encode_supports([s], BOTH) for s in supports]
    grown = SupportMemory.concatenate(parts)
    assert len(grown) == len(supports)
    assert grown.nbytes == memory.nbytes == 6 * parts[0].nbytes
    torch.testing.assert_close(
        prompter.prompt(image, grown).embedding.sparse,
        prompter.prompt(image, memory).embedding.sparse,
        atol=1e-5,
        rtol=1e-4,
    )


def test_a_support_without_an_object_counts_as_showing_none(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    empty = replace(supports[1], masks={**supports[1].masks, "square": np.zeros((SIZE, SIZE), bool)})
    missing = replace(supports[1], masks={"disc": supports[1].masks["disc"]})
    one, two = (prompter(image, Request(BOTH, (supports[0], other))) for other in (empty, missing))
    assert torch.equal(one.embedding.sparse, two.embedding.sparse)
    full = prompter(image, Request(BOTH, tuple(supports[:2])))
    copied = [prompted.diagnostics["copied_mask"][1].sum() for prompted in (one, full)]
    assert 0 < copied[0] < copied[1]


def test_paths_that_start_at_zero_leave_the_plain_result(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    asked = Request(BOTH, tuple(supports[:2]), image=scene(100)[0])
    prompted = tiny_prompter(backbone, stirred=False)(image, asked)
    assert prompted.refinement is not None
    plain = backbone.decode(image, replace(prompted.embedding, dense=None)).low_res
    torch.testing.assert_close(masks_of(prompted, backbone, image), plain, atol=1e-5, rtol=1e-5)
    stirred = tiny_prompter(backbone)(image, asked)
    without = backbone.decode(image, replace(stirred.embedding, dense=None)).low_res
    decoded = backbone.decode(image, stirred.embedding)
    assert (decoded.low_res - without).abs().max() > 1e-3
    assert (stirred.refine(decoded).low_res - decoded.low_res).abs().max() > 1e-3


def test_without_the_image_masks_are_not_refined(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompted = tiny_prompter(backbone)(image, Request(BOTH, tuple(supports[:2])))
    decoded = backbone.decode(image, prompted.embedding)
    assert prompted.refine(decoded) is decoded


def test_detail_may_be_finer_than_context(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone, replace(TINY, detail_size=2 * SIZE))
    prompted = prompter(image, Request(BOTH, tuple(supports[:2]), image=scene(100)[0]))
    decoded = backbone.decode(image, prompted.embedding)
    assert (prompted.refine(decoded).low_res - decoded.low_res).abs().max() > 1e-3


def test_clicks_and_masks_of_the_user_join(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    memory = prompter.encode_supports(supports[:2], BOTH)
    own = prompter.prompt(image, memory)
    click = PixelPrompts(points=np.array([[20.0, 30.0]]), labels=np.array([1]))
    prompted = prompter.prompt(image, memory, {"square": click})
    theirs = backbone.embed_prompts(image.frame, [PixelPrompts(), click])
    assert prompted.embedding.token_counts == (TINY.tokens, TINY.tokens + theirs.token_counts[1])
    assert torch.equal(prompted.embedding.tokens(1)[TINY.tokens :], theirs.tokens(1))
    assert own.embedding.dense is not None
    assert torch.equal(prompted.embedding.dense, own.embedding.dense)
    logits, plain = masks_of(prompted, backbone, image), masks_of(own, backbone, image)
    torch.testing.assert_close(logits[0], plain[0], atol=1e-4, rtol=1e-4)
    assert (logits[1] - plain[1]).abs().max() > 1e-4

    drawn = PixelPrompts(mask=scene(100)[1]["square"])
    prompted = prompter.prompt(image, memory, {"square": drawn})
    theirs = backbone.embed_prompts(image.frame, [PixelPrompts(), drawn])
    assert theirs.dense is not None
    assert torch.equal(prompted.embedding.dense[0], own.embedding.dense[0])
    assert torch.equal(prompted.embedding.dense[1], theirs.dense[1])


ABLATIONS = [{}, {"selective_map": False}, {"colorization": False}, {"selective_map": False, "colorization": False}]


@pytest.mark.parametrize("change", ABLATIONS)
def test_gradients_reach_every_parameter(backbone, supports, image, change) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone, replace(TINY, **change))
    prompted = prompter(image, Request(BOTH, tuple(supports[:2]), image=scene(100)[0]))
    loss = masks_of(prompted, backbone, image).square().mean() + prompted.diagnostics["auxiliary"].square().mean()
    loss.backward()
    without = [name for name, p in prompter.network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(p.grad is None for p in backbone.network.parameters())


def test_without_the_map_the_target_does_not_choose(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    other = target(backbone, 101)
    with_map, without = (tiny_prompter(backbone, replace(TINY, selective_map=on)) for on in (True, False))
    copied = [
        [
            p.prompt(features, p.encode_supports(supports[:3], BOTH)).diagnostics["copied_mask"]
            for p in (with_map, without)
        ]
        for features in (image, other)
    ]
    assert (copied[0][0] - copied[1][0]).abs().max() > 1e-3
    share = torch.tensor([float(np.mean([s.masks[name] for s in supports[:3]])) for name in BOTH])
    for found in (copied[0][1], copied[1][1]):
        torch.testing.assert_close(found, share[:, None, None].expand_as(found), atol=1e-5, rtol=1e-4)
    # What is read follows the supports all the same.
    one, two = (without(image, Request(BOTH, tuple(supports[n : n + 2]))).embedding.sparse for n in (0, 2))
    assert (one - two).abs().max() > 1e-3


def test_without_colorization_tokens_follow_the_supports(backbone, supports, image) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone, replace(TINY, colorization=False))
    one = prompter(image, Request(BOTH, tuple(supports[:2])))
    two = prompter(image, Request(BOTH[::-1], tuple(supports[:2])))
    assert one.embedding.sparse.shape == (2, TINY.tokens, 256)
    torch.testing.assert_close(two.embedding.sparse, one.embedding.sparse.flip(0), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(one.embedding.sparse[0], one.embedding.sparse[1], atol=1e-3)


def test_confidence_is_how_sharp_the_copied_mask_is(backbone, supports) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    with torch.no_grad():
        prompter.network.log_sharpness.fill_(4.0)
    itself = prompter(supports[0].features, Request(("disc",), (supports[0],)))
    copied, truth = itself.diagnostics["copied_mask"][0] > 0.5, supports[0].masks["disc"][2::4, 2::4]
    assert (copied.numpy() & truth).sum() > 0.8 * truth.sum()
    with torch.no_grad():
        prompter.network.log_sharpness.fill_(-9.0)
    flat = prompter(supports[0].features, Request(("disc",), (supports[0],)))
    assert itself.diagnostics["confidence"] > 0.8 > 2 * flat.diagnostics["confidence"]


def test_what_a_request_must_have(backbone, supports, image, one_sentence) -> None:  # type: ignore[no-untyped-def]
    prompter = tiny_prompter(backbone)
    with one_sentence(PromptError, "annotated example"):
        prompter(image, Request(BOTH))
    with one_sentence(PromptError, "'nerve'"):
        prompter(image, Request(("disc", "nerve"), tuple(supports[:2])))
    with one_sentence(PromptError, "at least one"):
        Request(())
    with one_sentence(PromptError, "twice"):
        Request(("disc", "disc"))
    with one_sentence(PromptError, "'cup'"):
        Request(("disc",), prompts={"cup": PixelPrompts()})
    with one_sentence(PromptError, "one image"):
        prompter.prompt(image[[0, 0]], prompter.encode_supports(supports[:1], BOTH))
    parts = [prompter.encode_supports(supports[:1], objects) for objects in (BOTH, BOTH[::-1])]
    with one_sentence(PromptError, "same objects"):
        SupportMemory.concatenate(parts)


def test_what_a_support_must_have(supports, one_sentence) -> None:  # type: ignore[no-untyped-def]
    good = supports[0]
    with one_sentence(PromptError, "2 images"):
        replace(good, features=good.features[[0, 0]])
    with one_sentence(PromptError, "shape (32, 64, 3)"):
        replace(good, image=good.image[:32])
    with one_sentence(PromptError, "'disc'", "(32, 64)"):
        replace(good, masks={"disc": good.masks["disc"][:32]})
    with one_sentence(PromptError, "uint8"):
        replace(good, masks={"disc": good.masks["disc"].astype(np.uint8)})

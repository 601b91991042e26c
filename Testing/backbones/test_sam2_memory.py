"""Memory tokens: in SAM 2 they go through its memory attention, in other models they are sparse tokens."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from AutoPromptSAMLib.backbones import Backbone, Features, PromptEmbedding
from AutoPromptSAMLib.backbones.sam2_image import Sam2Backbone
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompts import PixelPrompts

from ..prompters.scenes import random_backbone, random_sam2_backbone
from .conftest import PROMPTS, SentenceCheck, assert_same_logits, picture

needs_sam2 = pytest.mark.skipif(find_spec("sam2") is None, reason="the optional package sam2 is not installed")

NO_TOKENS = torch.zeros(1, 0, 256)
CLICK = PROMPTS["points"]


@pytest.fixture(scope="module")
def sam2() -> Sam2Backbone:
    return random_sam2_backbone()


@pytest.fixture(scope="module")
def images(sam2: Sam2Backbone) -> Features:
    return sam2.encode([picture(seed=seed) for seed in (0, 1)])


@pytest.fixture(scope="module")
def memory() -> torch.Tensor:
    """Six objects' 64 tokens, narrowed: as many as the image has cells, so that a rotary code would fit them."""
    return torch.randn(6, 64, 64, generator=torch.Generator().manual_seed(0))


def prompt(memory: torch.Tensor | None, objects: int = 1) -> PromptEmbedding:
    return PromptEmbedding(NO_TOKENS.expand(objects, -1, -1), memory=memory)


def masks(backbone: Backbone, images: Features, memory: torch.Tensor | None) -> torch.Tensor:
    return backbone.decode(images, prompt(memory, 1 if memory is None else len(memory))).low_res


def by_hand(sam2: Sam2Backbone, seed: int, memory: torch.Tensor, rotary: bool = False) -> torch.Tensor:
    """Masks (1, 1, 32, 32) as SAM 2 makes them on a later frame of a video, remembering these tokens."""
    model = sam2.network
    encoded = model.forward_image(sam2._preprocessor([picture(seed=seed)]))
    encoded, features, codes, sizes = model._prepare_backbone_features(encoded)
    tokens = memory.transpose(0, 1)
    recalled = model.memory_attention(
        curr=features[-1:],
        curr_pos=codes[-1:],
        memory=tokens,
        memory_pos=torch.zeros_like(tokens),
        num_obj_ptr_tokens=0 if rotary else len(tokens),
    )
    sparse, dense = model.sam_prompt_encoder(points=None, boxes=None, masks=None)
    found: torch.Tensor = model.sam_mask_decoder(
        image_embeddings=recalled.permute(1, 2, 0).view(1, 256, *sizes[-1]),
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
        repeat_image=False,
        high_res_features=encoded["backbone_fpn"][:2],
    )[0]
    return found


@needs_sam2
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_sam2s_own_memory_attention(
    sam2: Sam2Backbone, images: Features, memory: torch.Tensor, seed: int
) -> None:
    wanted = by_hand(sam2, seed, memory[:1])
    torch.testing.assert_close(masks(sam2, images[seed], memory[:1]), wanted, atol=1e-5, rtol=1e-4)
    rotated = by_hand(sam2, seed, memory[:1], rotary=True)
    assert (rotated - wanted).abs().max() > 1e-3


@needs_sam2
def test_what_is_remembered_changes_the_mask(sam2: Sam2Backbone, images: Features, memory: torch.Tensor) -> None:
    nothing, one, other = (masks(sam2, images, m) for m in (None, memory[:1], memory[1:2]))
    assert (one - nothing).abs().max() > 1e-3
    assert (one - other).abs().max() > 1e-3
    assert torch.equal(masks(sam2, images, memory[:1, :0]), nothing)


@needs_sam2
def test_the_order_of_tokens_does_not_matter(sam2: Sam2Backbone, images: Features, memory: torch.Tensor) -> None:
    shuffled = memory[:1, torch.randperm(64, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(masks(sam2, images, shuffled), masks(sam2, images, memory[:1]), atol=1e-5, rtol=1e-4)


@needs_sam2
def test_wide_tokens_are_split(sam2: Sam2Backbone, images: Features, memory: torch.Tensor) -> None:
    wide = memory[:1].reshape(1, 16, 256)
    assert torch.equal(wide[0, 3, 64:128], memory[0, 13])
    torch.testing.assert_close(masks(sam2, images, wide), masks(sam2, images, memory[:1]), atol=1e-6, rtol=1e-5)


@needs_sam2
def test_objects_in_several_images_are_decoded_as_if_alone(
    sam2: Sam2Backbone, images: Features, memory: torch.Tensor
) -> None:
    index = [1, 0, 1, 1, 0, 0]
    clicks = [PixelPrompts(), CLICK, PixelPrompts(), PROMPTS["box"], PixelPrompts(), CLICK]
    own = sam2.embed_prompts(images.frame, clicks)
    together = sam2.decode(images, own.join(prompt(memory, 6)), index)
    order = [4, 2, 0, 5, 1, 3]
    again = sam2.decode(
        images,
        PromptEmbedding.from_tokens([own.tokens(n) for n in order], memory=memory[order]),
        [index[n] for n in order],
    )
    assert_same_logits(again.low_res, together.low_res[order])
    for n, image in enumerate(index):
        alone = PromptEmbedding.from_tokens([own.tokens(n)], memory=memory[n : n + 1])
        decoded = sam2.decode(images[image], alone)
        torch.testing.assert_close(together.low_res[n], decoded.low_res[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.iou[n], decoded.iou[0], atol=1e-5, rtol=1e-4)
    assert (together.low_res[4] - together.low_res[5]).abs().max() > 1e-3


@needs_sam2
def test_clicks_and_masks_of_the_user_join(sam2: Sam2Backbone, images: Features, memory: torch.Tensor) -> None:
    drawn = PixelPrompts(mask=picture()[..., 0] > 120)
    remembered = prompt(memory[:3], 3)
    theirs = sam2.embed_prompts(images.frame, [PixelPrompts(), CLICK, drawn])
    joined = remembered.join(theirs)
    assert joined.memory is not None
    assert torch.equal(joined.memory, memory[:3])
    assert joined.token_counts == theirs.token_counts == (0, 4, 0)
    plain, found = (sam2.decode(images, e).low_res for e in (remembered, joined))
    torch.testing.assert_close(found[0], plain[0], atol=1e-5, rtol=1e-4)
    forgot = sam2.decode(images, theirs).low_res
    for n in (1, 2):
        assert (found[n] - plain[n]).abs().max() > 1e-4
        assert (found[n] - forgot[n]).abs().max() > 1e-3


@needs_sam2
@pytest.mark.parametrize("width", [64, 256])
def test_gradients_flow_from_the_mask_to_every_token(sam2: Sam2Backbone, images: Features, width: int) -> None:
    tokens = torch.randn(2, 5, width, requires_grad=True)
    sam2.decode(images, prompt(tokens, 2), [0, 1]).low_res.square().mean().backward()
    assert tokens.grad is not None
    assert tokens.grad.abs().amax(2).min() > 0
    assert all(p.grad is None for p in sam2.network.parameters())


@needs_sam2
def test_other_widths_are_refused(sam2: Sam2Backbone, images: Features, one_sentence: SentenceCheck) -> None:
    with one_sentence(PromptError, "MedSAM2", "64", "not 128"):
        masks(sam2, images, torch.zeros(1, 2, 128))


def test_models_without_a_memory_take_them_as_sparse_tokens(one_sentence: SentenceCheck) -> None:
    backbone = random_backbone()
    features = backbone.encode([picture()])
    tokens = torch.randn(2, 5, 256)
    theirs = backbone.embed_prompts(features.frame, [PixelPrompts(), CLICK])
    remembered = theirs.join(PromptEmbedding(NO_TOKENS.expand(2, -1, -1), memory=tokens))
    sparse = theirs.join(PromptEmbedding(tokens))
    assert remembered.token_counts == (0, 4)
    one, two = (backbone.decode(features, e) for e in (remembered, sparse))
    assert_same_logits(one.low_res, two.low_res)
    assert_same_logits(one.iou, two.iou)
    assert (one.low_res - backbone.decode(features, theirs).low_res).abs().max() > 1e-3
    with one_sentence(PromptError, "64 channels", "SAM 2"):
        backbone.decode(features, replace(remembered, memory=tokens[..., :64]))


def test_joining_concatenates_the_memory() -> None:
    one, two = torch.randn(2, 3, 64), torch.randn(2, 4, 64)
    sparse = [torch.ones(1, 256), torch.ones(2, 256)]
    dense = torch.zeros(2, 256, 2, 2)
    first, second = PromptEmbedding.from_tokens(sparse, dense, one), prompt(two, 2)
    joined = first.join(second)
    assert joined.memory is not None
    assert torch.equal(joined.memory, torch.cat([one, two], dim=1))
    assert joined.token_counts == (1, 2)
    assert joined.dense is dense
    for plain in (first.join(prompt(None, 2)), prompt(None, 2).join(first)):
        assert plain.memory is not None
        assert torch.equal(plain.memory, one)
    assert prompt(None, 2).join(prompt(None, 2)).memory is None


def test_memories_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3, 4, 64.* for 2 objects"):
        prompt(torch.zeros(3, 4, 64), 2)
    with pytest.raises(ValueError, match=r"2, 64.* for 2 objects"):
        prompt(torch.zeros(2, 64), 2)
    with pytest.raises(ValueError, match="different widths"):
        prompt(torch.zeros(2, 4, 64), 2).join(prompt(torch.zeros(2, 1, 256), 2))

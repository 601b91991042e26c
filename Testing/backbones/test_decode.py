"""Decoding many objects in many images gives each what it gets alone; images and prompts that do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.backbones import Backbone, Features, Frame, PromptEmbedding
from AutoPromptSAMLib.backbones.preprocess import preprocessor_of
from AutoPromptSAMLib.errors import ImageError, PromptError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import get_card

from .conftest import BOX, COLS, PROMPTS, ROWS, SentenceCheck, assert_same_logits, low_res_mask


@pytest.fixture(scope="module")
def two_images() -> Features:
    """Embeddings as an encoder gives them (normalised over channels), of no image in particular."""
    noise = torch.randn(2, 256, 64, 64, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.avg_pool2d(noise, 9, stride=1, padding=4)
    return Features(
        torch.nn.functional.layer_norm(smooth.permute(0, 2, 3, 1), (256,)).permute(0, 3, 1, 2) * 0.2, FRAME
    )


FRAME = Frame.longest_side(ROWS, COLS, 256)


@st.composite
def objects(draw: st.DrawFn) -> tuple[PixelPrompts, bool, int]:
    """Prompts of one object, whether a low-resolution mask comes with them, and its image."""
    xy = st.tuples(st.floats(0, COLS - 1), st.floats(0, ROWS - 1))
    points = draw(st.lists(xy, max_size=3))
    labels = draw(st.lists(st.sampled_from([0, 1]), min_size=len(points), max_size=len(points)))
    box = BOX.box if draw(st.booleans()) else None
    return PixelPrompts(points or np.zeros((0, 2)), labels, box), draw(st.booleans()), draw(st.integers(0, 1))


@settings(max_examples=8, deadline=None)
@given(st.lists(objects(), min_size=2, max_size=4), st.booleans())
def test_an_object_is_decoded_as_if_alone(
    lite: Backbone, two_images: Features, chosen: list[tuple[PixelPrompts, bool, int]], multimask: bool
) -> None:
    prompts = [prompt for prompt, _, _ in chosen]
    masks = [low_res_mask(seed=n) if masked else None for n, (_, masked, _) in enumerate(chosen)]
    images = [image for _, _, image in chosen]
    together = lite.decode(two_images, lite.embed_prompts(FRAME, prompts, masks), images, multimask)
    assert together.low_res.shape == (len(chosen), 3 if multimask else 1, 256, 256)
    assert together.iou.shape == together.low_res.shape[:2]
    for n, image in enumerate(images):
        embedding = lite.embed_prompts(FRAME, [prompts[n]], [masks[n]])
        alone = lite.decode(two_images[image], embedding, multimask=multimask)
        assert_same_logits(together.low_res[n], alone.low_res[0])
        assert_same_logits(together.iou[n], alone.iou[0])


def test_images_are_not_mixed_up(lite: Backbone, two_images: Features) -> None:
    """The default is image 0, and the other image gives another mask."""
    embedding = lite.embed_prompts(FRAME, [BOX, BOX])
    first = lite.decode(two_images, embedding).low_res
    both = lite.decode(two_images, embedding, [0, 1]).low_res
    assert_same_logits(both[0], first[0])
    assert_same_logits(first[1], first[0])
    assert (both[1] - first[1]).abs().max() > 1


def test_more_objects_than_are_decoded_at_once(lite: Backbone, two_images: Features) -> None:
    prompts = [PixelPrompts([[20.0 * n + 5, 40.0]], [1]) for n in range(6)]
    many = lite.decode(two_images, lite.embed_prompts(FRAME, prompts)).low_res
    for n, prompt in enumerate(prompts):
        assert_same_logits(many[n], lite.decode(two_images, lite.embed_prompts(FRAME, [prompt])).low_res[0])


def test_tokens_and_dense_prompts_from_elsewhere_are_decoded(lite: Backbone, two_images: Features) -> None:
    """A prompter's tokens join a click, and gradients come back through the decoder."""
    tokens = torch.randn(1, 5, 256, generator=torch.Generator().manual_seed(2)).requires_grad_(True)
    dense = torch.zeros(1, 256, 64, 64, requires_grad=True)
    embedding = lite.embed_prompts(FRAME, [PROMPTS["points"]]).join(PromptEmbedding(tokens, dense))
    decoded = lite.decode(two_images, embedding)
    decoded.low_res.mean().backward()
    for leaf in (tokens, dense):
        assert leaf.grad is not None
        assert leaf.grad.abs().max() > 0
    without = lite.decode(two_images, replace(embedding, dense=None))
    assert (without.low_res - decoded.low_res).abs().max() > 1e-2


def test_a_token_code_is_a_click_on_the_cell_centre(lite: Backbone) -> None:
    """METHODS: a click at ((col + .5)·s − .5, (row + .5)·s − .5) has the code of cell (row, col)."""
    frame = Frame.longest_side(256, 256, 256)
    row, col = 11, 40
    click = PixelPrompts([[(col + 0.5) * 4 - 0.5, (row + 0.5) * 4 - 0.5]], [1])
    positive = lite.network.prompt_encoder.point_embeddings[1].weight[0]  # type: ignore[attr-defined]
    code = lite.embed_prompts(frame, [click]).tokens(0)[0] - positive
    torch.testing.assert_close(code, lite.dense_pe()[0, :, row, col], atol=1e-5, rtol=0)


def test_image_indices_that_do_not_fit_are_refused(lite: Backbone, two_images: Features) -> None:
    embedding = lite.embed_prompts(FRAME, [BOX, BOX])
    with pytest.raises(ValueError, match="3 entries for 2 objects"):
        lite.decode(two_images, embedding, [0, 1, 0])
    for wrong in (2, -1):
        with pytest.raises(ValueError, match=r"0\.\.1"):
            lite.decode(two_images, embedding, [0, wrong])


@pytest.mark.parametrize("name", ["lite-medsam", "mobile-sam", "medsam-vit-b", "medsam2"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2999), (2999, 1), (7, 5)])
def test_images_of_any_size_are_prepared(name: str, shape: tuple[int, int]) -> None:
    card = get_card(name)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    prepared = preprocessor_of(card)([image])
    assert prepared.shape == (1, 3, card.input_size, card.input_size)
    assert prepared.isfinite().all()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], ["no image"]),
        ([np.zeros((4, 5), np.uint8)], ["(4, 5)", "intensity mapping"]),
        ([np.zeros((4, 5, 4), np.uint8)], ["(4, 5, 4)"]),
        ([np.zeros((4, 5, 3), np.float32)], ["float32", "intensity mapping"]),
        ([np.zeros((0, 5, 3), np.uint8)], ["empty", "(0, 5, 3)"]),
        ([np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)], ["(4, 5)", "(5, 4)"]),
    ],
)
def test_images_that_cannot_be_encoded_are_refused(
    lite: Backbone, images: list[np.ndarray], words: list[str], one_sentence: SentenceCheck
) -> None:
    with one_sentence(ImageError, *words):
        lite.encode(images)


def test_mask_prompts_that_do_not_fit_are_refused(lite: Backbone, one_sentence: SentenceCheck) -> None:
    with one_sentence(PromptError, "(3, 4)", str((ROWS, COLS))):
        lite.embed_prompts(FRAME, [PixelPrompts(mask=np.ones((3, 4), bool))])
    with one_sentence(PromptError, "(256, 256)", "(64, 64)"):
        lite.embed_prompts(FRAME, [BOX], [np.zeros((64, 64), np.float32)])
    with one_sentence(PromptError, "2 mask prompts for 1 objects"):
        lite.embed_prompts(FRAME, [BOX], [None, None])

"""The lean order of the mask decoder gives what ``segment_anything`` gives."""

from __future__ import annotations

import pytest
import torch

from AutoPromptSAMLib.backbones.mask_decoder import LeanMaskDecoder, decode_as_published
from AutoPromptSAMLib.backbones.sam_family import build_mask_decoder, build_prompt_encoder

from .conftest import randomised


@pytest.fixture(scope="module")
def dense_pe() -> torch.Tensor:
    return build_prompt_encoder(256).get_dense_pe().detach()


@pytest.fixture(scope="module")
def lean(dense_pe: torch.Tensor) -> LeanMaskDecoder:
    return LeanMaskDecoder(randomised(build_mask_decoder()).requires_grad_(False), dense_pe).eval()


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 2


# 11 prompts and the decoder's own five tokens are the last that the lean order of the attentions is used for.
@pytest.mark.parametrize("prompts", [0, 2, 11, 12, 40])
@pytest.mark.parametrize(("objects", "images"), [(1, 1), (3, 1), (3, 3)])
def test_the_lean_order_gives_what_the_package_gives(
    lean: LeanMaskDecoder, dense_pe: torch.Tensor, objects: int, images: int, prompts: int
) -> None:
    source, sparse = _noise(images, 256, 64, 64), _noise(objects, prompts, 256, seed=1)
    logits, quality = lean(source, lean.tokens(sparse))
    assert logits.shape == (objects, 4, 256, 256)
    for n in range(objects):
        expected, iou = lean.published.predict_masks(
            image_embeddings=source[[min(n, images - 1)]],
            image_pe=dense_pe,
            sparse_prompt_embeddings=sparse[[n]],
            dense_prompt_embeddings=torch.zeros(1),
        )
        assert float((logits[n] - expected[0]).abs().max()) < 2e-5 * float(expected.abs().max())
        torch.testing.assert_close(quality[n], iou[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prompts", [3, 20])  # cells are projected for many tokens, and not for few
def test_gradients_are_those_of_the_package(lean: LeanMaskDecoder, dense_pe: torch.Tensor, prompts: int) -> None:
    found = []
    for lean_order in (True, False):
        source, sparse = _noise(1, 256, 64, 64).requires_grad_(), _noise(2, prompts, 256, seed=1).requires_grad_()
        tokens = lean.tokens(sparse)
        logits, _ = (
            lean(source, tokens) if lean_order else decode_as_published(lean.published, dense_pe, source, tokens)
        )
        logits[:, 0].square().mean().backward()
        found.append((source.grad, sparse.grad))
    for own, expected in zip(*found, strict=True):
        assert own is not None
        assert expected is not None
        assert float((own - expected).abs().max()) < 1e-3 * float(expected.abs().max())

"""SAM ViT-B and MedSAM, with random weights in the official layout, against SamPredictor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.build_sam import _build_sam
from skimage.transform import resize

from AutoPromptSAMLib.backbones import Backbone, Features, Frame, load_backbone
from AutoPromptSAMLib.backbones.preprocess import preprocessor_of
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import get_card

from .conftest import BOX, PROMPTS, assert_same_logits, low_res_mask, picture, randomised


@pytest.fixture(scope="module", autouse=True)
def _three_blocks() -> Iterator[None]:
    """Both sides get a ViT-B of two blocks with windows and one without: each further one only takes time."""
    short = partial(
        _build_sam,
        encoder_embed_dim=768,
        encoder_depth=3,
        encoder_num_heads=12,
        encoder_global_attn_indexes=[2],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sam_model_registry, "vit_b", short)
        yield


@pytest.fixture(scope="module")
def reference() -> SamPredictor:
    predictor = SamPredictor(randomised(sam_model_registry["vit_b"]()))
    predictor.set_image(picture())
    return predictor


@pytest.fixture(scope="module")
def checkpoint(reference: SamPredictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vit_b") / "sam_vit_b.pth"
    torch.save(reference.model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def sam(checkpoint: Path) -> Backbone:
    return load_backbone("sam-vit-b", "cpu", checkpoint)


@pytest.fixture(scope="module")
def features(sam: Backbone) -> Features:
    return sam.encode([picture()])


def test_embedding_is_the_predictors(features: Features, reference: SamPredictor) -> None:
    torch.testing.assert_close(features.embedding, reference.features, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("kind", [*PROMPTS, "nothing"])
def test_logits_are_the_predictors(
    sam: Backbone, features: Features, reference: SamPredictor, kind: str, mask: bool, multimask: bool
) -> None:
    prompt, low_res = PROMPTS.get(kind, PixelPrompts()), low_res_mask() if mask else None
    logits, iou, expected = reference.predict(
        point_coords=prompt.points if len(prompt.points) else None,
        point_labels=prompt.labels if len(prompt.points) else None,
        box=prompt.box,
        mask_input=None if low_res is None else low_res[None],
        multimask_output=multimask,
        return_logits=True,
    )
    decoded = sam.decode(features, sam.embed_prompts(features.frame, [prompt], [low_res]), multimask=multimask)
    assert_same_logits(decoded.low_res[0], expected)
    assert_same_logits(decoded.iou[0], iou)
    assert_same_logits(sam.upscale(decoded.low_res, features.frame)[0], logits)


def test_medsam_image_is_stretched_and_scaled_to_its_range() -> None:
    image = np.clip(picture(), 30, 180)
    prepared = preprocessor_of(get_card("medsam-vit-b"))([image])
    stretched = resize(image, (1024, 1024), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
    expected = (stretched - stretched.min()) / np.clip(stretched.max() - stretched.min(), 1e-8, None)
    assert prepared.shape == (1, 3, 1024, 1024)
    np.testing.assert_allclose(prepared[0].permute(1, 2, 0), expected, atol=1e-6)


def test_medsam_image_of_one_grey_level_is_black() -> None:
    assert not preprocessor_of(get_card("medsam-vit-b"))([np.full((20, 30, 3), 77, np.uint8)]).any()


def test_medsam_box_and_mask_follow_the_stretching(
    checkpoint: Path, features: Features, reference: SamPredictor
) -> None:
    """MedSAM_Inference.py: box / (W, H, W, H) · 1024, and from 256×256 straight to the image."""
    medsam = load_backbone("medsam-vit-b", "cpu", checkpoint)
    stretched = Features(features.embedding, Frame.stretched(*picture().shape[:2], 1024))
    decoded = medsam.decode(stretched, medsam.embed_prompts(stretched.frame, [BOX]))
    rows, cols = picture().shape[:2]
    box = torch.tensor(BOX.box / np.array([cols, rows, cols, rows]) * 1024, dtype=torch.float32)[None]
    with torch.no_grad():
        sparse, dense = reference.model.prompt_encoder(points=None, boxes=box, masks=None)
        expected, _ = reference.model.mask_decoder(
            features.embedding, reference.model.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False
        )
    assert_same_logits(decoded.low_res, expected)
    in_one_step = torch.nn.functional.interpolate(expected, (rows, cols), mode="bilinear", align_corners=False)
    assert_same_logits(medsam.upscale(decoded.low_res, stretched.frame), in_one_step)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["vit_l", "vit_h"])
def test_larger_encoders_take_the_official_layout(size: str, tmp_path: Path) -> None:
    official = {
        key: torch.zeros(()).expand(value.shape) for key, value in sam_model_registry[size]().state_dict().items()
    }
    torch.save(official, tmp_path / "weights.pth")
    backbone = load_backbone(f"sam-{size.replace('_', '-')}", "cpu", tmp_path / "weights.pth")
    assert backbone.card.variant == {"encoder": size}

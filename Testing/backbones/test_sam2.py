"""SAM 2.1 Hiera-T and MedSAM2 (the same at 512 px), with random weights in the official layout."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones import Backbone, Features, load_backbone
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import get_card

from .conftest import PROMPTS, SentenceCheck, assert_same_logits, low_res_mask, picture, randomised

needs_sam2 = pytest.mark.skipif(find_spec("sam2") is None, reason="the optional package sam2 is not installed")


@dataclass
class Pair:
    """Ours and the reference on the same image."""

    backbone: Backbone
    features: Features
    predictor: Any


@pytest.fixture(scope="module", params=["medsam2", "sam2.1-hiera-t"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    card = get_card(request.param)
    size = card.input_size
    model = randomised(
        build_sam2(card.variant["config"], device="cpu", hydra_overrides_extra=[f"++model.image_size={size}"])
    )
    path = tmp_path_factory.mktemp("sam2") / card.file_name
    torch.save({"model": model.state_dict()}, path)
    predictor = SAM2ImagePredictor(model)
    # The predictor knows these for 1024 px only.
    predictor._bb_feat_sizes = [(size // step, size // step) for step in (4, 8, 16)]
    predictor.set_image(picture())
    backbone = load_backbone(card, "cpu", path)
    return Pair(backbone, backbone.encode([picture()]), predictor)


@needs_sam2
def test_features_are_the_predictors(pair: Pair) -> None:
    expected = pair.predictor._features
    torch.testing.assert_close(pair.features.embedding, expected["image_embed"], atol=1e-4, rtol=1e-5)
    assert len(pair.features.high_res) == 2
    for level, wanted in zip(pair.features.high_res, expected["high_res_feats"], strict=True):
        torch.testing.assert_close(level, wanted, atol=1e-4, rtol=1e-5)


@needs_sam2
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("kind", [*PROMPTS, "nothing"])
def test_logits_are_the_predictors(pair: Pair, kind: str, mask: bool, multimask: bool) -> None:
    prompt = PROMPTS.get(kind, PixelPrompts())
    low_res = low_res_mask(pair.backbone.card.input_size // 4) if mask else None
    logits, iou, expected = pair.predictor.predict(
        point_coords=prompt.points if len(prompt.points) else None,
        point_labels=prompt.labels if len(prompt.points) else None,
        box=prompt.box,
        mask_input=None if low_res is None else low_res[None],
        multimask_output=multimask,
        return_logits=True,
    )
    backbone, frame = pair.backbone, pair.features.frame
    embedding = backbone.embed_prompts(frame, [prompt], [low_res])
    decoded = backbone.decode(pair.features, embedding, multimask=multimask)
    assert_same_logits(decoded.low_res[0].clamp(-32, 32), expected)
    assert_same_logits(decoded.iou[0], iou)
    assert_same_logits(backbone.upscale(decoded.low_res, frame)[0], logits)


@needs_sam2
def test_objects_in_several_images_are_decoded_as_if_alone(pair: Pair) -> None:
    backbone = pair.backbone
    mirrored = pair.features.map(lambda tensor: tensor.flip(-1))
    features = Features.concatenate([pair.features, mirrored])
    prompts = [*PROMPTS.values(), PixelPrompts()]
    together = backbone.decode(features, backbone.embed_prompts(features.frame, prompts), [1, 0, 1, 0])
    for n, (prompt, image) in enumerate(zip(prompts, [1, 0, 1, 0], strict=True)):
        alone = backbone.decode(features[image], backbone.embed_prompts(features.frame, [prompt]))
        assert_same_logits(together.low_res[n], alone.low_res[0])


@needs_sam2
def test_low_res_logits_are_limited_before_they_prompt(pair: Pair) -> None:
    """As SAM2ImagePredictor limits what it returns for the next call."""
    size = pair.backbone.card.input_size // 4
    wild = low_res_mask(size) * 100
    prompts = [PixelPrompts()]
    frame = pair.features.frame
    dense = pair.backbone.embed_prompts(frame, prompts, [wild]).dense
    limited = pair.backbone.embed_prompts(frame, prompts, [np.clip(wild, -32, 32)]).dense
    assert dense is not None
    assert limited is not None
    torch.testing.assert_close(dense, limited, atol=0, rtol=0)


def test_without_the_package_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    for name in ("sam2", "sam2.build_sam"):
        monkeypatch.setitem(sys.modules, name, None)  # as Python marks a module that is not there
    (tmp_path / "weights.pt").write_bytes(b"not read before the package is there")
    with one_sentence(ModelError, "SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2"):
        load_backbone("sam2.1-hiera-t", "cpu", tmp_path / "weights.pt")


@needs_sam2
def test_an_unknown_configuration_is_named(tmp_path: Path, one_sentence: SentenceCheck) -> None:
    (tmp_path / "weights.pt").write_bytes(b"")
    card = replace(get_card("sam2.1-hiera-t"), variant={"config": "configs/sam2.1/sam2.1_hiera_x.yaml"})
    with one_sentence(ModelError, "sam2.1_hiera_x.yaml"):
        load_backbone(card, "cpu", tmp_path / "weights.pt")


@needs_sam2
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam2.1-hiera-s", "sam2.1-hiera-b-plus", "sam2.1-hiera-l"])
def test_larger_models_take_the_official_layout(name: str, tmp_path: Path) -> None:
    from sam2.build_sam import build_sam2

    card = get_card(name)
    official = build_sam2(card.variant["config"], device="cpu").state_dict()
    content = {key: torch.zeros(()).expand(value.shape) for key, value in official.items()}
    torch.save({"model": content}, tmp_path / "weights.pt")
    assert load_backbone(card, "cpu", tmp_path / "weights.pt").card.name == name

"""Choosing a model and a device."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from AutoPromptSAMLib.backbones import Backbone, load_backbone, resolve_device
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.zoo import get_card, load_cards, weights_path
from AutoPromptSAMLib.zoo.card import Normalisation

from .conftest import SentenceCheck, picture


def test_a_backbone_keeps_the_protocol(lite: Backbone) -> None:
    assert isinstance(lite, Backbone)
    assert lite.capabilities == get_card("lite-medsam").capabilities
    assert lite.device == torch.device("cpu")


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, AutoPromptSAMLib.backbones, AutoPromptSAMLib.backbones.base; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_error_says_what_is_missing(lite_weights: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None  # as Python marks a module that is not there
from AutoPromptSAMLib.backbones import load_backbone
from AutoPromptSAMLib.errors import ModelError
try:
    load_backbone("lite-medsam", weights={str(lite_weights)!r})
except ModelError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("The Python package 'torch' is needed to run models; install PyTorch")


def test_an_unknown_model_is_answered_with_the_known_ones(one_sentence: SentenceCheck) -> None:
    with one_sentence(ModelError, "'sam-3'", "lite-medsam", "mobile-sam"):
        load_backbone("sam-3")


@pytest.mark.parametrize("name", load_cards())
def test_weights_that_are_not_there_are_not_fetched_unasked(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path))
    with one_sentence(ModelError, f"autopromptsam models fetch {name}"):
        load_backbone(name)
    assert not list(tmp_path.rglob("*"))


def test_installed_weights_are_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lite_weights: Path, one_sentence: SentenceCheck
) -> None:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path))
    installed = weights_path(get_card("lite-medsam"))
    installed.parent.mkdir(parents=True)
    shutil.copy(lite_weights, installed)
    found, given = (load_backbone("lite-medsam", "cpu", weights, "pytorch") for weights in (None, lite_weights))
    assert found.fingerprint == given.fingerprint
    content = bytearray(installed.read_bytes())
    content[len(content) // 2] ^= 1
    installed.write_bytes(content)
    with one_sentence(ModelError, "--force"):
        load_backbone("lite-medsam", "cpu")


def test_the_fingerprint_changes_with_weights_and_preprocessing(
    lite: Backbone, lite_weights: Path, tmp_path: Path
) -> None:
    state = torch.load(lite_weights, weights_only=True)
    state["image_encoder.neck.3.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    card = get_card("lite-medsam")
    grey = replace(card, normalisation=Normalisation("standard", (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)))
    given = (card, tmp_path / "other.pth"), (grey, lite_weights)
    others = [load_backbone(card, "cpu", weights, "pytorch") for card, weights in given]
    assert len({backbone.fingerprint for backbone in [lite, *others]}) == 3


def test_a_card_that_no_model_follows_is_refused(lite_weights: Path, one_sentence: SentenceCheck) -> None:
    card = get_card("lite-medsam")
    with one_sentence(ModelError, "'stretch'", "'unit'"):
        load_backbone(replace(card, resize="stretch"), "cpu", lite_weights)
    with one_sentence(ModelError, "variant.stem", "stride2-3x3"):
        load_backbone(replace(card, variant={"stem": "5x5"}), "cpu", lite_weights)
    with one_sentence(ModelError, "'unet'"):
        load_backbone(replace(card, architecture="unet"), "cpu", lite_weights)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(device: str, one_sentence: SentenceCheck) -> None:
    with one_sentence(ModelError, f"'{device}'", "auto"):
        resolve_device(device)


def test_auto_is_cuda_where_there_is_one() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_masks_on_the_gpu_are_those_on_the_cpu(lite: Backbone, lite_weights: Path) -> None:
    from .conftest import BOX

    masks = []
    for backbone in (lite, load_backbone("lite-medsam", "cuda", lite_weights)):
        features = backbone.encode([picture()])
        decoded = backbone.decode(features, backbone.embed_prompts(features.frame, [BOX]))
        masks.append(backbone.upscale(decoded.low_res, features.frame).cpu()[0, 0] > 0)
    # TF32 convolutions move a few pixels of the border.
    assert (masks[0] != masks[1]).float().mean() < 1e-3

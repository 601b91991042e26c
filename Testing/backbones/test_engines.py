"""OpenVINO computes what PyTorch computes, is prepared once, and gives way to PyTorch where it cannot serve."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones import Features, load_backbone
from AutoPromptSAMLib.backbones.engines import exports
from AutoPromptSAMLib.backbones.engines.torch_engine import torch_name
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import get_card

from .conftest import BOTH, BOX, POINTS, SentenceCheck, assert_same_logits, low_res_mask, picture

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is not installed", allow_module_level=True)

from AutoPromptSAMLib.backbones.engines import openvino_engine

PROMPTS = [BOX, POINTS, PixelPrompts(), BOTH, PixelPrompts(box=[60.0, 30.0, 160.0, 120.0])]
MASKS = [None, low_res_mask(), None, None, low_res_mask(seed=6)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, lite_weights: Path) -> Path:
    """A home in which LiteMedSAM was prepared for OpenVINO."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPROMPTSAM_HOME", str(folder))
        load_backbone("lite-medsam", "cpu", lite_weights, engine="openvino")
    return folder


@pytest.fixture
def home(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(exported))
    return exported


@pytest.fixture
def own_home(exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of that home, to be damaged."""
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "home"))
    shutil.copytree(exported, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def fast(home: Path, lite_weights: Path) -> Any:
    return load_backbone("lite-medsam", "cpu", lite_weights)


@pytest.fixture(scope="module")
def plain(lite_weights: Path) -> Any:
    return load_backbone("lite-medsam", "cpu", lite_weights, engine="pytorch")


@pytest.fixture(scope="module")
def features(plain: Any) -> Features:
    return plain.encode([picture(), picture(seed=1)])


def test_the_engine_in_use_is_named(fast: Any, plain: Any) -> None:
    threads = torch.get_num_threads()
    assert fast.engine.startswith("OpenVINO 20")
    assert fast.engine.endswith(f", CPU, {threads} thread{'s' if threads > 1 else ''}")
    assert plain.engine == torch_name(torch.device("cpu"))
    assert fast.fingerprint == plain.fingerprint


def test_embeddings_are_the_same(fast: Any, features: Features) -> None:
    own = fast.encode([picture(), picture(seed=1)])
    assert own.frame == features.frame
    torch.testing.assert_close(own.embedding, features.embedding, atol=1e-5, rtol=0)
    kept = own.embedding.clone()
    fast.encode([picture(seed=2)])
    torch.testing.assert_close(own.embedding, kept, atol=0, rtol=0)  # the next image is not written over it


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("masks", [None, MASKS], ids=["no masks", "masks"])
def test_masks_are_the_same(fast: Any, plain: Any, features: Features, masks: Any, multimask: bool) -> None:
    index = [0, 1, 0, 0, 0]
    embedding = plain.embed_prompts(features.frame, PROMPTS, masks)
    expected, own = (backbone.decode(features, embedding, index, multimask) for backbone in (plain, fast))
    assert_same_logits(own.low_res, expected.low_res)
    assert_same_logits(own.iou, expected.iou)


def test_many_tokens_are_the_same(fast: Any, plain: Any, features: Features) -> None:
    """Up to the most that OpenVINO decodes, and beyond."""
    for clicks in (30, openvino_engine.MOST_TOKENS):
        xy = np.random.default_rng(clicks).uniform(0, 150, (clicks, 2))
        embedding = plain.embed_prompts(features.frame, [PixelPrompts(xy, [1, 0] * (clicks // 2))])
        expected, own = (backbone.decode(features, embedding) for backbone in (plain, fast))
        assert_same_logits(own.low_res, expected.low_res)


def test_gradients_flow_through_decode(fast: Any, plain: Any, features: Features) -> None:
    gradients = []
    for backbone in (fast, plain):
        embedding = backbone.embed_prompts(features.frame, [BOX, POINTS])
        sparse = embedding.sparse.clone().requires_grad_()
        decoded = backbone.decode(features, type(embedding)(sparse, None, embedding.lengths))
        decoded.low_res.sigmoid().mean().backward()
        assert sparse.grad is not None
        gradients.append(sparse.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


def test_a_changed_network_is_obeyed(fast: Any, features: Features) -> None:
    """As when an adapter was trained into the encoder or the decoder."""
    before = fast.decode(features, fast.embed_prompts(features.frame, [BOX])).low_res
    with torch.no_grad():
        fast.network.image_encoder.neck[3].bias += 1
        fast.network.mask_decoder.transformer.layers[0].cross_attn_token_to_image.k_proj.weight *= 1.5
    torch.testing.assert_close(fast.encode([picture()]).embedding, features.embedding[:1] + 1, atol=1e-4, rtol=0)
    assert fast.engine.startswith("PyTorch")
    after = fast.decode(features, fast.embed_prompts(features.frame, [BOX])).low_res
    assert (after - before).abs().max() > 0.1


def test_several_threads_get_their_own_answers(fast: Any, features: Features) -> None:
    prompts = [PixelPrompts(box=[10.0 * n, 10.0, 60.0 + 10 * n, 90.0]) for n in range(6)]
    answers: dict[int, torch.Tensor] = {}

    def decode(n: int) -> None:
        answers[n] = fast.decode(features, fast.embed_prompts(features.frame, [prompts[n]])).low_res

    threads = [threading.Thread(target=decode, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, prompt in enumerate(prompts):
        expected = fast.decode(features, fast.embed_prompts(features.frame, [prompt])).low_res
        assert_same_logits(answers[n], expected)


def test_a_model_is_prepared_once(home: Path, lite_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "_export", lambda *_: pytest.fail("exported again"))
    assert load_backbone("lite-medsam", "cpu", lite_weights).engine.startswith("OpenVINO")


@pytest.mark.parametrize("damage", ["flipped", "shortened", "missing", "unfinished"])
def test_a_damaged_export_is_made_again(
    own_home: Path, lite_weights: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    (verdict,) = own_home.glob("engines/*/verdict.json")
    weights = verdict.with_name("decoder.bin")
    good = weights.read_bytes()
    if damage == "unfinished":
        verdict.unlink()
    elif damage == "missing":
        weights.unlink()
    else:
        weights.write_bytes(good[:-1] + (bytes([good[-1] ^ 1]) if damage == "flipped" else b""))
    made = []

    def export(folder: Path, *_: object) -> exports.Verdict:
        made.append(folder)
        (folder / "decoder.bin").write_bytes(good)
        return exports.write_verdict(folder, openvino_engine._FILES, 0.0)

    monkeypatch.setattr(openvino_engine, "_export", export)
    assert load_backbone("lite-medsam", "cpu", lite_weights).engine.startswith("OpenVINO")
    assert made == [verdict.parent]


def test_two_that_start_together_prepare_a_model_once(
    own_home: Path, lite_weights: Path, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (verdict,) = own_home.glob("engines/*/verdict.json")
    content = verdict.read_text()
    verdict.unlink()
    made = []

    def export(folder: Path, *_: object) -> exports.Verdict:
        made.append(folder)
        time.sleep(0.5)
        (folder / "verdict.json").write_text(content)
        found = exports.read_verdict(folder)
        assert found is not None
        return found

    monkeypatch.setattr(openvino_engine, "_export", export)
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda: names.append(load_backbone("lite-medsam", "cpu", lite_weights).engine))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [name[:8] for name in names] == ["OpenVINO"] * 2
    assert len(made) == 1


@pytest.mark.parametrize("difference", ["0.5", "NaN"])
def test_an_engine_that_differs_is_not_used(
    own_home: Path, lite_weights: Path, difference: str, caplog: pytest.LogCaptureFixture, one_sentence: SentenceCheck
) -> None:
    (verdict,) = own_home.glob("engines/*/verdict.json")
    verdict.write_text(json.dumps(json.loads(verdict.read_text()) | {"difference": float(difference)}))
    assert load_backbone("lite-medsam", "cpu", lite_weights).engine.startswith("PyTorch")
    assert f"differs from PyTorch's by {difference.lower()}" in caplog.text
    with one_sentence(ModelError, "differs from PyTorch's"):
        load_backbone("lite-medsam", "cpu", lite_weights, engine="openvino")


def test_without_the_package_pytorch_serves_and_says_so(
    lite_weights: Path,
    features: Features,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    one_sentence: SentenceCheck,
) -> None:
    monkeypatch.delitem(sys.modules, openvino_engine.__name__)
    monkeypatch.setitem(sys.modules, "openvino", None)  # as Python marks a module that is not there
    backbone = load_backbone("lite-medsam", "cpu", lite_weights)
    assert backbone.engine.startswith("PyTorch")
    assert "pip install openvino" in caplog.text
    torch.testing.assert_close(backbone.encode([picture()]).embedding, features.embedding[:1], atol=1e-5, rtol=0)
    with one_sentence(ModelError, "pip install openvino"):
        load_backbone("lite-medsam", "cpu", lite_weights, engine="openvino")


def test_a_home_that_cannot_be_written_to_leaves_pytorch(
    lite_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "file" / "home"))
    assert load_backbone("lite-medsam", "cpu", lite_weights).engine.startswith("PyTorch")
    assert "Models run with PyTorch" in caplog.text


def test_engines_that_do_not_exist_are_refused(lite_weights: Path, one_sentence: SentenceCheck) -> None:
    with one_sentence(ModelError, "'tpu'", "openvino"):
        load_backbone("lite-medsam", "cpu", lite_weights, engine="tpu")
    with one_sentence(ModelError, get_card("medsam-vit-b").title, "PyTorch only"):
        load_backbone("medsam-vit-b", "cpu", lite_weights, engine="openvino")


def test_old_exports_are_discarded(own_home: Path, lite_weights: Path) -> None:
    (verdict,) = own_home.glob("engines/*/verdict.json")
    old, recent = (verdict.parent.with_name(name) for name in ("old", "recent"))
    for folder, age in ((old, 31), (recent, 29)):
        shutil.copytree(verdict.parent, folder)
        then = time.time() - age * 24 * 3600

        os.utime(folder / "verdict.json", (then, then))
    exports.discard_old(verdict.parent)
    assert verdict.is_file()
    assert recent.is_dir()
    assert not old.exists()


def test_openvino_reports_nothing_to_its_makers() -> None:
    code = f"import sys, {openvino_engine.__name__}; sys.exit(sys.modules['openvino_telemetry'] is not None)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

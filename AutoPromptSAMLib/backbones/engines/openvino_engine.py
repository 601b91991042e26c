"""OpenVINO (Apache-2.0) on the CPU: both networks exported once for a model and a machine, then loaded.

Seconds an image on one core of a Zen 5 with others at work, LiteMedSAM / MobileSAM: the packages that ship the weights
1.90 / 2.09, PyTorch as tuned here 1.44 / 1.24, this 0.58 / 0.62; ONNX Runtime 0.74 for LiteMedSAM. Lower precision is
not used: in bfloat16, embeddings of at most 0.61 are wrong by up to 0.03.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from AutoPromptSAMLib.backbones.engines import cpu_name, import_openvino
from AutoPromptSAMLib.backbones.engines.exports import (
    Verdict,
    discard_old,
    exclusive,
    export_folder,
    read_verdict,
    write_verdict,
)
from AutoPromptSAMLib.backbones.engines.torch_engine import TorchEngine
from AutoPromptSAMLib.backbones.mask_decoder import LeanMaskDecoder
from AutoPromptSAMLib.backbones.tiny_vit import TinyVitEncoder, exportable
from AutoPromptSAMLib.errors import ModelError

openvino: Any = import_openvino()
logger = logging.getLogger(__name__)

# Two engines are equal when logits differ by no more. Sums in another order make them differ by about 1e-4.
TOLERANCE = 1e-3
# Objects with more tokens (their own five and those of the prompts) are decoded by PyTorch. The exported graph never
# projects the cells, however many tokens there are; with 45 it was still the faster (61 ms against 86).
MOST_TOKENS = 64

# Changes when the exported networks do: what is written here, LeanMaskDecoder or TinyVitEncoder.
_FORMAT = "1"
_NETWORKS = ("encoder", "decoder")
_FILES = tuple(f"{network}{suffix}" for network in _NETWORKS for suffix in (".xml", ".bin"))


class OpenVinoEngine:
    """See ``Engine``. Safe to call from several threads, which wait for each other."""

    def __init__(self, folder: Path, plain: TorchEngine) -> None:
        threads = torch.get_num_threads()
        self._core = openvino.Core()
        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # Two processes must not be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._encoder, self._decoder = (
            self._core.compile_model(folder / f"{network}.xml", "CPU", config).create_infer_request()
            for network in _NETWORKS
        )
        self._plain = plain
        self._lock = threading.Lock()
        self.name = cpu_name("OpenVINO", _release(), threads)

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """See ``Engine.encode``."""
        return torch.cat([self._infer(self._encoder, image)[0] for image in batch.split(1)])

    def decode(self, source: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Engine.decode``."""
        if tokens.shape[1] > MOST_TOKENS:
            return self._plain.decode(source, tokens)
        if len(source) == 1:
            logits, quality = self._infer(self._decoder, source, tokens)
            return logits, quality
        answers = [self._infer(self._decoder, *one) for one in zip(source.split(1), tokens.split(1), strict=True)]
        return torch.cat([logits for logits, _ in answers]), torch.cat([quality for _, quality in answers])

    def _infer(self, request: Any, *inputs: torch.Tensor) -> list[torch.Tensor]:
        arrays = [tensor.detach().contiguous().numpy() for tensor in inputs]
        with self._lock:
            answers = request.infer(arrays, share_inputs=True)
        return [torch.from_numpy(answers[n]) for n in range(len(answers))]


def open_engine(
    plain: TorchEngine, encoder: TinyVitEncoder, decoder: LeanMaskDecoder, input_size: int, weights_sha256: str
) -> OpenVinoEngine:
    """The engine for networks with these weights, exported and compared with ``plain`` when it has not been yet.

    Raises ModelError when its output differs from PyTorch's, and whatever exporting and loading raise.
    """
    processor = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    versions = (_FORMAT, openvino.__version__, torch.__version__, platform.machine(), processor)
    folder = export_folder(weights_sha256, str(input_size), *versions)
    verdict = read_verdict(folder)
    if verdict is None:
        with exclusive(folder):
            verdict = read_verdict(folder)  # another process may have made it meanwhile
            if verdict is None:
                verdict = _export(folder, plain, encoder, decoder, input_size)
        discard_old(folder)
    if not verdict.difference <= TOLERANCE:  # NaN too
        raise ModelError(
            f"The output of OpenVINO {_release()} differs from PyTorch's by {verdict.difference:.2g} on this machine."
        )
    return OpenVinoEngine(folder, plain)


def _export(
    folder: Path, plain: TorchEngine, encoder: TinyVitEncoder, decoder: LeanMaskDecoder, input_size: int
) -> Verdict:
    """Write both networks into ``folder`` and compare them with PyTorch."""
    logger.info("Preparing this model for OpenVINO, which happens once on a machine and takes some seconds.")
    started = time.monotonic()
    image, tokens = _synthetic_image(input_size), decoder.tokens(_synthetic_prompts())
    # Files of an export that another process still reads must not change under it.
    new = folder / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    with torch.no_grad():
        embedding = plain.encode(image)
        _convert(exportable(encoder), (image,), [list(image.shape)], new / "encoder.xml")
        _convert(decoder, (embedding, tokens), [list(embedding.shape), [-1, -1, 256]], new / "decoder.xml")
        expected, _ = plain.decode(embedding, tokens)
    for name in _FILES:
        os.replace(new / name, folder / name)
    new.rmdir()
    engine = OpenVinoEngine(folder, plain)
    own = engine.encode(image)
    differences = torch.cat([(own - embedding).flatten(), (engine.decode(own, tokens)[0] - expected).flatten()])
    difference = float(differences.abs().max())
    logger.info("OpenVINO is ready after %.1f s; logits differ by %.1e.", time.monotonic() - started, difference)
    return write_verdict(folder, _FILES, difference)


def _convert(network: nn.Module, example: tuple[torch.Tensor, ...], shapes: list[list[int]], path: Path) -> None:
    """Save ``network`` for inputs of these ``shapes``, −1 where any size will do."""
    with warnings.catch_warnings():
        # Tracing is how OpenVINO takes PyTorch modules whose input sizes vary; it warns of every size that is fixed.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, example, check_trace=False)
        model = openvino.convert_model(traced, input=shapes)
    openvino.save_model(model, path, compress_to_fp16=False)


def _synthetic_image(size: int) -> torch.Tensor:
    """A prepared image (1, 3, size, size) of waves from coarse to fine."""
    at = torch.linspace(0, 1, size)
    waves = [torch.sin(2**n * (at[:, None] + n * at)) for n in range(1, 10)]
    return torch.stack([torch.stack(waves[n::3]).mean(0) for n in range(3)])[None]


def _synthetic_prompts() -> torch.Tensor:
    """Sparse prompts (2, 3, 256) of the size that embedded points have, in which no value is above 1."""
    return torch.randn(2, 3, 256, generator=torch.Generator().manual_seed(0)) / 2


def _release() -> str:
    release: str = openvino.__version__.split("-")[0]
    return release

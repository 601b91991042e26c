"""Engines: what computes a model's encoder and mask decoder. PyTorch always; OpenVINO on the CPU: faster.

An engine other than PyTorch is used only when its masks were seen to equal PyTorch's on this machine. So embeddings
and masks of the two are interchangeable, and the fingerprint of a backbone does not depend on its engine.
Importing this package imports neither torch nor OpenVINO.
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from AutoPromptSAMLib.errors import ModelError

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.backbones.engines.torch_engine import TorchEngine
    from AutoPromptSAMLib.backbones.mask_decoder import LeanMaskDecoder
    from AutoPromptSAMLib.backbones.tiny_vit import TinyVitEncoder

logger = logging.getLogger(__name__)

ENGINES = ("auto", "pytorch", "openvino")


class Engine(Protocol):
    """Runs a SAM-like model's two networks; float32 tensors come and go on the backbone's device."""

    # For people, such as "OpenVINO 2026.4.1, CPU, 2 threads".
    name: str

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, 256, h, w) of prepared images (B, 3, size, size)."""

    def decode(self, source: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, 4, 4h, 4w) and quality (N, 4), as ``LeanMaskDecoder.forward`` gives them."""


def import_openvino() -> ModuleType:
    """The package ``openvino`` without its telemetry, which reports every import to a server unless it is not there.

    Raises ImportError when OpenVINO is not installed or does not work.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault(
        "openvino_telemetry", None
    )  # as Python marks what cannot be imported; OpenVINO has a stub for it
    import openvino

    return openvino


def cpu_name(package: str, release: str, threads: int) -> str:
    """An engine on the CPU, as in ``Engine.name``."""
    return f"{package} {release}, CPU, {threads} thread{'' if threads == 1 else 's'}"


def choose_engine(
    asked: str,
    plain: TorchEngine,
    encoder: TinyVitEncoder,
    decoder: LeanMaskDecoder,
    input_size: int,
    weights_sha256: str,
    device: torch.device,
) -> Engine:
    """The engine called ``asked``, one of ENGINES; "auto" is OpenVINO on the CPU where it works, else ``plain``.

    On its first use with these weights OpenVINO's files are made, which takes some seconds. When "auto" falls back on
    the CPU, a logged warning says why. Raises ModelError when "openvino" was asked for and cannot be used.
    """
    if asked == "pytorch" or (asked == "auto" and device.type != "cpu"):
        return plain
    if device.type != "cpu":
        raise ModelError(f"The engine 'openvino' runs on the CPU, not on {device}; choose the device cpu.")
    try:
        from AutoPromptSAMLib.backbones.engines.openvino_engine import open_engine

        return open_engine(plain, encoder, decoder, input_size, weights_sha256)
    except Exception as error:  # an export or a native library can fail in any way; PyTorch still works
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        if isinstance(error, ModuleNotFoundError) and error.name == "openvino":
            reason = "the Python package 'openvino' is not installed (pip install openvino)"
        if asked == "openvino":
            raise ModelError(f"The engine 'openvino' cannot be used: {reason}.") from error
        logger.warning("Models run with PyTorch, which takes twice as long on the CPU: %s.", reason)
        return plain

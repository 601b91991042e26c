"""LoRA on a SAM-like model (Hu et al. 2021), by ``peft``: small trained additions to the attention's q and v.

The model with them is a backbone of its own beside the plain one, whose weights it shares and never changes: while one
task is learned or used, clicks on the same image get the plain model's answers, bit for bit.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from AutoPromptSAMLib.backbones.base import Backbone
from AutoPromptSAMLib.backbones.multi_prompt_adapter import AdaptedBackbone
from AutoPromptSAMLib.backbones.preprocess import preprocessor_of
from AutoPromptSAMLib.backbones.sam_family import SamBackbone
from AutoPromptSAMLib.backbones.tensor_file import content_sha256
from AutoPromptSAMLib.errors import ModelError

# q and v of the decoder's attention; of the encoder's the fused qkv, so that k is adapted, too.
TARGETS = r"image_encoder\.(.*\.)?qkv|(sam_)?mask_decoder\.transformer\..*\.(q_proj|v_proj)"
RANK = 4  # SAMed's

_NAME = "lora"  # of the one adapter in peft's layers
_DOWN, _UP = ".0.weight", ".1.weight"  # of a layer in the additions


class Lora:
    """``backbone`` is ``plain`` with additions, which change nothing until they are trained; gradients reach them.

    Raises ModelError when ``peft`` is missing or the model is not a SAM-like one, or has an adapter already.
    """

    def __init__(self, plain: Backbone, rank: int = RANK) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
            from peft.tuners.lora import LoraLayer
        except ImportError as error:
            raise ModelError("LoRA needs the optional package peft; install it with `pip install peft`.") from error
        if not takes_lora(plain):
            raise ModelError(f"{plain.card.title} takes no LoRA; choose a model of the SAM family without an adapter.")
        assert isinstance(plain, SamBackbone)
        self.plain, self.rank = plain, rank
        network: Any = _sharing(plain.network)
        # With alpha equal to the rank, what is added is B·A itself.
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS), network, _NAME)
        layers: dict[str, Any] = {p: m for p, m in network.named_modules() if isinstance(m, LoraLayer)}
        self.backbone = _like(plain, network, plain.fingerprint)
        # The additions alone, for training, saving and loading.
        self.own = nn.ModuleDict(
            {
                path.replace(".", "/"): nn.ModuleList([layer.lora_A[_NAME], layer.lora_B[_NAME]])
                for path, layer in layers.items()
            }
        )
        self.own.to(plain.device).requires_grad_(True)

    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return list(self.own.parameters())

    def additions(self) -> dict[str, torch.Tensor]:
        """Copies of what is trained, as it is now: what ``with_additions`` and ``load`` take."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.own.state_dict().items()}

    def load(self, additions: Mapping[str, torch.Tensor]) -> None:
        """Go on from ``additions``. Raises ModelError when they are another model's or have another rank."""
        try:
            self.own.load_state_dict(dict(additions))  # in place: an optimiser knows these parameters
        except RuntimeError as error:
            raise ModelError(
                f"What was learned in {self.plain.card.title} has another shape; learn it anew."
            ) from error


def takes_lora(backbone: Backbone) -> bool:
    """Whether the model can be given additions."""
    return isinstance(backbone, SamBackbone) and not isinstance(backbone, AdaptedBackbone)


def rank_for(backbone: Backbone, wanted: bool | None = None) -> int:
    """The rank to learn with, 0 for none; by default LoRA is for models that take it, on a GPU, where ``peft`` is."""
    if wanted is None:
        wanted = backbone.device.type == "cuda" and takes_lora(backbone) and find_spec("peft") is not None
    return RANK if wanted else 0


def rank_of(additions: Mapping[str, torch.Tensor]) -> int:
    """The rank of ``Lora.additions``; 0 for none."""
    return next((int(tensor.shape[0]) for name, tensor in additions.items() if name.endswith(_DOWN)), 0)


def with_additions(plain: Backbone, additions: Mapping[str, torch.Tensor]) -> SamBackbone:
    """``plain`` with ``Lora.additions``, added to copies of the weights that they change; without ``peft``.

    Its fingerprint is that of what it is, so that features cached for others are not found. Raises ModelError when
    the additions are not this model's.
    """
    if not takes_lora(plain):
        raise ModelError(f"The task was learned with LoRA, which {plain.card.title} does not take; learn it again.")
    assert isinstance(plain, SamBackbone)
    network: Any = _sharing(plain.network)
    for path in sorted({name.rpartition(".")[0].rpartition(".")[0] for name in additions}):
        place = path.replace("/", ".")
        parent, _, child = place.rpartition(".")
        try:
            if not re.fullmatch(TARGETS, place):
                raise KeyError(place)
            linear = copy.deepcopy(getattr(network.get_submodule(parent), child))
            with torch.no_grad():
                down, up = additions[path + _DOWN], additions[path + _UP]
                linear.weight += (up.float() @ down.float()).to(linear.weight)
        except (AttributeError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"What the task added to {plain.card.title} does not fit that model; learn the task again."
            ) from error
        setattr(network.get_submodule(parent), child, linear)
    return _like(plain, network, f"{plain.fingerprint}/lora-{content_sha256(additions)[:16]}")


def _sharing(network: nn.Module) -> nn.Module:
    """A copy of a network's modules around the same parameters and buffers."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def _like(plain: SamBackbone, network: nn.Module, fingerprint: str) -> SamBackbone:
    made = type(plain)(plain.card, network, preprocessor_of(plain.card), "", plain.device)
    made.fingerprint = made.features_fingerprint = fingerprint
    return made

"""Multi-Prompt Adapter of MedSAM-U (Zhou et al. 2024): small trained parts that let a SAM-like model take any prompt.

Bottleneck adapters (down, ReLU, up) change what the image encoder says, and the prompt encoder is trained with them;
the mask decoder stays as it is. ``AdapterConfig`` names two places for the adapters:

- "blocks", as published: one behind the attention of every encoder block, one beside its MLP at half strength (Wu et
  al. 2023, Medical SAM Adapter). What the encoder says becomes other, so images are encoded anew.
- "output", ours and the default: residual ones behind the encoder, with a depthwise convolution between down and up,
  since no attention follows. The encoder is not touched: embeddings in a cache serve with and without the adapter,
  training needs no encoder, and the decoder's engine stays in use.

The adapted model is a backbone of its own beside the plain one, whose weights it shares and never changes.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from AutoPromptSAMLib.backbones.base import Decoded, Features, PromptEmbedding
from AutoPromptSAMLib.backbones.checkpoint import load_strict
from AutoPromptSAMLib.backbones.preprocess import preprocessor_of
from AutoPromptSAMLib.backbones.sam2_image import Sam2Backbone
from AutoPromptSAMLib.backbones.sam_family import SamBackbone
from AutoPromptSAMLib.backbones.tensor_file import (
    content_sha256,
    header_for,
    read_tensors,
    require_backbone,
    write_tensors,
)
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.zoo.card import ModelCard

KIND = "Multi-Prompt Adapter"
PLACES = ("output", "blocks")
_CHANNELS = 256  # of SAM's image embedding
_BESIDE_MLP = 0.5  # Medical SAM Adapter's scale


@dataclass(frozen=True)
class AdapterConfig:
    """Where adapters are and how large: ``places`` as in the module, ``width`` of the bottleneck (for "blocks" 0: a
    quarter of the block's channels), and for "output" how many follow each other and the side of their convolution.
    """

    places: str = "output"
    width: int = 96
    depth: int = 4
    kernel: int = 5

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> AdapterConfig:
        """Inverse of ``dataclasses.asdict``. Raises ModelError for values that make no sense."""
        try:
            config = AdapterConfig(**values)
            sizes = [int(config.width), int(config.depth), int(config.kernel)]
        except (TypeError, ValueError) as error:
            raise ModelError("The adapter's settings cannot be understood; get its file again.") from error
        if config.places not in PLACES or min(sizes) < 0 or config.kernel % 2 == 0:
            raise ModelError(f"There is no adapter with the settings {dict(values)}; get its file again.")
        return config


class OutputAdapter(nn.Module):
    """Adapts embeddings (B, 256, h, w); changes nothing until it is trained."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(_CHANNELS, width, 1)
        self.around = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.up = nn.Conv2d(width, _CHANNELS, 1)
        _silence(self.up)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        adapted: torch.Tensor = embedding + self.up(F.relu(self.around(F.relu(self.down(embedding)))))
        return adapted


class Bottleneck(nn.Module):
    """Down, ReLU and up on the last axis; zero until it is trained."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, width), nn.Linear(width, channels)
        _silence(self.up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        added: torch.Tensor = self.up(F.relu(self.down(x)))
        return added


class _Behind(nn.Module):
    """A module and an adapter with a skip behind it."""

    def __init__(self, inner: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self.inner, self.adapter = inner, adapter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        adapted: torch.Tensor = y + self.adapter(y)
        return adapted


class _Beside(_Behind):
    """A module and an adapter parallel to it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        adapted: torch.Tensor = self.inner(x) + _BESIDE_MLP * self.adapter(x)
        return adapted


def _silence(layer: nn.Linear | nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


class AdaptedBackbone(SamBackbone):
    """``plain`` with a Multi-Prompt Adapter, as a backbone of its own; ``plain`` stays usable, bit for bit.

    Raises ModelError for SAM 2, whose prompts do not meet the embedding alone.
    """

    def __init__(self, plain: SamBackbone, card: ModelCard, config: AdapterConfig | None = None) -> None:
        if isinstance(plain, Sam2Backbone):
            raise ModelError(f"{plain.card.title} takes no Multi-Prompt Adapter; choose a model of the SAM family.")
        self.plain, self.config = plain, config or AdapterConfig()
        shared = plain.network
        encoder, inside = shared.image_encoder, nn.ModuleDict()
        if self.config.places == "blocks":
            encoder, inside = _with_adapters(encoder, self.config.width)
        depth = self.config.depth if self.config.places == "output" else 0
        behind = [OutputAdapter(self.config.width, self.config.kernel) for _ in range(depth)]
        network = nn.Module()
        network.image_encoder, network.mask_decoder = encoder, shared.mask_decoder
        network.prompt_encoder = copy.deepcopy(shared.prompt_encoder)
        super().__init__(card, network, preprocessor_of(card), "", plain.device)
        # Beside the network, so that training them does not count as a change of it.
        self._behind = nn.Sequential(*behind).to(plain.device).requires_grad_(False)
        self._inside = inside.to(plain.device).requires_grad_(False)
        self._in_training = False
        self._last: tuple[weakref.ref[torch.Tensor], torch.Tensor] | None = None
        self._name()

    def _name(self) -> None:
        """The fingerprints of what the weights are now."""
        changed = f"{self.plain.fingerprint}/adapter-{content_sha256(self.own.state_dict())[:16]}"
        self.fingerprint = changed
        self.features_fingerprint = changed if self.config.places == "blocks" else self.plain.features_fingerprint

    @property
    def own(self) -> nn.ModuleDict:
        """What is trained, saved and loaded: adapters, and the prompt encoder but for its fixed positional code."""
        encoder = self._prompt_encoder
        prompts = nn.ModuleDict(
            {
                "points": encoder.point_embeddings,
                "no_point": encoder.not_a_point_embed,
                "no_mask": encoder.no_mask_embed,
                "masks": encoder.mask_downscaling,
            }
        )
        return nn.ModuleDict({"behind": self._behind, "inside": self._inside, "prompts": prompts})

    @property
    def engine(self) -> str:
        """See ``Backbone.engine``."""
        return self.plain.engine if self.config.places == "output" else super().engine

    def _encode_batch(self, batch: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        if self.config.places == "output":
            return self.plain._encode_batch(batch)
        return super()._encode_batch(batch)

    def decode(
        self,
        features: Features,
        embedding: PromptEmbedding,
        image_index: Sequence[int] | None = None,
        multimask: bool = False,
    ) -> Decoded:
        """See ``Backbone.decode``."""
        seen = self._adapted(features.embedding)
        return super().decode(replace(features, embedding=seen), embedding, image_index, multimask)

    def _adapted(self, embedding: torch.Tensor) -> torch.Tensor:
        """What the adapters make of an embedding; kept for the last one: an image is decoded many times in a row, and
        this is a fifth of a decode's time (17 of 90 ms on 2 CPU cores).
        """
        if self._in_training:
            behind: torch.Tensor = self._behind(embedding.to(self.device))
            return behind
        kept = self._last
        if kept is None or kept[0]() is not embedding:
            kept = (weakref.ref(embedding), self._behind(embedding.to(self.device)))
            self._last = kept
        return kept[1]

    def _decode_batch(
        self,
        features: Features,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        memory: torch.Tensor | None,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.plain._decode_batch(features, sparse, dense, memory, multimask)

    def train(self, on: bool = True) -> list[nn.Parameter]:
        """Let gradients reach what is trained, or no longer; returns its parameters.

        Switched off, the fingerprints become those of the weights as they are then.
        """
        parameters = list(self.own.parameters())
        self._in_training, self._last = on, None
        for parameter in parameters:
            parameter.requires_grad_(on)
        if not on:
            self._as_loaded = self._state()
            self._name()
        return parameters

    def save(self, path: Path, info: Mapping[str, Any] | None = None) -> str:
        """Write what is trained, apart from the model; returns its sha256. Raises StorageError."""
        return write_tensors(path, header_for(self.plain, KIND, asdict(self.config), info), self.own.state_dict())


def load_adapted(path: Path, plain: SamBackbone, card: ModelCard, sha256: str | None = None) -> AdaptedBackbone:
    """``plain`` with the adapter in a file; its content must have the ``sha256`` that ``save`` returned, if given.

    Raises ModelError when the file is missing, damaged, something else, or made for another model.
    """
    header, tensors = read_tensors(path, KIND)
    if sha256 is not None and header.sha256 != sha256:
        raise ModelError(f"The adapter {path.name} is not the one on the card of {card.title}; get it again.")
    require_backbone(header, path, plain)
    backbone = AdaptedBackbone(plain, card, AdapterConfig.from_dict(header.config))
    load_strict(backbone.own, tensors, path.name)
    backbone.train(False)
    return backbone


def _with_adapters(encoder: nn.Module, width: int) -> tuple[nn.Module, nn.ModuleDict]:
    """A copy of an encoder with adapters in every block that has attention and an MLP, and the adapters by name."""
    copied: Any = copy.deepcopy(encoder)
    added = nn.ModuleDict()
    for name, block in list(copied.named_modules()):
        attention, mlp = getattr(block, "attn", None), getattr(block, "mlp", None)
        if not isinstance(attention, nn.Module) or not isinstance(mlp, nn.Module):
            continue
        channels = _channels(attention)
        size = width or channels // 4
        behind, beside = Bottleneck(channels, size), Bottleneck(channels, size)
        block.attn, block.mlp = _Behind(attention, behind), _Beside(mlp, beside)
        added[name.replace(".", "/")] = nn.ModuleList([behind, beside])
    if not added:
        raise ModelError("This model's encoder has no attention blocks to adapt; choose adapters at its output.")
    return copied, added


def _channels(attention: nn.Module) -> int:
    """Of an attention's output: its last projection's."""
    last: Any = [layer for layer in attention.modules() if isinstance(layer, nn.Linear)][-1]
    return int(last.out_features)

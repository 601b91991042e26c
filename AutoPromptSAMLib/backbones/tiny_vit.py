"""TinyViT-SAM: LiteMedSAM (256 px) and MobileSAM (1024 px).

Both put SAM's neck on TinyViT-5M (Wu et al., ECCV 2022) whose last merging does not down-sample, so that the output is
64×64. They differ in the stem: MobileSAM keeps TinyViT's two 3×3 convolutions of stride 2, LiteMedSAM has two 1×1
convolutions of stride 1 on an image that is a quarter as large. The blocks are timm's.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import timm
import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

# MobileSAM's file still carries TinyViT's classifier, which the mask never depends on.
UNUSED_KEYS = tuple(f"image_encoder.{layer}.{part}" for layer in ("norm_head", "head") for part in ("weight", "bias"))

# The stems and the image sizes that they turn into a 64×64 embedding.
STEMS = {"stride1-1x1": 256, "stride2-3x3": 1024}


class TinyVitEncoder(nn.Module):
    """Images (B, 3, size, size) to embeddings (B, 256, 64, 64); the size is 256 or 1024, as in ``STEMS``."""

    def __init__(self, stem: str) -> None:
        super().__init__()
        body = timm.create_model("tiny_vit_5m_224", pretrained=False)
        self.patch_embed = body.patch_embed
        self.stages = body.stages
        if stem == "stride1-1x1":
            self.patch_embed.conv1.conv = nn.Conv2d(3, 32, kernel_size=1, bias=False)
            self.patch_embed.conv2.conv = nn.Conv2d(32, 64, kernel_size=1, bias=False)
        self.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.neck = nn.Sequential(
            nn.Conv2d(320, 256, kernel_size=1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, 256, 64, 64)."""
        # In channels-last order the neck's rounding errors are 3.5 times as large (mean 1.8e-7 against 5e-8).
        return self.neck(self.stages(self.patch_embed(images)).contiguous())


class _InPlaceGelu(nn.Module):
    """GELU that overwrites its input unless a gradient will need it (as when LoRA adapts the encoder).

    The largest activations have 64 MB each, and mapping fresh memory costs more than the function itself.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x) if x.requires_grad else torch.ops.aten.gelu_(x)


class _InParts(nn.Module):
    """An optimised MBConv block whose expanded channels, which do not meet in between, are worked on in four parts.

    The block's two intermediate activations, the largest of the network, have 17 MB each instead of 67.
    """

    def __init__(self, block: nn.Module, parts: int = 4) -> None:
        super().__init__()
        expand, depthwise, reduce = (getattr(block, name).conv for name in ("conv1", "conv2", "conv3"))
        size = expand.out_channels // parts
        self.parts = nn.ModuleList(
            _part(expand, depthwise, reduce, slice(n * size, (n + 1) * size)) for n in range(parts)
        )
        self.register_buffer("bias", reduce.bias.detach().clone()[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self.get_buffer("bias")
        for part in self.parts:
            y = y + part(x)
        return F.gelu(y)


def _part(expand: nn.Conv2d, depthwise: nn.Conv2d, reduce: nn.Conv2d, channels: slice) -> nn.Sequential:
    """Those of the expanded ``channels``; the bias of ``reduce`` is left out."""
    count = channels.stop - channels.start
    first = nn.Conv2d(expand.in_channels, count, 1)
    second = nn.Conv2d(count, count, 3, padding=1, groups=count)
    third = nn.Conv2d(count, reduce.out_channels, 1, bias=False)
    for own, whole in ((first, expand), (second, depthwise)):
        assert whole.bias is not None
        own.weight, own.bias = nn.Parameter(whole.weight[channels]), nn.Parameter(whole.bias[channels])
    third.weight = nn.Parameter(reduce.weight[:, channels])
    return nn.Sequential(first, nn.GELU(), second, nn.GELU(), third)


def exportable(encoder: TinyVitEncoder) -> TinyVitEncoder:
    """A copy of an optimised encoder for another engine: in PyTorch's usual memory order and with less to remember."""
    own: Any = copy.deepcopy(encoder).to(memory_format=torch.contiguous_format)
    for n, block in enumerate(own.stages[0].blocks):
        own.stages[0].blocks[n] = _InParts(block)
    copied: TinyVitEncoder = own.requires_grad_(False).eval()
    return copied


def official_key(key: str) -> str:
    """The name in LiteMedSAM's and MobileSAM's checkpoints of a key of this network.

    timm puts the merging at the start of a stage, TinyViT's authors at the end of the one before.
    """
    key = key.replace("patch_embed.conv1.", "patch_embed.seq.0.").replace("patch_embed.conv2.", "patch_embed.seq.2.")
    key = re.sub(r"stages\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", key)
    return key.replace("stages.", "layers.").replace(".conv.", ".c.")


def optimise(encoder: TinyVitEncoder) -> None:
    """Make a loaded encoder faster on the CPU, in place, its output changing by rounding only (1e-6).

    Seconds an image, LiteMedSAM on one core of a Xeon with AVX-512: as loaded 1.9, with batch norms folded 1.8, with
    channels last 1.5, with attention in plain steps 1.3 (windows of 49 and 196 tokens are too small for the fused
    kernel to pay), with GELU in place 1.2. On two cores 0.63; the package that ships the weights takes 1.04.
    """
    encoder.eval()
    part: Any
    for part in list(encoder.modules()):
        conv, norm = getattr(part, "conv", None), getattr(part, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            part.conv = fuse_conv_bn_eval(conv, norm)
            part.bn = nn.Identity()
        if hasattr(part, "fused_attn"):
            part.fused_attn = False
        for name, child in part.named_children():
            if isinstance(child, nn.GELU):
                setattr(part, name, _InPlaceGelu())
    for part in (encoder.patch_embed, encoder.stages):
        part.to(memory_format=torch.channels_last)

"""SAM and MedSAM with plain ViT encoders (B, L, H), built by ``segment_anything``."""

from __future__ import annotations

import torch
from segment_anything import sam_model_registry
from torch import nn

VIT_SIZES = ("vit_b", "vit_l", "vit_h")


def build_vit_encoder(size: str) -> nn.Module:
    """ViT encoder of one of ``VIT_SIZES``, without storage, ready to be given a checkpoint's tensors.

    Initialising ViT-H's 637 M parameters only to overwrite them takes several seconds and twice the memory.
    """
    with torch.device("meta"):
        return sam_model_registry[size]().image_encoder

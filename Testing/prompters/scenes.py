"""SAM-like backbones that are small and random, pictures of a disc and a square, and networks to match."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from segment_anything.modeling import PromptEncoder
from torch import nn

from AutoPromptSAMLib.backbones import Features
from AutoPromptSAMLib.backbones.preprocess import preprocessor_of
from AutoPromptSAMLib.backbones.sam2_image import Sam2Backbone, build_sam2_network
from AutoPromptSAMLib.backbones.sam_family import SamBackbone, build_mask_decoder
from AutoPromptSAMLib.prompters import Support
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
from AutoPromptSAMLib.zoo import get_card

SIZE, GRID = 64, 16

TINY = ProxyPromptConfig(
    grid=GRID,
    context_size=SIZE,
    context_width=32,
    context_depth=1,
    context_state=4,
    bottleneck=32,
    key_channels=32,
    width=32,
    heads=4,
    ffn=64,
    fusion=32,
    detail_size=SIZE,
    detail_width=8,
)


class _Encoder(nn.Module):
    """(B, 3, 64, 64) to (B, 256, 16, 16): what is in and around every cell, in random channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 256, 8, stride=4, padding=2)
        self.qkv = nn.Linear(256, 256)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        cells = torch.relu(self.patches(images)).movedim(1, -1)
        return self.qkv(cells).movedim(-1, 1)


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = _Encoder()
        self.prompt_encoder = PromptEncoder(256, (GRID, GRID), (SIZE, SIZE), mask_in_chans=16)
        self.mask_decoder = build_mask_decoder()


def random_backbone(seed: int = 0) -> SamBackbone:
    """SAM's prompt encoder and decoder on a 16×16 grid."""
    torch.manual_seed(seed)
    card = replace(get_card("lite-medsam"), name="random", input_size=SIZE)
    return SamBackbone(card, _Network(), preprocessor_of(card), f"random/{seed}", torch.device("cpu"))


def random_sam2_backbone(seed: int = 0, size: int = 128) -> Sam2Backbone:
    """SAM 2.1 Hiera-T for images of ``size`` pixels, 16 a cell; needs the package ``sam2``."""
    torch.manual_seed(seed)
    card = replace(get_card("medsam2"), name="random-sam2", input_size=size)
    network = build_sam2_network(str(card.variant["config"]), size)
    return Sam2Backbone(card, network, preprocessor_of(card), f"random-sam2/{seed}", torch.device("cpu"))


def scene(seed: int, rows: int = SIZE, cols: int = SIZE) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A noisy picture (rows, cols, 3), a bright disc in one half and a grey square in the other, and both masks."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    left, right = rng.permutation([cols // 4, 3 * cols // 4]) + rng.integers(-4, 5, 2)
    top = rng.integers(rows // 4, 3 * rows // 4, 2)
    disc = (row - top[0]) ** 2 + (col - left) ** 2 <= rng.integers(8, 12) ** 2
    square = np.maximum(abs(row - top[1]), abs(col - right)) <= rng.integers(6, 10)
    grey = 40 + 180 * disc + 90 * (square & ~disc) + rng.normal(0, 8, (rows, cols))
    image = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return image, {"disc": disc, "square": square & ~disc}


def support(backbone: SamBackbone, seed: int, rows: int = SIZE, cols: int = SIZE) -> Support:
    image, masks = scene(seed, rows, cols)
    return Support(backbone.encode([image]), image, masks, name=str(seed))


def target(backbone: SamBackbone, seed: int) -> Features:
    return backbone.encode([scene(seed)[0]])


def tiny_network(seed: int = 0, config: ProxyPromptConfig = TINY) -> ProxyPromptNetwork:
    torch.manual_seed(seed)
    return ProxyPromptNetwork(config)


def tiny_prompter(backbone: SamBackbone, config: ProxyPromptConfig = TINY, stirred: bool = True) -> ProxyPrompter:
    """With random numbers in place of the zeros that some layers start with, unless not ``stirred``."""
    network = tiny_network(config=config)
    if stirred:
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.normal_(0, 0.1)
    return ProxyPrompter(network, backbone)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))

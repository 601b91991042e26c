"""What a contender in a speed run is, and this library as one, with each of its engines.

Every contender goes from an image to features and from boxes to masks of the image's size, each in its own usual way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.backbones import Backbone, Features

Image = NDArray[np.uint8]
Boxes = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """Logits (N, 4h, 4w) as the decoder gave them, and masks (N, rows, cols), bool."""

    low_res: torch.Tensor
    masks: torch.Tensor


class Contender(Protocol):
    """Something that can be measured. ``title`` says what it is, ``how`` in which way it is used."""

    title: str
    how: str

    def encode(self, image: Image) -> Features:
        """Features of an image (rows, cols, 3)."""

    def encode_as_card(self, image: Image) -> Features:
        """The same of the image prepared exactly as the model card says, to compare outputs with."""

    def decode(self, features: Features, boxes: Boxes) -> Answer:
        """Masks of N boxes (N, 4) in pixels."""

    def backbone(self) -> Backbone:
        """Its networks behind the interface that loops use."""


class Own:
    """This library with one of its engines."""

    how = "boxes go to the decoder in one call"

    def __init__(self, model: str, engine: str, device: str) -> None:
        """Raises ModelError when the engine cannot be used."""
        from AutoPromptSAMLib.backbones import load_backbone

        self._backbone = load_backbone(model, device, engine=engine)
        self.title = f"AutoPromptSAM, {self._backbone.engine}"

    def encode(self, image: Image) -> Features:
        """See ``Contender``."""
        return self._backbone.encode([image])

    encode_as_card = encode

    def decode(self, features: Features, boxes: Boxes) -> Answer:
        """See ``Contender``."""
        from AutoPromptSAMLib.prompts import PixelPrompts

        frame = features.frame
        embedding = self._backbone.embed_prompts(frame, [PixelPrompts(boxes=box[None]) for box in boxes])
        low_res = self._backbone.decode(features, embedding).low_res[:, 0]
        return Answer(low_res, self._backbone.upscale(low_res, frame) > 0)

    def backbone(self) -> Backbone:
        """See ``Contender``."""
        return self._backbone

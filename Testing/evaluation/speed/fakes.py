"""Contenders that take as long as they are told to, and a volume for them."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from AutoPromptSAMLib.backbones import Backbone, Features
from AutoPromptSAMLib.evaluation.speed.contenders import Answer
from AutoPromptSAMLib.evaluation.speed.inputs import Inputs
from AutoPromptSAMLib.prompts import PixelPrompts

from ...threshold_backbone import ThresholdBackbone, rod

SLICES = 12


class SlowBackbone(ThresholdBackbone):
    """The network that is none, with a pause in its encoder."""

    def __init__(self, pause: float, calls: list[str], name: str) -> None:
        super().__init__()
        self.pause, self.calls, self.name = pause, calls, name
        self.network = SimpleNamespace(image_encoder=torch.nn.Conv2d(3, 4, 1))

    def encode(self, images: Any) -> Features:
        time.sleep(self.pause)
        self.network.image_encoder(torch.zeros(len(images), 3, 256, 256))  # arithmetic to count
        self.calls.extend([self.name] * len(images))
        return super().encode(images)


class Fake:
    """A contender; its logits are ``off`` too high. ``calls`` notes who encodes, an entry an image."""

    how = "it waits"

    def __init__(self, name: str, pause: float = 0.0, off: float = 0.0, calls: list[str] | None = None) -> None:
        self.title = f"fake {name}"
        self.off = off
        self._backbone = SlowBackbone(pause, [] if calls is None else calls, name)

    def backbone(self) -> Backbone:
        return self._backbone  # type: ignore[return-value]

    def encode(self, image: np.ndarray) -> Features:
        return self._backbone.encode([image])

    encode_as_card = encode

    def decode(self, features: Features, boxes: np.ndarray) -> Answer:
        time.sleep(self._backbone.pause)
        embedding = self._backbone.embed_prompts(features.frame, [PixelPrompts(box=box) for box in boxes])
        logits = self._backbone.decode(features, embedding).low_res[:, 0] + self.off
        return Answer(logits, logits > 0)


def rod_inputs(seed: int = 0) -> Inputs:
    """A rod on most slices of a small volume."""
    volume, truth = rod(range(2, 10), SLICES)
    return Inputs(volume, truth, truth.astype(np.int32), "rod", seed)


def child_figures(job: Any) -> dict[str, float]:
    """What a process would have found: the reference takes twice as much of everything."""
    times = 2.0 if job["key"] == "reference" else 1.0
    return {"loaded_s": times, "answer_s": 3 * times, "peak_mib": 100 * times}

"""Uncertainty from jittered prompts (UGMP of MedSAM-U): mean probability and its entropy, in one batched decode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry.grid import FloatArray
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.refiners.pieces import jittered, piece_boxes
from AutoPromptSAMLib.refiners.settings import Settings

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone, Features

Probability = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Estimate:
    """``probability`` (rows, cols) float32 that a pixel is the object, ``uncertainty`` its entropy in bits, 0 to 1.

    ``score`` is the mean of the uncertainty over the image: how unsure the whole answer is.
    """

    probability: Probability
    uncertainty: Probability
    score: float

    @staticmethod
    def of(probability: Probability) -> Estimate:
        """With the entropy of a probability (rows, cols)."""
        uncertainty = entropy(probability)
        return Estimate(probability, uncertainty, float(uncertainty.mean(dtype=np.float64)))

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Where the object is more probable than not, bool (rows, cols)."""
        return self.probability > 0.5


def entropy(probability: NDArray[np.floating]) -> Probability:
    """Entropy in bits, from 0 to 1, of yes or no with a probability of any shape; float32."""
    p = np.clip(probability.astype(np.float32), 0, 1)
    # The terms at 0 and 1 are 0; the smallest normal float32 keeps the logarithm finite there.
    tiny = np.finfo(np.float32).tiny
    bits = -(p * np.log2(np.maximum(p, tiny)) + (1 - p) * np.log2(np.maximum(1 - p, tiny)))
    return np.clip(bits, 0, 1).astype(np.float32)


def estimate(
    backbone: Backbone, features: Features, prompts: PixelPrompts, settings: Settings | None = None
) -> Estimate:
    """How sure a model is of what ``prompts`` mean on the one image of ``features``.

    ``settings.boxes`` jittered copies of every box are decoded at once; several boxes mean the union of their answers,
    the largest logit. Without a box those of the mask's pieces are taken; the mask itself is not shown to the model,
    which would only repeat it. Points go to models that take them, with the box nearest to them. Probabilities are
    sigmoid(logits / temperature), with the temperature that the model's card states.

    Raises PromptError when there is neither a box nor a mask, as points alone leave nothing to jitter.
    """
    import torch

    settings = settings or Settings()
    boxes = prompt_boxes(prompts)
    shape = (features.frame.rows, features.frame.cols)
    copies = jittered(boxes, settings.boxes, settings.sigma, shape, settings.seed)
    shown = prompts if backbone.capabilities.points else PixelPrompts()
    points = [(shown.points[own], shown.labels[own]) for own in shown.nearest_to(boxes)]
    asked = [PixelPrompts(at, labels, box) for copy in copies for box, (at, labels) in zip(copy, points, strict=True)]
    with torch.no_grad():
        decoded = backbone.decode(features, backbone.embed_prompts(features.frame, asked))
        logits = backbone.upscale(decoded.low_res[:, 0], features.frame).float()
        united = logits.reshape(len(copies), len(boxes), *shape).amax(dim=1)
        temperature = backbone.card.temperature
        mean: Probability = torch.sigmoid(united / temperature).mean(dim=0).cpu().numpy()
    return Estimate.of(mean)


def prompt_boxes(prompts: PixelPrompts) -> FloatArray:
    """The boxes (B, 4) of ``prompts``, else of the pieces of their mask; PromptError without either."""
    if len(prompts.boxes):
        return prompts.boxes
    if prompts.mask is not None:
        mask = prompts.mask if prompts.mask.dtype == np.bool_ else prompts.mask > 0
        if mask.any():
            return piece_boxes(mask)
    raise PromptError("There is neither a box nor a mask here to be unsure about; draw a box or segment first.")

"""Points from one annotated image, without learning: the idea of Personalize-SAM.

Zhang et al., "Personalize Segment Anything Model with One Shot", ICLR 2024 (PerSAM, the variant without training).
Written from the paper's description. The object's own feature is the mean over the cells that its mask covers, and its
cosine with every cell of the target makes a map of likeness: the best cell is a positive point, the worst a negative
one. What all cells of an image have in common, their mean, is taken away before; that is ours, and to its advantage:
the features of some models differ little from cell to cell. The mask of these is refined in two steps: with itself as
a mask prompt, then with its box, too. What is left out are the paper's changes inside of the decoder (target-guided
attention, target-semantic prompting). Several supports give the mean of their objects' features.

A model that takes boxes only gets, instead, a box around the cells that are most like the object: as many as it covers
on average in the supports, without scattered pieces of less than a quarter of the largest one. It is refined once, by
the box of the mask that was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.evaluation.proxy.cells import Mask, best_pieces, centres, coverage, on_image

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.backbones import Backbone, Features
    from AutoPromptSAMLib.evaluation.proxy.targets import Find, Target
    from AutoPromptSAMLib.prompters.base import Support
    from AutoPromptSAMLib.prompts import PixelPrompts

PIECE = 0.25  # of the largest piece of the region; smaller ones are noise. A choice.


@dataclass(frozen=True, eq=False)
class _Known:
    """An object's direction (C,), and what part of the image's cells it covers."""

    direction: torch.Tensor
    part: float


class PerSam:
    """See the module."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def prepare(self, supports: Sequence[Support], objects: tuple[str, ...]) -> Find:
        """See ``Contender``."""
        import torch

        with torch.no_grad():
            known = {name: self._known(supports, name) for name in objects}

        def find(target: Target) -> Mapping[str, Mask]:
            with torch.no_grad():
                return {name: self._find(target.features, known[name]) for name in objects}

        return find

    def _known(self, supports: Sequence[Support], name: str) -> _Known:
        import torch
        from torch.nn import functional as F

        found, parts = [], []
        for support in supports:
            if not support.has(name):
                continue
            cells = _centred(support.features)
            weights = coverage(support, [name])[0].flatten().to(cells.device)
            rows, cols = support.features.embedding.shape[-2:]
            found.append(F.normalize(cells @ weights / weights.sum().clamp(min=1e-6), dim=0))
            parts.append(float(weights.sum()) / max(1, int(on_image(support.features.frame, rows, cols).sum())))
        if not found:
            raise PromptError(f"No example shows {name!r}; add an image with a mask of it.")
        return _Known(F.normalize(torch.stack(found).mean(0), dim=0), float(np.mean(parts)))

    def _find(self, features: Features, known: _Known) -> Mask:
        likeness = likeness_map(features, known.direction)
        first = self._first_prompt(features, likeness, known.part)
        low_res, mask = self._decode(features, first, None, best_of_three=False)
        if self._backbone.capabilities.masks:
            low_res, mask = self._decode(features, first, low_res, best_of_three=True)
        if not mask.any():
            return mask
        return self._decode(features, _with_box(first, mask), low_res, best_of_three=True)[1]

    def _first_prompt(self, features: Features, likeness: np.ndarray, part: float) -> PixelPrompts:
        from AutoPromptSAMLib.prompts import PixelPrompts

        rows, cols = likeness.shape
        if self._backbone.capabilities.points:
            best = np.unravel_index(np.nanargmax(likeness), likeness.shape)
            worst = np.unravel_index(np.nanargmin(likeness), likeness.shape)
            cells = [(int(best[0]), int(best[1])), (int(worst[0]), int(worst[1]))]
            return PixelPrompts(centres(features.frame, cells, rows, cols), np.array([1, 0], dtype=np.int8))
        at = np.argwhere(region_of(likeness, part))
        # A box from the outer edges of the cells, not from their centres.
        corners = [tuple(at.min(axis=0) - 0.5), tuple(at.max(axis=0) + 0.5)]
        return PixelPrompts(box=centres(features.frame, corners, rows, cols).ravel())

    def _decode(
        self, features: Features, prompts: PixelPrompts, low_res: torch.Tensor | None, best_of_three: bool
    ) -> tuple[torch.Tensor, Mask]:
        """Logits at low resolution and the mask; of three masks the one that the model thinks best of."""
        backbone = self._backbone
        given = [low_res] if low_res is not None and backbone.capabilities.masks else None
        embedding = backbone.embed_prompts(features.frame, [prompts], given)
        several = best_of_three and backbone.capabilities.multimask
        decoded = backbone.decode(features, embedding, multimask=several)
        best = decoded.low_res[0, int(decoded.iou[0].argmax())]
        mask: Mask = backbone.upscale(best[None], features.frame)[0].cpu().numpy() > 0
        return best, mask


def likeness_map(features: Features, direction: torch.Tensor) -> np.ndarray:
    """Cosine of every cell (h, w) with ``direction`` (C,), NaN where a cell does not lie on the image."""
    from torch.nn import functional as F

    rows, cols = features.embedding.shape[-2:]
    cosines = (direction @ F.normalize(_centred(features), dim=0)).unflatten(0, (rows, cols)).cpu().numpy()
    return np.where(on_image(features.frame, rows, cols), cosines, np.nan)


def _centred(features: Features) -> torch.Tensor:
    """Features of every cell of one image (C, h·w) without their mean over the cells that lie on it."""
    import torch

    cells = features.embedding[0].float()
    inside = torch.from_numpy(on_image(features.frame, *cells.shape[1:])).to(cells.device)
    return cells.flatten(1) - cells[:, inside].mean(1, keepdim=True)


def region_of(likeness: np.ndarray, part: float) -> Mask:
    """The cells most like the object: ``part`` of those on the image, at least one, without scattered pieces."""
    known = np.sort(likeness[np.isfinite(likeness)])
    count = min(len(known), max(1, round(part * len(known))))
    region = np.nan_to_num(likeness, nan=-np.inf) >= known[-count]
    return best_pieces(region, PIECE)


def _with_box(prompts: PixelPrompts, mask: Mask) -> PixelPrompts:
    from AutoPromptSAMLib.loops.regions import bounding_box
    from AutoPromptSAMLib.prompts import PixelPrompts

    return PixelPrompts(prompts.points, prompts.labels, box=bounding_box(mask))

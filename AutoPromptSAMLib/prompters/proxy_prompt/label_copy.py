"""Labels copied from cell to cell: a second opinion beside that of a network which nobody taught the task.

A cell of the target takes the labels of the support cells that look like it, a mean over all of them by the softmax of
their cosines. Nothing is learned there, so it is at once as good on a new task as likeness can be, and useless where
the object looks like its surroundings. Which of both it is, the supports tell: their own labels are found again by
those that were copied, in the same way back, and the Dice of that round trip says how far to trust the copy (cycle
consistency, Zhou et al. 2016, "Learning Dense Correspondence via 3D-guided Cycle Consistency").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from AutoPromptSAMLib.backbones.base import Features, Frame

# All of these are choices, made on the first five images of seeds 0 and 1 of `bench proxy --parts general`: mean Dice
# over its 17 tasks .629 without and .662 with them (eight images). On seeds 2 to 4 it is .608 and .629.
TEMPERATURE = 0.03  # of the softmax; cosines of neighbouring tissues differ by as much
VOTE = 0.65  # the largest part that copied labels have in an answer
DISTRUSTED, TRUSTED = 0.4, 0.6  # Dice of the round trip with which they have no vote, and all of it
_TINY = 1e-30  # an image may be too narrow for a cell
_KEPT = 8  # supports whose likeness to the target is kept for the way back: 4 MB each


@dataclass(frozen=True, eq=False)
class LabelledCells:
    """The M cells of a support that lie on its image: ``directions`` (M, C) of length 1, ``labels`` (N, M) in 0..1."""

    directions: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, eq=False)
class Copied:
    """``labels`` (N, g, g) in 0..1 on a target's cells; ``vote`` (N,), their part in the answer, 0 to ``VOTE``."""

    labels: torch.Tensor
    vote: torch.Tensor

    def joined(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask logits (N, M, h, w) with what was copied taken in, as a mean of probabilities."""
        labels = F.interpolate(self.labels[:, None], logits.shape[-2:], mode="bilinear", align_corners=False)
        vote = self.vote[:, None, None, None]
        taken = torch.logit((1 - vote) * logits.sigmoid() + vote * labels, eps=1e-6)
        return torch.where(vote > 0, taken, logits)


def labelled_cells(features: Features, masks: torch.Tensor, grid: int) -> LabelledCells:
    """Of a support: the features of one image, its masks (N, S, S) in 0..1 on the square that the model sees."""
    inside = on_image(features.frame, grid, grid).ravel()
    labels = F.adaptive_avg_pool2d(masks.to(features.embedding.device), grid).flatten(1)
    return LabelledCells(_directions(features, grid)[inside], labels[:, inside.to(labels.device)])


def copied(features: Features, supports: Sequence[LabelledCells], grid: int) -> Copied:
    """The labels of ``supports`` on the cells of a target; memory stays flat however many there are."""
    target = _directions(features, grid)
    inside = on_image(features.frame, grid, grid).ravel().to(target.device)
    count = len(supports[0].labels)
    labels, total = target.new_zeros(count, len(target)), target.new_zeros(len(target))
    kept = [_likeness(target, support) for support in supports] if len(supports) <= _KEPT else []
    for number, support in enumerate(supports):
        likeness = kept[number] if kept else _likeness(target, support)
        labels += support.labels @ likeness.T
        total += likeness.sum(1)
    labels = torch.where(inside, labels / total.clamp_min(_TINY), 0.0)
    shown, both, either = (labels > 0.5).float()[:, inside], target.new_zeros(count), target.new_zeros(count)
    for number, support in enumerate(supports):
        likeness = kept[number][inside] if kept else _likeness(target[inside], support)
        found, known = (shown @ likeness) / likeness.sum(0).clamp_min(_TINY) > 0.5, support.labels > 0.5
        both += (found & known).sum(1)
        either += found.sum(1) + known.sum(1)
    round_trip = 2 * both / either.clamp_min(1)
    vote = VOTE * ((round_trip - DISTRUSTED) / (TRUSTED - DISTRUSTED)).clamp(0, 1)
    return Copied(labels.unflatten(1, (grid, grid)), vote)


def on_image(frame: Frame, rows: int, cols: int) -> torch.Tensor:
    """Which of (rows, cols) cells have their centre on the image, bool; the others see padding."""
    row = (torch.arange(rows) + 0.5) * frame.input_size / rows < frame.resized_rows
    col = (torch.arange(cols) + 0.5) * frame.input_size / cols < frame.resized_cols
    return row[:, None] & col


def directions(embedding: torch.Tensor) -> torch.Tensor:
    """Features (C, h, w) of every cell at length 1, (h·w, C): products of two are cosines."""
    return F.normalize(embedding.float().flatten(1).T, dim=1)


def _directions(features: Features, grid: int) -> torch.Tensor:
    return directions(F.adaptive_avg_pool2d(features.embedding[0].float(), grid))


def _likeness(target: torch.Tensor, support: LabelledCells) -> torch.Tensor:
    """Weights (Q, M) of the softmax before they are divided by their sum; the largest cosine, 1, gives 1."""
    return torch.exp((target @ support.directions.T - 1) / TEMPERATURE)

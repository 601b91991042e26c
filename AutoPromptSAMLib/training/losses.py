"""What is minimised when a prompter learns."""

from __future__ import annotations

import torch
from torch.nn import functional as F

_SMOOTH = 1.0  # pixels; keeps an empty truth from being all or nothing

# Shares of the extra terms, beside the Dice loss of the final mask. Choices.
CROSS_ENTROPY, DECODED, COARSE, GLANCED = 0.5, 0.3, 0.3, 0.5


def dice_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """1 − soft Dice, the mean over N objects; both (N, h, w), ``truth`` in 0..1."""
    found = logits.sigmoid()
    overlap = 2 * (found * truth).sum((-2, -1)) + _SMOOTH
    return (1 - overlap / ((found + truth).sum((-2, -1)) + _SMOOTH)).mean()


def episode_loss(
    final: torch.Tensor, decoded: torch.Tensor, auxiliary: torch.Tensor, truth: torch.Tensor, dice_only: bool
) -> torch.Tensor:
    """The loss of one target.

    ``final`` and ``decoded`` (N, h, w) are logits with and without the detail path, ``auxiliary`` (N, h', w') coarse
    logits, ``truth`` (N, S, S) in 0..1. The paper has the Dice loss of its mask alone (``dice_only``); cross-entropy
    gives gradients where a mask is empty, the other terms teach the parts before the last.
    """
    wanted = _at(truth, final)
    loss = dice_loss(final, wanted)
    if dice_only:
        return loss
    loss = loss + CROSS_ENTROPY * F.binary_cross_entropy_with_logits(final, wanted)
    loss = loss + DECODED * dice_loss(decoded, _at(truth, decoded))
    return loss + COARSE * dice_loss(auxiliary, _at(truth, auxiliary))


def coarse_loss(auxiliary: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The share of a target of which only the coarse logits (N, h', w') are known; ``truth`` (N, S, S) in 0..1."""
    wanted = _at(truth, auxiliary)
    loss = dice_loss(auxiliary, wanted) + CROSS_ENTROPY * F.binary_cross_entropy_with_logits(auxiliary, wanted)
    return GLANCED * loss


def _at(truth: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return F.adaptive_avg_pool2d(truth, (logits.shape[-2], logits.shape[-1]))

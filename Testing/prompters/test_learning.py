"""The network learns to follow its supports, through a frozen decoder of random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter

from .scenes import TINY, dice, random_backbone, scene, support, tiny_prompter

BOTH = ("disc", "square")
STEPS = 50


def found(prompter: ProxyPrompter, supports: list, objects: tuple[str, ...]) -> np.ndarray:
    """Mean Dice over new pictures with the disc and with the square, for the masks named ``objects``."""
    backbone, scores = prompter.backbone, []
    with torch.no_grad():
        memory = prompter.encode_supports(supports, objects)
        for seed in range(100, 105):
            image, truth = scene(seed)
            features = backbone.encode([image])
            prompted = prompter.prompt(features, memory)
            logits = backbone.upscale(backbone.decode(features, prompted.embedding).low_res[:, 0], features.frame)
            scores.append([[dice(mask, truth[name]) for name in BOTH] for mask in (logits > 0).numpy()])
    return np.mean(scores, axis=0)


def test_it_learns_to_find_what_the_supports_show() -> None:
    backbone = random_backbone()
    supports = [support(backbone, seed) for seed in range(8)]
    prompter = tiny_prompter(backbone, replace(TINY, detail_size=0), stirred=False)
    before = found(prompter, supports[:2], BOTH)
    optimiser = torch.optim.AdamW(prompter.network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=STEPS)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        one, *others = (supports[n] for n in rng.permutation(8)[:3])
        prompted = prompter.prompt(one.features, prompter.encode_supports(others, BOTH))
        logits = backbone.decode(one.features, prompted.embedding).low_res[:, 0]
        truth = torch.stack([torch.from_numpy(one.masks[name]).float() for name in BOTH])
        overlap = 2 * (logits.sigmoid() * truth).sum((1, 2)) / (logits.sigmoid() + truth).sum((1, 2))
        loss = (1 - overlap).mean() + F.binary_cross_entropy_with_logits(logits, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    after = found(prompter, supports[:2], BOTH)
    assert np.diag(before).max() < 0.4
    assert np.diag(after).min() > 0.75
    # Both objects are in every picture and the weights are the same: only the supports' masks tell which is meant.
    assert after[0, 1] < 0.2
    assert after[1, 0] < 0.2
    swapped = [replace(s, masks={"disc": s.masks["square"], "square": s.masks["disc"]}) for s in supports[:2]]
    np.testing.assert_allclose(found(prompter, swapped, BOTH), after[::-1], atol=0.02)
    # One object alone is a case that was never shown in training.
    assert found(prompter, supports[:2], ("disc",))[0, 0] > 0.6

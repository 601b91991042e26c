"""What limits a learned task: its coarse answer, the decoder, the fine detail, or the features that it is made of.

    python Testing/benchmarks/coarse_answers.py --data FOLDER --object nerve [--task FILE] [--model lite-medsam]

Prints the mean Dice of the network's answers at each stage, on images that it learned from and on others, prompted by
the first eight shots; and what a small head of dilated convolutions learns from the same 16 shots, on the same frozen
features (64×64), without any support: about as good as a coarse answer can be.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from AutoPromptSAMLib.backbones import load_backbone
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.datasets import find_datasets
from AutoPromptSAMLib.evaluation.proxy.draws import MOST_SHOTS, Draw, examples_of_pair
from AutoPromptSAMLib.prompters.proxy_prompt.weights import load_task
from AutoPromptSAMLib.training.episodes import Teacher
from AutoPromptSAMLib.training.losses import coarse_loss
from AutoPromptSAMLib.training.shots import Shot, View, shots_of
from AutoPromptSAMLib.zoo import home

SUPPORTS, VIEWS, SIZE, BATCH = 8, 8, 256, 8


def dice(logits: torch.Tensor, view: View) -> float:
    """Of logits (1, h, w), enlarged to the view's mask."""
    found = F.interpolate(logits[None], (SIZE, SIZE), mode="bilinear", align_corners=False)[0, 0] > 0
    truth = view.masks[0] >= 128
    return 2 * int((found & truth).sum()) / max(1, int(found.sum() + truth.sum()))


def stages(teacher: Teacher, supports: Sequence[Shot], shots: Sequence[Shot]) -> str:
    """Mean Dice of the coarse answer, after the decoder, and with the fine detail."""
    with torch.no_grad():
        memory = teacher.remember([shot.views[0] for shot in supports], [(0,)] * len(supports))
        answers = [(shot.views[0], teacher.ask(shot.views[0], memory)) for shot in shots]
    rows = [[dice(logits, view) for logits in (each.coarse, each.decoded, each.final)] for view, each in answers]
    return "coarse {:.3f}, decoded {:.3f}, final {:.3f}".format(*np.mean(rows, axis=0))


def head(shots: Sequence[Shot], tests: Sequence[Shot], steps: int) -> float:
    """Mean Dice on ``tests`` of a head that learned from all views of ``shots``; the same seed each time."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Dropout2d(0.3), nn.Conv2d(256, 64, 1)]
    for dilation in (1, 2, 4):
        layers += [nn.GroupNorm(4, 64), nn.GELU(), nn.Conv2d(64, 64, 3, padding=dilation, dilation=dilation)]
    network = nn.Sequential(*layers, nn.GroupNorm(4, 64), nn.GELU(), nn.Conv2d(64, 1, 1))
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    views = [view for shot in shots for view in shot.views]
    seen = torch.stack([_normalised(view) for view in views])
    wanted = torch.stack([view.masks for view in views]).float() / 255
    for _ in range(steps):
        batch = torch.randint(len(views), (BATCH,))
        loss = coarse_loss(network(seen[batch])[:, 0], wanted[batch, 0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        return float(np.mean([dice(network(_normalised(s.views[0])[None])[0], s.views[0]) for s in tests]))


def _normalised(view: View) -> torch.Tensor:
    embedding = view.embedding.float().movedim(0, -1)
    return F.layer_norm(embedding, embedding.shape[-1:]).movedim(-1, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--object", required=True)
    parser.add_argument("--task", type=Path, help="what `bench proxy --parts shots` learned")
    parser.add_argument("--seed", type=int, default=0, help="that of the task")
    parser.add_argument("--model", default="lite-medsam")
    parser.add_argument("--limit", type=int, default=20, help="test images, or volumes")
    parser.add_argument("--steps", type=int, default=300, help="of the head")
    given = parser.parse_args()
    dataset = next(each for each in find_datasets(given.data) if given.object in dict(each.objects.named))
    draw = Draw(dataset, (given.object,), given.seed, MOST_SHOTS, given.limit, examples_of_pair)
    backbone, cache = load_backbone(given.model), EmbeddingCache(home() / "embeddings", memory_bytes=0)
    task = None if given.task is None else load_task(given.task, backbone)
    if task is not None:
        backbone = task.backbone  # with LoRA, the features are those that were learned
    shots = shots_of(backbone, draw.shots, [given.object], SIZE, VIEWS, given.seed, cache=cache)
    tests = shots_of(backbone, list(draw.tests()), [given.object], SIZE, 1, 0, cache=cache)
    if task is not None:
        teacher = Teacher(task.network, backbone)
        print(f"learned from: {stages(teacher, shots[:SUPPORTS], shots[SUPPORTS:])}")
        print(f"others:       {stages(teacher, shots[:SUPPORTS], tests)}")
    print(f"a head alone: {head(shots, tests, given.steps):.3f} on others")


if __name__ == "__main__":
    main()

"""General weights: one network for tasks that it was never trained on, from episodes over many sets of images.

Every episode is a task of its own: a set, one or two objects of it, some images as supports and others as targets, of
other patients where the set has several. Three episodes in ten are made up: a region of an image found by its
intensities, or the thin lines on it, is the object, and the same image under another draw of the augmentation the
target. That keeps a network looking at its supports when labelled objects are few (the idea of UniverSeg's synthetic
tasks, Butoi et al. 2023).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from AutoPromptSAMLib.backbones.base import Backbone
from AutoPromptSAMLib.backbones.tensor_file import content_sha256
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork, grown
from AutoPromptSAMLib.training.episodes import Episode, Teacher, any_view
from AutoPromptSAMLib.training.pool import REGION, Source
from AutoPromptSAMLib.training.run import Control, Learned, Run
from AutoPromptSAMLib.training.settings import Settings
from AutoPromptSAMLib.training.shots import Shot

# All of these are choices.
_MADE_UP = 0.3  # of the episodes
_TWO_OBJECTS = 0.25  # of the episodes of a set with several objects
_MOST_SUPPORTS = 4
_HELD_BACK = 0.1  # of the groups of a set, or of the images of a set with one group
_JUDGING = 40  # episodes of what is held back


def train_general(
    backbone: Backbone,
    sources: Sequence[Source],
    settings: Settings,
    control: Control | None = None,
    checkpoint: Path | None = None,
    start: ProxyPromptNetwork | None = None,
) -> Learned:
    """Train on episodes over ``sources``, from ``start`` (a copy; it may have served another model) or from nothing.

    The best network is the one that does best on what is held back of the sources. Raises PromptError when no source
    has an object, or a region to make one up from.
    """
    torch.manual_seed(settings.seed)
    network = (
        ProxyPromptNetwork(ProxyPromptConfig.small(memory=backbone.capabilities.memory))
        if start is None
        else grown(start)
    )
    network = network.to(backbone.device).train().requires_grad_(True)
    parts = [_hold_back(source, settings.seed) for source in sources]
    kept = [source for source, _ in parts if source.objects or _with_regions(source)]
    held = [source for _, source in parts if source is not None]
    if not kept:
        raise PromptError(
            "No two images show the same object, and nothing on them can stand for one; give other sets."
        )
    names = [
        backbone.fingerprint,
        content_sha256(network.state_dict()),
        *(s.name for src in sources for s in src.shots),
    ]
    run = Run(network, backbone, settings, checkpoint, json.dumps(names))
    rng = np.random.default_rng(settings.seed)
    judging = [draw_general(held, rng, 1, made_up=0.0) for _ in range(_JUDGING)] if held else []

    def draw(rng: np.random.Generator) -> Episode:
        return draw_general(kept, rng, settings.targets)

    def evaluate(teacher: Teacher) -> float:
        scores = []
        for episode in judging:
            count = len(episode.supports)
            with torch.no_grad():
                memory = teacher.remember(episode.supports, episode.chosen[:count])
            scores += [
                teacher.dice(target, memory, numbers)[0]
                for target, numbers in zip(episode.targets, episode.chosen[count:], strict=True)
            ]
        return float(np.mean(scores)) if scores else float("nan")

    return run.go(draw, evaluate, control, ())


def _hold_back(source: Source, seed: int) -> tuple[Source, Source | None]:
    """What is trained on, and what the best network is chosen by: other groups, or else other images."""
    rng = np.random.default_rng(seed)
    groups = sorted({shot.group for shot in source.shots})
    names = groups if len(groups) > 3 else sorted({shot.name for shot in source.shots})
    chosen = set(rng.permutation(names)[: max(2, round(_HELD_BACK * len(names)))]) if len(names) > 7 else set()
    held = [shot for shot in source.shots if (shot.group if len(groups) > 3 else shot.name) in chosen]
    kept = [shot for shot in source.shots if shot not in held]
    judged = Source(source.name, tuple(held))
    return replace(source, shots=tuple(kept)), judged if judged.objects else None


def draw_general(
    sources: Sequence[Source], rng: np.random.Generator, targets: int, made_up: float = _MADE_UP
) -> Episode:
    """One episode, see the module; sets with more objects are drawn more often (by the root of their number).

    A set without objects that two of its images show only gives ``made_up`` ones.
    """
    weights = np.array([max(1, len(source.objects)) ** 0.5 for source in sources])
    source = sources[int(rng.choice(len(sources), p=weights / weights.sum()))]
    if not source.objects or rng.random() < made_up:
        episode = _made_up(source, rng, targets)
        if episode is not None:
            return episode
    if not source.objects:
        return draw_general(sources, rng, targets, made_up)
    names = [str(name) for name in rng.permutation(source.objects)]
    wanted = names[: 2 if len(names) > 1 and rng.random() < _TWO_OBJECTS else 1]
    showing = [shot for shot in source.shots if _has(shot, wanted[0])]
    order = [showing[int(n)] for n in rng.permutation(len(showing))]
    first = order[: min(int(rng.integers(1, _MOST_SUPPORTS + 1)), len(order) - 1)]
    groups = {shot.group for shot in first}
    rest = order[len(first) :]
    others = ([shot for shot in rest if shot.group not in groups] or rest)[:targets]
    wanted = [name for name in wanted if any(_has(shot, name) for shot in first)]
    draw = int(rng.integers(len(first[0].views)))
    return Episode(
        supports=tuple(shot.views[draw] for shot in first),
        targets=tuple(any_view(shot, rng, first[0].views[draw].mirrored) for shot in others),
        chosen=tuple(_numbers(shot, wanted) for shot in (*first, *others)),
    )


def _made_up(source: Source, rng: np.random.Generator, targets: int) -> Episode | None:
    """A region of an image, to be found again in other views of it; None when there is none."""
    shots = _with_regions(source)
    if not shots:
        return None
    shot = shots[int(rng.integers(len(shots)))]
    names = [name for name in shot.objects if name.startswith(REGION)]
    numbers = _numbers(shot, [names[int(rng.integers(len(names)))]])
    views = [shot.views[int(n)] for n in rng.permutation(len(shot.views))][: 1 + targets]
    return Episode((views[0],), tuple(views[1:]), (numbers,) * len(views))


def _with_regions(source: Source) -> list[Shot]:
    """The shots that an object can be made up from."""
    return [s for s in source.shots if len(s.views) > 1 and any(name.startswith(REGION) for name in s.objects)]


def _has(shot: Shot, name: str) -> bool:
    return name in shot.objects and shot.present[shot.objects.index(name)]


def _numbers(shot: Shot, names: Sequence[str]) -> tuple[int, ...]:
    """Where the masks of ``names`` are; -1 for an object that this image's labels do not show."""
    return tuple(shot.objects.index(name) if name in shot.objects else -1 for name in names)

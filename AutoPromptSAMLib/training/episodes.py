"""Episodes: some annotated images prompt others, and the answer is compared with the annotation.

Supports are encoded once an episode and prompt all of its targets, which is what a step costs most for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from AutoPromptSAMLib.backbones.base import Backbone, Features
from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportMemory
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
from AutoPromptSAMLib.training.losses import coarse_loss, episode_loss
from AutoPromptSAMLib.training.shots import Shot, View

MOST_OBJECTS = 2  # of an episode; a choice


@dataclass(frozen=True, eq=False)
class Episode:
    """K ``supports`` prompt T ``targets``; the masks of N objects are the views' masks numbered ``chosen``
    (-1: the object is not in that image). Of ``glances``, more targets, only the coarse answer is looked at."""

    supports: tuple[View, ...]
    targets: tuple[View, ...]
    chosen: tuple[tuple[int, ...], ...]  # one an image, the supports' first, the glances' last
    glances: tuple[View, ...] = ()

    @property
    def objects(self) -> tuple[str, ...]:
        """Names that tell the objects apart; the network never sees them."""
        return tuple(str(n) for n in range(len(self.chosen[0])))


@dataclass(frozen=True, eq=False)
class Answer:
    """Logits of one target: ``final`` and ``decoded`` (N, h, w) with and without the detail path, and ``coarse``."""

    final: torch.Tensor
    decoded: torch.Tensor
    coarse: torch.Tensor


class Teacher:
    """Asks a network of a backbone, with gradients unless the caller forbids them.

    Views that kept their pixels are encoded each time, by a backbone that is trained, too.
    """

    def __init__(self, network: ProxyPromptNetwork, backbone: Backbone) -> None:
        self.network, self.backbone = network, backbone
        prompter = ProxyPrompter(network, backbone)
        self._code, self._no_mask = prompter.code, prompter.no_mask

    def remember(self, supports: Sequence[View], chosen: Sequence[Sequence[int]]) -> SupportMemory:
        """What the network keeps of the supports, for the masks numbered ``chosen`` in each."""
        device = self.backbone.device
        names = tuple(str(n) for n in range(len(chosen[0])))
        masks = torch.stack([_masks(view, numbers) for view, numbers in zip(supports, chosen, strict=True)])
        embedding = torch.cat([self._features(view).embedding for view in supports])
        return self.network.encode_supports(names, embedding, _images(supports).to(device), masks.to(device))

    def ask(self, target: View, memory: SupportMemory) -> Answer:
        """The network's answer for one target."""
        features = self._features(target)
        out = self.network(features.embedding, memory, self._code, _images([target]).to(self.backbone.device))
        decoded = self.backbone.decode(features, out.embedding(self._no_mask)).low_res
        final = decoded if out.refine is None else decoded + out.refine(decoded)
        return Answer(final[:, 0], decoded[:, 0], out.auxiliary)

    def loss(self, episode: Episode, dice_only: bool) -> torch.Tensor:
        """The mean loss of the targets, and that of the glances."""
        device, count = self.backbone.device, len(episode.supports)
        asked = count + len(episode.targets)
        memory = self.remember(episode.supports, episode.chosen[:count])
        losses = []
        for target, numbers in zip(episode.targets, episode.chosen[count:asked], strict=True):
            answer = self.ask(target, memory)
            truth = _masks(target, numbers).to(device)
            losses.append(episode_loss(answer.final, answer.decoded, answer.coarse, truth, dice_only))
        loss = torch.stack(losses).mean()
        if not episode.glances:
            return loss
        glanced = []
        for glance, numbers in zip(episode.glances, episode.chosen[asked:], strict=True):
            with torch.no_grad():
                embedding = self._features(glance).embedding
            glanced.append(coarse_loss(self.network.coarse(embedding, memory), _masks(glance, numbers).to(device)))
        return loss + torch.stack(glanced).mean()

    def _features(self, view: View) -> Features:
        """Of one image, on the backbone's device."""
        if view.pixels is not None:
            if not torch.is_grad_enabled():
                return self.backbone.encode([view.pixels])
            # Encoded again on the way back: what one image leaves behind must fit, not what all of a step do.
            encoded: Features = checkpoint(self.backbone.encode, [view.pixels], use_reentrant=False)
            return encoded
        kept = Features(view.embedding[None], view.frame, tuple(level[None] for level in view.high_res))
        return kept.to(self.backbone.device).map(torch.Tensor.float)

    def dice(self, target: View, memory: SupportMemory, numbers: Sequence[int]) -> tuple[float, np.ndarray]:
        """Mean Dice of the objects that are in the target, and the masks found (N, h, w), without gradients.

        An object that is in neither counts as 1.
        """
        with torch.no_grad():
            found = (self.ask(target, memory).final > 0).cpu()
            truth = torch.nn.functional.adaptive_avg_pool2d(
                _masks(target, numbers), (found.shape[-2], found.shape[-1])
            )
        scores = []
        for mask, wanted in zip(found, truth >= 0.5, strict=True):
            total = int(mask.sum() + wanted.sum())
            scores.append(2 * int((mask & wanted).sum()) / total if total else 1.0)
        return float(np.mean(scores)), found.numpy()


def draw_episode(
    shots: Sequence[Shot], rng: np.random.Generator, supports: int, targets: int, glances: int = 0
) -> Episode:
    """Leave-one-out for small steps: ``supports`` shots under one draw of the augmentation, other ones as targets.

    Targets and ``glances``, which may be other views of the same shots, are of other groups than the supports where
    there are several groups. Of many objects ``MOST_OBJECTS`` take part, so that a step takes no longer, and fewer
    where no images say of all of them whether they are there; every one of them is in a support.
    """
    order = [int(n) for n in rng.permutation(len(shots))]
    drawn = [int(o) for o in rng.permutation(len(shots[0].objects))[:MOST_OBJECTS]]
    objects, order = _asked_together(shots, order, drawn)
    first = _showing(shots, order, objects, min(supports, len(order) - 1))
    objects = [o for o in objects if any(shots[n].present[o] for n in first)]
    used = {shots[n].group for n in first}
    rest = [n for n in order if n not in first]
    others = [n for n in rest if shots[n].group not in used] or rest
    draw = int(rng.integers(len(shots[0].views)))
    mirrored = shots[first[0]].views[draw].mirrored
    chosen = others[:targets]
    glanced = [others[int(n)] for n in rng.integers(len(others), size=glances)]
    return Episode(
        supports=tuple(shots[n].views[draw] for n in first),
        targets=tuple(any_view(shots[n], rng, mirrored) for n in chosen),
        chosen=(tuple(objects),) * (len(first) + len(chosen) + glances),
        glances=tuple(any_view(shots[n], rng, mirrored) for n in glanced),
    )


def _asked_together(shots: Sequence[Shot], order: Sequence[int], drawn: Sequence[int]) -> tuple[list[int], list[int]]:
    """All ``drawn`` objects, or the first of them alone, and the shots that are known to show them or not."""
    for objects in (sorted(drawn), [drawn[0]]):
        able = [n for n in order if all(shots[n].known[o] for o in objects)]
        if all(sum(shots[n].present[o] for n in able) >= 2 for o in objects):
            break
    return objects, able


def _showing(shots: Sequence[Shot], order: Sequence[int], objects: Sequence[int], count: int) -> list[int]:
    """The first ``count`` shots, with others in the place of some so that every object is in one, if there is room."""
    first = list(order[:count])
    for wanted in objects:
        if any(shots[n].present[wanted] for n in first):
            continue
        needed = {
            place
            for o in objects
            if len(places := [place for place, n in enumerate(first) if shots[n].present[o]]) == 1
            for place in places
        }
        spare = [place for place in range(len(first)) if place not in needed]
        if spare:
            first[spare[-1]] = next(n for n in order if shots[n].present[wanted])
    return first


def any_view(shot: Shot, rng: np.random.Generator, mirrored: bool) -> View:
    """One whose left and right are exchanged or not, as in the supports: else nobody could tell a right kidney."""
    views = [view for view in shot.views if view.mirrored == mirrored]
    return views[int(rng.integers(len(views)))]


def _images(views: Sequence[View]) -> torch.Tensor:
    return torch.stack([view.image for view in views]).float() / 255


def _masks(view: View, numbers: Sequence[int]) -> torch.Tensor:
    """The masks (N, S, S) in 0..1; an empty one for the number -1."""
    masks = [view.masks[n] if n >= 0 else torch.zeros_like(view.image[0]) for n in numbers]
    return torch.stack(masks).float() / 255

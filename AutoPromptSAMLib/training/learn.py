"""Learning one task: a Proxy Prompt network from a few annotated images, on two CPU cores within minutes.

The backbone is frozen and every image was encoded before the first step. With LoRA the backbone learns, too: that is
for a GPU, as every image is then encoded in every step. What is kept is the last network that was about as good as any
on the shots that were held back.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from AutoPromptSAMLib.backbones.base import Backbone
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.backbones.lora import Lora
from AutoPromptSAMLib.backbones.tensor_file import content_sha256
from AutoPromptSAMLib.errors import Cancelled, PromptError
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork, grown
from AutoPromptSAMLib.training.episodes import Episode, Teacher, draw_episode
from AutoPromptSAMLib.training.preview import Preview
from AutoPromptSAMLib.training.run import Control, Learned, Run
from AutoPromptSAMLib.training.settings import Settings
from AutoPromptSAMLib.training.shots import Example, Shot, shots_of

_JUDGING, _JUDGED = 4, 8  # supports and objects at once, when a network is judged


def learn(
    backbone: Backbone,
    examples: Sequence[Example],
    objects: Sequence[str],
    settings: Settings | None = None,
    start: ProxyPromptNetwork | None = None,
    control: Control | None = None,
    checkpoint: Path | None = None,
    on_preview: Callable[[Preview], None] | None = None,
    cache: EmbeddingCache | None = None,
    additions: Mapping[str, torch.Tensor] | None = None,
) -> Learned:
    """Learn to find ``objects`` in images like ``examples``, from ``start`` (a copy) or from nothing.

    With ``settings.lora`` the model learns with it, from the ``additions`` that ``start`` was learned with, if any.

    With ``checkpoint`` the state is kept in that file, and a run on the same examples, objects, start and settings
    that was ended goes on from it; ``Learned.save`` removes it. ``cache`` keeps encoded images. Cancelled while
    learning, the best network so far comes back; before the first step, Cancelled is raised.
    Raises PromptError for fewer than two examples or an object that fewer than two of them show.
    """
    settings = settings or Settings()
    objects = tuple(objects)
    _check(examples, objects)
    torch.manual_seed(settings.seed)
    network = (
        ProxyPromptNetwork(ProxyPromptConfig.small(memory=backbone.capabilities.memory))
        if start is None
        else grown(start)
    )
    network = network.to(backbone.device).train().requires_grad_(True)
    lora = Lora(backbone, settings.lora) if settings.lora else None
    if lora is not None and additions:
        lora.load(additions)

    def encoding(done: int, total: int) -> None:
        if control is not None:
            if control.cancelled:
                raise Cancelled("Cancelled before anything was learned.")
            control.report(done, total, f"Preparing view {done + 1} of {total}")

    shots = shots_of(
        backbone, examples, objects, network.config.canvas_size, settings.views, settings.seed, encoding, cache,
        keep_pixels=lora is not None,
    )  # fmt: skip
    held, learned_from = _hold_back(shots, settings)
    identity = _identity(backbone, examples, objects, network, additions or {})
    run = Run(network, backbone, settings, checkpoint, identity, lora)

    def draw(rng: np.random.Generator) -> Episode:
        return draw_episode(learned_from, rng, settings.supports, settings.targets, settings.glances)

    def evaluate(teacher: Teacher) -> float:
        if not held and on_preview is None:
            return math.nan
        # With nothing held back there is still something to look at, but it says little of how well it goes.
        shown = held or learned_from[:1]
        score, masks = _judged(teacher, shown, [shot for shot in learned_from if shot not in shown])
        score = score if held else math.nan
        if on_preview is not None:
            view = shown[0].views[0]
            image = view.image.permute(1, 2, 0).numpy()
            truth = (view.masks >= 128).numpy()
            on_preview(Preview(run.step, settings.steps, score, shown[0].name, image, truth, masks))
        return score

    return replace(run.go(draw, evaluate, control, objects), held_back=len(held))


def _identity(
    backbone: Backbone,
    examples: Sequence[Example],
    objects: Sequence[str],
    network: ProxyPromptNetwork,
    additions: Mapping[str, torch.Tensor],
) -> str:
    """Hash of what is learned, from what, and where it starts."""
    digest = hashlib.sha256(json.dumps([backbone.fingerprint, *objects]).encode())
    digest.update(content_sha256(network.state_dict()).encode())
    digest.update(content_sha256(additions).encode())
    for example in examples:
        digest.update(example.group.encode() + np.ascontiguousarray(example.image).tobytes())
        for name in sorted(example.masks):
            digest.update(name.encode() + np.packbits(example.masks[name]).tobytes())
    return digest.hexdigest()


def _check(examples: Sequence[Example], objects: tuple[str, ...]) -> None:
    if len(examples) < 2:
        raise PromptError(f"Learning needs at least two annotated images, not {len(examples)}; annotate more.")
    if not objects:
        raise PromptError("No object is named; say what is to be learned.")
    for name in objects:
        shown = sum(name in example.masks and bool(example.masks[name].any()) for example in examples)
        if shown < 2:
            raise PromptError(
                f"{name!r} is in {shown} of the annotated images, but learning needs it in two; annotate it in more."
            )


def _hold_back(shots: list[Shot], settings: Settings) -> tuple[list[Shot], list[Shot]]:
    """Shots to choose the best network by, and those to learn from; of other groups where that can be."""
    count = settings.held_back if settings.held_back is not None else len(shots) // 8
    count = min(count, len(shots) - 2)
    order = [shots[int(n)] for n in np.random.default_rng(settings.seed).permutation(len(shots))]
    held: list[Shot] = []
    for shot in _covering(order, len(order)):  # those first that can be judged by the most objects
        rest = [other for other in order if other not in held and other is not shot]
        enough = all(sum(other.present[o] for other in rest) >= 2 for o in range(len(shot.objects)))
        if len(held) < count and enough and any(shot.present):
            held.append(shot)
    groups = {shot.group for shot in held}
    rest = [shot for shot in order if shot not in held]
    apart = [shot for shot in rest if shot.group not in groups]
    # Of few groups, one may be nearly all there is: then a score that flatters costs less than what would not be seen.
    fair = 2 * len(apart) >= max(4, len(rest)) and all(
        sum(shot.present[o] for shot in apart) >= 2 for o in range(len(rest[0].objects))
    )
    return held, apart if fair else rest


def _covering(shots: Sequence[Shot], count: int) -> list[Shot]:
    """The first ``count`` shots, those first that show the most objects."""
    return sorted(shots, key=lambda shot: -sum(shot.present))[:count]


def _judged(teacher: Teacher, shown: Sequence[Shot], rest: Sequence[Shot]) -> tuple[float, np.ndarray]:
    """Mean Dice on ``shown`` as ``rest`` prompts it, and the masks (N, h, w) found on the first; NaN without any.

    Objects that the same shots say something of are asked for together; where nothing is known, nothing is asked.
    """
    together: dict[tuple[bool, ...], list[int]] = {}
    for number in range(len(shown[0].objects)):
        together.setdefault(tuple(shot.known[number] for shot in (*shown, *rest)), []).append(number)
    scores: list[float] = []
    first = np.zeros((len(shown[0].objects), 1, 1), dtype=bool)
    for numbers in (alike[n : n + _JUDGED] for alike in together.values() for n in range(0, len(alike), _JUDGED)):
        supports = _covering([shot for shot in rest if shot.known[numbers[0]]], _JUDGING)
        if not supports:
            continue
        with torch.no_grad():
            memory = teacher.remember([shot.views[0] for shot in supports], [numbers] * len(supports))
        for shot in shown:
            if not shot.known[numbers[0]]:
                continue
            dice, masks = teacher.dice(shot.views[0], memory, numbers)
            scores += [dice] * len(numbers)
            if shot is shown[0]:
                first = np.broadcast_to(first, (len(first), *masks.shape[1:])).copy()
                first[numbers] = masks
    return (float(np.mean(scores)) if scores else math.nan), first

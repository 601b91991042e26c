"""Learning one task: a Proxy Prompt network from a few annotated images, on two CPU cores within minutes.

The backbone is frozen and every image was encoded before the first step. What is kept is the last network that was
about as good as any on the shots that were held back.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.backbones.base import Backbone
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.backbones.tensor_file import content_sha256
from AutoPromptSAMLib.errors import Cancelled, ModelError, PromptError, StorageError
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork, grown
from AutoPromptSAMLib.prompters.proxy_prompt.weights import save_network
from AutoPromptSAMLib.training.episodes import Episode, Teacher, draw_episode
from AutoPromptSAMLib.training.preview import Preview
from AutoPromptSAMLib.training.settings import Settings
from AutoPromptSAMLib.training.shots import Example, Shot, shots_of

logger = logging.getLogger(__name__)

_WARM_UP = 0.1  # of all steps, with a rising learning rate
_LAST_RATE = 0.01  # of the highest learning rate, at the end
_GRADIENT_NORM = 1.0
_MOMENTUM, _SGD_DECAY = 0.9, 5e-4  # the paper's
_ADAMW_DECAY = 1e-4
_JUDGING = 4  # supports, when a network is judged
_BETTER = 1e-3  # Dice; less is no improvement
# Dice. A later network that is about as good is the better one, as its learning rate was smaller: few held-back shots
# cannot tell two or three points from chance, and would keep an early one.
_ABOUT_AS_GOOD = 0.03


class Control(Protocol):
    """What learning tells a host, and is asked by it; ``loops.job.Control`` is one."""

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""

    def report(self, done: int, total: int, text: str) -> None:
        """Tell how far it is."""


@dataclass(eq=False)
class Learned:
    """The best network, and how it came about: ``history`` has (step, seconds, loss, held-back Dice or NaN)."""

    network: ProxyPromptNetwork
    objects: tuple[str, ...]
    settings: Settings
    stopped: str  # "done", "early" or "cancelled"
    steps: int
    seconds: float
    best_dice: float
    history: list[tuple[int, float, float, float]] = field(default_factory=list)
    checkpoint: Path | None = None

    def save(self, path: Path, backbone: Backbone, info: Mapping[str, Any] | None = None) -> str:
        """Write the task file; returns its sha256. Raises StorageError when it cannot be written.

        Only then the checkpoint goes, and not that of a cancelled run, which may be wanted to go on.
        """
        about = {
            "objects": list(self.objects),
            "settings": asdict(self.settings),
            "stopped": self.stopped,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "held_back_dice": None if math.isnan(self.best_dice) else round(self.best_dice, 4),
            **(info or {}),
        }
        digest = save_network(self.network, path, backbone, about)
        if self.checkpoint is not None and self.stopped != "cancelled":
            self.checkpoint.unlink(missing_ok=True)
        return digest


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
) -> Learned:
    """Learn to find ``objects`` in images like ``examples``, from ``start`` (a copy) or from nothing.

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

    def encoding(done: int, total: int) -> None:
        if control is not None:
            if control.cancelled:
                raise Cancelled("Cancelled before anything was learned.")
            control.report(done, total, f"Preparing image {done + 1} of {total}")

    shots = shots_of(
        backbone, examples, objects, network.config.canvas_size, settings.views, settings.seed, encoding, cache
    )
    held, learned_from = _hold_back(shots, settings)
    run = Run(network, backbone, settings, checkpoint, _identity(backbone, examples, objects, network))
    numbers = tuple(range(len(objects)))

    def draw(rng: np.random.Generator) -> Episode:
        return draw_episode(learned_from, rng, settings.supports, settings.targets, settings.glances)

    def evaluate(teacher: Teacher) -> float:
        if not held and on_preview is None:
            return math.nan
        # With nothing held back there is still something to look at, but it says little of how well it goes.
        shown = held or learned_from[:1]
        supports = _covering([shot for shot in learned_from if shot not in shown], _JUDGING)
        with torch.no_grad():
            memory = teacher.remember([shot.views[0] for shot in supports], [numbers] * len(supports))
        results = [teacher.dice(shot.views[0], memory, numbers) for shot in shown]
        score = float(np.mean([dice for dice, _ in results])) if held else math.nan
        if on_preview is not None:
            view, mask = shown[0].views[0], results[0][1]
            image = view.image.permute(1, 2, 0).numpy()
            truth = (view.masks >= 128).numpy()
            on_preview(Preview(run.step, settings.steps, score, shown[0].name, image, truth, mask))
        return score

    return run.go(draw, evaluate, control, objects)


def _identity(
    backbone: Backbone, examples: Sequence[Example], objects: Sequence[str], network: ProxyPromptNetwork
) -> str:
    """Hash of what is learned, from what, and where it starts."""
    digest = hashlib.sha256(json.dumps([backbone.fingerprint, *objects]).encode())
    digest.update(content_sha256(network.state_dict()).encode())
    for example in examples:
        digest.update(example.group.encode() + np.ascontiguousarray(example.image).tobytes())
        for name in sorted(example.masks):
            digest.update(name.encode() + np.packbits(example.masks[name]).tobytes())
    return digest.hexdigest()


class Run:
    """Steps of an optimiser over episodes, with a schedule, a checkpoint and the best network so far.

    A checkpoint of another ``identity`` or other settings is not gone on from.
    """

    def __init__(
        self,
        network: ProxyPromptNetwork,
        backbone: Backbone,
        settings: Settings,
        checkpoint: Path | None,
        identity: str,
    ) -> None:
        self.network, self.settings, self._checkpoint = network, settings, checkpoint
        self._identity = json.dumps([identity, asdict(settings)], sort_keys=True)
        self._warned = False
        self.teacher = Teacher(network, backbone)
        self._mean = None
        self._judged = self.teacher
        if settings.averaging:
            self._mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging))
            self._judged = Teacher(cast(ProxyPromptNetwork, self._mean.module), backbone)
        self.step, self.seconds = 0, 0.0
        self.best, self.best_dice = network, math.nan
        self._highest, self._since_best = -math.inf, 0  # of what the held-back shots ever had
        self.history: list[tuple[int, float, float, float]] = []
        self._rng = np.random.default_rng(settings.seed)
        parameters = list(network.parameters())
        self._optimiser: torch.optim.Optimizer
        if settings.optimiser == "sgd":
            self._optimiser = torch.optim.SGD(
                parameters, settings.learning_rate, momentum=_MOMENTUM, weight_decay=_SGD_DECAY
            )
        else:
            self._optimiser = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=_ADAMW_DECAY)
        self._resume()

    @property
    def progress(self) -> float:
        """From 0 to 1: the larger part of the steps or of the time that is used up."""
        limit = self.settings.minutes
        spent = 0.0 if limit is None else self.seconds / (60 * limit)
        return max(self.step / self.settings.steps, spent)

    def go(
        self,
        draw: Callable[[np.random.Generator], Episode],
        evaluate: Callable[[Teacher], float],
        control: Control | None,
        objects: tuple[str, ...],
    ) -> Learned:
        """Run to the end, or until it gets no better or is cancelled; Cancelled before the first step."""
        settings, stopped = self.settings, "done"
        while self.progress < 1:
            if control is not None:
                if control.cancelled:
                    stopped = "cancelled"
                    break
                text = "Learning" if math.isnan(self.best_dice) else f"Learning: Dice {self.best_dice:.3f}"
                control.report(min(int(100 * self.progress), 99), 100, text)
            started = time.monotonic()
            loss = self._one(draw(self._rng))
            self.step += 1
            due = self.step == 1 or self.step % settings.evaluate_every == 0
            self.seconds += time.monotonic() - started
            score = math.nan
            if due or self.progress >= 1:
                started = time.monotonic()
                score = self._evaluated(evaluate)
                self.seconds += time.monotonic() - started
            self.history.append((self.step, round(self.seconds, 2), round(loss, 4), score))
            if due or self.progress >= 1:
                self._save()
            if self._since_best >= settings.patience and self.progress >= settings.earliest:
                stopped = "early"
                break
        self.network.eval()
        if not self.step:
            raise Cancelled("Cancelled before anything was learned.")
        return Learned(
            self.best, objects, settings, stopped, self.step, self.seconds, self.best_dice, self.history,
            self._checkpoint,
        )  # fmt: skip

    def _one(self, episode: Episode) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * schedule(self.progress)
        # What dropout leaves out then depends on the step alone, also in a run that goes on.
        torch.manual_seed(self.settings.seed * 1_000_003 + self.step)
        loss = self.teacher.loss(episode, self.settings.dice_only)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _GRADIENT_NORM)
        self._optimiser.step()
        if self._mean is not None:
            self._mean.update_parameters(self.network)
        return float(loss.detach())

    def _evaluated(self, evaluate: Callable[[Teacher], float]) -> float:
        network = self._judged.network.eval()
        score = evaluate(self._judged)
        self.network.train()
        if math.isnan(score):
            self.best = network
            return score
        self._since_best = 0 if score > self._highest + _BETTER else self._since_best + 1
        self._highest = max(self._highest, score)
        if score >= self._highest - _ABOUT_AS_GOOD:
            self.best, self.best_dice = copy.deepcopy(network).eval(), score
        return score

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state = {
            "identity": self._identity,
            "step": self.step,
            "seconds": self.seconds,
            "best_dice": self.best_dice,
            "highest": self._highest,
            "since_best": self._since_best,
            "history": self.history,
            "rng": json.dumps(self._rng.bit_generator.state),
            "network": self.network.state_dict(),
            "best": self.best.state_dict(),
            "mean": {} if self._mean is None else self._mean.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        try:
            with atomic_path(self._checkpoint) as temporary:
                torch.save(state, temporary)
        except (StorageError, OSError, RuntimeError) as error:  # torch says RuntimeError of a full disk
            if not self._warned:
                self._warned = True
                logger.warning("Learning goes on, but a run that is killed cannot be gone on from: %s", error)

    def _resume(self) -> None:
        """Go on from the checkpoint if there is one of the same run. Raises ModelError when it is damaged."""
        if self._checkpoint is None or not self._checkpoint.is_file():
            return
        try:
            state = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
            if state["identity"] != self._identity:
                return
            self.network.load_state_dict(state["network"])
            self.best = copy.deepcopy(self.network).eval()
            self.best.load_state_dict(state["best"])
            if self._mean is not None:
                self._mean.load_state_dict(state["mean"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._rng.bit_generator.state = json.loads(state["rng"])
            self.step, self.seconds = state["step"], state["seconds"]
            self.best_dice, self._highest = state["best_dice"], state["highest"]
            self._since_best = state["since_best"]
            self.history = [tuple(entry) for entry in state["history"]]
        except Exception as error:  # whatever a damaged file does to a parser, the answer is the same
            raise ModelError(
                f"The unfinished learning in {self._checkpoint} is damaged; delete this file to start over."
            ) from error


def schedule(progress: float) -> float:
    """Part of the highest learning rate: rises, then falls as a cosine to 1 %."""
    if progress < _WARM_UP:
        return max(progress, _LAST_RATE) / _WARM_UP
    falling = (1 + math.cos(math.pi * min(1.0, (progress - _WARM_UP) / (1 - _WARM_UP)))) / 2
    return _LAST_RATE + (1 - _LAST_RATE) * falling


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
    for shot in order:
        rest = [other for other in order if other not in held and other is not shot]
        enough = all(sum(other.present[o] for other in rest) >= 2 for o in range(len(shot.objects)))
        if len(held) < count and enough and all(shot.present):
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

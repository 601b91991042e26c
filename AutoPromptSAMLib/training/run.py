"""Steps of learning: an optimiser with a schedule, the best network so far, and a checkpoint to go on from."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.backbones.base import Backbone
from AutoPromptSAMLib.backbones.lora import Lora
from AutoPromptSAMLib.errors import Cancelled, ModelError, StorageError
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
from AutoPromptSAMLib.prompters.proxy_prompt.weights import save_task
from AutoPromptSAMLib.training.episodes import Episode, Teacher
from AutoPromptSAMLib.training.settings import Settings

logger = logging.getLogger(__name__)

_WARM_UP = 0.1  # of all steps, with a rising learning rate
_LAST_RATE = 0.01  # of the highest learning rate, at the end
_GRADIENT_NORM = 1.0
_MOMENTUM, _SGD_DECAY = 0.9, 5e-4  # the paper's
_ADAMW_DECAY = 1e-4
_BETTER = 1e-3  # Dice; less is no improvement
# Dice. A later network that is about as good is the better one, as its learning rate was smaller: few held-back shots
# cannot tell two or three points from chance, and would keep an early one.
_ABOUT_AS_GOOD = 0.03


class GpuMemoryError(ModelError):
    """The GPU has too little memory."""


class Control(Protocol):
    """What learning tells a host, and is asked by it; ``loops.job.Control`` is one."""

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""

    def report(self, done: int, total: int, text: str) -> None:
        """Tell how far it is."""


@dataclass(eq=False)
class Learned:
    """The best network, and how it came about: ``history`` has (step, seconds, loss, held-back Dice or NaN).

    ``held_back``: images that ``best_dice`` is of. ``additions`` are what was learned in the model, as
    ``Lora.additions``; empty for a frozen one.
    """

    network: ProxyPromptNetwork
    objects: tuple[str, ...]
    settings: Settings
    stopped: str  # "done", "early" or "cancelled"
    steps: int
    seconds: float
    best_dice: float
    history: list[tuple[int, float, float, float]] = field(default_factory=list)
    checkpoint: Path | None = None
    additions: Mapping[str, torch.Tensor] = field(default_factory=dict)
    held_back: int = 0

    def save(self, path: Path, backbone: Backbone, info: Mapping[str, Any] | None = None) -> str:
        """Write the task file for ``backbone``, the plain one; returns its sha256. Raises StorageError.

        Only then the checkpoint goes, and not that of a cancelled run, which may be wanted to go on.
        """
        about = {
            "objects": list(self.objects),
            "settings": asdict(self.settings),
            "stopped": self.stopped,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "held_back": self.held_back,
            "held_back_dice": None if math.isnan(self.best_dice) else round(self.best_dice, 4),
            **(info or {}),
        }
        digest = save_task(self.network, path, backbone, about, self.additions)
        if self.checkpoint is not None and self.stopped != "cancelled":
            self.checkpoint.unlink(missing_ok=True)
        return digest


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
        lora: Lora | None = None,
    ) -> None:
        self.network, self.settings, self._checkpoint = network, settings, checkpoint
        self._lora = lora
        prompted = backbone if lora is None else lora.backbone
        self._identity = json.dumps([identity, asdict(settings)], sort_keys=True)
        self._warned = False
        self.teacher = Teacher(network, prompted)
        self._mean = None
        self._judged = self.teacher
        if settings.averaging:
            self._mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging))
            self._judged = Teacher(cast(ProxyPromptNetwork, self._mean.module), prompted)
        self.step, self.seconds = 0, 0.0
        self.best, self.best_dice = network, math.nan
        self._best_additions = self._additions()
        self._highest, self._since_best = -math.inf, 0  # of what the held-back shots ever had
        self.history: list[tuple[int, float, float, float]] = []
        self._rng = np.random.default_rng(settings.seed)
        self._parameters = [*network.parameters(), *([] if lora is None else lora.parameters())]
        self._optimiser: torch.optim.Optimizer
        if settings.optimiser == "sgd":
            self._optimiser = torch.optim.SGD(
                self._parameters, settings.learning_rate, momentum=_MOMENTUM, weight_decay=_SGD_DECAY
            )
        else:
            self._optimiser = torch.optim.AdamW(self._parameters, settings.learning_rate, weight_decay=_ADAMW_DECAY)
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
            self._checkpoint, self._additions() if self.best is self.network else self._best_additions,
        )  # fmt: skip

    def _additions(self) -> dict[str, torch.Tensor]:
        return {} if self._lora is None else self._lora.additions()

    def _one(self, episode: Episode) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * schedule(self.progress)
        # What dropout leaves out then depends on the step alone, also in a run that goes on.
        torch.manual_seed(self.settings.seed * 1_000_003 + self.step)
        self._optimiser.zero_grad()
        try:
            loss = self.teacher.loss(episode, self.settings.dice_only)
            loss.backward()
        except torch.cuda.OutOfMemoryError as error:
            raise GpuMemoryError(
                "The GPU has too little memory to learn with this model; "
                + ("choose a smaller one." if self._lora is None else "learn without LoRA (--no-lora).")
            ) from error
        torch.nn.utils.clip_grad_norm_(self._parameters, _GRADIENT_NORM)
        self._optimiser.step()
        if self._mean is not None:
            self._mean.update_parameters(self.network)
        return float(loss.detach())

    def _evaluated(self, evaluate: Callable[[Teacher], float]) -> float:
        network = self._judged.network.eval()
        score = evaluate(self._judged)
        self.network.train()
        if math.isnan(score):
            self.best, self._best_additions = network, self._additions()
            return score
        self._since_best = 0 if score > self._highest + _BETTER else self._since_best + 1
        self._highest = max(self._highest, score)
        if score >= self._highest - _ABOUT_AS_GOOD:
            self.best, self.best_dice = copy.deepcopy(network).eval(), score
            self._best_additions = self._additions()
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
            "additions": self._additions(),
            "best_additions": self._best_additions,
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
            if self._lora is not None:
                self._lora.load(state["additions"])
                self._best_additions = state["best_additions"]
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

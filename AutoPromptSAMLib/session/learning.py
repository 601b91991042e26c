"""Learning a task from a set of supports, on a session's thread."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.supports.pairs import SupportSet

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.training.preview import Preview
    from AutoPromptSAMLib.training.run import Learned

logger = logging.getLogger(__name__)

MOST_VIEWS = 512  # of all images, kept in memory while a task is learned: 2.3 MB each. A choice.


@dataclass(frozen=True)
class LearningResult:
    """``task`` is the file with what was learned, to be attached to the set.

    ``dice`` is that of the ``held_back`` images, None where there were too few to hold some back; ``complete`` is
    False when a person ended it, then the best network so far is in the file. ``better`` says whether it should take
    the place of what the set had learned with this model: not when it was ended before it was as good on held-back
    images.
    """

    task: Path
    dice: float | None
    steps: int
    seconds: float
    complete: bool
    better: bool = True
    held_back: int = 0


class _Considerate:
    """A job's control for learning: between two steps, clicks that came in meanwhile are answered."""

    def __init__(self, control: Control) -> None:
        self._control = control

    @property
    def cancelled(self) -> bool:
        return self._control.cancelled

    def report(self, done: int, total: int, text: str) -> None:
        self._control.report(done, total, text)
        self._control.make_way()


def learn_from(
    supports: SupportSet,
    backbone: Backbone,
    cache: EmbeddingCache,
    folder: Path,
    minutes: float,
    control: Control,
    on_preview: Callable[[Preview], None] | None,
) -> LearningResult:
    """Learn to find the set's objects from its pairs; starts from its task with this model, or the general weights.

    So it does, with a warning in the log, where the task cannot be used with the model as it is now.

    With a GPU that has room for it, the model itself learns too (``backbones.lora``). A task in which it did is gone
    on from only where it can again.

    The file is written into ``folder``; there also is the state of a run that was killed, from which the next one goes
    on. Raises PromptError for too few pairs, Cancelled before anything was learned.
    """
    from AutoPromptSAMLib.backbones.lora import rank_for, rank_of
    from AutoPromptSAMLib.prompters.proxy_prompt.weights import general_network, load_task
    from AutoPromptSAMLib.training.learn import learn
    from AutoPromptSAMLib.training.run import GpuMemoryError
    from AutoPromptSAMLib.training.settings import Settings
    from AutoPromptSAMLib.training.shots import Example

    examples = [
        Example(pair.name, pair.group or pair.id, pair.image, dict(pair.masks.items())) for pair in supports.pairs
    ]
    rank = rank_for(backbone)
    before = None
    if backbone.card.name in supports.tasks:
        try:
            before = load_task(supports.tasks[backbone.card.name], backbone)
        except ModelError as error:
            logger.warning("Learning starts anew: %s", error)
    had = None if before is None else before.header.info.get("held_back_dice")
    if before is not None and before.additions:
        # What the network knows is of the model as it was learned, too: both go on, or neither.
        rank = rank_of(before.additions) if rank else 0
        before = before if rank else None
    start = general_network(backbone) if before is None else before.network
    additions = {} if before is None else before.additions
    names = tuple(name for name in supports.names if any(name in pair.objects for pair in supports.pairs))
    # A run goes on only where its pairs and its model are the same.
    content = "\n".join([backbone.fingerprint, *names, *sorted(pair.id for pair in supports.pairs)])
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    task = folder / f"task-{digest}.safetensors"

    def learn_with(settings: Settings) -> Learned:
        return learn(
            backbone, examples, names, settings, start, _Considerate(control), task.with_suffix(".part"), on_preview,
            cache, additions,
        )  # fmt: skip

    views = max(2, min(Settings.views, MOST_VIEWS // max(1, len(examples))))
    settings = Settings(minutes=minutes, lora=rank, views=views)
    learned = None
    try:
        learned = learn_with(settings)
    except GpuMemoryError as error:
        if not rank:
            raise
        logger.warning("The model itself stays as it is: %s", error)
    if learned is None:  # not while the error is handled: it holds on to all that filled the memory
        start, additions = general_network(backbone) if additions else start, {}
        learned = learn_with(replace(settings, lora=0))
    learned.save(task, backbone, {"supports": len(examples)})
    task.with_suffix(".part").unlink(missing_ok=True)  # of a run that a person ended, the set goes on from the task
    dice = None if math.isnan(learned.best_dice) else learned.best_dice
    complete = learned.stopped != "cancelled"
    better = complete or had is None or (dice is not None and dice >= had)
    return LearningResult(task, dice, learned.steps, learned.seconds, complete, better, learned.held_back)

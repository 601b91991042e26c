"""How a task is learned; importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from AutoPromptSAMLib.errors import PromptError

OPTIMISERS = ("adamw", "sgd")


@dataclass(frozen=True)
class Settings:
    """Learning ends after ``steps`` or ``minutes`` (None: no limit), whichever comes first.

    ``supports`` and ``targets`` of an episode, and ``glances``: more targets, of which only the coarse answer is
    looked at; ``views`` of every image, the first of them unchanged; ``held_back`` shots that choose the best network
    (None: one in eight), looked at after every ``evaluate_every`` steps.
    Learning stops early when they have not got better ``patience`` times in a row, and not before the part
    ``earliest`` of it is done. With ``averaging`` a running mean of the weights is judged and kept; the last
    weights are the part 1 − ``averaging`` of it (0: no mean). ``lora`` is the rank of what is trained in the model's
    own attention (0: the model stays frozen, and no image is encoded twice). ``optimiser`` "sgd" with ``dice_only``,
    no glances and a ``learning_rate`` of 0.01 is the paper's; "adamw" is the default.
    Raises PromptError for values that make no sense.
    """

    steps: int = 600
    minutes: float | None = 15.0
    supports: int = 3
    targets: int = 2
    glances: int = 8
    views: int = 8
    held_back: int | None = None
    evaluate_every: int = 25
    patience: int = 8
    earliest: float = 0.5
    learning_rate: float = 1e-3
    optimiser: str = "adamw"
    dice_only: bool = False
    averaging: float = 0.0
    lora: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise PromptError(f"There is no optimiser {self.optimiser!r}; use one of {', '.join(OPTIMISERS)}.")
        counts = ("steps", "supports", "targets", "views", "evaluate_every", "patience")
        for name in counts:
            if getattr(self, name) < 1:
                raise PromptError(f"Learning cannot go on with {name} = {getattr(self, name)}; use 1 or more.")
        if self.glances < 0:
            raise PromptError(f"Learning cannot go on with glances = {self.glances}; use 0 or more.")
        if not 0 <= self.averaging < 1:
            raise PromptError(f"The averaging must be from 0 to below 1, not {self.averaging}; correct it.")
        if self.lora < 0 or (self.lora and self.averaging):
            raise PromptError(f"Learning cannot go on with lora = {self.lora} and averaging = {self.averaging}.")
        if self.learning_rate <= 0 or (self.minutes is not None and self.minutes <= 0):
            raise PromptError("The learning rate and the minutes must be above 0; correct them.")

"""What can be chosen of the estimate and of the refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass

from AutoPromptSAMLib.errors import PromptError

MOST_BOXES = 64  # more copies than that say nothing new, and their masks would not fit into memory


@dataclass(frozen=True)
class Settings:
    """Choices of MedSAM-U.

    ``boxes``: jittered copies of every box; 3 in the paper. ``sigma``: standard deviation of the jitter of each
    coordinate, in parts of the box's side; not stated in the paper, a choice. ``points``: how many points a round adds
    where the answer is unsure; None means 3 for models that take points and 0 for others, which they harm. ``labels``
    of those points: "positive" (the paper), "sign" (as the mean mask has it), or "none" (no points). ``rounds``: at
    most so many. ``threshold``: part of the largest uncertainty above which pixels beside the mask join the next box.
    ``acceptance``: "uncertainty" keeps a round that is surer (mean over the image) and whose area did not run away,
    "always" keeps every round. ``seed`` of the jitter.

    Raises PromptError for values that make no sense.
    """

    boxes: int = 3
    sigma: float = 0.05
    points: int | None = None
    labels: str = "positive"
    rounds: int = 3
    threshold: float = 0.4
    acceptance: str = "uncertainty"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.boxes <= MOST_BOXES:
            raise PromptError(f"The number of jittered boxes must be from 1 to {MOST_BOXES}, not {self.boxes}.")
        if not (math.isfinite(self.sigma) and 0 <= self.sigma <= 1):
            raise PromptError(f"The jitter of boxes must be from 0 to 1 of their side, not {self.sigma}.")
        if self.points is not None and self.points < 0:
            raise PromptError(f"The number of points cannot be negative ({self.points}).")
        if self.labels not in ("positive", "sign", "none"):
            raise PromptError(f'Labels of points are "positive", "sign" or "none", not "{self.labels}".')
        if self.rounds < 0:
            raise PromptError(f"The number of rounds cannot be negative ({self.rounds}).")
        if not 0 < self.threshold <= 1:
            raise PromptError(f"The threshold must be above 0 and at most 1, not {self.threshold}.")
        if self.acceptance not in ("uncertainty", "always"):
            raise PromptError(f'Acceptance is by "uncertainty" or "always", not "{self.acceptance}".')
        if self.seed < 0:
            raise PromptError(f"The seed cannot be negative ({self.seed}).")

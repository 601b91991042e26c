"""One undo step of the interactive part: prompts and voxels that changed together, with a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from undo_stack import UndoCommand

from AutoPromptSAMLib.geometry import Crop


class Step(UndoCommand):
    """What a person did at once, and what came of it.

    ``prompt_steps``: steps of the session that belong to it. ``flips``: by segment id, the voxels to flip to undo it,
    or to do it again. ``undone`` and ``redone`` do all else (a segment that was added, say). ``by_hand``: what counted
    as painted before it. The voxels of a prompt arrive later than the prompt:
    ``ask`` asks for them (again) as long as they have not, and ``before`` is the step whose answer nobody waited for
    because this one came. ``obsolete``: undoing it drops it, for a step of which nothing came.
    """

    def __init__(
        self,
        text: str,
        travel: Callable[[Step, bool], None],
        *,
        by_hand: Mapping[str, Crop],
        prompt_steps: int = 0,
        undone: Callable[[], None] | None = None,
        redone: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._text = text
        self._travel = travel
        self.prompt_steps = prompt_steps
        self.undone, self.redone = undone, redone
        self.flips: dict[str, Crop] = {}
        self.by_hand = by_hand
        self.by_hand_after: Mapping[str, Crop] = {}
        self.ask: Callable[[], None] | None = None
        self.before: Step | None = None
        self.obsolete = False

    def add_flips(self, flips: Mapping[str, Crop]) -> None:
        """Note voxels that changed; those that change back cancel out."""
        for segment_id, flip in flips.items():
            known = self.flips.get(segment_id, Crop.empty())
            self.flips[segment_id] = known.symmetric_difference(flip)

    def is_obsolete(self) -> bool:
        """Whether the undo stack may forget it."""
        return self.obsolete

    def undo(self) -> None:
        """Take the step back."""
        self._travel(self, False)

    def redo(self) -> None:
        """Do the step again."""
        self._travel(self, True)

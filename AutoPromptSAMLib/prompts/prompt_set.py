"""The prompts of one object, in order and undoable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompts.types import (
    Prompt,
    prompt_from_json,
    prompt_to_json,
)


class PromptSet:
    """The prompts of one object, in order, with named undo steps.

    ``version`` grows with every change, undo and redo included: whoever drew or segmented version n can tell that
    there is more. Not thread safe; hosts change it on their main thread and hand ``tuple(prompts)`` to workers.
    """

    def __init__(self, prompts: Sequence[Prompt] = ()) -> None:
        self._prompts: tuple[Prompt, ...] = tuple(prompts)
        ids = [prompt.id for prompt in self._prompts]
        if len(set(ids)) < len(ids):
            raise PromptError("Two prompts of one object have the same id; give each its own.")
        self._undo: list[tuple[str, tuple[Prompt, ...]]] = []
        self._redo: list[tuple[str, tuple[Prompt, ...]]] = []
        self.version = 0

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts)

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, id: str) -> Prompt:
        return self._prompts[self._index(id)]

    def __contains__(self, id: object) -> bool:
        return any(prompt.id == id for prompt in self._prompts)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All prompts as they are now; never changes under its holder."""
        return self._prompts

    def add(self, prompt: Prompt, step: str | None = None) -> None:
        """Append a prompt as the undo step ``step``, default "Add <type>"; its id must be new here."""
        if prompt.id in self:
            raise PromptError(f'The prompt "{prompt.id}" is already there; replace it instead.')
        self._change((*self._prompts, prompt), step or f"Add {prompt.type}")

    def remove(self, id: str, step: str | None = None) -> None:
        """Drop the prompt with ``id``; PromptError when there is none."""
        at = self._index(id)
        self._change(self._prompts[:at] + self._prompts[at + 1 :], step or f"Remove {self._prompts[at].type}")

    def replace(self, id: str, new: Prompt, step: str | None = None) -> None:
        """Put ``new`` where the prompt with ``id`` is, as when a handle was dragged; ``new`` may keep the id."""
        at = self._index(id)
        if new.id != id and new.id in self:
            raise PromptError(f'The prompt "{new.id}" is already there; give the new one its own id.')
        self._change((*self._prompts[:at], new, *self._prompts[at + 1 :]), step or f"Change {new.type}")

    def clear(self, step: str = "Clear") -> None:
        """Drop all prompts as one undo step; nothing happens when there is none."""
        if self._prompts:
            self._change((), step)

    def undo(self) -> str | None:
        """Take back the last step; returns its name, None when there is nothing to undo."""
        return self._travel(self._undo, self._redo)

    def redo(self) -> str | None:
        """Do the last undone step again; returns its name, None when there is nothing to redo."""
        return self._travel(self._redo, self._undo)

    def _index(self, id: str) -> int:
        for at, prompt in enumerate(self._prompts):
            if prompt.id == id:
                return at
        raise PromptError(f'There is no prompt "{id}" here; it may have been removed.')

    def _change(self, prompts: tuple[Prompt, ...], step: str) -> None:
        self._undo.append((step, self._prompts))
        self._redo.clear()
        self._prompts = prompts
        self.version += 1

    def _travel(self, source: list[Any], target: list[Any]) -> str | None:
        if not source:
            return None
        step, prompts = source.pop()
        target.append((step, self._prompts))
        self._prompts = prompts
        self.version += 1
        return str(step)

    def to_json(self) -> list[dict[str, Any]]:
        """JSON-ready list of prompts; the undo history stays behind."""
        return [prompt_to_json(prompt) for prompt in self._prompts]

    @staticmethod
    def from_json(data: Any) -> PromptSet:
        """Inverse of ``to_json``; PromptError names the prompt that is malformed."""
        if not isinstance(data, list):
            raise PromptError("Prompts must be a list.")
        prompts = []
        for number, entry in enumerate(data):
            try:
                prompts.append(prompt_from_json(entry))
            except PromptError as error:
                raise PromptError(f"prompts[{number}]: {error}") from None
        return PromptSet(prompts)

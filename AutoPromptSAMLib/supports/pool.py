"""What the supports of a slice are chosen from, and what is kept of them for any number of slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from AutoPromptSAMLib.backbones.base import Features
from AutoPromptSAMLib.prompters.base import Support
from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportMemory
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
from AutoPromptSAMLib.supports.encode import MOST_SIMILAR, most_similar, signature

# What encoded supports may take, on the GPU if there is one; 24 of them with 20 objects take half of it. A choice.
MOST_BYTES = 1 << 30
MOST_TOGETHER = 8  # objects that are encoded and prompted at once: 60 MB each with four supports


@dataclass(frozen=True, eq=False)
class _Candidate:
    support: Support
    name: str  # unique: what the answers are remembered under
    objects: tuple[str, ...]  # annotated, whether they are there or not, in the order of the masks
    view: str | None
    signature: torch.Tensor


class SupportPool:
    """What the supports of a slice are chosen from; each is encoded for the prompter once.

    And again if it was not used for long and ``MOST_BYTES`` were full: each slice that a person corrects is a support.

    A support counts only for the objects that are annotated on it: others may be there all the same. One that is seen
    from another ``view`` than the slices counts where there is no other. ``weights`` names the prompter's network.
    """

    def __init__(self, prompter: ProxyPrompter, weights: str, view: str | None = None) -> None:
        self.prompter = prompter
        self.weights = weights
        self.view = view
        self._candidates: list[_Candidate] = []
        self._memories: dict[tuple[str, tuple[str, ...]], SupportMemory] = {}

    def __len__(self) -> int:
        return len(self._candidates)

    def add(self, support: Support, name: str, objects: Iterable[str], view: str | None = None) -> None:
        """Let a support be chosen.

        ``name`` stands for its image and masks, whatever these are called; ``objects`` are what is annotated on it, in
        the order of its masks. ``view`` None: it may be seen from anywhere.
        """
        new = _Candidate(support, name, tuple(objects), view, signature(support.features))
        self._candidates = [*(other for other in self._candidates if other.name != name), new]

    def copy(self, view: str | None = None) -> SupportPool:
        """A pool for slices seen from ``view`` with the same supports, to which others can be added.

        What is encoded already is shared.
        """
        other = SupportPool(self.prompter, self.weights, view)
        other._candidates = list(self._candidates)
        other._memories = self._memories
        return other

    def groups(self, features: Features, objects: Sequence[str]) -> list[SupportGroup]:
        """The supports for a slice: objects with the same ones are prompted together, those without are left out."""
        by_choice: dict[tuple[int, ...], list[str]] = {}
        for name in objects:
            able = [n for n, each in enumerate(self._candidates) if name in each.objects]
            if self.view is not None:
                able = [n for n in able if self._candidates[n].view in (None, self.view)] or able
            nearest = most_similar(features, [self._candidates[n].signature for n in able], MOST_SIMILAR)
            chosen = tuple(sorted(able[n] for n in nearest))
            if any(self._candidates[n].support.has(name) for n in chosen):
                by_choice.setdefault(chosen, []).append(name)
        return [
            SupportGroup(tuple(names[start : start + MOST_TOGETHER]), tuple(self._candidates[n] for n in chosen), self)
            for chosen, names in by_choice.items()
            for start in range(0, len(names), MOST_TOGETHER)
        ]

    def _memory(self, objects: tuple[str, ...], candidates: Sequence[_Candidate]) -> SupportMemory:
        missing = [each for each in candidates if (each.name, objects) not in self._memories]
        if missing:
            # All chosen ones, because an object has to be on one of those that are encoded together.
            with torch.no_grad():
                whole = self.prompter.encode_supports([each.support for each in candidates], objects)
            for each, encoding in zip(candidates, whole.supports, strict=True):
                self._memories[each.name, objects] = SupportMemory(objects, (encoding,))
        used = {(each.name, objects): self._memories.pop((each.name, objects)) for each in candidates}
        self._memories |= used  # to the end: at the start are those that were not used for longest
        size = sum(memory.nbytes for memory in self._memories.values())
        for key in list(self._memories)[: -len(used)]:
            if size > MOST_BYTES:
                size -= self._memories.pop(key).nbytes
        return SupportMemory.concatenate(list(used.values()))


@dataclass(frozen=True, eq=False)
class SupportGroup:
    """Objects that the same supports prompt on a slice."""

    objects: tuple[str, ...]
    candidates: tuple[_Candidate, ...]
    pool: SupportPool

    @property
    def identity(self) -> str:
        """Names objects, supports, which of their masks the objects are, and network."""
        parts = [self.pool.weights, *self.objects, ""]
        for each in self.candidates:
            parts += [each.name, *(str(each.objects.index(name)) for name in self.objects)]
        return "\n".join(parts)

    @property
    def memory(self) -> SupportMemory:
        """The supports as the network takes them."""
        return self.pool._memory(self.objects, self.candidates)

"""What is kept of support images: it does not depend on the target, so it is computed once for all slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompters.proxy_prompt.label_copy import LabelledCells


@dataclass(frozen=True, eq=False)
class SupportEncoding:
    """One support: ``keys`` (g·g, Ck + 1), ``values`` (N, g·g, C + 1) and ``sums`` (N, 2, D + 1) or None.

    ``keys`` are those of ``selective_map.as_keys``; a value is the Bridge's output and, last, the mask. ``sums`` are
    the detail path's. ``cells`` are for copying labels, None where that is not wanted.
    """

    keys: torch.Tensor
    values: torch.Tensor
    sums: torch.Tensor | None = None
    cells: LabelledCells | None = None

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that is kept."""
        copying = () if self.cells is None else (self.cells.directions, self.cells.labels)
        return [tensor for tensor in (self.keys, self.values, self.sums, *copying) if tensor is not None]


@dataclass(frozen=True, eq=False)
class SupportMemory:
    """K supports of N objects, in the order of ``objects``. The order of the supports does not matter."""

    objects: tuple[str, ...]
    supports: tuple[SupportEncoding, ...]

    def __len__(self) -> int:
        return len(self.supports)

    @property
    def sums(self) -> torch.Tensor | None:
        """The detail path's sums over all supports (N, 2, D + 1); None when a support has none."""
        each = [support.sums for support in self.supports]
        found = [sums for sums in each if sums is not None]
        return torch.stack(found).sum(0) if found and len(found) == len(each) else None

    @property
    def nbytes(self) -> int:
        """Size of all tensors in bytes."""
        return sum(tensor.nbytes for support in self.supports for tensor in support.tensors)

    @property
    def cells(self) -> tuple[LabelledCells, ...]:
        """Those of all supports; none when a support has none."""
        found = tuple(support.cells for support in self.supports if support.cells is not None)
        return found if len(found) == len(self.supports) else ()

    @staticmethod
    def concatenate(parts: Sequence[SupportMemory]) -> SupportMemory:
        """All supports together; PromptError without parts or when their objects differ."""
        if not parts:
            raise PromptError("There is no annotated example to learn the objects from; add at least one.")
        objects = parts[0].objects
        for part in parts:
            if part.objects != objects:
                raise PromptError(
                    f"Examples of {', '.join(part.objects)} cannot join examples of {', '.join(objects)}; "
                    "encode them for the same objects in the same order."
                )
        return SupportMemory(objects, tuple(support for part in parts for support in part.supports))

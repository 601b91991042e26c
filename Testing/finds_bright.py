"""A session that finds what is bright in place of what examples show: for tests of what hosts do with its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.loops.job import Control, Job
from AutoPromptSAMLib.prompts import MaskPrompt
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.protocol import AutomaticResult
from AutoPromptSAMLib.session.seeds import seed_slices
from AutoPromptSAMLib.supports import SupportObject, SupportPair, SupportSet
from AutoPromptSAMLib.training.preview import Preview

from .threshold_backbone import BRIGHT, ThresholdBackbone

SURE = {index: 0.95 - 0.1 * (index % 4) for index in range(100)}


class FindsBright(LocalSession):
    """Finds what is bright in place of what supports show; a prompted slice keeps what its masks say."""

    def __init__(self, *_: Any) -> None:
        super().__init__(ThresholdBackbone())
        self.given: list[SupportSet | None] = []
        self.error: Exception | None = None
        self.pause = threading.Event()
        self.pause.set()

    def set_supports(self, supports: SupportSet | None) -> None:
        self.given.append(supports)

    def prompt_automatically(
        self,
        objects: Sequence[str] | None = None,
        axis: int | None = None,
        first: int = 0,
        last: int | None = None,
        on_slice: Callable[[str, int, Crop, float], None] | None = None,
        on_progress: Any = None,
        on_done: Any = None,
    ) -> Job[AutomaticResult]:
        assert objects is not None
        assert axis is not None
        assert on_slice is not None
        geometry, array = self.volume.geometry, np.asarray(self.volume.array)
        prompts = {name: self.objects[name].prompts for name in objects if self.objects.get(name)}
        count = geometry.shape[axis]

        def run(control: Control) -> AutomaticResult:
            if self.error is not None:
                raise self.error
            confidence: dict[str, dict[int, float]] = {name: {} for name in objects}
            corrected: dict[str, tuple[int, ...]] = {}
            masks = {name: Crop.empty() for name in objects}
            complete = True
            for index in range(first, count if last is None else min(last + 1, count)):
                if control.cancelled:
                    complete = False
                    break
                for name in objects:
                    on = [p for p in prompts.get(name, ()) if index in seed_slices([p], geometry, axis)]
                    here = np.zeros(geometry.shape, dtype=bool)
                    here[(slice(None),) * axis + (index,)] = True
                    full = here & (array == BRIGHT)
                    for prompt in on:
                        if isinstance(prompt, MaskPrompt):
                            full = here & prompt.crop.to_full(geometry.shape)
                    crop = Crop.from_full(full).tight()
                    corrected[name] = (*corrected.get(name, ()), *([index] if on else ()))
                    if not crop.is_empty:
                        confidence[name][index] = 1.0 if on else SURE[index]
                    masks[name] = masks[name].union(crop)
                    on_slice(name, index, crop, confidence[name].get(index, 0.0))
                self.pause.wait(20)
            if not complete and not any(confidence.values()):
                raise Cancelled("Cancelled.")
            return AutomaticResult(masks, confidence, axis, complete, {"total": 0.0}, 0, corrected)

        return self._worker.submit(run, on_progress, on_done, background=True)


class Learns(FindsBright):
    """Also learns, which takes until ``pause`` is set."""

    task = Path("task")
    better = True

    def learn(self, supports: Any, minutes: float, on_progress: Any, on_preview: Any, on_done: Any) -> Job[Any]:
        image = np.full((8, 8, 3), 60, np.uint8)
        truth = np.kron(np.array([[[1, 0], [0, 0]]], bool), np.ones((1, 2, 2), bool))
        preview = Preview(1, 100, 0.5, "axial 3", image, truth, np.zeros((1, 4, 4), bool))

        def run(control: Control) -> Any:
            control.report(1, 100, "Learning")
            on_preview(preview)
            self.pause.wait(20)
            if self.error is not None:
                raise self.error
            complete = not control.cancelled
            return SimpleNamespace(task=self.task, dice=0.91, held_back=2, complete=complete, better=self.better)

        return self._worker.submit(run, on_progress, on_done, background=True)


def examples(*names: str, colours: Sequence[tuple[float, float, float]] = ()) -> SupportSet:
    """A set of one axial image on which all objects are the same square."""
    colours = colours or [(0.25 * n, 0.5, 1.0) for n in range(len(names))]
    image = np.zeros((8, 8, 3), np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[2:5, 2:5] = True
    pair = SupportPair.of("axial 3", image, dict.fromkeys(names, mask), view="axial")
    objects = tuple(SupportObject(name, colour) for name, colour in zip(names, colours, strict=True))
    return SupportSet("0123456789ab", "Rods", objects, (pair,))

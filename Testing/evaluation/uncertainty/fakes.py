"""Pictures of bright discs, a model that sees brightness only, with an "adapter" or not, a session in name only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from AutoPromptSAMLib.backbones import Backbone, Features
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.session.grey import GreyCrop
from AutoPromptSAMLib.session.protocol import PropagationResult, Review, SliceReview

from ..proxy.fakes import Brightness, make_pictures

PLAIN, ADAPTED = "mobile-sam", "adapted"


def make_discs(folder: Path, count: int = 6, use: str = "evaluation") -> Path:
    """Pictures of ``count`` patients, whose only object is the bright disc."""
    made = make_pictures(folder, count, use=use)
    path = made / "dataset.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["objects"] = {"disc": [1]}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return made


class Seeing(Brightness):
    """It counts the images it encodes, and may be stopped at the n-th as by Ctrl-C."""

    def __init__(self, name: str, stop_at: int | None = None) -> None:
        super().__init__(points=True)
        self.card = replace(self.card, name=name, base=None if name == PLAIN else PLAIN)
        self.encoded, self.stop_at = 0, stop_at

    def encode(self, images: Any) -> Features:
        if self.encoded == self.stop_at:
            raise KeyboardInterrupt
        self.encoded += len(images)
        return super().encode(images)


def loader(made: list[Seeing], stop_at: int | None = None) -> Callable[[str, str], Backbone]:
    """What loads models, and notes them."""

    def load(model: str, device: str) -> Backbone:
        made.append(Seeing(model, stop_at))
        return made[-1]

    return load


class KnownRanks:
    """A session for reviews: slices have ranks that are given, and corrections are carried as far as ``carried``."""

    def __init__(self, doubts: Mapping[int, float], truth: np.ndarray, carried: int = 0) -> None:
        self.doubts, self.truth, self.carried = doubts, truth, carried
        self.accepted: list[Any] = []
        self.asked: list[tuple[int, int]] = []

    def add_prompt(self, name: str, prompt: Any) -> None:
        self.accepted.append(prompt)

    def review(self, name: str, mask: Crop, axis: int, first: int = 0, last: int | None = None) -> Any:
        self.asked.append((first, last if last is not None else len(self.truth) - 1))
        there = [n for n in self.doubts if first <= n <= self.asked[-1][1]]
        slices = {n: SliceReview(n, 1 - self.doubts[n], GreyCrop.empty()) for n in there}
        return _Done(Review(name, axis, slices, True, 0.0))

    def carry(self, name: str, mask: Crop, index: int, axis: int, reach: int) -> Any:
        found = mask.to_full(self.truth.shape)
        near = slice(max(0, index - self.carried), index + self.carried + 1)
        found[near] = self.truth[near]
        return _Done(PropagationResult(name, Crop.from_full(found), axis, {}, (), 0, True))


class _Done(SimpleNamespace):
    def __init__(self, result: Any) -> None:
        super().__init__(done=True, result=lambda timeout=None: result)

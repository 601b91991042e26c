"""The module in the stand-in of the desktop, with a person's hands: tools, mouse, keys, waiting for answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.probe import display_at

from .double import Desktop

MODULE = Path(__file__).parents[2] / "AutoPromptSAM" / "AutoPromptSAM.py"
SHAPE = (20, 64, 80)
AFFINE = np.array([[-1.0, 0, 0, 40], [0, -1.0, 0, 30], [0, 0, 2.5, -20], [0, 0, 0, 1]])
LEFT, RIGHT = (40, 30, 10), (58, 30, 10)  # centres of the balls, as i, j, k


def balls(*centres: Sequence[int], radius_mm: float = 9.0) -> np.ndarray:
    """An image (k, j, i) of 20 x 64 x 80 voxels of 1 x 1 x 2.5 mm with bright balls."""
    k, j, i = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    bright = np.zeros(SHAPE, dtype=bool)
    for ci, cj, ck in centres:
        bright |= ((k - ck) * 2.5) ** 2 + (j - cj) ** 2 + (i - ci) ** 2 < radius_mm**2
    return np.where(bright, 200, 50).astype(np.uint8)


class Hands:
    """``desktop`` with the module open: ``widget`` its widget, ``desk`` what its panels share."""

    def __init__(self, desktop: Desktop) -> None:
        self.desktop = desktop
        _, self.widget = desktop.load_module(MODULE)
        desktop.enter()
        self.desk: Any = self.widget.desk

    @property
    def segmenter(self) -> Any:
        return self.desk.segmenter

    @property
    def geometry(self) -> Any:
        return self.segmenter.volume.geometry

    def open(self, volume: Any, backbone: Any = None) -> None:
        """Choose a volume, and a model if there is none, and wait until they are there."""
        self.desk.parameters.inputVolume = volume
        if backbone is not None:
            self.desk.use_backbone(backbone)
        self.wait(lambda: self.segmenter is not None)
        self.settle()

    def wait(self, until: Callable[[], Any], seconds: float = 30) -> None:
        self.desktop.spin(until, seconds)

    def settle(self, seconds: float = 30) -> None:
        """Until nothing is going on: no answer is awaited and nothing is being drawn."""
        quiet = [time.monotonic()]

        def is_quiet() -> bool:
            busy = self.segmenter is not None and self.segmenter.status.phase != "ready"
            if busy or (self.desk.connection is not None and self.desk.connection._waiting):
                quiet[0] = time.monotonic()
            return time.monotonic() - quiet[0] > 0.15

        self.desktop.spin(is_quiet, seconds)

    # -- the views ----------------------------------------------------------------------------------------------------

    def node(self, view: str = "Red") -> Any:
        return self.desktop.layout_manager.sliceWidget(view).mrmlSliceNode()

    def at(self, ijk: Sequence[float], view: str = "Red") -> tuple[float, float]:
        """Where a voxel is in a view, in pixels."""
        x, y = display_at(self.node(view), self.geometry.ras_from_ijk([ijk]))[0]
        return float(x), float(y)

    def go_to(self, axis: int, index: int) -> None:
        self.desk.views.jump(axis, index)
        self.settle()

    def tool(self, name: str) -> None:
        self.desktop.find(f"PromptsPanel/{name}Button").click()
        self.desktop.raise_errors()

    def press(self, path: str) -> None:
        """Click a button; it must be enabled."""
        button = self.desktop.find(path)
        assert button.enabled, f"{path} is greyed out"
        button.click()
        self.desktop.raise_errors()

    def box(self, first: Sequence[float], last: Sequence[float], view: str = "Red") -> None:
        """Draw a box from one voxel to another."""
        self.tool("box")
        self.desktop.drag(view, self.at(first, view), self.at(last, view))
        self.settle()

    def around(self, centre: Sequence[int], reach: int = 11) -> None:
        """Draw a box around a ball, on the slice of its centre."""
        i, j, k = centre
        self.go_to(0, k)
        self.box((i - reach, j - reach, k), (i + reach, j + reach, k))

    # -- what there is ------------------------------------------------------------------------------------------------

    def voxels(self, segment_id: str | None = None) -> np.ndarray:
        """A segment on the volume's grid (k, j, i), default the active one."""
        crop: Crop = self.segmenter.writer.read(segment_id or self.segmenter.active_segment)
        return crop.to_full(self.geometry.shape)

    def text(self, path: str) -> str:
        return str(self.desktop.find(path).text)

    @property
    def message(self) -> str:
        return self.text("StatusPanel/messageLabel")

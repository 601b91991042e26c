"""What a person at the browser host waits for, and what the server keeps: a real Chromium on the sample CT.

``latency``: boxes around four organs, five each, a few pixels off; from the mouse button coming up to a pixel in the
middle of the organ that has the mask's colour, in the page, once the slice is prepared. ``memory``: the server's
resident memory over many prompts, with undo, on the same slices.

    PYTHONPATH=. python Testing/benchmarks/browser.py latency
    PYTHONPATH=. python Testing/benchmarks/browser.py memory --prompts 500
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import common
import numpy as np
from scipy import ndimage

from AutoPromptSAMLib.zoo import home
from Testing.web.served import Desk, Served, browser

ORGANS = ["liver", "spleen", "kidney_right", "kidney_left"]
BOXES = 5
TARGET_MS = 300


class Case(NamedTuple):
    """An organ on its largest axial slice: the tight box, and the pixel (i, j) farthest from the border."""

    organ: str
    index: int
    box: tuple[int, int, int, int]
    middle: tuple[int, int]


def cases(data: common.Labelled) -> list[Case]:
    """One for each organ."""
    found = []
    for name in ORGANS:
        truth = data.truth(name)
        index = int(truth.sum(axis=(1, 2)).argmax())
        x0, y0, x1, y1 = (int(n) for n in common.tight_box(truth[index]))
        row, col = np.unravel_index(ndimage.distance_transform_edt(truth[index]).argmax(), truth[index].shape)
        found.append(Case(name, index, (x0, y0, x1, y1), (int(col), int(row))))
    return found


def linked_home(folder: Path) -> Path:
    """``folder`` as a home with the machine's models and samples: the work of earlier runs would come back."""
    for part in ("weights", "models", "samples"):
        if (home() / part).exists():
            (folder / part).symlink_to((home() / part).resolve())
    return folder


def draw(desk: Desk, index: int, box: tuple[int, int, int, int], off: np.ndarray) -> None:
    """A box with its corners a few pixels off."""
    x0, y0, x1, y1 = np.array(box) + off
    desk.drag("axial", (x0, y0, index), (x1, y1, index))


def latency(desk: Desk, data: common.Labelled, rng: np.random.Generator) -> list[dict[str, object]]:
    """Milliseconds for each box."""
    figures: list[dict[str, object]] = []
    desk.tool("box")
    for name, index, box, (i, j) in cases(data):
        desk.go_to("axial", index)
        for _ in range(BOXES):
            desk.get("segment-add").click()
            desk.page.wait_for_timeout(400)
            draw(desk, index, box, rng.integers(-4, 5, 4))
            ms = desk.wait_coloured("axial", (i, j, index))
            figures.append({"organ": name, "ms": round(ms)})
            desk.page.keyboard.press("Control+z")
            assert desk.wait_coloured("axial", (i, j, index), coloured=False) >= 0
            desk.wait_ready()
    return figures


def memory(desk: Desk, served: Served, data: common.Labelled, count: int, rng: np.random.Generator) -> list[float]:
    """Resident MB of the server after every tenth of the prompts."""
    figures = []
    organs = cases(data)
    desk.tool("box")
    desk.get("segment-add").click()
    for number in range(count):
        _, index, box, (i, j) = organs[number * len(organs) // count]
        if number % (count // len(organs)) == 0:
            desk.go_to("axial", index)
        draw(desk, index, box, rng.integers(-4, 5, 4))
        assert desk.wait_coloured("axial", (i, j, index)) >= 0
        desk.page.keyboard.press("Control+z")
        assert desk.wait_coloured("axial", (i, j, index), coloured=False) >= 0
        if number % (count // 10) == 0:
            figures.append(round(served.memory_mb))
            print(f"{number}: {figures[-1]} MB", flush=True)
    figures.append(round(served.memory_mb))
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("what", choices=["latency", "memory"])
    arguments.add_argument("--prompts", type=int, default=500)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, help="JSON file for the figures")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(options, Served("--sample", "--port", "0", home=linked_home(Path(folder))))


def run(options: argparse.Namespace, served: Served) -> None:
    """Measure at a served application, and end it."""
    data = common.load(None, None)
    rng = np.random.default_rng(options.seed)
    try:
        with browser() as chromium:
            desk = Desk(chromium, served.address)
            desk.wait_image(120)
            load = os.getloadavg()[0]
            if options.what == "latency":
                figures = latency(desk, data, rng)
                ms = np.array([figure["ms"] for figure in figures])
                print(f"{common.machine()}, load {load:.1f}: {len(ms)} boxes, median {np.median(ms):.0f} ms, "
                      f"90 % {np.percentile(ms, 90):.0f} ms, worst {ms.max()} ms; target {TARGET_MS} ms")  # fmt: skip
            else:
                figures = memory(desk, served, data, options.prompts, rng)
                print(f"{common.machine()}: {options.prompts} prompts, {figures} MB")
            if options.out is not None:
                options.out.write_text(json.dumps({"machine": common.machine(), "figures": figures}, indent=1))
            desk.close()
    finally:
        served.stop()


if __name__ == "__main__":
    main()

"""Pictures of the desktop module's panels after the tutorial's steps, for the README: drawn by Qt, off screen.

python Testing/benchmarks/desktop_pictures.py Resources
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from AutoPromptSAMLib.supports import library
from Testing.desktop.double import Desktop
from Testing.desktop.hands import Hands
from Testing.desktop.tour import FOUND, PAIRS, Tour

WIDTH = 460  # pixels of a panel
EXTRA = {"models": 60, "install": 180}  # pixels for texts of several lines, and for a list
LACKING = ("torch", "torchvision", "openvino", "timm", "segment-anything", "kornia", "mambapy", "py-undo-stack")


def picture(desktop: Desktop, panel: Any, name: str, folder: Path) -> None:
    """Write ``desktop-<name>.png`` of a panel, unfolded."""
    section = getattr(panel.ui, f"{name}Section", None)
    if section is not None:
        section.collapsed = False
    for height in (panel.widget.sizeHint.height(), panel.widget.minimumSizeHint.height() + EXTRA.get(name, 0)):
        panel.widget.resize(WIDTH, height)
        desktop.spin()
    desktop.grab(panel.widget, folder / f"desktop-{name}.png")


def main(folder: Path) -> None:
    """Write a picture of each panel, and one of a slice view."""
    with tempfile.TemporaryDirectory() as temporary:
        library.home = lambda: Path(temporary)  # not the user's examples
        with Desktop(Path(temporary) / "new") as desktop, desktop.missing(*LACKING):
            hands = Hands(desktop)
            desktop.container.resize(WIDTH, 2000)
            desktop.spin()
            picture(desktop, hands.desk.page.install, "install", folder)
        with Desktop(Path(temporary) / "slicer") as desktop:
            tour = Tour(desktop)
            page = tour.desk.page
            page.advanced.ui.folderLabel.text = "~/.cache/autopromptsam"
            desktop.container.resize(WIDTH, 1400)
            tour.box_the_spleen()
            tour.doodle_the_liver()
            tour.select("Spleen")
            picture(desktop, page.prompts, "prompts", folder)
            tour.run_through(*PAIRS)
            tour.make_pairs()
            tour.find_by_pairs()
            tour.next_unsure()
            for name in ("input", "supports", "automatic"):
                picture(desktop, getattr(page, name), name, folder)
            tour.review()
            display = tour.segmenter.volume_node.GetDisplayNode()
            display.AutoWindowLevelOff()
            display.SetWindowLevel(400, 40)
            for name in ("review", "status", "models", "advanced", "correct"):
                picture(desktop, getattr(page, name), name, folder)
            desktop.grab(desktop.pick_view("Red"), folder / "desktop-view.png")
            print(f"Spleen on {FOUND}: Dice {tour.dice(1, *range(FOUND[0], FOUND[1] + 1)):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

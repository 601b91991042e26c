"""Pictures of the desktop module's panels after the tutorial's steps, for the README: drawn by Qt, off screen.

python Testing/benchmarks/desktop_pictures.py Resources
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from AutoPromptSAMLib.supports import library
from Testing.desktop.double import Desktop
from Testing.desktop.tour import FOUND, PAIRS, Tour

WIDTH = 460  # pixels of a panel
EXTRA = {"models": 60}  # pixels for a text of several lines


def main(folder: Path) -> None:
    """Write ``desktop-<panel>.png`` for each panel, and one of the slice view."""
    with tempfile.TemporaryDirectory() as temporary, Desktop(Path(temporary) / "slicer") as desktop:
        library.home = lambda: Path(temporary)  # not the user's examples
        tour = Tour(desktop)
        tour.desk.page.advanced.ui.folderLabel.text = "~/.cache/autopromptsam"

        def picture(name: str) -> None:
            panel = getattr(tour.desk.page, name)
            section = getattr(panel.ui, f"{name}Section", None)
            if section is not None:
                section.collapsed = False
            for height in (panel.widget.sizeHint.height(), panel.widget.minimumSizeHint.height() + EXTRA.get(name, 0)):
                panel.widget.resize(WIDTH, height)
                desktop.spin()
            desktop.grab(panel.widget, folder / f"desktop-{name}.png")

        tour.desktop.container.resize(WIDTH, 1400)
        tour.box_the_spleen()
        tour.doodle_the_liver()
        tour.select("Spleen")
        picture("prompts")
        tour.run_through(*PAIRS)
        tour.make_pairs()
        tour.find_by_pairs()
        tour.next_unsure()
        for name in ("input", "supports", "automatic"):
            picture(name)
        tour.review()
        display = tour.segmenter.volume_node.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevel(400, 40)
        for name in ("review", "status", "models", "advanced", "correct"):
            picture(name)
        desktop.grab(desktop.pick_view("Red"), folder / "desktop-view.png")
        print(f"Spleen on {FOUND}: Dice {tour.dice(1, *range(FOUND[0], FOUND[1] + 1)):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

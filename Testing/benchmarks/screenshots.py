"""The README's pictures of the browser host, taken from the running application on the sample CT.

PYTHONPATH=. python Testing/benchmarks/screenshots.py Resources
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import common
from browser import Case, cases, linked_home

from Testing.web.served import Desk, Served, browser

SIZE = (1600, 900)


def keep(desk: Desk, folder: Path, name: str) -> None:
    """A picture of the page."""
    desk.page.screenshot(path=folder / f"web-{name}.jpg", type="jpeg", quality=88)


def draw_box(desk: Desk, case: Case, name: str) -> None:
    """A segment of that name with a box on the organ's largest slice."""
    desk.go_to("axial", case.index)
    desk.get("segment-add").click()
    desk.page.wait_for_timeout(600)
    desk.rename(name)
    desk.tool("box")
    x0, y0, x1, y1 = case.box
    desk.drag("axial", (x0 - 2, y0 - 2, case.index), (x1 + 2, y1 + 2, case.index))
    desk.wait_coloured("axial", (*case.middle, case.index))
    desk.wait_ready()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("folder", type=Path)
    folder = arguments.parse_args().folder
    organs = {case.organ: case for case in cases(common.load(None, None))}
    with tempfile.TemporaryDirectory() as home, browser() as chromium:
        served = Served("--sample", "--port", "0", home=linked_home(Path(home)))
        try:
            desk = Desk(chromium, served.address, SIZE)
            desk.wait_image(120)
            draw_box(desk, organs["liver"], "liver")
            desk.page.wait_for_timeout(1500)
            keep(desk, folder, "box")
            desk.get("propagate").click()
            desk.page.wait_for_timeout(15000)
            keep(desk, folder, "propagate")
            desk.wait_ready(300)
            for organ in ("spleen", "kidney_right", "kidney_left"):
                draw_box(desk, organs[organ], organ.replace("_", " "))
                desk.get("propagate").click()
                desk.page.wait_for_timeout(1000)
                desk.wait_ready(300)
            desk.get("segments-surface").click()
            desk.page.wait_for_timeout(8000)
            keep(desk, folder, "result")
            desk.get("layout-one-three").click()
            case = organs["liver"]
            desk.get("segment-row").first.click()
            desk.page.wait_for_timeout(1500)
            desk.go_to("axial", case.index - 4)
            desk.calibrate("axial")
            desk.tool("point-")
            desk.page.mouse.move(*desk.place("axial", (*case.middle, case.index - 4)))
            desk.page.wait_for_timeout(1500)
            keep(desk, folder, "correct")
            desk.close()
        finally:
            served.stop()


if __name__ == "__main__":
    main()

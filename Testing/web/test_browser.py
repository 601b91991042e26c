"""A person at the served application: a real Chromium, the real sample CT, the real default model."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from AutoPromptSAMLib.images import load_labels, load_segmentation, load_volume
from AutoPromptSAMLib.zoo import sample_ct

from .served import DRAWN, Desk, Served, Wire, save

LIVER = 5
BAR_MM = re.compile(r"(\d+) (mm|cm)")
# How much of the width of a view's picture its scale bar has.
BAR_OF_PICTURE = """
(view) => {
  const bar = document.querySelector(`[data-testid=view-${view}-scale]`);
  const image = bar.closest('.aps-over').parentElement.querySelector('img[src^="blob:"], canvas');
  return bar.getBoundingClientRect().width / image.getBoundingClientRect().width;
}
"""


@pytest.fixture(scope="module")
def liver() -> np.ndarray:
    """The reference liver of the sample CT, (k, j, i)."""
    sample = sample_ct()
    volume = load_volume(sample.image)
    return np.asarray(load_labels(sample.labels, volume.geometry) == LIVER)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row of a mask (rows, cols): i0, j0, i1, j1."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(cols[0]), int(rows[0]), int(cols[-1]), int(rows[-1])


def middle_of(mask: np.ndarray) -> tuple[int, int]:
    """Column and row farthest from the border of a mask."""
    from scipy import ndimage

    row, col = np.unravel_index(ndimage.distance_transform_edt(mask).argmax(), mask.shape)
    return int(col), int(row)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def propagate(desk: Desk, first: int, last: int) -> None:
    """Start a run through these slices."""
    desk.get("propagate-first").fill(str(first))
    desk.get("propagate-last").fill(str(last))
    expect(desk.page.locator(".aps-range-text")).to_contain_text(f"from {first} to {last}")
    desk.get("propagate").click()


def wait_saved(home: Path, mask: np.ndarray) -> None:
    """Until a segment with this mask is kept, as it is a moment after the person rests."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for file in home.rglob("segments.seg.nrrd"):
            if any(np.array_equal(mask, kept) for kept in load_segmentation(file)[0].values()):
                return
        time.sleep(0.5)
    raise AssertionError("the work was not saved")


def test_a_liver_from_box_to_exported_file(chromium: Any, home: Path, liver: np.ndarray, tmp_path: Path) -> None:
    served = Served("--sample", home=home)
    try:
        desk = Desk(chromium, served.address)
        desk.wait_image()
        index = int(liver.sum(axis=(1, 2)).argmax())
        desk.go_to("axial", index)
        i0, j0, i1, j1 = box_of(liver[index])
        i, j = middle_of(liver[index])
        middle = (i, j, index)
        beside = (i + 9, j + 9, index)  # the marker of a click hides what is under it

        # A box, and the mask is there.
        desk.tool("box")
        desk.drag("axial", (i0 - 2, j0 - 2, index), (i1 + 2, j1 + 2, index))
        assert desk.wait_coloured("axial", middle) > 0
        expect(desk.get("prompt-row")).to_have_count(1)

        # A negative point takes a part away, undo and redo bring it back and take it again.
        desk.tool("point-")
        desk.click("axial", middle)
        assert desk.wait_coloured("axial", beside, coloured=False) > 0
        desk.page.keyboard.press("Control+z")
        assert desk.wait_coloured("axial", beside) > 0
        desk.page.keyboard.press("Control+Shift+z")
        assert desk.wait_coloured("axial", beside, coloured=False) > 0
        desk.page.keyboard.press("Control+z")
        assert desk.wait_coloured("axial", beside) > 0

        # A stroke of the paint brush is one step too.
        desk.tool("paint")
        desk.get("brush-size").fill("24")  # as wide as the spot that is watched
        desk.drag("axial", (i1 + 30, j, index), (i1 + 60, j, index))
        desk.page.mouse.move(*desk.place("axial", (i0, j0, index)))  # away: the brush hides what is under it
        assert desk.wait_coloured("axial", (i1 + 45, j, index)) > 0
        desk.page.wait_for_selector("[data-testid=undo][aria-label*=Paint]")
        desk.page.keyboard.press("Control+z")
        assert desk.wait_coloured("axial", (i1 + 45, j, index), coloured=False) > 0
        desk.page.wait_for_selector("[data-testid=undo][aria-label*=box]")
        desk.tool("navigate")

        # Twenty slices around it.
        first, last = index - 10, index + 9
        propagate(desk, first, last)
        expect(desk.get("propagate-result")).to_contain_text(f"slices, {first} to {last}.", timeout=240_000)
        file = save(desk, tmp_path, "seg-nrrd")
        masks, geometry = load_segmentation(file)
        (mask,) = masks.values()
        assert geometry.close_to(load_volume(sample_ct().image).geometry)
        assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == list(range(first, last + 1))
        assert dice(mask[first : last + 1], liver[first : last + 1]) > 0.9

        # A second run is cancelled: what was finished stays.
        propagate(desk, 0, liver.shape[0] - 1)
        desk.page.wait_for_function(
            "(n) => /slice (\\d+) of/.exec(document.querySelector('[data-testid=status]').textContent)?.[1] > n",
            arg=last - first + 6,
            timeout=240_000,
        )
        desk.get("status-cancel").click()
        desk.told("Cancelled")
        (cancelled,) = load_segmentation(save(desk, tmp_path, "seg-nrrd"))[0].values()
        assert (cancelled & mask).sum() > 0.98 * mask.sum()
        assert cancelled.any(axis=(1, 2)).sum() > last - first + 1
        assert cancelled.any(axis=(1, 2)).sum() < liver.any(axis=(1, 2)).sum()

        # The page is loaded anew: all is where it was.
        desk.page.reload()
        desk.wait_image()
        expect(desk.get("segment-row")).to_have_count(1)
        expect(desk.get("prompt-row")).to_have_count(1)
        again = load_segmentation(save(desk, tmp_path, "seg-nrrd"))[0]
        assert np.array_equal(next(iter(again.values())), cancelled)
        prompts = json.loads(save(desk, tmp_path, "json").read_text(encoding="utf-8"))
        assert [len(entry["prompts"]) for entry in prompts["objects"]] == [1]
        assert desk.errors == []
        desk.close()
    finally:
        served.stop()


def test_killed_work_comes_back(chromium: Any, home: Path, liver: np.ndarray, tmp_path: Path) -> None:
    index = int(liver.sum(axis=(1, 2)).argmax())
    i, j = middle_of(liver[index])
    served = Served("--sample", home=home)
    try:
        desk = Desk(chromium, served.address)
        desk.wait_image()
        desk.go_to("axial", index)
        i0, j0, i1, j1 = box_of(liver[index])
        desk.tool("box")
        desk.drag("axial", (i0, j0, index), (i1, j1, index))
        assert desk.wait_coloured("axial", (i, j, index)) > 0
        (before,) = load_segmentation(save(desk, tmp_path, "seg-nrrd"))[0].values()
        wait_saved(home, before)
        desk.close()
    finally:
        served.kill()
    served = Served(home=home)
    try:
        desk = Desk(chromium, served.address)
        desk.get("resume").first.click()
        desk.wait_image()
        expect(desk.get("prompt-row")).to_have_count(1)
        (after,) = load_segmentation(save(desk, tmp_path, "seg-nrrd"))[0].values()
        assert np.array_equal(after, before)
        desk.close()
    finally:
        served.stop()


def test_what_cannot_be_opened_is_said_and_loses_nothing(chromium: Any, home: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813 - the name in its own manual

    empty, photo, movie = tmp_path / "empty.nii.gz", tmp_path / "photo.png", tmp_path / "movie.nii.gz"
    empty.write_bytes(b"")
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    sitk.WriteImage(sitk.Image([8, 8, 4, 3], sitk.sitkInt16), str(movie))
    served = Served("--sample", home=home)
    try:
        desk = Desk(chromium, served.address)
        desk.wait_image()
        shown = desk.get("image-name").inner_text()
        for path in (empty, movie):
            desk.bring(path)
            toast = desk.get("toast").filter(has_text=path.name)
            toast.wait_for()
            assert "Traceback" not in toast.inner_text()
            assert desk.get("image-name").inner_text() == shown
            toast.get_by_test_id("toast-close").click()
            expect(toast).to_have_count(0)
        desk.bring(photo)
        expect(desk.get("image-name")).to_have_text("photo")
        assert desk.errors == []
        desk.close()
    finally:
        served.stop()


def test_two_tabs_see_the_same(chromium: Any, home: Path) -> None:
    served = Served("--sample", home=home)
    try:
        one, two = Desk(chromium, served.address), Desk(chromium, served.address, size=(1000, 800))
        for desk in (one, two):
            desk.wait_image()
        two.page.wait_for_function(DRAWN, arg="axial")
        # The picture is of the second page's size: in the first one it is as wide as its view, too.
        bar, width = BAR_MM.fullmatch(two.get("view-axial-scale").inner_text()), two.frame("axial")["width"]
        assert bar is not None
        columns = two.place("axial", (200, 100, 0))[0] - two.place("axial", (100, 100, 0))[0]
        mm_per_pixel = 100 * float(load_volume(sample_ct().image).geometry.spacing[0]) / columns
        share = float(bar[1]) * (10 if bar[2] == "cm" else 1) / mm_per_pixel / width
        for desk in (one, two):
            drawn = desk.page.evaluate(BAR_OF_PICTURE, "axial")
            assert drawn == pytest.approx(share, abs=0.01), desk.page.viewport_size
        one.get("segment-add").click()
        expect(two.get("segment-row")).to_have_count(1)
        two.close()
        one.get("segment-add").click()
        expect(one.get("segment-row")).to_have_count(2)
        assert one.errors == []
        one.close()
    finally:
        served.stop()


def test_a_dropped_connection_is_said_and_comes_back(chromium: Any, home: Path) -> None:
    served = Served("--sample", home=home)
    wire = Wire(served.address)
    try:
        desk = Desk(chromium, wire.address)
        desk.wait_image()
        desk.get("segment-add").click()
        expect(desk.get("segment-row")).to_have_count(1)
        wire.cut()
        desk.get("lost").wait_for(timeout=60_000)
        wire.mend()
        desk.get("lost").wait_for(state="detached", timeout=60_000)
        desk.wait_image()
        expect(desk.get("segment-row")).to_have_count(1)
        desk.get("segment-add").click()
        expect(desk.get("segment-row")).to_have_count(2)
        desk.close()
    finally:
        wire.cut()
        served.stop()


def test_without_the_token_nothing_is_served(chromium: Any, home: Path) -> None:
    served = Served(home=home)
    try:
        context = chromium.new_context()
        page = context.new_page()
        answer = page.goto(served.address.split("?")[0])
        assert answer.status == 403
        context.close()
    finally:
        served.stop()

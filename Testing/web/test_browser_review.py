"""A bad box, seen to be unsure, mended, taken back, and on to the next slice: a real Chromium, the default model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.sync_api import expect
from scipy import ndimage

from AutoPromptSAMLib.images import load_volume

from .blocks import grey, masks, wait_step, with_segment
from .served import Desk

COL, ROW, RADIUS = 37, 41, 25  # of a bright rod
FIRST, LAST, BAD = 9, 11, 10  # slices of the segment, and the one whose box is too small
ROWS, COLS = np.indices((96, 96))
DISC = (ROWS - ROW) ** 2 + (COLS - COL) ** 2 < RADIUS**2
SMALL = 20  # half the side of that box


def dice(mask: np.ndarray) -> float:
    """On the slice of the bad box."""
    return float(2 * (mask[BAD] & DISC).sum() / (mask[BAD].sum() + DISC.sum()))


def masked(desk: Desk, folder: Path) -> np.ndarray:
    """The voxels of the only segment."""
    (mask,) = masks(desk, folder).values()
    return mask


def run_ends(desk: Desk) -> None:
    """Wait for a run that was just started."""
    expect(desk.get("review-cancel")).to_have_count(0, timeout=180_000)
    desk.wait_ready()


def listed(desk: Desk) -> list[int]:
    """The least sure slices."""
    return [int(row.get_attribute("data-slice")) for row in desk.get("review-row").all()]


def test_a_bad_box_is_seen_mended_and_taken_back(desk: Desk, tmp_path: Path) -> None:
    voxels = grey()
    voxels[5:15] = np.where(DISC, 200, np.random.default_rng(7).normal(-50, 10, (10, 96, 96))).astype(np.int16)
    drawn = np.zeros(voxels.shape, bool)
    drawn[FIRST : LAST + 1] = DISC
    name = with_segment(desk, tmp_path, drawn, voxels)
    desk.get("by-review").click()
    expect(desk.get("review-start")).to_be_visible()

    # A box that is too small, on one slice.
    desk.go_to("axial", BAD)
    desk.tool("box")
    desk.drag("axial", (COL - SMALL, ROW - SMALL, BAD), (COL + SMALL, ROW + SMALL, BAD))
    wait_step(desk, "Add box")
    desk.wait_ready()
    desk.tool("navigate")
    bad = masked(desk, tmp_path)
    assert 0.3 < dice(bad) < 0.95

    # Where it is unsure: in the list, along the slider, over the image, in a file.
    desk.page.keyboard.press("Shift+U")
    expect(desk.get("review-about")).to_contain_text(f"{LAST - FIRST + 1} slices", timeout=180_000)
    run_ends(desk)
    assert BAD in listed(desk)
    expect(desk.get("view-axial-strip").locator(".aps-mark-sure")).not_to_have_count(0)
    with desk.page.expect_download() as download:
        desk.get("review-export-nrrd").click()
    file = tmp_path / str(download.value.suggested_filename)
    download.value.save_as(file)
    assert file.name.startswith(name)
    bits = load_volume(file).array
    assert 0.5 < bits[BAD].max() <= 1
    assert not bits[: FIRST - 1].any()
    # In the middle of what is unsure, where no line is drawn.
    depth = ndimage.distance_transform_edt(bits[BAD] > 0.3)
    row, col = np.argwhere(depth == depth.max())[0].tolist()
    assert desk.wait_coloured("axial", (col, row, BAD)) >= 0
    desk.page.mouse.move(2, 2)
    desk.page.keyboard.press("h")
    expect(desk.get("review-overlay")).not_to_be_checked()
    desk.page.keyboard.press("h")
    expect(desk.get("review-overlay")).to_be_checked()

    # Its prompts mend themselves, step by step, and what they made can be taken back.
    expect(desk.get("review-suggestion")).to_contain_text("a box")
    desk.page.keyboard.press("r")
    wait_step(desk, "Refine")
    run_ends(desk)
    step = desk.get("review-step")
    expect(step).to_contain_text(f"Slice {BAD}: step")
    expect(desk.get("review-reason")).to_contain_text("bits")
    mended = masked(desk, tmp_path)
    assert dice(mended) > dice(bad) + 0.03
    assert np.array_equal(np.delete(mended, BAD, 0), np.delete(bad, BAD, 0))
    while not step.filter(has_text="as it was").count():
        before = step.text_content()
        desk.page.keyboard.press(",")
        expect(step).not_to_have_text(str(before))
    assert np.array_equal(masked(desk, tmp_path), bad)
    desk.get("review-forward").click()
    expect(step).to_contain_text(f"Slice {BAD}: step 1")
    assert dice(masked(desk, tmp_path)) > dice(bad)

    # On to the slices that are least sure now.
    order = listed(desk)
    assert len(order) > 1
    for index in order[:2]:
        desk.page.keyboard.press("u")
        expect(desk.get("view-axial-index")).to_contain_text(f"{index} ")
    assert np.array_equal(np.delete(masked(desk, tmp_path), BAD, 0), np.delete(bad, BAD, 0))

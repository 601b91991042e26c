"""What hands may do on the page, in a real Chromium with the real default model."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from .blocks import LOWER, UPPER, block, grey, masks, open_image, wait_step, with_segment, write
from .served import Desk

# Whether the first of two elements lies within the other, and whether no element of one kind lies over one of another.
INSIDE = """
([inner, outer]) => {
  const [a, b] = [inner, outer].map((name) => document.querySelector(name)?.getBoundingClientRect());
  return a && b && a.height && b.top - 1 <= a.top && a.bottom <= b.bottom + 1;
}
"""
APART = """
([pair]) => {
  const [some, others] = pair.map((id) => [...document.querySelectorAll(`[data-testid=${id}]`)]);
  const over = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return some.length && others.length && some.every((one) => others.every((other) =>
    one === other || !over(one.getBoundingClientRect(), other.getBoundingClientRect())));
}
"""
# Whether all that an element holds ends before its right edge, but for the row of pictures, which scrolls.
WITHIN = """
(outer) => {
  const box = document.querySelector(outer);
  const end = box ? box.getBoundingClientRect().right + 1 : 0;
  const inside = end ? [...box.querySelectorAll("*:not(.aps-thumbs *)")] : [];
  return end && inside.every((each) => each.getBoundingClientRect().right <= end);
}
"""


def test_each_edit_is_one_step_with_its_name(desk: Desk, tmp_path: Path) -> None:
    rough = block()
    rough[2:4, 80:84, 80:84] = True  # an island
    rough[10, 60:63, 40] = True  # a spike
    with_segment(desk, tmp_path, rough)
    desk.go_to("axial", 10)
    (start,) = masks(desk, tmp_path).values()
    assert np.array_equal(start, rough)
    done = [(wait_step(desk, "Import"), start)]

    def edited(step: str) -> np.ndarray:
        named, before = done[-1]
        name = wait_step(desk, step)
        (after,) = masks(desk, tmp_path).values()
        assert not np.array_equal(after, before), step
        desk.page.keyboard.press("Control+z")
        wait_step(desk, named)
        (undone,) = masks(desk, tmp_path).values()
        assert np.array_equal(undone, before), step
        desk.page.keyboard.press("Control+y")
        wait_step(desk, step)
        done.append((name, after))
        return after

    desk.tool("islands")
    desk.get("islands-apply").click()
    assert not edited("Islands")[2:4, 80:84, 80:84].any()
    desk.tool("smoothing")
    desk.get("smoothing-mode").select_option("OPENING")
    desk.get("smoothing-apply").click()
    assert not edited("Smooth")[10, 62, 40]
    desk.tool("erase")
    desk.drag("axial", (36, 50, 10), (44, 50, 10))
    assert not edited("Erase")[10, 50, 40]
    desk.tool("scissors")
    x, y = desk.place("axial", (50, 26, 10))
    desk.page.mouse.move(x, y)
    desk.page.mouse.down()
    for corner in ((64, 26, 10), (64, 64, 10), (50, 64, 10), (50, 26, 10)):
        desk.page.mouse.move(*desk.place("axial", corner), steps=5)
    desk.page.mouse.up()
    cut = edited("Scissors")
    assert not cut[:, 40, 55].any()
    assert cut[LOWER[2] + 1 : UPPER[2], 40, 40].all()

    desk.tool("smoothing")
    desk.get("smoothing-mode").select_option("MEDIAN")
    desk.get("smoothing-size").fill("30")
    desk.get("smoothing-apply").click()
    desk.told("Nothing is left")
    desk.get("smoothing-apply").click()
    desk.told("is empty")


def test_a_locked_segment_stays_as_it_is(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)
    desk.go_to("axial", 10)
    desk.tool("paint")
    desk.get("segment-row").hover()
    desk.get("segment-lock").click()
    desk.told("is locked")  # the brush is put away while it is
    desk.drag("axial", (10, 10, 10), (20, 20, 10))
    desk.tool("smoothing")
    desk.told("is locked")
    desk.get("smoothing-apply").click()
    desk.told("is locked")
    desk.tool("box")
    desk.drag("axial", (10, 10, 10), (40, 40, 10))
    desk.told("is locked")
    (mask,) = masks(desk, tmp_path).values()
    assert np.array_equal(mask, block())
    desk.tool("paint")
    desk.told("is locked")
    desk.get("segment-lock").click()
    desk.page.wait_for_selector("[data-testid=segment-lock][aria-pressed=false]")
    desk.drag("axial", (10, 10, 10), (20, 20, 10))
    wait_step(desk, "Paint")


def test_a_click_on_a_name_selects_and_letters_stay_shortcuts(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)
    desk.get("segment-add").click()
    expect(desk.get("segment-row")).to_have_count(2)
    desk.get("segment-name").first.click()
    expect(desk.get("segment-row").first).to_have_attribute("aria-current", "true")
    expect(desk.get("segment-name-field")).to_have_count(0)
    desk.page.keyboard.press("b")
    expect(desk.get("tool-box")).to_have_attribute("aria-pressed", "true")
    expect(desk.get("segment-name").first).to_have_text("Segment_1")


def test_letters_in_a_name_are_no_shortcuts(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)
    name, field = desk.get("segment-name"), desk.get("segment-name-field")
    tool = desk.page.locator(".aps-tool.aps-active").get_attribute("data-testid")
    name.dblclick()
    expect(field).to_be_focused()
    field.fill("")
    field.press_sequentially("band a? ")
    desk.page.mouse.move(*desk.place("axial", (20, 20, 10)))  # what the page shows of it leaves the field alone
    expect(desk.get("cursor-ijk")).to_be_visible()
    expect(field).to_have_value("band a? ")
    field.press("Escape")
    expect(field).to_have_count(0)
    expect(name).to_have_text("Segment_1")
    desk.page.keyboard.press("F2")
    field.fill("band a")
    field.press("Enter")
    expect(name).to_have_text("band a")
    name.hover()
    desk.get("segment-rename").click()
    field.fill("band b")
    desk.get("segments-masking").click()  # elsewhere
    expect(field).to_have_count(0)
    expect(name).to_have_text("band b")
    expect(desk.get("segment-row")).to_have_count(1)
    assert desk.page.locator(".aps-tool.aps-active").get_attribute("data-testid") == tool
    assert not desk.get("help-dialog").is_visible()


def test_nothing_is_covered_in_a_small_window(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)

    desk.page.set_viewport_size({"width": 1366, "height": 768})
    for count in range(2, 14):
        desk.page.keyboard.press("a")
        expect(desk.get("segment-row")).to_have_count(count)
    expect(desk.get("segment-row").last).to_have_attribute("aria-current", "true")
    desk.page.wait_for_function(INSIDE, arg=["[data-testid=segment-row].aps-active", "[data-testid=segment-list]"])
    for layout in ("four-up", "one-three", "axial"):
        desk.get(f"layout-{layout}").click()
        expect(desk.get(f"layout-{layout}")).to_have_attribute("aria-pressed", "true")
        for tool, part in (("scissors", "scissors-mode"), ("smoothing", "smoothing-mode")):
            desk.tool(tool)
            desk.get(part).wait_for()
            desk.page.wait_for_function(APART, arg=[["tool-options", "view-axial-fit"]])
    desk.get("layout-four-up").click()
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        (tmp_path / name).write_bytes(b"")
        desk.bring(tmp_path / name)
        desk.get("toast").filter(has_text=name).wait_for()
    expect(desk.get("toast")).to_have_count(3)
    for part in ("status", "export", "tool-options", "toast"):
        desk.page.wait_for_function(APART, arg=[["toast", part]])
    desk.put_away()


def test_marks_of_neighbouring_prompted_slices_stay_white(desk: Desk, tmp_path: Path) -> None:
    open_image(desk, write(tmp_path / "marks.nii.gz", grey()))
    mark = "{left: n / 4, width: 0.25, kind: 'seed', text: `slice ${n}: prompted`}"  # of 400 slices, the first half
    desk.page.evaluate(
        f"""() => trame.state.set('view_axial', {{...trame.state.get('view_axial'),
            strip: [...Array(200).keys()].map((n) => ({mark}))}})"""
    )
    expect(desk.get("view-axial-strip").locator("span")).to_have_count(200)
    with Image.open(io.BytesIO(desk.get("view-axial-strip").screenshot())) as picture:
        row = np.asarray(picture.convert("L"))[picture.height // 2]
    half = row[: len(row) // 2]
    assert (half > 200).mean() > 0.9


def test_slices_can_be_turned_and_straightened(desk: Desk, tmp_path: Path) -> None:
    open_image(desk, write(tmp_path / "turned.nii.gz", grey()))
    desk.wait_image()
    over = desk.get("view-coronal-slice").locator("xpath=ancestor::*[contains(@class, 'aps-over')]")
    letter = over.locator(".aps-letter-left")
    expect(letter).to_have_text("R")
    desk.get("oblique").click()
    desk.page.wait_for_selector("[data-testid=oblique][aria-pressed=true]")
    frame = desk.frame("axial")
    middle = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    reach = 0.462 * min(frame["width"], frame["height"])  # where the line ends
    for _ in range(10):  # a handle is there a moment after the mouse is over it, and it cannot be seen that it is
        for along in (reach - 3, reach):
            desk.page.mouse.move(middle[0] + along, middle[1], steps=3)
            desk.page.wait_for_timeout(500)
        desk.page.mouse.down()
        desk.page.mouse.move(middle[0] + reach - 30, middle[1] + 90, steps=8)
        desk.page.mouse.up()
        with suppress(AssertionError):
            expect(letter).not_to_have_text("R", timeout=3000)
            break
    expect(letter).to_have_text("RA")
    desk.page.keyboard.press("o")  # the mouse is still on the handle that this takes away
    desk.page.wait_for_selector("[data-testid=oblique][aria-pressed=false]")
    expect(letter).to_have_text("R")
    at = desk.read_out("axial", *middle)
    desk.page.mouse.move(middle[0] + reach / 2, middle[1], steps=5)
    assert len(at) == 3
    expect(desk.get("cursor-ijk")).not_to_have_text(" ".join(f"{n:.0f}" for n in at))


def test_escape_ends_the_hints_and_nothing_else(desk: Desk, chromium: Any, tmp_path: Path) -> None:
    open_image(desk, write(tmp_path / "hints.nii.gz", grey()))
    desk.tool("box")
    newcomer = Desk(chromium, desk.address, hints=True)
    newcomer.wait_image()
    hint, key = newcomer.get("hint"), newcomer.page.keyboard
    expect(hint).to_contain_text("1 of 3")
    newcomer.get("model-chip").click()
    expect(newcomer.get("models-dialog")).to_be_visible()
    expect(hint).to_have_count(0)
    key.press("Escape")  # is for the dialog
    expect(newcomer.get("models-dialog")).to_be_hidden()
    expect(hint).to_contain_text("1 of 3")
    newcomer.get("hint-next").click()
    expect(hint).to_contain_text("2 of 3")
    newcomer.get("hint-next").focus()
    key.press("Escape")
    expect(hint).to_have_count(0)
    assert newcomer.page.evaluate("localStorage.getItem('autopromptsam.hints-seen')") == "1"
    expect(newcomer.get("tool-box")).to_have_attribute("aria-pressed", "true")
    newcomer.get("help").click()
    newcomer.get("help-hints").click()
    expect(newcomer.get("help-dialog")).to_be_hidden()
    expect(hint).to_contain_text("1 of 3")
    key.press("Escape")
    expect(hint).to_have_count(0)
    newcomer.get("segment-add").click()  # comes to the program after the key, if that did
    expect(newcomer.get("segment-row")).to_have_count(1)
    expect(newcomer.get("tool-box")).to_have_attribute("aria-pressed", "true")
    key.press("Escape")
    expect(newcomer.get("tool-navigate")).to_have_attribute("aria-pressed", "true")
    assert newcomer.errors == []
    newcomer.close()


def test_long_names_stay_within_their_panels(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)
    desk.page.set_viewport_size({"width": 1280, "height": 720})
    long = "posterior basal segmental bronchus of the left inferior lobe of the lung"
    desk.rename(long)
    desk.get("by-examples").click()
    desk.get("examples-start-scene").click()
    desk.page.wait_for_function(WITHIN, arg=".aps-gallery-body")
    desk.get("examples-name").fill(long)
    desk.get("examples-add-scene").click()
    desk.told("joined", long)
    expect(desk.get("examples-object-name")).to_have_value(long)
    desk.page.wait_for_function(WITHIN, arg=".aps-gallery-body")
    desk.get("examples-remove-set").click()
    desk.page.wait_for_function(WITHIN, arg=".aps-gallery-body")
    desk.get("examples-keep").click()
    desk.get("examples-close").click()
    expect(desk.get("examples-dialog")).to_be_hidden()
    desk.get("segment-add").click()  # whose prompts may come from the other one
    expect(desk.get("prompt-mask")).to_be_visible()
    desk.tool("box")
    desk.drag("axial", (26, 26, 10), (63, 63, 10))
    expect(desk.get("prompt-row")).to_have_count(1)
    desk.page.wait_for_function(WITHIN, arg=".aps-side")

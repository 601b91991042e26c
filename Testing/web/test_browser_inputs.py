"""What a person may bring to the page, and what hands may do there, in a real Chromium with the real default model."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from math import cos, radians, sin
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
from PIL import Image
from playwright.sync_api import expect

from AutoPromptSAMLib.images import load_segmentation

from .served import Desk, Served, browser_path, save

if browser_path() is None and not os.environ.get("AUTOPROMPTSAM_NEED_BROWSER"):
    pytest.skip("there is no Chromium here; install the package chromium", allow_module_level=True)

SEEDS = itertools.count()
LOWER, UPPER = np.array([30, 30, 5]), np.array([59, 59, 14])  # first and last voxel (i, j, k) of the bright block
Masks = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def desk(chromium: Any, shared_home: Path) -> Iterator[Desk]:
    served = Served(home=shared_home)
    desk = Desk(chromium, served.address)
    yield desk
    assert desk.errors == []
    desk.close()
    served.stop()
    assert "Traceback" not in "".join(served.output)


def grey(shape: tuple[int, int, int] = (20, 96, 96)) -> np.ndarray:
    """Dark noise (k, j, i) with a bright block in it; no two are equal, for work on an equal image would come back."""
    voxels = np.random.default_rng(next(SEEDS)).normal(-50, 10, shape).astype(np.int16)
    voxels[block(shape)] = 200
    return voxels


def block(shape: tuple[int, int, int] = (20, 96, 96)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b + 1) for a, b in zip(LOWER[::-1], UPPER[::-1], strict=True))] = True
    return mask


def write(path: Path, voxels: np.ndarray, oblique: bool = False) -> Path:
    image = sitk.GetImageFromArray(voxels)
    if oblique:
        a, b = radians(18), radians(-11)
        turn = np.array([[cos(a), -sin(a), 0], [sin(a), cos(a), 0], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, cos(b), -sin(b)], [0, sin(b), cos(b)]])
        image.SetDirection((turn @ tilt).ravel().tolist())
        image.SetSpacing((0.8, 1.1, 2.5))
        image.SetOrigin((12, -34, 56))
    sitk.WriteImage(image, str(path))
    return path


def bring(desk: Desk, path: Path, by: str = "file-input") -> None:
    """Give a file, or a folder, to the page and wait until something came of it."""
    desk.page.set_input_files(f"[data-testid={by}]", str(path))
    desk.page.wait_for_timeout(400)
    desk.page.wait_for_function(
        "() => document.querySelector('[data-testid=status]').dataset.phase !== 'opening'", timeout=20000
    )


def open_image(desk: Desk, path: Path) -> None:
    """Bring an image, and say that it is one when asked."""
    bring(desk, path)
    desk.page.wait_for_function(
        "(name) => document.querySelector('[data-testid=image-name]')?.textContent === name || "
        "document.querySelector('[data-testid=open-as-image]')",
        arg=path.name.split(".")[0],
        timeout=20000,
    )
    if desk.get("open-as-image").count():
        desk.get("open-as-image").click()
        desk.get("open-dialog").wait_for(state="hidden")
    desk.wait_image()
    desk._maps.clear()


def told(desk: Desk) -> str:
    """The sentence that the page says, which is put away."""
    toast = desk.get("toast").last
    toast.wait_for(timeout=10000)
    text = str(toast.locator("span").first.inner_text())
    while desk.get("toast").count():
        desk.get("toast-close").first.click()
        desk.page.wait_for_timeout(100)
    return text


def masks(desk: Desk, folder: Path) -> Masks:
    return load_segmentation(save(desk, folder, "seg-nrrd"))[0]


def undo_name(desk: Desk) -> str:
    return str(desk.get("undo").get_attribute("aria-label")).removeprefix("Undo: ")


def wait_step(desk: Desk, name: str) -> None:
    """Until undo would take back a step of this name."""
    desk.page.wait_for_function(
        "(name) => document.querySelector('[data-testid=undo]').ariaLabel.startsWith('Undo: ' + name)",
        arg=name,
        timeout=10000,
    )


def with_segment(desk: Desk, folder: Path, mask: np.ndarray | None = None, voxels: np.ndarray | None = None) -> None:
    """The bright block, with its mask as a segment."""
    open_image(desk, write(folder / "block.nii.gz", grey() if voxels is None else voxels))
    bring(desk, write(folder / "labels.nii.gz", (block() if mask is None else mask).astype(np.uint8)))
    desk.get("open-as-segments").click()
    assert "1 segments of labels.nii.gz" in told(desk)


def test_a_box_on_an_oblique_grid_finds_what_is_in_it(desk: Desk, tmp_path: Path) -> None:
    open_image(desk, write(tmp_path / "oblique.nii.gz", grey((40, 96, 96)), oblique=True))
    for axis, view in enumerate(("sagittal", "coronal", "axial")):
        middle = (LOWER + UPPER) // 2
        lower, upper = LOWER - 2, UPPER + 2
        lower[axis] = upper[axis] = middle[axis]
        desk.get("segment-add").click()
        desk.page.wait_for_function(
            "(n) => document.querySelectorAll('[data-testid=segment-row]').length === n", arg=axis + 1
        )
        desk.go_to(view, int(middle[axis]))
        desk.tool("box")
        desk.drag(view, lower, upper)
        assert desk.wait_coloured(view, lower + (upper - lower) // 3) > 0
    desk.wait_ready()
    found = list(masks(desk, tmp_path).values())
    assert len(found) == 3
    for axis, mask in enumerate(found):
        voxels = np.argwhere(mask)[:, ::-1]
        assert (voxels[:, axis] == (LOWER + UPPER)[axis] // 2).all()
        others = [n for n in range(3) if n != axis]
        np.testing.assert_allclose(voxels.min(axis=0)[others], LOWER[others], atol=1)
        np.testing.assert_allclose(voxels.max(axis=0)[others], UPPER[others], atol=1)


def test_dicom_with_two_series_asks_which(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    for number, text in ((1, "Abdomen"), (2, "Thorax")):
        image = sitk.GetImageFromArray(grey()[: 6 * number])
        for k in range(6 * number):
            piece = image[:, :, k]
            tags = {
                "0008|0060": "CT", "0008|103e": text, "0020|000d": "1.2.3", "0020|000e": f"1.2.3.{number}",
                "0008|0018": f"1.2.3.{number}.{k + 1}", "0020|0032": f"0\\0\\{k}", "0020|0013": str(k + 1),
                "0020|0037": "1\\0\\0\\0\\1\\0",
            }  # fmt: skip
            for tag, value in tags.items():
                piece.SetMetaData(tag, value)
            writer = sitk.ImageFileWriter()
            writer.KeepOriginalImageUIDOn()
            writer.SetFileName(str(folder / f"{number}-{k}.dcm"))
            writer.Execute(piece)
    desk.get("open").click()
    bring(desk, folder, "open-folder")
    desk.get("open-series").nth(1).wait_for(timeout=20000)
    desk.page.get_by_text("Abdomen").click()
    desk.page.wait_for_function("() => document.querySelector('.aps-image').textContent.includes('Abdomen')")
    desk.wait_image()
    with ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"study/{path.name}")
    bring(desk, tmp_path / "study.zip")
    desk.get("open-series").nth(1).wait_for(timeout=20000)
    assert [row.inner_text().split()[0] for row in desk.get("open-series").all()] == ["Thorax", "Abdomen"]
    desk.get("open-close").click()
    desk.get("open-dialog").wait_for(state="hidden")
    assert desk.get("image-name").inner_text() == "Abdomen"


def test_what_is_no_scene_leaves_the_open_image_as_it_is(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)
    for name, content in (("fake.mrb", b"no archive"), ("text.nii.gz", b"no image")):
        (tmp_path / name).write_bytes(content)
        bring(desk, tmp_path / name)
        text = told(desk)
        assert text.startswith(name)  # not the folder that it was put into
        assert ". " not in text
    assert desk.get("image-name").inner_text() == "block"
    (mask,) = masks(desk, tmp_path).values()
    assert np.array_equal(mask, block())


def test_scenes_of_two_images_come_back_each_with_its_own(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)
    first = save(desk, tmp_path, "mrb")
    pixels = np.full((90, 120, 3), 200, dtype=np.uint8)
    pixels[30:60, 40:80] = 30
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    open_image(desk, tmp_path / "photo.png")
    assert desk.get("layout-axial").get_attribute("aria-pressed") == "true"
    desk.tool("box")
    desk.drag("axial", (36, 26, 0), (84, 64, 0))
    desk.get("prompt-row").wait_for()
    wait_step(desk, "Add box")
    second = save(desk, tmp_path, "mrb")
    bring(desk, first)
    desk.page.wait_for_function("() => document.querySelector('[data-testid=image-name]').textContent === 'block'")
    desk.wait_image()
    assert desk.get("layout-four-up").get_attribute("aria-pressed") == "true"
    (mask,) = masks(desk, tmp_path).values()
    assert np.array_equal(mask, block())
    bring(desk, second)
    desk.page.wait_for_function("() => document.querySelector('[data-testid=image-name]').textContent === 'photo'")
    desk.wait_image()
    assert desk.get("prompt-row").count() == 1
    (mask,) = masks(desk, tmp_path).values()
    assert mask[0, 45, 60]
    assert not mask[0, 10, 10]


def test_prompts_and_segments_are_brought_to_another_image_of_theirs(desk: Desk, tmp_path: Path) -> None:
    voxels = grey()
    open_image(desk, write(tmp_path / "block.nii.gz", voxels))
    desk.go_to("axial", 10)
    desk.tool("box")
    desk.drag("axial", (28, 28, 10), (61, 61, 10))
    assert desk.wait_coloured("axial", (38, 38, 10)) > 0
    desk.wait_ready()
    (before,) = masks(desk, tmp_path).values()
    prompts, segments = save(desk, tmp_path, "json"), save(desk, tmp_path, "seg-nrrd")
    assert len(json.loads(prompts.read_text(encoding="utf-8"))["objects"]) == 1

    other = write(tmp_path / "other.nii.gz", block().astype(np.uint8), oblique=True)
    desk.get("open").click()
    bring(desk, other, "open-segments")
    assert "other.nii.gz has another geometry" in told(desk)
    assert desk.get("segment-row").count() == 1

    voxels[0, 0, 0] += 1  # else its work would come back
    open_image(desk, write(tmp_path / "again.nii.gz", voxels))
    assert desk.get("segment-row").count() == 0
    bring(desk, prompts)
    desk.get("prompt-row").wait_for()
    wait_step(desk, "Replay")
    desk.wait_ready()
    bring(desk, segments)
    told(desk)
    replayed, imported = masks(desk, tmp_path).values()
    assert np.array_equal(replayed, before)
    assert np.array_equal(imported, before)
    desk.get("export").click()
    desk.get("export-nii-gz").click()
    assert "overlaps" in told(desk)  # it can be put away though the dialog is open
    desk.page.keyboard.press("b")
    desk.page.keyboard.press("Escape")
    desk.get("export-dialog").wait_for(state="hidden")
    assert desk.get("tool-box").get_attribute("aria-pressed") == "true"  # the keys were for the dialog


def test_each_edit_is_one_step_with_its_name(desk: Desk, tmp_path: Path) -> None:
    rough = block()
    rough[2:4, 80:84, 80:84] = True  # an island
    rough[10, 60:63, 40] = True  # a spike
    with_segment(desk, tmp_path, rough)
    desk.go_to("axial", 10)
    shown = {"mask": next(iter(masks(desk, tmp_path).values()))}
    assert np.array_equal(shown["mask"], rough)

    def edited(step: str) -> np.ndarray:
        before, named = shown["mask"], undo_name(desk)
        wait_step(desk, step)
        (after,) = masks(desk, tmp_path).values()
        assert not np.array_equal(after, before), step
        desk.page.keyboard.press("Control+z")
        wait_step(desk, named)
        (undone,) = masks(desk, tmp_path).values()
        assert np.array_equal(undone, before), step
        desk.page.keyboard.press("Control+y")
        wait_step(desk, step)
        shown["mask"] = after
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
    assert "Nothing is left" in told(desk)
    desk.get("smoothing-apply").click()
    assert "is empty" in told(desk)


def test_a_locked_segment_stays_as_it_is(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)
    desk.go_to("axial", 10)
    desk.tool("paint")
    desk.get("segment-row").hover()
    desk.get("segment-lock").click()
    assert "is locked" in told(desk)  # the brush is put away while it is
    desk.drag("axial", (10, 10, 10), (20, 20, 10))
    desk.tool("smoothing")
    assert "is locked" in told(desk)
    desk.get("smoothing-apply").click()
    assert "is locked" in told(desk)
    desk.tool("box")
    desk.drag("axial", (10, 10, 10), (40, 40, 10))
    assert "is locked" in told(desk)
    (mask,) = masks(desk, tmp_path).values()
    assert np.array_equal(mask, block())
    desk.tool("paint")
    told(desk)
    desk.get("segment-lock").click()
    desk.page.wait_for_selector("[data-testid=segment-lock][aria-pressed=false]")
    desk.drag("axial", (10, 10, 10), (20, 20, 10))
    wait_step(desk, "Paint")


def test_letters_in_a_name_are_no_shortcuts(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)
    name = desk.get("segment-name")
    tool = desk.page.locator(".aps-tool.aps-active").get_attribute("data-testid")
    name.fill("")
    name.press_sequentially("band a? ")
    name.press("Escape")
    assert name.input_value() == "Segment_1"
    name.fill("band a")
    name.press("Enter")
    wait_step(desk, "Rename")
    assert desk.get("segment-row").count() == 1
    assert desk.page.locator(".aps-tool.aps-active").get_attribute("data-testid") == tool
    assert not desk.get("help-dialog").is_visible()


def test_nothing_is_covered_in_a_small_window(desk: Desk, tmp_path: Path) -> None:
    with_segment(desk, tmp_path)

    def frame(testid: str) -> dict[str, float]:
        """Where an element is; one that was just exchanged for another is waited for."""
        found = desk.page.wait_for_function(
            """(id) => { const frame = document.querySelector(`[data-testid=${id}]`)?.getBoundingClientRect();
                return frame?.width ? {x: frame.x, y: frame.y, width: frame.width, height: frame.height} : null; }""",
            arg=testid,
        )
        return dict(found.json_value())

    def apart(a: dict[str, float], b: dict[str, float]) -> bool:
        beside = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
        return beside or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]

    desk.page.set_viewport_size({"width": 1366, "height": 768})
    for count in range(2, 14):
        desk.page.keyboard.press("a")
        desk.page.wait_for_function(
            "(n) => document.querySelectorAll('[data-testid=segment-row]').length === n", arg=count
        )
    desk.page.wait_for_timeout(300)
    row, rows = desk.page.locator(".aps-segments .aps-active").bounding_box(), frame("segment-list")
    assert rows["y"] - 1 <= row["y"]
    assert row["y"] + row["height"] <= rows["y"] + rows["height"] + 1
    for layout in ("four-up", "one-three", "axial"):
        desk.get(f"layout-{layout}").click()
        for tool in ("scissors", "smoothing"):
            desk.tool(tool)
            desk.get("tool-options").wait_for()
            assert apart(frame("tool-options"), frame("view-axial-fit")), (layout, tool)
    desk.get("layout-four-up").click()
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        (tmp_path / name).write_bytes(b"")
        bring(desk, tmp_path / name)
    toasts = [toast.bounding_box() for toast in desk.get("toast").all()]
    assert len(toasts) == 3
    assert all(apart(toast, frame(part)) for toast in toasts for part in ("status", "export", "tool-options"))
    assert apart(toasts[0], toasts[1])
    told(desk)


def test_slices_can_be_turned_and_straightened(desk: Desk, tmp_path: Path) -> None:
    open_image(desk, write(tmp_path / "turned.nii.gz", grey()))
    desk.wait_image()
    over = desk.get("view-coronal-slice").locator("xpath=ancestor::*[contains(@class, 'aps-over')]")
    letter = over.locator(".aps-letter-left")
    assert letter.inner_text() == "R"
    desk.get("oblique").click()
    desk.page.wait_for_selector("[data-testid=oblique][aria-pressed=true]")
    frame = desk.frame("axial")
    middle = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    reach = 0.462 * min(frame["width"], frame["height"])  # where the line ends
    for along in (reach - 3, reach):  # its handle comes when the mouse is over it
        desk.page.mouse.move(middle[0] + along, middle[1], steps=3)
        desk.page.wait_for_timeout(500)
    desk.page.mouse.down()
    desk.page.mouse.move(middle[0] + reach - 30, middle[1] + 90, steps=8)
    desk.page.mouse.up()
    expect(letter).to_have_text("RA", timeout=5000)
    desk.page.keyboard.press("o")  # the mouse is still on the handle that this takes away
    desk.page.wait_for_selector("[data-testid=oblique][aria-pressed=false]")
    expect(letter).to_have_text("R", timeout=5000)
    at = desk.read_out("axial", *middle)
    desk.page.mouse.move(middle[0] + reach / 2, middle[1], steps=5)
    desk.page.wait_for_timeout(250)
    assert len(at) == 3
    assert desk.read_out("axial", middle[0] + reach / 2, middle[1]).tolist() != at.tolist()


def test_the_same_file_brought_again_finds_its_work(desk: Desk, tmp_path: Path) -> None:
    voxels = grey()
    with_segment(desk, tmp_path, voxels=voxels)
    desk.page.wait_for_timeout(2500)  # it is saved two seconds after
    open_image(desk, write(tmp_path / "between.nii.gz", grey((40, 96, 96))))
    assert desk.get("segment-row").count() == 0
    bring(desk, write(tmp_path / "again.nii.gz", voxels))  # the same voxels under another name
    assert "is back" in told(desk)
    assert desk.get("segment-row").count() == 1

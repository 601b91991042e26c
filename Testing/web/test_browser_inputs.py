"""What a person may bring to the page, in a real Chromium with the real default model."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
from PIL import Image
from playwright.sync_api import expect

from .blocks import LOWER, UPPER, block, grey, masks, open_image, wait_step, with_segment, write
from .served import Desk, save


def test_a_box_on_an_oblique_grid_finds_what_is_in_it(desk: Desk, tmp_path: Path) -> None:
    open_image(desk, write(tmp_path / "oblique.nii.gz", grey((40, 96, 96)), oblique=True))
    for axis, view in enumerate(("sagittal", "coronal", "axial")):
        middle = (LOWER + UPPER) // 2
        lower, upper = LOWER - 2, UPPER + 2
        lower[axis] = upper[axis] = middle[axis]
        desk.get("segment-add").click()
        expect(desk.get("segment-row")).to_have_count(axis + 1)
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
    desk.bring(folder, "open-folder")
    rows = desk.get("open-series")
    expect(rows).to_contain_text(["Thorax", "Abdomen"])
    rows.filter(has_text="Abdomen").click()
    expect(desk.get("image-name")).to_have_text("Abdomen")
    expect(desk.get("open-dialog")).to_be_hidden()
    desk.wait_image()
    with ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"study/{path.name}")
    desk.bring(tmp_path / "study.zip")
    desk.get("open-dialog").wait_for()
    expect(rows).to_contain_text(["Thorax", "Abdomen"])
    desk.get("open-close").click()
    desk.get("open-dialog").wait_for(state="hidden")
    assert desk.get("image-name").inner_text() == "Abdomen"


def test_a_picture_has_pixels_and_nothing_that_it_cannot_know(desk: Desk, tmp_path: Path) -> None:
    Image.fromarray(grey((1, 96, 96))[0].astype(np.uint8)).save(tmp_path / "eye.png")
    open_image(desk, tmp_path / "eye.png")
    expect(desk.page.get_by_text("96 × 96 pixels")).to_be_visible()
    expect(desk.get("view-axial-scale")).to_have_count(0)
    expect(desk.get("propagate-first")).to_have_count(0)
    assert desk.page.evaluate("trame.state.state.view_axial.letters.left") == ""
    open_image(desk, write(tmp_path / "ct.nii.gz", grey((40, 96, 96))))
    expect(desk.get("view-axial-scale")).to_have_count(1)
    expect(desk.get("propagate-first")).to_be_visible()


def test_what_is_no_scene_leaves_the_open_image_as_it_is(desk: Desk, tmp_path: Path) -> None:
    shown = with_segment(desk, tmp_path)
    for name, content in (("fake.mrb", b"no archive"), ("text.nii.gz", b"no image")):
        (tmp_path / name).write_bytes(content)
        desk.bring(tmp_path / name)
        text = desk.told(name)
        assert text.startswith(name)  # not the folder that it was put into
        assert ". " not in text
    assert desk.get("image-name").inner_text() == shown
    (mask,) = masks(desk, tmp_path).values()
    assert np.array_equal(mask, block())


def test_a_scene_whose_prompts_are_damaged_comes_with_image_and_segments(desk: Desk, tmp_path: Path) -> None:
    shown = with_segment(desk, tmp_path)
    torn = tmp_path / "torn.mrb"
    with ZipFile(save(desk, tmp_path, "mrb")) as whole, ZipFile(torn, "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name).replace(b"autopromptsam-scene/1", b"autopromptsam-scene/9"))
    desk.bring(torn)
    assert "image and segments are there without them" in desk.told("cannot be read")
    expect(desk.get("image-name")).to_have_text(shown)
    desk.wait_image()
    (mask,) = masks(desk, tmp_path).values()
    assert np.array_equal(mask, block())


def test_scenes_of_two_images_come_back_each_with_its_own(desk: Desk, tmp_path: Path) -> None:
    shown = with_segment(desk, tmp_path)
    layouts = desk.get("layout-axial"), desk.get("layout-four-up")
    first = save(desk, tmp_path, "mrb")
    pixels = np.full((90, 120, 3), 200, dtype=np.uint8)
    pixels[30:60, 40:80] = 30
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    open_image(desk, tmp_path / "photo.png")
    expect(layouts[0]).to_have_attribute("aria-pressed", "true")
    desk.tool("box")
    desk.drag("axial", (36, 26, 0), (84, 64, 0))
    expect(desk.get("prompt-row")).to_have_count(1)
    assert desk.wait_coloured("axial", (50, 40, 0)) > 0
    second = save(desk, tmp_path, "mrb")
    desk.bring(first)
    expect(desk.get("image-name")).to_have_text(shown)
    desk.wait_image()
    expect(layouts[1]).to_have_attribute("aria-pressed", "true")
    (mask,) = masks(desk, tmp_path).values()
    assert np.array_equal(mask, block())
    desk.bring(second)
    expect(desk.get("image-name")).to_have_text("photo")
    desk.wait_image()
    expect(desk.get("prompt-row")).to_have_count(1)
    (mask,) = masks(desk, tmp_path).values()
    assert mask[0, 45, 60]
    assert not mask[0, 10, 10]


def test_prompts_and_segments_are_brought_to_another_image_of_theirs(desk: Desk, tmp_path: Path) -> None:
    voxels = grey()
    open_image(desk, write(tmp_path / "first.nii.gz", voxels))
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
    desk.bring(other, "open-segments")
    desk.told("other.nii.gz has another geometry")
    expect(desk.get("open-dialog")).to_be_hidden()
    expect(desk.get("segment-row")).to_have_count(1)

    voxels[0, 0, 0] += 1  # else its work would come back
    open_image(desk, write(tmp_path / "again.nii.gz", voxels))
    expect(desk.get("segment-row")).to_have_count(0)
    desk.go_to("axial", 10)
    desk.bring(prompts)
    expect(desk.get("prompt-row")).to_have_count(1)
    wait_step(desk, "Replay")
    assert desk.wait_coloured("axial", (38, 38, 10)) > 0
    desk.bring(segments)
    desk.told("1 segments of", segments.name)
    replayed, imported = masks(desk, tmp_path).values()
    assert np.array_equal(replayed, before)
    assert np.array_equal(imported, before)
    desk.get("export").click()
    desk.get("export-nii-gz").click()
    toast = desk.get("toast").filter(has_text="overlaps")
    toast.get_by_test_id("toast-close").click()  # it can be put away though the dialog is open
    expect(toast).to_have_count(0)
    desk.page.keyboard.press("b")
    desk.page.keyboard.press("Escape")
    expect(desk.get("export-dialog")).to_be_hidden()
    expect(desk.get("tool-box")).to_have_attribute("aria-pressed", "true")  # the keys were for the dialog


def test_the_same_file_brought_again_finds_its_work(desk: Desk, tmp_path: Path) -> None:
    voxels = grey()
    with_segment(desk, tmp_path, voxels=voxels)
    open_image(desk, write(tmp_path / "between.nii.gz", grey((40, 96, 96))))
    expect(desk.get("segment-row")).to_have_count(0)
    desk.bring(write(tmp_path / "same.nii.gz", voxels))  # the same voxels under another name
    desk.told("is back")
    expect(desk.get("segment-row")).to_have_count(1)


def test_a_dropped_file_that_the_browser_cannot_read_is_said(desk: Desk, tmp_path: Path) -> None:
    open_image(desk, write(tmp_path / "open.nii.gz", grey()))
    gone = "{name: 'gone.nii', isFile: true, file: (_, refuse) => refuse(new DOMException('', 'NotFoundError'))}"
    desk.page.evaluate(f"apsFiles.dropped([{gone}])")
    desk.told("gone.nii cannot be read")
    folder = f"{{name: 'folder', createReader: () => ({{readEntries: (take) => take([{gone}])}})}}"
    desk.page.evaluate(f"apsFiles.dropped([{folder}])")
    desk.told("folder cannot be read")

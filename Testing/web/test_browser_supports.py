"""One annotated image prompts another one, in a real Chromium with the real default model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from AutoPromptSAMLib.backbones import load_backbone
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.supports import SupportLibrary

from .blocks import LOWER, UPPER, block, grey, masks, open_image, wait_step, with_segment, write
from .served import Desk

FIRST, LAST, CORRECTED = 7, 11, 9  # slices of the other image
INSIDE = (38, 38, CORRECTED)  # of the block, beside the handles of a box around it


@pytest.fixture(scope="module")
def task(model_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learned nothing: what is tested holds whatever it finds."""
    import torch

    from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
    from AutoPromptSAMLib.prompters.proxy_prompt.weights import save_task

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("task") / "task.safetensors"
    save_task(ProxyPromptNetwork(ProxyPromptConfig.small()), path, load_backbone("lite-medsam", "cpu"))
    return path


def run_ends(desk: Desk) -> None:
    """Wait for the run that was just started, which is a step from its first moment on."""
    assert wait_step(desk, "Prompt from") == "Prompt from Blocks"
    expect(desk.get("examples-run")).to_have_text("Run again", timeout=180_000)
    desk.wait_ready()


def test_from_an_annotated_image_to_the_result_on_another(
    desk: Desk, shared_home: Path, task: Path, tmp_path: Path
) -> None:
    # Some slices of one image become examples, by the page.
    drawn = block()
    drawn[:8] = drawn[11:] = False
    with_segment(desk, tmp_path, drawn)
    desk.rename("block")
    wait_step(desk, "Rename")
    desk.get("by-examples").click()
    desk.get("examples-start-scene").click()
    desk.get("examples-name").fill("Blocks")
    desk.get("examples-add-scene").click()
    desk.told("joined", "Blocks")
    expect(desk.get("examples-card")).to_have_attribute("data-name", "Blocks")
    pairs = desk.get("examples-pair")
    expect(pairs).not_to_have_count(0)
    pair = pairs.first.get_attribute("data-name")
    pairs.first.hover()
    pairs.first.get_by_test_id("examples-remove").click()
    expect(desk.get("examples-removed")).to_contain_text(f"{pair} was removed")
    desk.get("examples-unremove").click()
    expect(desk.get("examples-removed")).to_have_count(0)
    library = SupportLibrary(shared_home / "supports")
    (made,) = library.sets()
    expect(pairs).to_have_count(len(made.pairs))
    library.attach_task(made.id, task)
    desk.page.keyboard.press("Escape")
    expect(desk.get("examples-dialog")).to_be_hidden()

    # Another image: its slices are prompted by them, as one step.
    open_image(desk, write(tmp_path / "another.nii.gz", grey()))
    expect(desk.get("segment-row")).to_have_count(0)
    desk.get("propagate-first").fill(str(FIRST))
    desk.get("propagate-last").fill(str(LAST))
    expect(desk.page.locator(".aps-range-text")).to_contain_text(f"from {FIRST} to {LAST}")
    desk.page.keyboard.press("Shift+Space")
    run_ends(desk)
    expect(desk.get("segment-row")).to_have_count(1)
    expect(desk.get("segment-row")).to_have_attribute("data-name", "block")
    first = masks(desk, tmp_path)["block"]
    assert not first[:FIRST].any()
    assert not first[LAST + 1 :].any()

    # One slice is corrected and accepted; when the rest is run again it stays as it is.
    desk.go_to("axial", CORRECTED)
    desk.tool("box")
    desk.drag("axial", (LOWER[0] - 2, LOWER[1] - 2, CORRECTED), (UPPER[0] + 2, UPPER[1] + 2, CORRECTED))
    assert desk.wait_coloured("axial", INSIDE) > 0
    desk.wait_ready()
    desk.tool("navigate")
    corrected = masks(desk, tmp_path)["block"]
    assert np.array_equal(np.delete(corrected, CORRECTED, axis=0), np.delete(first, CORRECTED, axis=0))
    expect(desk.get("examples-add-vouched")).to_contain_text("Add 1 to examples")
    expect(desk.get("view-axial-strip").locator(".aps-mark-seed")).to_have_count(1)
    desk.page.keyboard.press("y")
    wait_step(desk, f"Accept slice {CORRECTED}")
    desk.get("examples-run").click()
    run_ends(desk)
    again = masks(desk, tmp_path)["block"]
    assert np.array_equal(again[CORRECTED], corrected[CORRECTED])
    # How sure it is of what it found; what a person drew does not count.
    expect(desk.get("examples-object")).to_contain_text(re.compile("%|yours only"))
    desk.page.keyboard.press("Control+z")
    wait_step(desk, "Accept slice")
    assert np.array_equal(masks(desk, tmp_path)["block"], corrected)
    desk.page.keyboard.press("Control+y")
    wait_step(desk, "Prompt from")

    # The corrected slice is an example from now on, and the set is one file.
    desk.get("examples-add-vouched").click()
    desk.told("1 example joined")
    desk.page.keyboard.press("x")
    expect(pairs).to_have_count(len(made.pairs) + 1)
    with desk.page.expect_download() as download:
        desk.get("examples-export").click()
    file = tmp_path / str(download.value.suggested_filename)
    download.value.save_as(file)
    assert file.name == "Blocks.apsupports"
    exported = SupportLibrary(tmp_path / "library").import_(file)
    assert (exported.names, len(exported.pairs)) == (("block",), len(made.pairs) + 1)
    assert exported.pairs[-1].masks["block"].sum() == again[CORRECTED].sum()
    assert exported.tasks
    desk.page.set_input_files("[data-testid=examples-import]", str(file))
    desk.told("was imported")
    expect(desk.get("examples-card")).to_have_count(2)
    desk.get("examples-close").click()
    expect(desk.get("examples-dialog")).to_be_hidden()
    assert list(masks(desk, tmp_path)) == ["block"]

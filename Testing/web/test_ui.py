"""The page without a browser: the shortcuts, the templates, and the application behind them."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trame_slicer")

from AutoPromptSAMLib.files.downloads import OLD_S
from AutoPromptSAMLib.geometry import Crop, Volume, slice_plane
from AutoPromptSAMLib.prompts import Box
from AutoPromptSAMLib.web import app as app_module
from AutoPromptSAMLib.web import tools
from AutoPromptSAMLib.web.app import WebApp
from AutoPromptSAMLib.web.templates import PAGES, page
from AutoPromptSAMLib.workbench import shortcuts

from ..threshold_backbone import ThresholdBackbone
from .pages import application, do, settle, show, told

STATIC = Path(app_module.__file__).with_name("static")
PIECES = ("start", "tool_options", "slice_view", "threed_view")  # of the page, that belong to no panel alone


# -- shortcuts ------------------------------------------------------------------------------------------------------


def test_every_tool_has_a_shortcut_and_every_tool_shortcut_a_tool() -> None:
    named = {s.action.removeprefix("tool:") for s in shortcuts.SHORTCUTS if s.action.startswith("tool:")}
    assert named == set(tools.ALL)


def test_tools_of_prompts_are_the_digits_in_the_order_of_the_rail() -> None:
    digits = [shortcuts.BY_KEY[str(n)] for n in range(1, 8)]
    assert digits == [f"tool:{tool.id}" for tool in tools.PROMPT_TOOLS]


# -- drawing --------------------------------------------------------------------------------------------------------


def test_the_view_under_the_mouse_is_drawn_at_once_and_the_others_together_later() -> None:
    from trame_slicer.views import ScheduledRenderStrategy

    from AutoPromptSAMLib.web.rendering import OTHERS_S, UnderMouseFirst

    drawn: list[str] = []

    class Inner(ScheduledRenderStrategy):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def schedule_render(self) -> None:
            drawn.append(self.name)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        mine = UnderMouseFirst(Inner("mine"), lambda: True, lambda: loop)
        other = UnderMouseFirst(Inner("other"), lambda: False, lambda: loop)
        for strategy in (other, other, mine, other):
            strategy.schedule_render()
        assert drawn == ["mine"]
        await asyncio.sleep(OTHERS_S + 0.1)
        assert drawn == ["mine", "other"]
        other.schedule_render()
        await asyncio.sleep(OTHERS_S + 0.1)
        assert drawn == ["mine", "other", "other"]

    asyncio.run(run())


# -- the application ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with application("test-ui", tmp_path_factory.mktemp("home")) as app:
        yield app


@pytest.fixture
def opened(app: WebApp) -> WebApp:
    """A bright ball in the dark, 40 slices of 64 x 64, and a network that finds what is bright in a box."""
    k, j, i = np.indices((40, 64, 64))
    show(app, (k - 20) ** 2 / 2 + (j - 32) ** 2 + (i - 32) ** 2 < 150)
    return app


def draw_box(app: WebApp, index: int = 20) -> None:
    plane = slice_plane(app.need_segmenter().volume.geometry, 0, index)
    app.need_segmenter().add_prompt(Box.on_plane(plane, (16, 16, 48, 48)))
    settle(app, lambda: bool(app.state.prompts) and app.state.phase == "ready")


def template_text(app: WebApp) -> str:
    return "\n".join([panel.template for panel in app.panels] + [page(name) for name in PIECES])


def test_every_trigger_of_the_page_exists(app: WebApp) -> None:
    text = template_text(app) + (STATIC / "app.js").read_text(encoding="utf-8")
    names = set(re.findall(r"""trigger\(\s*["'](\w+)["']""", text))
    assert len(names) > 30
    assert [name for name in sorted(names) if app.server.controller.trigger_fn(name) is None] == []


def test_every_button_can_be_found_and_named(app: WebApp) -> None:
    unnamed = []
    for button in re.findall(r"<button\b.*?</button>", template_text(app), re.DOTALL):
        icon_only = 'class="aps-icon' in button or 'class="aps-tool' in button
        if "data-testid" not in button and "aps-link" not in button:
            unnamed.append(button)
        if icon_only and "aria-label" not in button:
            unnamed.append(button)
    assert unnamed == []


def test_every_template_is_used_and_every_word_in_it_known(app: WebApp) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in PAGES.parent.glob("*.py"))
    actions = {shortcut.action for shortcut in shortcuts.SHORTCUTS}
    for path in PAGES.iterdir():
        assert f'page("{path.stem}"' in code or f'    "{path.stem}",\n' in code, path.name
        for word in re.findall(r"\[\[([^]\s]+)]]", path.read_text(encoding="utf-8")):
            assert word in actions or re.search(rf"\b{word}=", code), f"{word} of {path.name}"
    assert not re.search(r"\[\[[^]\s]+]]", "".join(panel.template for panel in app.panels))


def test_disabled_buttons_of_the_examples_say_why(app: WebApp) -> None:
    buttons = re.findall(r"<button\b[^>]*examples-[^>]*:disabled=[^>]*>", template_text(app).replace("=>", ""))
    reasons = ("start-scene", "new-scene", "more-scene", "run", "one", "learn")
    for name in reasons:
        (button,) = (each for each in buttons if f'data-testid="examples-{name}"' in each)
        disabled, title = re.search(r':disabled="!!(.*?)"', button), re.search(r':title="(.*?)"', button, re.DOTALL)
        assert disabled is not None, name
        assert title is not None, name
        assert title[1].startswith(f"{disabled[1]} ||"), name


def test_tooltips_have_the_keys() -> None:
    assert "New segment (A)<" in page("segments", areas="[]")


def test_the_page_asks_no_other_host(app: WebApp) -> None:
    text = template_text(app) + "".join(path.read_text(encoding="utf-8") for path in STATIC.iterdir())
    assert re.findall(r"https?://[^\s\"']+", text) == []


def test_every_action_of_the_table_is_bound(app: WebApp) -> None:
    for shortcut in shortcuts.SHORTCUTS:
        prefix = shortcut.action.partition(":")[0]
        assert {shortcut.action, prefix} & set(app.keys._actions), shortcut.action


def test_an_image_fills_the_page(opened: WebApp) -> None:
    state = opened.state
    assert (state.image_name, state.has_image) == ("ball", True)
    assert "64 × 64 × 40 voxels of 1 × 1 × 2 mm" in state.image_about
    assert (state.view_axial["count"], state.view_axial["index"]) == (40, 20)
    assert state.view_coronal["count"] == 64
    assert [state[f"view_{name}"]["position"] for name in ("axial", "coronal", "sagittal")] == [
        "S 40.0 mm", "A 32.0 mm", "R 32.0 mm"
    ]  # fmt: skip
    assert state.view_axial["letters"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert (state.propagate_first, state.propagate_last) == (0, 39)


def test_the_slider_and_the_keys_go_through_the_slices(opened: WebApp) -> None:
    do(opened, "slice_jump", "axial", 7)
    assert (opened.state.view_axial["index"], opened.state.view_axial["position"]) == (7, "S 14.0 mm")
    do(opened, "aps_key", "arrowup")
    assert opened.state.view_axial["index"] == 8
    do(opened, "slice_jump", "axial", 4000)
    assert opened.state.view_axial["index"] == 39


def test_a_box_becomes_a_segment_with_a_volume_and_undo_takes_both_back(opened: WebApp) -> None:
    draw_box(opened)
    (segment,), (prompt,) = opened.state.segments, opened.state.prompts
    assert re.fullmatch(r"\d+(\.\d)? ml", segment["ml"])
    assert (prompt["text"], prompt["view"], prompt["slice"], prompt["person"]) == ("Box", "axial", 20, True)
    assert [mark["kind"] for mark in opened.state.view_axial["strip"]] == ["seed"]
    assert "box" in opened.state.undo_text
    do(opened, "undo")
    assert opened.state.prompts == []
    do(opened, "redo")
    settle(opened, lambda: len(opened.state.prompts) == 1)


def test_another_model_leaves_prompts_and_voxels_as_they_are(opened: WebApp) -> None:
    draw_box(opened)
    first = opened.state.active_segment
    by_hand = Crop(np.ones((1, 4, 4), dtype=bool), (20, 2, 2))  # a model that looked again would take it away
    opened.need_segmenter().kept.flip({first: by_hand}, by_hand=True)
    before = opened.need_segmenter().kept.known[first]
    do(opened, "segment_add")
    second = opened.state.active_segment
    opened.use_backbone(ThresholdBackbone())
    settle(opened, lambda: opened.state.phase == "ready" and opened.state.active_segment == second)
    after = opened.need_segmenter().kept.known[first]
    assert after.lower == before.lower
    assert np.array_equal(after.mask, before.mask)
    assert opened.need_segmenter().kept.painted_slices(first, 0) == [20]
    do(opened, "segment_select", first)
    assert [prompt["text"] for prompt in opened.state.prompts] == ["Box"]


def test_propagation_tells_how_it_went_and_marks_the_strip(opened: WebApp) -> None:
    draw_box(opened)
    do(opened, "propagate_range", "first", 15)
    do(opened, "propagate_range", "last", 25)
    do(opened, "propagate")
    settle(opened, lambda: bool(opened.state.propagate_about))
    assert opened.state.propagate_about.startswith("11 slices, 15 to 25")
    marks = opened.state.view_axial["strip"]
    assert {"seed"} < {mark["kind"] for mark in marks}
    assert min(mark["left"] for mark in marks) == pytest.approx(100 * 15 / 40, abs=0.01)


def test_a_range_handle_pushes_the_other_one(opened: WebApp) -> None:
    do(opened, "propagate_range", "last", 10)
    do(opened, "propagate_range", "first", 30)
    assert (opened.state.propagate_first, opened.state.propagate_last) == (30, 30)
    do(opened, "propagate_all")
    assert (opened.state.propagate_first, opened.state.propagate_last) == (0, 39)


def test_the_menu_shows_a_window_that_was_set_with_the_mouse(opened: WebApp) -> None:
    assert opened.state.window == "auto"
    display = opened.need_segmenter().volume_node.GetScalarVolumeDisplayNode()
    display.AutoWindowLevelOff()  # as dragging does
    display.SetWindowLevel(120, 60)
    assert opened.state.window == "custom"
    assert opened.state.windows[-1]["title"] == "Level 60, width 120"
    do(opened, "segment_add")  # nothing else changes it back
    assert opened.state.window == "custom"


def test_the_model_sees_the_image_in_the_window_of_the_menu(opened: WebApp) -> None:
    session = opened.need_segmenter().session
    shown = lambda: session._image.mapping.to_json()  # noqa: E731
    before = shown()
    with opened.state:
        opened.state.window = "bone"
    assert shown() == {"type": "window", "level": 400, "width": 1800}
    with opened.state:
        opened.state.window = "auto"
    assert shown() == before


def test_one_tool_at_a_time(opened: WebApp) -> None:
    from trame_slicer.segmentation import SegmentationEffectNoTool, SegmentationEffectPaint

    do(opened, "segment_add")
    do(opened, "aps_key", "b")
    assert opened.tools.placing.tool == "box"
    do(opened, "tool", "paint")
    assert opened.tools.placing.tool is None
    assert isinstance(opened.tools.editor.active_effect, SegmentationEffectPaint)
    do(opened, "aps_key", "escape")
    assert opened.state.tool == "navigate"
    assert isinstance(opened.tools.editor.active_effect, SegmentationEffectNoTool)


def test_a_tool_without_a_segment_says_what_to_do(opened: WebApp) -> None:
    do(opened, "tool", "smoothing")
    assert [toast["kind"] for toast in opened.state.toasts] == ["error"]
    assert "add one" in opened.state.toasts[0]["text"]


def test_segments_are_renamed_coloured_hidden_locked_and_deleted(opened: WebApp) -> None:
    do(opened, "segment_add")
    (row,) = opened.state.segments
    do(opened, "segment_rename", row["id"], "  liver ")
    do(opened, "segment_color", row["id"], "#ff8000")
    do(opened, "segment_visible", row["id"], False)
    do(opened, "segment_lock", row["id"], True)
    (changed,) = opened.state.segments
    assert changed | {"id": "", "ml": ""} == {
        "id": "", "name": "liver", "color": "#ff8000", "visible": False, "locked": True, "ml": ""
    }  # fmt: skip
    do(opened, "segment_lock", row["id"], False)
    do(opened, "segment_delete", row["id"])
    assert opened.state.segments == []


def test_names_of_organs_are_suggested(app: WebApp) -> None:
    assert {"Liver", "Spleen", "Aorta"} <= set(app.state.terms)


def test_what_edits_may_change_goes_to_the_editor_node(opened: WebApp) -> None:
    node = opened.slicer_app.segmentation_editor.editor_node
    with opened.state:
        opened.state.overwrite_mode = node.OverwriteNone
    assert node.GetOverwriteMode() == node.OverwriteNone
    with opened.state:
        opened.state.overwrite_mode = node.OverwriteAllSegments
    assert node.GetOverwriteMode() == node.OverwriteAllSegments


def test_an_export_can_be_fetched_once(opened: WebApp) -> None:
    draw_box(opened)
    assert opened.loop is not None
    id = opened.loop.run_until_complete(opened.exporting.export(".seg.nrrd"))
    assert id is not None
    path = opened.exporting.downloads.take(id)
    assert path is not None
    assert path.name == "ball.seg.nrrd"
    assert path.stat().st_size > 100
    assert opened.exporting.downloads.take(id) is None


def test_an_export_of_nothing_is_a_toast(opened: WebApp) -> None:
    assert opened.loop is not None
    before = set(opened.exporting.downloads.folder.glob("*"))
    assert opened.loop.run_until_complete(opened.exporting.export(".seg.nrrd")) is None
    assert "no segments" in opened.state.toasts[0]["text"]
    assert set(opened.exporting.downloads.folder.glob("*")) == before


def test_uploads_that_nothing_needs_are_removed_when_the_page_is_served(opened: WebApp) -> None:
    loop, uploads, volume = opened.loop, opened.opening.uploads, opened.need_segmenter().volume
    assert loop is not None

    def uploaded(name: str) -> Path:
        batch = uploads.begin()
        uploads.write(batch, name, b"x")
        return uploads.finish(batch).path

    unneeded, unfinished, shown, new = (uploaded(f"{name}.nii") for name in ("unneeded", "unfinished", "shown", "new"))
    opened.show_volume(Volume(np.roll(volume.array, 1, 1), volume.geometry, None, "a"), None, str(unfinished))
    draw_box(opened)
    opened.show_volume(Volume(np.roll(volume.array, 1, 2), volume.geometry, None, "b"), None, str(shown))
    draw_box(opened)
    left = opened.exporting.downloads.path_for("left.nii")  # by a program that has ended
    for path in (unneeded, unfinished, shown):
        os.utime(uploads.folder / path.relative_to(uploads.folder).parts[0], (0, time.time() - OLD_S - 60))
    os.utime(left.parent, (0, time.time() - OLD_S - 60))

    async def served() -> None:
        opened._on_ready()

    loop.run_until_complete(served())
    settle(opened, lambda: not unneeded.exists())
    assert unfinished.exists()
    assert shown.exists()
    assert new.exists()
    assert not left.parent.exists()


def test_work_comes_back_with_the_image(opened: WebApp) -> None:
    volume = opened.need_segmenter().volume
    copy = Volume(volume.array.copy(), volume.geometry, None, "ball")
    opened.show_volume(copy, None, "/data/ball.nrrd")
    draw_box(opened)
    opened.show_volume(Volume(volume.array[::-1].copy(), volume.geometry, None, "other"), None, "/data/other.nrrd")
    settle(opened, lambda: opened.state.segments == [])
    opened.show_volume(copy, None, "/data/ball.nrrd")
    settle(opened, lambda: len(opened.state.prompts) == 1)
    assert opened.state.segments[0]["ml"] != "–"
    assert any("is back" in toast["text"] for toast in opened.state.toasts)


def test_what_nobody_expected_is_told_and_stops_no_other_panel(
    opened: WebApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of a panel")

    monkeypatch.setattr(opened.segments, "refresh", broken)  # one of the first
    draw_box(opened)
    assert [prompt["text"] for prompt in opened.state.prompts] == ["Box"]
    assert "Something went wrong" in told(opened)
    assert "ZeroDivisionError: of a panel" in caplog.text
    opened.state.toasts = []
    monkeypatch.setattr(opened.views, "step", broken)
    do(opened, "aps_key", "arrowup")
    assert "Something went wrong" in told(opened)


def test_a_toast_is_said_once_and_can_be_closed(app: WebApp) -> None:
    app.state.toasts = []
    app.say("Twice.", "warning")
    app.say("Twice.", "warning")
    (toast,) = app.state.toasts
    do(app, "toast_close", toast["id"])
    assert app.state.toasts == []

"""Examples on the page without a browser: the gallery, runs, what a person accepts, learning."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trame_slicer")
from PIL import Image

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.reports import SURE_COLORS
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.supports import SupportLibrary, SupportSet
from AutoPromptSAMLib.web import app as app_module
from AutoPromptSAMLib.web.app import WebApp

from ..finds_bright import SURE, Learns
from ..threshold_backbone import ThresholdBackbone
from .pages import application, do, settle, show, told

BALL = (np.indices((20, 40, 48)).T - np.array([10, 20, 24])).T
TRUTH = (BALL[0] ** 2 * 4 + BALL[1] ** 2 + BALL[2] ** 2) < 120  # on slices 5 to 15


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with application("test-supports", tmp_path_factory.mktemp("home"), Learns) as app:
        yield app


@pytest.fixture
def opened(app: WebApp) -> WebApp:
    """A bright ball, and no examples yet."""
    for each in app.gallery.desk.library.sets():
        app.gallery.desk.library.remove(each.id)
    app.gallery.list()
    show(app, TRUTH)
    app.state.guide = "examples"
    return app


def fill(app: WebApp, name: str, mask: np.ndarray = TRUTH, color: tuple[float, float, float] = (0, 1, 0)) -> str:
    segmenter = app.need_segmenter()
    segment_id = segmenter.add_segment(name, color)
    segmenter.writer.write(segment_id, Crop.from_full(mask), region=Crop.empty())
    settle(app, lambda: any(row["ml"] != "–" for row in app.state.segments if row["id"] == segment_id))
    return segment_id


def made(app: WebApp, name: str = "Balls") -> SupportSet:
    """A set of the open image, whose segments are gone again."""
    fill(app, "ball")
    do(app, "examples_form", "scene", True)
    app.state.examples_name = name
    do(app, "examples_add_scene")
    settle(app, lambda: bool(app.state.examples_sets) and not app.state.examples_busy)
    segmenter = app.need_segmenter()
    for info in segmenter.segments:
        segmenter.remove_segment(info.id)
    segmenter.undo_stack.clear()
    settle(app, lambda: not app.state.segments)
    assert app.gallery.desk.chosen is not None
    return app.gallery.desk.chosen


def run(app: WebApp, trigger: str = "examples_run") -> None:
    do(app, trigger)
    settle(app, lambda: app.state.phase == "ready" and app.state.examples_ran)


def test_a_set_is_made_from_the_open_image(opened: WebApp) -> None:
    state = opened.state
    do(opened, "examples_form", "scene", True)
    assert "draw an object" in told(opened)
    chosen = made(opened)
    assert (chosen.name, chosen.names) == ("Balls", ("ball",))
    assert chosen.objects[0].colour == pytest.approx((0, 1, 0), abs=0.01)
    assert "axial 10" in [pair.name for pair in chosen.pairs]
    assert len(chosen.pairs) > 4
    (row,) = state.examples_sets
    assert row["about"] == f"{len(chosen.pairs)} examples"
    assert row["objects"] == [{"name": "ball", "color": "#00FF00"}]
    assert row["thumb"].startswith("data:image/jpeg;base64,")
    assert (state.examples_set, state.examples_form) == (chosen.id, "")
    assert len(state.examples_pairs) == len(chosen.pairs)
    assert sum(len(pair["thumb"]) for pair in state.examples_pairs) < 10_000 * len(chosen.pairs)
    assert f'{len(chosen.pairs)} examples joined "Balls"' in told(opened)


def test_only_ticked_segments_and_vouched_slices(opened: WebApp) -> None:
    fill(opened, "ball")
    other = fill(opened, "half", TRUTH & (BALL[0] < 0))
    do(opened, "examples_form", "scene", True)
    assert opened.state.examples_name == "ball and half"
    opened.state.examples_from = [other]
    opened.state.examples_slices = "vouched"
    do(opened, "examples_add_scene")
    settle(opened, lambda: bool(opened.state.examples_sets) and not opened.state.examples_busy)
    chosen = opened.gallery.desk.need()
    assert chosen.names == ("half",)
    assert [pair.name for pair in chosen.pairs] == [f"axial {n}" for n in range(5, 10)]


def test_sets_are_renamed_and_removed_and_examples_come_back(opened: WebApp) -> None:
    chosen = made(opened)
    do(opened, "examples_rename", "Round things")
    do(opened, "examples_rename_object", "ball", "globe")
    do(opened, "examples_color", "globe", "#ff8000")
    assert opened.state.examples_sets[0]["name"] == "Round things"
    assert opened.state.examples_sets[0]["objects"] == [{"name": "globe", "color": "#FF8000"}]
    gone = opened.state.examples_pairs[1]
    do(opened, "examples_remove", gone["id"])
    assert gone["id"] not in [pair["id"] for pair in opened.state.examples_pairs]
    assert opened.state.examples_removed == gone["name"]
    do(opened, "examples_unremove")
    back = next(pair for pair in opened.gallery.desk.need().pairs if pair.id == gone["id"])
    assert np.array_equal(back.masks["globe"], chosen.pairs[1].masks["ball"])
    do(opened, "examples_rename", "")
    assert "write a name" in told(opened)
    do(opened, "examples_remove_set")
    assert opened.state.examples_sets == []
    assert opened.state.examples_set == ""
    assert opened.gallery.desk.library.sets() == []


def upload(app: WebApp, purpose: str, name: str, data: bytes) -> None:
    uploads = app.opening.uploads
    batch = uploads.begin()
    uploads.write(batch, name, data)
    do(app, "examples_uploaded", batch, purpose)
    settle(app, lambda: not app.state.examples_busy)


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_examples_come_from_a_picture_and_its_mask(opened: WebApp) -> None:
    labels = np.zeros((60, 80), np.uint8)
    labels[10:20, 10:30], labels[30:40, 40:60] = 1, 2
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    do(opened, "examples_form", "files", True)
    upload(opened, "examples-image", "photo.png", png(picture))
    upload(opened, "examples-mask", "wrong.png", png(labels[:50]))
    do(opened, "examples_add_files")
    settle(opened, lambda: not opened.state.examples_busy)
    assert "wrong.png has 80 x 50 pixels" in told(opened)
    assert "/" not in told(opened)
    upload(opened, "examples-mask", "labels.png", png(labels))
    assert opened.state.examples_files == {"image": "photo.png", "mask": "labels.png"}
    opened.state.examples_file_objects = "disc, cup"
    do(opened, "examples_add_files")
    settle(opened, lambda: bool(opened.state.examples_sets) and not opened.state.examples_busy)
    chosen = opened.gallery.desk.need()
    assert (chosen.name, chosen.names) == ("disc and cup", ("disc", "cup"))
    assert np.array_equal(chosen.pairs[0].masks["cup"], labels == 2)
    assert opened.state.examples_files == {"image": "", "mask": ""}
    assert not any(opened.opening.uploads.folder.iterdir())


def test_a_set_goes_out_as_one_file_and_comes_back(opened: WebApp, tmp_path: Path) -> None:
    chosen = made(opened)
    assert opened.loop is not None
    ticket = opened.loop.run_until_complete(opened.gallery.export(chosen.id))
    assert ticket is not None
    path = opened.exporting.downloads.take(ticket)
    assert path is not None
    assert path.name == "Balls.apsupports"
    upload(opened, "examples-import", path.name, path.read_bytes())
    first, second = opened.gallery.desk.library.sets()
    assert [pair.id for pair in first.pairs] == [pair.id for pair in second.pairs]
    assert opened.gallery.desk.need().id == second.id != chosen.id
    assert "was imported" in told(opened)
    upload(opened, "examples-import", "broken.apsupports", path.read_bytes()[:2000])
    damaged = "broken.apsupports cannot be imported, because it is damaged or no .apsupports file; export it again."
    assert told(opened) == damaged
    assert len(opened.gallery.desk.library.sets()) == 2


@pytest.mark.parametrize("purpose", ["examples-import", "examples-image"])
def test_a_batch_that_is_none_removes_nothing(opened: WebApp, tmp_path: Path, purpose: str) -> None:
    uploads = opened.opening.uploads.folder
    beside, elsewhere, folder = uploads.parent / "beside", tmp_path / "abs", uploads / "of-another-page"
    for each in (beside, elsewhere, folder):
        each.mkdir(parents=True)
    for batch in ("../beside", str(elsewhere), "", ".", folder.name):
        do(opened, "examples_uploaded", batch, purpose)
        settle(opened, lambda: not opened.state.examples_busy)
        assert "This upload is not known" in told(opened)
        assert all(each.is_dir() for each in (beside, elsewhere, folder))
    for each in (beside, folder):
        each.rmdir()


def test_a_run_shows_how_sure_it_is_and_leads_to_the_least_sure_slice(opened: WebApp) -> None:
    made(opened)
    state = opened.state
    run(opened)
    assert [row["name"] for row in state.segments] == ["ball"]
    (row,) = state.examples_objects
    assert row["sure"] == round(100 * np.mean([SURE[n] for n in range(5, 16)]))
    assert "11 slices" in row["text"]
    assert (state.examples_unsure["slice"], state.examples_unsure["sure"]) == (7, 65)
    levels = [mark["kind"] for mark in state.view_axial["strip"]]
    assert {"sure aps-mark-sure-0", "sure aps-mark-sure-2"} <= set(levels)
    assert state.view_axial["strip"][0]["text"] == "slice 5: 85 % sure"
    assert state.propagate_about == ""
    shown = []
    for _ in range(4):
        do(opened, "examples_unsure")
        settle(opened, lambda: state.phase == "ready")
        shown.append(state.view_axial["index"])
    assert shown == [7, 11, 15, 6]
    do(opened, "examples_unsure", "ball")
    assert state.view_axial["index"] == 10
    opened.need_segmenter().undo()
    settle(opened, lambda: not state.segments and not state.examples_ran)
    assert opened.need_segmenter().redo_text == "Prompt from Balls"


def test_how_sure_it_is_of_a_slice_outlives_the_model_that_said_so(opened: WebApp) -> None:
    made(opened)
    run(opened)
    state, before = opened.state, opened.need_segmenter()
    unsure, strip = state.examples_unsure, state.view_axial["strip"]
    assert unsure["slice"] == 7
    state.update({"examples_ran": False, "examples_unsure": None})
    opened.use_backbone(ThresholdBackbone())
    settle(opened, lambda: state.tools_ready and state.phase == "ready" and state.examples_ran)
    assert opened.need_segmenter() is not before
    assert state.examples_unsure == unsure
    assert state.view_axial["strip"] == strip


def test_range_slice_and_ticks_are_respected(opened: WebApp) -> None:
    made(opened)
    state = opened.state
    do(opened, "slice_jump", "axial", 9)
    run(opened, "examples_one")
    assert list(found(opened)) == [9]
    state.propagate_first, state.propagate_last = 11, 12
    run(opened)
    assert list(found(opened)) == [9, 11, 12]  # what is known of slice 9 stays
    do(opened, "examples_tick", "ball")
    do(opened, "examples_run")
    assert "No object is ticked" in told(opened)


def found(app: WebApp) -> Any:
    segmenter = app.need_segmenter()
    run = segmenter.propagation(segmenter.segments[0].id)
    assert run is not None
    return run.agreement


def test_accepted_slices_are_kept_and_join_the_examples(opened: WebApp) -> None:
    chosen = made(opened)
    state = opened.state
    run(opened)
    do(opened, "slice_jump", "axial", 8)
    do(opened, "examples_accept")
    settle(opened, lambda: state.examples_vouched == 1)
    assert state.examples_accepted == [8]
    assert "seed" in [mark["kind"] for mark in state.view_axial["strip"]]
    run(opened)
    assert found(opened)[8] == 1
    count = len(chosen.pairs)
    spot = np.zeros_like(TRUTH)
    spot[9, 2:8, 2:8] = True
    segmenter = opened.need_segmenter()
    segmenter.writer.write(segmenter.segments[0].id, Crop.from_full(spot), region=Crop.empty())
    settle(opened, lambda: state.examples_vouched == 2)
    do(opened, "examples_add_vouched")
    settle(opened, lambda: not state.examples_busy)
    assert re.search(r'1 example joined "Balls"; 1 was in it already', told(opened))
    new = [pair for pair in opened.gallery.desk.need().pairs if pair.id not in [old.id for old in chosen.pairs]]
    assert len(new) == len(opened.gallery.desk.need().pairs) - count
    assert any(pair.masks["ball"].sum() == (TRUTH | spot)[9].sum() for pair in new)


def test_what_is_missing_is_said_with_the_next_step(opened: WebApp) -> None:
    do(opened, "examples_run")
    assert "make some from this image or from files" in told(opened)
    assert opened.state.examples_open
    do(opened, "examples_unsure")
    assert "prompt automatically first" in told(opened)
    do(opened, "examples_add_files")
    assert "choose both files" in told(opened)
    do(opened, "examples_learn")
    assert "no examples yet" in told(opened)


def test_a_run_is_not_left_half_done_by_another_image_or_model(opened: WebApp) -> None:
    made(opened)
    state = opened.state
    session: Any = opened.need_segmenter().session
    session.pause.clear()
    do(opened, "examples_run")
    settle(opened, lambda: state.phase == "propagating" and bool(state.segments))
    segmenter = opened.need_segmenter()
    do(opened, "model_use", "lite-medsam")
    assert "cancel it, which keeps what is done" in told(opened)
    with pytest.raises(PromptError, match="then open an image"):
        opened.show_volume(segmenter.volume)
    assert opened.need_segmenter() is segmenter
    do(opened, "cancel")
    session.pause.set()
    settle(opened, lambda: state.phase == "ready")
    opened.show_volume(segmenter.volume)
    assert opened.need_segmenter() is not segmenter


def test_learning_shows_its_progress_and_a_picture(opened: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    made(opened)
    state = opened.state
    session: Any = opened.need_segmenter().session
    attached = []
    monkeypatch.setattr(SupportLibrary, "attach_task", lambda self, id, path: attached.append(path) or self.get(id))
    session.pause.clear()
    do(opened, "examples_learn")
    settle(opened, lambda: state.examples_learning is not None and bool(state.examples_learning["preview"]))
    assert (state.examples_learning["text"], state.examples_learning["percent"]) == ("Learning", 1)
    assert state.examples_learning["left"] == "at most 15 min left"
    assert (state.examples_learning["name"], state.status) == ("Balls", "Learning Balls, 1 %")
    do(opened, "examples_remove_set")
    assert told(opened) == '"Balls" is being learned; stop that, or wait for its end, to remove it.'
    assert [row["name"] for row in state.examples_sets] == ["Balls"]
    do(opened, "examples_learn_cancel")
    session.pause.set()
    settle(opened, lambda: state.examples_learning is None)
    assert attached == [Path("task")]
    assert "best so far" in told(opened)
    assert state.status == "Ready"


def test_another_model_ends_learning_and_keeps_the_best_so_far(opened: WebApp, tmp_path: Path) -> None:
    from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
    from AutoPromptSAMLib.prompters.proxy_prompt.weights import save_task

    chosen = made(opened)
    state = opened.state
    session: Any = opened.need_segmenter().session
    session.task = tmp_path / "task.safetensors"
    save_task(ProxyPromptNetwork(ProxyPromptConfig.small()), session.task, ThresholdBackbone())
    content = session.task.read_bytes()
    session.pause.clear()
    do(opened, "examples_learn")
    settle(opened, lambda: state.examples_learning is not None and bool(state.examples_learning["preview"]))
    threading.Timer(0.2, session.pause.set).start()  # a step of learning ends
    opened.use_backbone(ThresholdBackbone())
    settle(opened, lambda: state.examples_learning is None and state.examples_sets[0]["learned"])
    assert 'the best so far is kept in "Balls"' in told(opened)
    (task,) = opened.gallery.desk.library.get(chosen.id).tasks.values()
    assert task.read_bytes() == content
    assert not session.task.exists()  # the set has its own copy


def test_colours_of_the_strip_are_those_of_the_levels() -> None:
    css = (Path(app_module.__file__).with_name("static") / "app.css").read_text(encoding="utf-8")
    assert tuple(re.findall(r"\.aps-mark-sure-\d \{ background: (#\w{6}); \}", css)) == SURE_COLORS

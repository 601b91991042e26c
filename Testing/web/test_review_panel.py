"""The review on the page without a browser: what is shown, keys, suggestions, refinement, corrections, files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("trame_slicer")
from AutoPromptSAMLib.geometry import Crop, slice_plane
from AutoPromptSAMLib.images import load_volume
from AutoPromptSAMLib.prompts import Box
from AutoPromptSAMLib.web.app import WebApp
from AutoPromptSAMLib.web.state import INITIAL
from AutoPromptSAMLib.web.templates import PAGES
from AutoPromptSAMLib.workbench.shortcuts import SHORTCUTS

from ..knows_truth import KnowsTruth
from ..threshold_backbone import ThresholdBackbone
from .pages import application, do, settle, show, told

BALL = (np.indices((30, 40, 48)).T - np.array([15, 20, 24])).T
TRUTH = BALL[0] ** 2 + BALL[1] ** 2 + BALL[2] ** 2 < 160  # on slices 3 to 27
WORST, BAD = 12, 20  # half, and a quarter of the ball's columns, are missing
WRONG = TRUTH.copy()
WRONG[WORST, :, 24:] = False
WRONG[BAD, :, 30:] = False
WRONG[[2, 28]] = False


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with application("test-review", tmp_path_factory.mktemp("home"), KnowsTruth) as app:
        yield app


@pytest.fixture
def opened(app: WebApp) -> WebApp:
    """A bright ball with a segment that is wrong on two slices, and the tab of the review."""
    show(app, TRUTH)
    segment_id = app.need_segmenter().add_segment("ball")
    app.need_segmenter().kept.flip({segment_id: Crop.from_full(WRONG)})
    with app.state:
        app.state.guide = "review"
    app.need_segmenter().changed("segments")
    settle(app, lambda: bool(app.state.segments) and app.state.segments[0]["ml"] != "–")
    return app


def run(app: WebApp, trigger: str = "review_run") -> None:
    do(app, trigger)
    settle(app, lambda: app.state.phase == "ready" and app.need_segmenter().job is None)


def voxels(app: WebApp) -> np.ndarray:
    segmenter = app.need_segmenter()
    assert segmenter.active_segment is not None
    return segmenter.kept.known[segmenter.active_segment].to_full(TRUTH.shape)


def correct(app: WebApp, index: int) -> None:
    plane = slice_plane(app.need_segmenter().volume.geometry, 0, index)
    app.need_segmenter().add_prompt(Box.on_plane(plane, (8, 4, 40, 36)))
    settle(app, lambda: app.state.phase == "ready" and np.array_equal(voxels(app)[index], TRUTH[index]))
    settle(app, lambda: app.need_segmenter().looks._live is None)


def shown(app: WebApp) -> int:
    return int(app.state.view_axial["index"])


def test_a_look_fills_the_tab_and_the_strip(opened: WebApp) -> None:
    state = opened.state
    assert not state.review_ran
    run(opened)
    assert state.review_ran
    assert [row["index"] for row in state.review_rows[:2]] == [WORST, BAD]
    first = state.review_rows[0]
    dice = 2 * WRONG[WORST].sum() / (WRONG[WORST].sum() + TRUTH[WORST].sum())
    assert first["percent"] == round(100 * dice)
    assert first["position"] == "S 24.0 mm"
    assert "of 25 slices" in state.review_about
    marks = [mark for mark in state.view_axial["strip"] if "sure" in mark["kind"]]
    bright = next(mark for mark in marks if mark["left"] == pytest.approx(100 * WORST / 30, abs=0.01))
    assert bright["text"] == f"slice {WORST}: {100 * dice:.0f} % expected Dice"
    with state:
        state.guide = "prompts"
    assert not [mark for mark in state.view_axial["strip"] if "sure" in mark["kind"]]


def test_only_the_range_or_the_slice_is_looked_at(opened: WebApp) -> None:
    do(opened, "propagate_range", "first", 10)
    do(opened, "propagate_range", "last", 13)
    run(opened)
    assert len(opened.need_segmenter().looks.ranked_slices()) == 4
    do(opened, "slice_jump", "axial", BAD)
    run(opened, "review_one")
    assert {row.index for row in opened.need_segmenter().looks.ranked_slices()} == {10, 11, 12, 13, BAD}


def test_the_key_leads_from_one_unsure_slice_to_the_next(opened: WebApp) -> None:
    do(opened, "aps_key", "u")
    assert "Where is it unsure" in told(opened)
    do(opened, "aps_key", "shift+u")
    settle(opened, lambda: opened.state.phase == "ready" and opened.state.review_ran)
    do(opened, "aps_key", "u")
    assert shown(opened) == WORST
    do(opened, "aps_key", "u")
    assert shown(opened) == BAD
    do(opened, "aps_key", "y")
    assert opened.state.undo_text == f"Accept slice {BAD}"
    assert BAD not in [row["index"] for row in opened.state.review_rows]


def test_the_overlay_follows_its_switch_and_slider(opened: WebApp) -> None:
    view = opened.views.slices["axial"].view
    run(opened)
    segmenter = opened.need_segmenter()
    assert segmenter.looks.display.nodes is not None
    node = segmenter.looks.display.nodes.node(segmenter.active_segment or "")
    assert view.get_foreground_volume_id() == node.GetID()
    assert view.get_foreground_opacity() == pytest.approx(0.6)
    with opened.state:
        opened.state.review_opacity = 30
    assert view.get_foreground_opacity() == pytest.approx(0.3)
    do(opened, "aps_key", "h")
    assert view.get_foreground_volume_id() is None
    do(opened, "aps_key", "h")
    assert view.get_foreground_volume_id() == node.GetID()
    with opened.state:
        opened.state.guide = "prompts"
    assert view.get_foreground_volume_id() is None
    do(opened, "aps_key", "h")
    assert opened.state.guide == "review"
    assert view.get_foreground_volume_id() == node.GetID()


def test_what_belongs_to_other_slices_is_not_taken(opened: WebApp) -> None:
    run(opened)
    with opened.state:
        opened.state.propagate_view = "coronal"
    settle(opened, lambda: not opened.state.review_ran)
    for key in ("t", "y"):
        do(opened, "aps_key", key)
        assert "was not looked at along these slices" in told(opened)
    with opened.state:
        opened.state.propagate_view = "axial"
    settle(opened, lambda: opened.state.review_ran)


def test_a_suggestion_is_named_drawn_and_taken(opened: WebApp) -> None:
    scene = opened.slicer_app.scene
    run(opened)
    do(opened, "aps_key", "u")
    settle(opened, lambda: scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1)  # after a moment of rest
    assert opened.state.review_suggested == "a box"
    with opened.state:
        opened.state.review_suggest = False
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0
    do(opened, "aps_key", "t")
    settle(opened, lambda: np.array_equal(voxels(opened)[WORST], TRUTH[WORST]))
    assert [(row["text"], row["person"], row["slice"]) for row in opened.state.prompts] == [("Box", True, WORST)]
    settle(opened, lambda: opened.state.review_corrected == [WORST])
    do(opened, "undo")
    settle(opened, lambda: opened.state.review_corrected == [] and opened.state.prompts == [])
    assert np.array_equal(voxels(opened), WRONG)


def test_refining_shows_its_steps(opened: WebApp) -> None:
    run(opened)
    do(opened, "slice_jump", "axial", WORST)
    do(opened, "aps_key", "r")
    settle(opened, lambda: opened.state.phase == "ready" and opened.state.review_steps is not None)
    steps = opened.state.review_steps
    assert (steps["index"], steps["number"], steps["count"], steps["title"]) == (WORST, 1, 3, "step 1 of 2")
    assert steps["reason"] == "Accepted: uncertainty fell. Mean uncertainty 0.010 bits."
    assert np.array_equal(voxels(opened)[WORST], TRUTH[WORST])
    do(opened, "aps_key", ",")
    assert opened.state.review_steps["title"] == "as it was"
    assert opened.state.review_steps["reason"] == "Before it was refined. Mean uncertainty 0.010 bits."
    assert np.array_equal(voxels(opened), WRONG)
    do(opened, "aps_key", ".")
    do(opened, "aps_key", ".")
    assert opened.state.review_steps["title"] == "step 2 of 2"
    assert opened.state.review_steps["reason"].startswith("Refused: nothing was left")
    do(opened, "slice_jump", "axial", BAD)
    settle(opened, lambda: opened.state.review_steps is None)
    do(opened, "aps_key", ".")
    assert "was not refined" in told(opened)


def test_going_on_carries_a_correction_to_its_neighbours_and_leads_elsewhere(opened: WebApp) -> None:
    run(opened)
    do(opened, "aps_key", "u")
    correct(opened, WORST)
    settle(opened, lambda: opened.state.review_corrected == [WORST])
    session = opened.need_segmenter().session
    assert isinstance(session, KnowsTruth)
    session.asked.clear()
    do(opened, "aps_key", "u")
    assert shown(opened) == BAD
    settle(opened, lambda: opened.state.phase == "ready" and not opened.state.review_corrected)
    settle(opened, lambda: opened.need_segmenter().job is None)
    assert session.asked == [("carry", 0, WORST), ("review", 0, 7, 11), ("review", 0, 13, 17)]
    assert WORST not in [row["index"] for row in opened.state.review_rows]


def test_nothing_is_carried_when_that_is_not_wanted(opened: WebApp) -> None:
    run(opened)
    correct(opened, WORST)
    with opened.state:
        opened.state.review_carry = False
    do(opened, "aps_key", "u")
    assert shown(opened) == BAD
    assert opened.state.review_corrected == [WORST]
    do(opened, "review_carry_now")
    settle(opened, lambda: opened.state.phase == "ready" and not opened.state.review_corrected)


def test_slices_that_others_changed_are_counted(opened: WebApp) -> None:
    run(opened)
    segmenter = opened.need_segmenter()
    spot = np.zeros_like(TRUTH)
    spot[5:7, 2:4, 2:4] = True
    with segmenter.kept.own_changes():  # as another run does
        segmenter.kept.write(segmenter.active_segment or "", Crop.from_full(spot), Crop.from_full(spot))
    segmenter.changed("segments")
    settle(opened, lambda: opened.state.review_changed == 2)


def test_the_uncertainty_is_saved_with_its_place(opened: WebApp) -> None:
    assert opened.loop is not None
    export = opened.review.export
    assert opened.loop.run_until_complete(export(".nrrd")) is None
    assert "Where is it unsure" in told(opened)
    run(opened)
    for suffix in (".nrrd", ".nii.gz"):
        ticket = opened.loop.run_until_complete(export(suffix))
        assert ticket is not None
        path = opened.exporting.downloads.take(ticket)
        assert path is not None
        assert path.name == f"ball ball uncertainty{suffix}"
        volume = load_volume(path)
        assert volume.geometry.close_to(opened.need_segmenter().volume.geometry)
        assert np.array_equal(volume.array, (TRUTH ^ WRONG).astype(np.float32))
    assert opened.loop.run_until_complete(export(".txt")) is None


def test_another_image_and_another_segment_start_anew(opened: WebApp) -> None:
    run(opened)
    segmenter = opened.need_segmenter()
    first = segmenter.active_segment
    do(opened, "segment_add")
    assert not opened.state.review_ran
    do(opened, "segment_select", first)
    assert opened.state.review_ran
    opened.use_backbone(ThresholdBackbone())
    settle(opened, lambda: opened.state.phase == "ready")
    assert not opened.state.review_ran
    assert opened.slicer_app.scene.GetFirstNodeByName("Uncertainty of ball (bits)") is None


def test_tooltips_have_the_keys_and_everything_has_a_name(app: WebApp) -> None:
    template, text = app.review.template, (PAGES / "review.html").read_text(encoding="utf-8")
    assert "[[" not in template
    assert all(f"[[{s.action}]]" in text for s in SHORTCUTS if s.action.startswith("review:"))
    for part in ("magma", "inferno", "GRADIENT"):
        assert part not in template
    assert all(name in text for name in INITIAL if name.startswith("review_"))


def test_nothing_happens_before_there_is_an_image(app: WebApp) -> None:
    app.close_image(None)
    for key in ("shift+u", "r", "t", ",", "."):
        do(app, "aps_key", key)
        assert "There is no image yet" in told(app)
    do(app, "aps_key", "h")
    assert app.state.review_overlay in (True, False)

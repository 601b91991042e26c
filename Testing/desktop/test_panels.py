"""Support pairs, automatic runs, review and models: every panel through its buttons."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.mrml.persistence import restore_state
from AutoPromptSAMLib.supports import SupportLibrary

from ..finds_bright import SURE, FindsBright, Learns
from ..knows_truth import KnowsTruth
from ..threshold_backbone import BRIGHT, ThresholdBackbone
from .double import Desktop
from .hands import AFFINE, LEFT, MODULE, RIGHT, Hands, balls


def opened(hands: Hands, monkeypatch: pytest.MonkeyPatch, kind: type) -> Any:
    """An image of two balls, and sessions of this kind; returns the one of the image."""
    monkeypatch.setattr("AutoPromptSAMLib.session.opening.local_session", lambda _backbone: kind())
    hands.open(hands.desktop.add_volume(balls(LEFT, RIGHT), AFFINE, "balls"), ThresholdBackbone())
    return hands.segmenter.session


def filled(hands: Hands, mask: np.ndarray) -> None:
    """Give the active segment voxels that nobody painted."""
    segmenter = hands.segmenter
    with segmenter.kept.own_changes():
        segmenter.writer.write(segmenter.active_segment, Crop.from_full(mask), region=Crop.empty())
    segmenter.kept.known[segmenter.active_segment] = Crop.from_full(mask)
    segmenter.changed("segments")
    hands.settle()


def with_pairs(hands: Hands) -> None:
    """A segment "ball", and the support pairs that are made of it."""
    hands.press("InputPanel/addSegmentButton")
    hands.settle()
    hands.segmenter.rename_segment(hands.segmenter.active_segment, "ball")
    filled(hands, np.asarray(hands.segmenter.volume.array) == BRIGHT)
    hands.press("SupportsPanel/addFromSceneButton")
    hands.wait(lambda: hands.desktop.find("SupportsPanel/pairsList").count > 0)


@pytest.fixture
def finds(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> Hands:
    opened(hands, monkeypatch, FindsBright)
    with_pairs(hands)
    return hands


def test_pairs_of_the_open_image_are_kept_with_thumbnails(finds: Hands, home: Path) -> None:
    assert finds.desktop.find("SupportsPanel/setCombo").currentText.startswith("ball")
    row = finds.desktop.find("SupportsPanel/pairsList").item(0)
    assert not row.icon().isNull()
    assert "ball" in row.toolTip()
    assert list((home / "supports").iterdir())
    assert 'joined "ball"' in finds.message
    assert finds.desk.parameters.supportSet == finds.desk.examples.chosen.id


def test_support_pairs_find_the_object_on_a_range_and_lead_to_the_least_sure_slice(finds: Hands) -> None:
    other = finds.desktop.add_volume(balls(LEFT), AFFINE, "another patient")
    finds.desk.parameters.segmentation = None
    finds.open(other)
    finds.desktop.find("AutomaticPanel/methodCombo").setCurrentText("From examples")
    finds.desktop.find("AutomaticPanel/rangeSlider").setValues(8, 12)
    finds.press("AutomaticPanel/runButton")
    finds.settle()
    truth = np.asarray(finds.segmenter.volume.array) == BRIGHT
    truth[:8] = truth[13:] = False
    assert [info.name for info in finds.segmenter.segments] == ["ball"]
    assert np.array_equal(finds.voxels(), truth)
    least = min(range(8, 13), key=SURE.__getitem__)
    assert f"slice {least}" in finds.text("AutomaticPanel/unsureLabel")
    assert not finds.desktop.find("AutomaticPanel/stripLabel").pixmap.isNull()

    finds.press("AutomaticPanel/unsureButton")
    finds.settle()
    assert finds.desk.views.shown_index(0) == least
    finds.press("AutomaticPanel/acceptButton")
    finds.settle()
    assert least not in [index for _, index, _ in finds.segmenter.examples.unsure_slices()]

    finds.box((30, 20, least), (50, 40, least))  # a correction there, and back again
    finds.desktop.key("Ctrl+Z")
    finds.settle()
    assert np.array_equal(finds.voxels(), truth)
    finds.desktop.key("Ctrl+Z")  # the acceptance
    finds.desktop.key("Ctrl+Z")  # the run
    finds.settle()
    assert finds.segmenter.segments == []


def test_a_finished_run_is_in_the_scene_and_known_when_its_segmentation_is_chosen_again(finds: Hands) -> None:
    finds.desktop.find("AutomaticPanel/methodCombo").setCurrentText("From examples")
    chosen, session = finds.desk.parameters.segmentation, finds.segmenter.session

    def kept() -> list[int]:  # by itself, a moment later: not every way to save a scene tells of it before
        state = restore_state(chosen.GetScene(), chosen)
        return [] if state is None else [len(run.voxels) for run in state.remembered.runs.values()]

    session.pause.clear()
    finds.press("AutomaticPanel/runButton")
    finds.wait(lambda: bool(kept()))
    begun = kept()
    session.pause.set()
    finds.settle()
    rows = finds.segmenter.examples.unsure_slices()
    assert sum(begun) < len(rows)
    finds.wait(lambda: kept() == [len(rows)])
    finds.desk.parameters.segmentation = None
    finds.desktop.spin()
    finds.desk.parameters.segmentation = chosen
    finds.settle()
    assert finds.segmenter.examples.unsure_slices() == rows
    assert f"slice {rows[0][1]}" in finds.text("AutomaticPanel/unsureLabel")


def test_objects_that_are_not_ticked_are_not_looked_for(finds: Hands) -> None:
    item = finds.desktop.find("SupportsPanel/objectsList").item(0)
    item.setCheckState(Qt.CheckState.Unchecked)
    assert finds.desk.parameters.skippedObjects == ["ball"]
    finds.desktop.key("Shift+Space")
    finds.settle()
    assert "No object is ticked" in finds.message


def test_a_set_is_renamed_exported_deleted_and_imported(finds: Hands, tmp_path: Path) -> None:
    finds.desktop.find("SupportsPanel/nameEdit").text = "Balls"
    finds.press("SupportsPanel/renameSupportsButton")
    assert finds.desktop.find("SupportsPanel/setCombo").currentText.startswith("Balls")
    finds.desktop.answers["getSaveFileName"] = str(tmp_path / "balls.apsupports")
    finds.press("SupportsPanel/exportSupportsButton")
    finds.wait(lambda: (tmp_path / "balls.apsupports").is_file())
    finds.wait(lambda: "was written" in finds.message)
    finds.press("SupportsPanel/removeSetButton")
    assert finds.desktop.find("SupportsPanel/setCombo").count == 1  # it asks first
    finds.press("SupportsPanel/removeSetButton")
    assert finds.desktop.find("SupportsPanel/setCombo").count == 0
    finds.desktop.answers["getOpenFileName"] = str(tmp_path / "balls.apsupports")
    finds.press("SupportsPanel/importSupportsButton")
    finds.wait(lambda: "was imported" in finds.message)
    assert finds.desktop.find("SupportsPanel/setCombo").currentText.startswith("Balls")


def test_the_set_that_the_scene_speaks_of_is_worked_with_from_the_start(desktop: Desktop, home: Path) -> None:
    library = SupportLibrary()
    library.create("a first one")
    wanted = library.create("the scene's")
    _, widget = desktop.load_module(MODULE)
    widget.logic.parameters().supportSet = wanted.id
    desktop.enter()
    assert widget.desk.examples.chosen.id == wanted.id
    assert widget.logic.parameters().supportSet == wanted.id


def test_a_set_that_nobody_chose_is_not_put_into_the_scene(desktop: Desktop, home: Path) -> None:
    first, second = SupportLibrary().create("first"), SupportLibrary().create("second")
    hands = Hands(desktop)
    assert hands.desk.examples.chosen.id == first.id
    assert hands.desk.parameters.supportSet == ""
    combo = desktop.find("SupportsPanel/setCombo")
    combo.setCurrentIndex(1)
    combo.activated.emit(1)
    desktop.raise_errors()
    assert hands.desk.parameters.supportSet == second.id
    for _ in range(2):
        hands.press("SupportsPanel/removeSetButton")
    assert hands.desk.parameters.supportSet == first.id


def test_a_pair_is_taken_out_and_brought_back(finds: Hands) -> None:
    pairs = finds.desktop.find("SupportsPanel/pairsList")
    count = pairs.count
    pairs.setCurrentRow(0)
    finds.press("SupportsPanel/removePairButton")
    assert pairs.count == count - 1
    finds.press("SupportsPanel/unremovePairButton")
    assert pairs.count == count


def test_a_damaged_file_is_refused_in_one_sentence(finds: Hands, tmp_path: Path) -> None:
    (tmp_path / "odd.apsupports").write_bytes(b"no archive")
    finds.desktop.answers["getOpenFileName"] = str(tmp_path / "odd.apsupports")
    finds.press("SupportsPanel/importSupportsButton")
    finds.wait(lambda: "odd.apsupports" in finds.message)
    assert "went wrong" not in finds.message
    assert finds.desktop.find("SupportsPanel/addFromSceneButton").enabled


def test_learning_shows_its_progress_and_can_be_ended(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(hands, monkeypatch, Learns)
    with_pairs(hands)
    monkeypatch.setattr(hands.desk.examples.library, "attach_task", lambda *_: None)
    session.pause.clear()
    hands.desktop.find("AutomaticPanel/automaticSection").collapsed = False
    hands.press("AutomaticPanel/learnButton")
    hands.wait(lambda: hands.desktop.find("AutomaticPanel/learnPreview").isVisibleTo(hands.widget.parent))
    name = hands.desk.examples.need().name
    assert hands.text("AutomaticPanel/learnText").startswith(f"{name}: Learning")
    assert hands.text("StatusPanel/statusLabel") == f"Learning {name}, 1 %"
    assert not hands.desktop.find("AutomaticPanel/learnPreview").pixmap.isNull()
    hands.press("AutomaticPanel/stopLearningButton")
    session.pause.set()
    hands.wait(lambda: "best so far is kept" in hands.message)
    assert hands.desktop.find("AutomaticPanel/learnButton").isVisibleTo(hands.widget.parent)


# -- propagation ------------------------------------------------------------------------------------------------------


def test_prompts_go_through_the_volume_and_can_be_stopped(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    hands.press("AutomaticPanel/runButton")
    hands.wait(lambda: hands.desktop.find("StatusPanel/cancelButton").visible)
    hands.settle()
    found = hands.voxels()
    assert found[8:13].any(axis=(1, 2)).all()
    assert "slices" in hands.text("AutomaticPanel/resultLabel")
    hands.press("StatusPanel/undoButton")
    hands.settle()
    assert hands.voxels().any(axis=(1, 2)).sum() == 1


# -- review -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def reviewed(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> Hands:
    """A segment that is right but on slice 9, where half is missing; and it was looked at."""
    opened(hands, monkeypatch, KnowsTruth)
    hands.press("InputPanel/addSegmentButton")
    wrong = np.asarray(hands.segmenter.volume.array) == BRIGHT
    wrong[:, :, 50:] = False  # one ball only
    wrong[9, :, 40:] = False
    filled(hands, wrong)
    hands.desktop.find("AutomaticPanel/rangeSlider").setValues(7, 13)
    hands.press("ReviewPanel/reviewButton")
    hands.settle()
    return hands


def test_the_review_lists_the_least_sure_slices_and_leads_there(reviewed: Hands) -> None:
    rows = reviewed.desktop.find("ReviewPanel/unsureList")
    assert rows.count > 0
    worst = rows.item(0).data(Qt.ItemDataRole.UserRole)
    reviewed.press("ReviewPanel/nextUnsureButton")
    reviewed.settle()
    assert reviewed.desk.views.shown_index(0) == worst
    assert reviewed.text("ReviewPanel/reviewAbout").startswith("Expected Dice")
    assert reviewed.segmenter.looks.display.nodes is not None


def test_a_slice_is_refined_and_can_be_stepped_back(reviewed: Hands) -> None:
    before = reviewed.voxels()
    reviewed.go_to(0, 9)
    reviewed.press("ReviewPanel/refineOneButton")
    reviewed.settle()
    assert not np.array_equal(reviewed.voxels()[9], before[9])
    reviewed.press("ReviewPanel/stepBackButton")
    reviewed.settle()
    assert np.array_equal(reviewed.voxels(), before)
    reviewed.press("ReviewPanel/stepForwardButton")
    reviewed.settle()
    assert not np.array_equal(reviewed.voxels()[9], before[9])


def test_a_reviewed_slice_is_accepted_by_key(reviewed: Hands) -> None:
    reviewed.go_to(0, 10)
    reviewed.desktop.key("Y")
    reviewed.settle()
    assert reviewed.segmenter.undo_text == "Accept slice 10"


def test_the_overlay_is_switched_by_key_and_by_box_alike(reviewed: Hands) -> None:
    check = reviewed.desktop.find("ReviewPanel/overlayCheck")
    assert check.checked
    reviewed.desktop.key("H")
    assert not check.checked
    check.click()
    assert reviewed.desk.parameters.uncertaintyShown


def test_the_uncertainty_is_saved_with_the_volumes_geometry(reviewed: Hands, tmp_path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    reviewed.desktop.answers["getSaveFileName"] = str(tmp_path / "unsure.nrrd")
    reviewed.press("ReviewPanel/exportUncertaintyButton")
    reviewed.wait(lambda: "was written" in reviewed.message)
    image = sitk.ReadImage(str(tmp_path / "unsure.nrrd"))
    assert image.GetSize() == (80, 64, 20)
    assert image.GetSpacing() == pytest.approx((1, 1, 2.5))


# -- models -----------------------------------------------------------------------------------------------------------


def test_a_download_needs_the_licence_and_can_be_stopped(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    from AutoPromptSAMLib.errors import Cancelled

    seen = SimpleNamespace(asked=[], stopped=False)

    def ensure(card: Any, progress: Any, cancel: Any) -> None:
        seen.asked.append(card.name)
        progress(25, 100)
        while not cancel():
            pass
        seen.stopped = True
        raise Cancelled("Stopped.")

    monkeypatch.setattr("AutoPromptSAMLib.zoo.ensure", ensure)
    button = hands.desktop.find("ModelsPanel/fetchModelButton")
    assert not button.enabled
    assert "Apache-2.0" in hands.text("ModelsPanel/cardLabel")
    hands.desktop.find("ModelsPanel/acceptLicenceCheck").click()
    assert button.enabled
    assert seen.asked == []
    button.click()
    hands.wait(lambda: hands.desktop.find("ModelsPanel/fetchBar").value == 25)
    hands.press("ModelsPanel/stopFetchButton")
    hands.wait(lambda: "stopped" in hands.message)
    assert seen.asked == ["lite-medsam"]


def test_a_model_that_cannot_be_loaded_says_so_once(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    from AutoPromptSAMLib.errors import ModelError

    tries = []

    def load(card: Any, device: str) -> Any:
        tries.append(device)
        raise ModelError("The weights are damaged; download them again.")

    monkeypatch.setattr("AutoPromptSAMLib.backbones.load_backbone", load)
    monkeypatch.setattr("AutoPromptSAMLib.workbench.model_rows.is_installed", lambda _card: True)
    hands.desk.page.models.list()
    hands.desk.parameters.device = "CPU"
    hands.wait(lambda: "damaged" in hands.message)
    hands.desk.parameters.brushDiameterMm = 9.0
    hands.desktop.spin()
    assert tries == ["cpu"]


# -- files ------------------------------------------------------------------------------------------------------------


def test_prompts_are_saved_and_replayed(two_balls: Hands, tmp_path: Path) -> None:
    hands = two_balls
    hands.around(LEFT)
    found = hands.voxels()
    hands.desktop.answers["getSaveFileName"] = str(tmp_path / "prompts.json")
    hands.press("AdvancedPanel/savePromptsButton")
    hands.press("PromptsPanel/clearPromptsButton")
    hands.desktop.answers["getOpenFileName"] = str(tmp_path / "prompts.json")
    hands.press("AdvancedPanel/loadPromptsButton")
    hands.settle()
    assert len(hands.segmenter.prompts()) == 1
    assert np.array_equal(hands.voxels(), found)

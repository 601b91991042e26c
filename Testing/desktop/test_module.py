"""The module as the application sees it: loading, coming and going, scenes."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.zoo.sample import SOURCE

from ..threshold_backbone import ThresholdBackbone
from .double import Desktop
from .hands import AFFINE, LEFT, MODULE, RIGHT, Hands, balls

HEAVY = ("torch", "torchvision", "timm", "kornia", "undo_stack", "yaml", "platformdirs", "safetensors", "openvino")


@pytest.mark.parametrize("version", [(5, 10), (5, 12)])
def test_without_its_packages_it_comes_up_and_says_what_to_press(
    tmp_path: Path, home: Path, version: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise AssertionError("the module went to the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    with Desktop(tmp_path / "slicer", version) as desktop, desktop.missing(*HEAVY):
        hands = Hands(desktop)
        desktop.spin()
        assert hands.text("StatusPanel/statusLabel") == "Press Install below: some Python packages are missing."
        assert desktop.find("InstallPanel").visible
        assert desktop.installed == []
        assert desktop.dialogs == []
        assert not home.exists()
        desktop.exit()
        desktop.enter()
        desktop.key("B")


def test_every_button_without_an_image_says_what_is_missing(hands: Hands) -> None:
    from PySide6.QtWidgets import QAbstractButton

    skipped = {"sampleButton", "installButton", "installCancelButton", "copyLogButton", "installLogButton"}
    skipped |= {"addFromFilesButton", "importSupportsButton", "openFolderButton", "fetchModelButton"}
    silent = []
    for button in hands.widget.parent.findChildren(QAbstractButton):
        if button.objectName in skipped or not button.enabled or button.checkable or button.isHidden():
            continue
        hands.desk.say("")
        button.click()
        hands.desktop.raise_errors()
        assert "went wrong" not in hands.message, button.objectName
        silent += [] if hands.message.endswith(".") or button.objectName.startswith("qt_") else [button.objectName]
    assert silent == []
    assert hands.desktop.dialogs == []


def test_every_key_without_an_image_is_harmless(hands: Hands) -> None:
    from AutoPromptSAMLib.workbench.shortcuts import SHORTCUTS

    for shortcut in SHORTCUTS:
        for key in shortcut.keys:
            hands.desktop.key(key.replace("arrow", "").replace("escape", "Esc").replace("delete", "Del"))
            assert "went wrong" not in hands.message, shortcut


def test_all_controls_can_be_read_aloud_and_explain_themselves(hands: Hands) -> None:
    from PySide6.QtWidgets import QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QListWidget

    silent = []
    for panel in hands.desk.panels:
        for name, widget in vars(panel.ui).items():
            kinds = (QAbstractButton, QComboBox, QLineEdit, QListWidget, QAbstractSlider, QAbstractSpinBox)
            is_control = isinstance(widget, kinds) or type(widget).__name__ in ("ctkSliderWidget", "ctkRangeWidget")
            is_ours = not name.startswith("qt_") and not name.endswith("Section") and name != "installLogButton"
            if is_control and is_ours and not (widget.toolTip and widget.accessibleName):
                silent.append(name)
    assert silent == []


def test_names_of_widgets_are_used_once(hands: Hands) -> None:
    names = [name for panel in hands.desk.panels for name in vars(panel.ui) if not name.startswith("qt_")]
    assert len(names) == len(set(names))


def test_saving_closing_and_opening_a_scene_restores_everything(two_balls: Hands, tmp_path: Path) -> None:
    hands = two_balls
    hands.around(LEFT)
    hands.desktop.find("InputPanel/overwriteCombo").setCurrentText("Overwrite visible ones")
    hands.desktop.find("PromptsPanel/brushSlider").value = 23
    hands.desktop.find("ReviewPanel/carryCheck").click()
    hands.desktop.find("AutomaticPanel/rangeSlider").setValues(4, 15)
    painted = np.zeros_like(hands.voxels())
    painted[3, 5:9, 5:9] = True
    hands.segmenter.writer.write(hands.segmenter.active_segment, Crop.from_full(painted), region=Crop.empty())
    hands.settle()
    prompts, voxels = hands.segmenter.prompts(), hands.voxels()
    time.sleep(0.4)
    hands.settle()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))

    slicer.mrmlScene.Clear(False)
    hands.desktop.spin()
    assert hands.segmenter is None
    assert not hands.desktop.find("PromptsPanel/boxButton").enabled

    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    hands.wait(lambda: hands.segmenter is not None)
    hands.settle()
    assert hands.segmenter.prompts() == prompts
    assert np.array_equal(hands.voxels(), voxels)
    assert hands.segmenter.kept.painted_slices(hands.segmenter.active_segment, 0) == [3]
    parameters = hands.desk.parameters
    assert (parameters.overwrite, parameters.brushDiameterMm) == ("Overwrite visible ones", 23)
    assert (parameters.firstSlice, parameters.lastSlice, parameters.carryCorrections) == (4, 15, False)
    assert hands.desk.editor.node.GetOverwriteMode() == hands.desk.editor.node.OverwriteVisibleSegments
    hands.around(RIGHT)  # and the work goes on
    assert hands.voxels()[RIGHT[2], RIGHT[1], RIGHT[0]]


def test_another_volume_gets_its_own_segmentation_and_the_first_comes_back(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    parameters = hands.desk.parameters
    first, segmentation, voxels = parameters.inputVolume, parameters.segmentation, hands.voxels()
    other = hands.desktop.add_volume(balls(RIGHT), AFFINE, "other")
    parameters.segmentation = None
    hands.open(other)
    assert parameters.segmentation is not segmentation
    hands.around(RIGHT)
    parameters.segmentation = segmentation
    hands.open(first)
    assert np.array_equal(hands.voxels(), voxels)
    assert len(hands.segmenter.prompts()) == 1


def test_a_segmentation_of_another_grid_is_refused_in_one_sentence(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    first = hands.desk.parameters.inputVolume
    small = hands.desktop.add_volume(balls(LEFT)[:10, :32, :32], np.diag([3.0, 3, 3, 1]), "small")
    hands.desk.parameters.inputVolume = small
    hands.desktop.spin()
    assert hands.segmenter is None
    assert hands.message.endswith(".")
    assert "went wrong" not in hands.message
    hands.desk.parameters.inputVolume = first
    hands.desktop.spin()
    assert len(hands.segmenter.prompts()) == 1


def test_a_segmentation_that_was_put_right_in_another_module_is_taken(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    chosen = hands.desk.parameters.segmentation
    hands.desk.parameters.segmentation = None
    hands.desktop.spin()
    before = slicer.vtkSegmentation()
    before.DeepCopy(chosen.GetSegmentation())
    chosen.SetSourceRepresentationToClosedSurface()
    hands.desk.parameters.segmentation = chosen
    hands.desktop.spin()
    assert hands.segmenter is None
    assert "made of surfaces" in hands.message
    hands.desktop.exit()
    chosen.GetSegmentation().DeepCopy(before)
    hands.desktop.enter()
    assert len(hands.segmenter.prompts()) == 1


def test_what_is_said_of_prompts_that_cannot_be_read_stays_to_be_seen(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    chosen = hands.desk.parameters.segmentation
    hands.desk.parameters.segmentation = None
    hands.desktop.spin()
    texts = slicer.mrmlScene.GetNodesByClass("vtkMRMLTextNode")
    (text,) = [node for node in texts if node.GetNodeReference("AutoPromptSAM.segmentation") is chosen]
    text.SetText(text.GetText().replace("autopromptsam-scene/1", "autopromptsam-scene/9"))
    before = text.GetText()
    hands.desk.parameters.segmentation = chosen
    hands.settle()
    assert "cannot be read" in hands.message
    hands.desk.keep_prompts()
    assert text.GetText() == before


def test_a_model_that_changes_keeps_prompts_and_voxels(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    prompts, voxels = hands.segmenter.prompts(), hands.voxels()
    hands.go_to(0, 7)
    hands.desk.use_backbone(ThresholdBackbone())
    hands.settle()
    assert hands.desk.views.shown_index(0) == 7  # the person still looks where they looked
    assert hands.segmenter.prompts() == prompts
    assert np.array_equal(hands.voxels(), voxels)


def test_another_model_does_not_wait_for_the_slice_that_the_one_before_is_at(two_balls: Hands) -> None:
    held, running, before = threading.Event(), threading.Event(), two_balls.segmenter
    ended: list[bool] = []

    def hold(_control: Any) -> None:
        running.set()
        ended.append(held.wait(20))

    before.session._worker.submit(hold)
    assert running.wait(20)
    two_balls.desk.use_backbone(ThresholdBackbone())
    assert ended == []
    assert two_balls.segmenter is not before
    held.set()
    two_balls.wait(lambda: not before.session._worker._thread.is_alive())


def test_the_volume_that_goes_takes_the_work_with_it_quietly(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    slicer.mrmlScene.RemoveNode(hands.desk.parameters.inputVolume)
    hands.desktop.spin()
    assert hands.segmenter is None
    assert "went wrong" not in hands.message


def test_unloading_lets_go_of_everything(two_balls: Hands) -> None:
    hands = two_balls
    hands.around(LEFT)
    interactor = hands.desktop.pick_view("Red").interactor()
    (tag,) = [tag for source, tag in hands.desk.views._tags if source is interactor]
    assert interactor.GetCommand(tag) is not None
    hands.desktop.unload()
    assert hands.desk.segmenter is None
    assert hands.desk.placing._views == {}
    assert interactor.GetCommand(tag) is None


def test_the_sample_ct_is_registered_with_a_thumbnail(hands: Hands) -> None:
    (sample,) = [each for each in hands.desktop.samples if each["sampleName"] == "AutoPromptSAMSampleCT"]
    assert Path(sample["thumbnailFileName"]).is_file()
    assert sample["uris"] == [f"https://pypi.org/project/{SOURCE.distribution}/{SOURCE.version}/"]
    assert (sample["fileNames"], sample["nodeNames"]) == (["AutoPromptSAMSampleCT.nii.gz"], ["Sample CT"])


def test_a_sample_that_cannot_be_had_is_told_in_a_dialog(hands: Hands) -> None:
    import SampleData

    from AutoPromptSAMLib.errors import AutoPromptSAMError

    with hands.desktop.missing(*HEAVY), pytest.raises(AutoPromptSAMError):
        SampleData.SampleDataLogic().downloadSample("AutoPromptSAMSampleCT")
    (dialog,) = hands.desktop.dialogs
    assert dialog.kind == "critical"
    assert "Packages are missing" in dialog.text


def test_the_module_file_is_short() -> None:
    assert len(MODULE.read_text(encoding="utf-8").splitlines()) <= 150

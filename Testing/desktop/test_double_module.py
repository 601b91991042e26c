"""The test double runs a module: its life, parameters, views, dialogs and packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from .double import Desktop, DesktopError, Dialog, facts
from .example import colors, image, write_example


@pytest.fixture
def module_file(tmp_path: Path) -> Path:
    return write_example(tmp_path / "Example")


def test_module_lives_as_in_slicer(desktop, module_file, tmp_path):
    import slicer

    module, widget = desktop.load_module(module_file)
    said = sys.modules["Example"].said
    assert (module.parent.title, slicer.modules.example.path) == ("Example", str(module_file))
    assert slicer.modules.ExampleWidget is widget
    desktop.enter()
    assert colors(desktop.grab(widget.parent, tmp_path / "panel.png")) > 10
    assert desktop.find("inputs/fillBox") is widget.ui.fillBox
    slicer.mrmlScene.Clear(0)
    desktop.exit()
    desktop.unload()
    assert said == ["startup", "enter", "closed", "exit", "cleanup"]


def test_parameters_and_widgets_agree_both_ways_and_over_a_saved_scene(desktop, module_file, tmp_path):
    import slicer

    _, widget = desktop.load_module(module_file)
    parameters, ui, node = widget.parameters, widget.ui, image(desktop)
    assert (ui.widthSlider.value, ui.modeBox.currentText, parameters.names) == (5.0, "point", [])
    ui.widthSlider.value, ui.fillBox.checked, ui.modeBox.currentText = 7.5, True, "box"
    ui.imageBox.setCurrentNode(node)
    assert (parameters.width, parameters.fill, parameters.mode, parameters.image) == (7.5, True, "box", node)
    parameters.width, parameters.image = 2.5, None
    assert (ui.widthSlider.value, ui.imageBox.currentNode()) == (2.5, None)
    parameters.image = node
    parameters.names.append("liver")
    with pytest.raises(ValueError, match="21"):
        parameters.width = 21
    with pytest.raises(TypeError):
        parameters.fill = "yes"
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    parameters.disconnectGui(widget.tag)
    ui.widthSlider.value = 9
    assert parameters.width == 2.5
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    widget.bind()
    assert (ui.widthSlider.value, ui.fillBox.checked, ui.modeBox.currentText) == (2.5, True, "box")
    assert (widget.parameters.image.GetName(), widget.parameters.names) == ("image", ["liver"])


def test_pairs_that_slicer_does_not_connect_are_errors(desktop):
    from typing import Annotated

    import ctk
    import qt
    import slicer
    from slicer.parameterNodeWrapper import WithinRange, isParameterNodeWrapper, parameterNodeWrapper

    notes = {"width": Annotated[float, WithinRange(0, 1)], "fill": bool, "name": str, "free": float}
    wrapper = parameterNodeWrapper(type("Parameters", (), {"__annotations__": notes}))
    wrapped = wrapper(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    assert isParameterNodeWrapper(wrapped)
    for member, widget, words in (
        ("width", ctk.ctkComboBox(), "no connection"),
        ("width", qt.QSpinBox(), "no connection"),
        ("fill", qt.QToolButton(), "no connection"),
        ("name", qt.QComboBox(), "Choice"),
        ("free", ctk.ctkSliderWidget(), "bounds"),
        ("nothing", qt.QCheckBox(), "no parameter nothing"),
    ):
        with pytest.raises((RuntimeError, ValueError), match=words):
            wrapped.connectParametersToGui({member: widget})
    wrapped.connectParametersToGui({"width": qt.QDoubleSpinBox(), "fill": ctk.ctkPushButton(), "name": qt.QLineEdit()})


def test_mouse_reaches_a_slice_view_and_the_view_shows_the_image(desktop, tmp_path):
    import slicer

    image(desktop)
    view, heard = desktop.pick_view("Red"), []
    for event in ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent"):
        view.interactor().AddObserver(event, lambda who, what: heard.append((what, who.GetEventPosition())), 5.0)
    desktop.drag("Red", (100, 120), (150, 160))
    assert [what for what, _ in heard] == [
        "MouseMoveEvent", "LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent",
    ]  # fmt: skip
    assert heard[-1][1] == (150, 160)
    picture = desktop.grab(view, tmp_path / "red.png")
    assert picture.pixelColor(200, 200).red() > 200 > 60 > picture.pixelColor(200, 60).red()
    manager = slicer.app.layoutManager()
    assert manager.sliceViewNames() == ("Red", "Green", "Yellow")
    assert manager.sliceWidget("Yellow").mrmlSliceNode().GetOrientation() == "Sagittal"
    logic = manager.sliceWidget("Green").sliceLogic()
    assert logic.GetSliceCompositeNode() is manager.sliceWidget("Green").mrmlSliceCompositeNode()


def test_errors_of_observers_of_a_view_do_not_get_lost(desktop):
    desktop.pick_view("Red").interactor().AddObserver("LeftButtonPressEvent", lambda *_: 1 / 0)
    with pytest.raises(DesktopError, match="ZeroDivisionError"):
        desktop.click("Red", (50, 50))


def test_dialogs_are_written_down_and_answered(desktop):
    import qt
    import slicer

    slicer.util.errorDisplay("It failed.")
    assert slicer.util.confirmOkCancelDisplay("Really?", windowTitle="Sure") is True
    desktop.answers["confirm"] = [False, True]
    assert slicer.util.confirmYesNoDisplay("Really?") is False
    assert qt.QMessageBox.question(None, "t", "q") == qt.QMessageBox.Yes
    assert desktop.dialogs[:2] == [
        Dialog("critical", "It failed.", "Slicer error"),
        Dialog("question", "Really?", "Sure"),
    ]
    assert qt.QFileDialog.getOpenFileName(None, "Open", "", "*.nrrd") == ""
    desktop.answers["getSaveFileName"] = "/a/b.zip"
    assert qt.QFileDialog.getSaveFileName(None, "Save") == "/a/b.zip"
    slicer.util.showStatusMessage("done")
    assert slicer.util.mainWindow().statusBar().currentMessage() == "done"


def test_missing_packages_are_missing_everywhere_and_come_back(desktop):
    import yaml

    with desktop.missing("PyYAML", "SimpleITK"):
        assert importlib.util.find_spec("yaml") is None
        assert importlib.util.find_spec("SimpleITK") is None
        with pytest.raises(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version("pyyaml")
        with pytest.raises(ModuleNotFoundError):
            import yaml
        assert importlib.metadata.version("numpy")
    assert sys.modules["yaml"] is yaml
    assert importlib.metadata.version("PyYAML")


def test_installing_is_written_down(desktop):
    import PyTorchUtils
    import slicer

    slicer.packaging.pip_ensure(["numpy>=1", "no-such-package>=2"], requester="Example")
    assert [(each.by, each.requirements) for each in desktop.installed] == [("pip_ensure", ("no-such-package>=2",))]
    assert desktop.dialogs[-1].kind == "question"
    desktop.answers["confirm"] = False
    with pytest.raises(RuntimeError):
        slicer.packaging.pip_ensure("no-such-package")
    codes, lines = [], []

    def fail(request):
        raise subprocess.CalledProcessError(3, "pip")

    desktop.installer.answer = fail
    slicer.packaging.pip_install("a b", blocking=False, logCallback=lines.append, completedCallback=codes.append)
    assert slicer.packaging.isPipInstallInProgress()
    desktop.spin(lambda: codes)
    assert (codes, len(lines), slicer.packaging.isPipInstallInProgress()) == ([3], 2, False)
    with pytest.raises(subprocess.CalledProcessError):
        slicer.util.pip_install("a")
    with pytest.raises(subprocess.CalledProcessError):
        PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False)
    assert desktop.installed[-1].by == "installTorch"


def test_python_functions_have_slicers_signatures(desktop):
    """All of the double's own modules, and of the application's ``slicer.util`` what the double replaces."""
    import SampleData
    import slicer

    checked = 0
    for name, facts_of in facts.python_modules().items():
        if name in ("slicer.packaging", "slicer.i18n", "slicer.ScriptedLoadableModule", "SampleData", "PyTorchUtils"):
            module = sys.modules[name]
            for function, signature in facts_of["functions"].items():
                if hasattr(module, function):
                    assert bare(getattr(module, function)) == plain(signature), (name, function)
                    checked += 1
            for cls, methods in facts_of["classes"].items():
                for method, signature in methods["methods"].items() if hasattr(module, cls) else ():
                    made = inspect.getattr_static(getattr(module, cls), method, None)
                    made = getattr(made, "__func__", made)
                    if callable(made) and method != "__init__" and "kwargs" not in signature:
                        assert bare(made) == plain(signature), (name, cls, method)
                        checked += 1
    assert checked > 25
    assert SampleData.SampleDataLogic is not slicer


def bare(function) -> str:
    signature = inspect.signature(function)
    parameters = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return plain(str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)))


def plain(signature: str) -> str:
    return signature.replace(" ", "").replace('"', "'")


def test_all_is_taken_away_at_the_end_and_slicer_5_10_has_no_packaging(tmp_path):
    import slicer

    loaded = slicer.util.loadUI if hasattr(slicer, "util") else None
    with Desktop(tmp_path, version=(5, 10)):
        assert importlib.util.find_spec("slicer.packaging") is None
        assert not hasattr(slicer, "packaging")
        assert (slicer.app.majorVersion, slicer.app.minorVersion) == (5, 10)
        assert slicer.util.loadUI is not loaded
    for name in ("app", "mrmlScene", "modules", "qMRMLNodeComboBox", "i18n", "ScriptedLoadableModule"):
        assert not hasattr(slicer, name)
    assert slicer.util.loadUI is loaded
    for name in ("qt", "ctk", "SampleData", "PyTorchUtils", "slicer.i18n", "slicer.parameterNodeWrapper"):
        assert name not in sys.modules
    assert slicer.vtkMRMLScene()

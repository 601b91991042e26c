"""The test double reads .ui files as Slicer does; names that Slicer does not have are found with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from .double import UiError, unknown_names
from .example import PANEL, image, write_example


@pytest.fixture
def module_file(tmp_path: Path) -> Path:
    return write_example(tmp_path / "Example")


def test_ui_file_becomes_widgets(desktop, module_file):
    import ctk
    import slicer

    panel = slicer.util.loadUI(str(module_file.parent / "Resources" / "UI" / "Panel.ui"))
    ui = slicer.util.childWidgetVariables(panel)
    assert isinstance(ui.widthSlider, ctk.ctkSliderWidget)
    assert ui.widthSlider.toolTip == "Width of the brush"
    assert ui.inputs.accessibleName == "Inputs of the example"
    assert ui.fillBox.property("SlicerParameterName") == "fill"
    assert [ui.tabs.tabText(index) for index in range(ui.tabs.count)] == ["First", "Second"]
    assert ui.column.contentsMargins.left() == 0
    image(desktop)
    assert ui.imageBox.nodeCount() == 0
    panel.setMRMLScene(slicer.mrmlScene)  # connected in the file
    assert ui.imageBox.nodeCount() == 1


MISTAKES = {
    "toolTip": ("toolTop", "ctkSliderWidget has no property toolTop"),
    '"QCheckBox"': ('"QCheckBx"', "class QCheckBx"),
    "Changed(vtk": ("Changd(vtk", "qMRMLWidget has no signal mrmlSceneChangd"),
    "<slot>setMRMLScene": ("<slot>setMRMLScen", "qMRMLNodeComboBox has no slot setMRMLScen"),
    "Qt::Vertical": ("Qt::Vertcal", "Qt::Vertcal is no enumerator"),
    "<receiver>imageBox": ("<receiver>imagBox", "imagBox"),
    '"QHBoxLayout"': ('"QHBoxLayot"', "QHBoxLayot"),
    "<class>ctkSliderWidget": ("<class>ctkSlidrWidget", "ctkSl"),
}


def test_mistakes_in_ui_files_are_found_when_loading_and_when_checking(desktop, module_file):
    import slicer

    file = module_file.parent / "Resources" / "UI" / "Panel.ui"
    assert unknown_names([file], [module_file]) == []
    for right, (wrong, words) in MISTAKES.items():
        file.write_text(PANEL.replace(right, wrong))
        with pytest.raises(UiError):
            slicer.util.loadUI(str(file))
        found = unknown_names([file], [])
        line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if wrong in text)
        assert any(text.startswith(f"{file}:{line}:") and words in text for text in found), (wrong, found)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ui.fillBox.connect('togled(bool)', f)", "no class has a signal togled(bool)"),
        ("qt.QObject.connect", ""),
        ("self.ui.fillBox.toggld.connect(f)", "QCheckBox fillBox has no toggld"),
        ("self.ui.widthSlider.valu = 3", "ctkSliderWidget widthSlider has no valu"),
        ("self.ui.withSlider.value = 3", "no .ui file has a withSlider"),
        ("qt.QLabl()", "qt has no QLabl"),
        ("qt.QSizePolicy.Expandin", "qt.QSizePolicy has no Expandin"),
        ("ctk.ctkSlider()", "ctk has no ctkSlider"),
        ("slicer.qMRMLNodeBox()", "slicer has no qMRMLNodeBox"),
        ("slicer.vtkMRMLScalarVolumNode()", "slicer has no vtkMRMLScalarVolumNode"),
        ("slicer.util.errorDisplya('x')", "slicer.util has no errorDisplya"),
        ("from slicer.parameterNodeWrapper import WithinRang", "slicer.parameterNodeWrapper has no WithinRang"),
    ],
)
def test_unknown_names_in_python_are_found_with_their_line(module_file, code, words):
    ui = module_file.parent / "Resources" / "UI" / "Panel.ui"
    host = module_file.with_name("host.py")
    host.write_text(f"import qt\n{code}\n")
    found = unknown_names([ui], [host])
    assert any(text.startswith(f"{host}:2: ") and words in text for text in found) if words else found == []

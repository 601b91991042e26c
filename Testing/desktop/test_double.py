"""The test double of the desktop: Qt with PythonQt's manners, and widgets that take only what Slicer's take."""

from __future__ import annotations

import pytest

from .double import DesktopError
from .example import colors, image


def test_properties_are_attributes_and_setters_work_too(desktop):
    import qt

    label = qt.QLabel("one")
    label.text = "two"
    assert label.text == "two"
    label.setText("three")
    label.wordWrap = True
    assert (label.text, label.wordWrap, label.visible) == ("three", True, False)
    assert qt.QTableWidget(2, 3).horizontalHeader().stretchLastSection is False  # made by Qt itself
    assert isinstance(label, qt.QWidget)
    assert qt.Qt.AlignLeft == qt.Qt.AlignmentFlag.AlignLeft


MISTAKES = (
    "qt.QLabel().txt = 'x'", "qt.QLabel().txt", "qt.QLabel().text()", "qt.QLabel('x', wordWrap=True)",
    "qt.QLabel().width = 3", "qt.QLabl()", "qt.QPushButton().connect('clickd()', print)", "qt.Signal",
    "qt.QPushButton().connect('clicked(int)', print)", "qt.QPushButton().clickd.connect(print)",
    "qt.QPushButton().disconnect('clicked()', print)", "qt.Qt.AlignLeftt", "ctk.ctkSlider()",
    "ctk.ctkSliderWidget().vale = 1", "ctk.ctkSliderWidget().vale", "ctk.ctkSliderWidget().setVale(1)",
    "ctk.ctkSliderWidget().value = 'one'", "ctk.ctkSliderWidget().valueChanged = 1",
    "ctk.ctkSliderWidget().connect('valueChanged(int)', print)", "slicer.qMRMLNodeComboBx()",
    "slicer.qMRMLNodeComboBox().nodeTypes = 'vtkMRMLNode'", "slicer.qMRMLSegmentsTableView().segmentCount = 2",
    "slicer.qMRMLNodeComboBox().currentNodeChangd.connect(print)", "slicer.modules.example", "slicer.app.nothing",
)  # fmt: skip


def test_what_slicer_does_not_have_is_an_error(desktop):
    import ctk
    import qt
    import slicer

    for mistake in MISTAKES:
        with pytest.raises((AttributeError, TypeError, ValueError)):
            exec(mistake, {"qt": qt, "ctk": ctk, "slicer": slicer})


def test_a_method_without_behaviour_says_so(desktop):
    import ctk

    with pytest.raises(NotImplementedError, match=r"ctkErrorLogWidget\.setColumnHidden"):
        ctk.ctkErrorLogWidget().setColumnHidden(1, True)


def test_subclasses_in_python_may_have_attributes_and_paint_themselves(desktop, tmp_path):
    import qt

    class Strip(qt.QWidget):
        def __init__(self):
            super().__init__()
            self.value = 3

        def paintEvent(self, event):  # noqa: N802
            painter = qt.QPainter(self)
            painter.fillRect(self.rect, qt.QColor("red"))
            painter.end()

    strip = Strip()
    picture = desktop.grab(strip, tmp_path / "strip.png")
    assert picture.pixelColor(5, 5) == qt.QColor("red")
    assert (tmp_path / "strip.png").stat().st_size > 0


def test_receivers_get_as_many_arguments_as_pythonqt_gives(desktop):
    import qt

    button, got = qt.QPushButton("x"), []
    button.connect("clicked()", lambda *a: got.append(a))
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.connect("clicked(bool)", lambda kept=7: got.append(kept))  # PythonQt's trap
    button.clicked.connect(got.append)
    button.click()
    assert got == [(), "none", False, False]
    button.disconnect("clicked(bool)", got.append)
    got.clear()
    button.click()
    assert len(got) == 3


def test_errors_in_receivers_and_timers_do_not_get_lost(desktop):
    import qt

    qt.QTimer.singleShot(0, lambda: 1 / 0)
    with pytest.raises(DesktopError, match="ZeroDivisionError"):
        desktop.spin(lambda: False, 1)
    button = qt.QPushButton()
    button.connect("clicked()", lambda: {}["x"])
    button.click()
    with pytest.raises(DesktopError, match="KeyError"):
        desktop.raise_errors()
    assert not desktop.errors


def test_shortcuts_and_timers(desktop):
    import qt
    import slicer

    pressed, ticks = [], []
    shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+Z"), slicer.util.mainWindow())
    shortcut.connect("activated()", lambda: pressed.append("undo"))
    desktop.key("Ctrl+Z")
    shortcut.enabled = False
    desktop.key("Ctrl+Z")
    assert pressed == ["undo"]
    timer = qt.QTimer()
    timer.interval = 1
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    desktop.spin(lambda: len(ticks) > 1)
    timer.stop()


def test_widgets_of_ctk(desktop, tmp_path):
    import ctk
    import qt

    frame, inside, told = ctk.ctkCollapsibleButton(), qt.QLabel("inside"), []
    frame.text = "Title"
    qt.QVBoxLayout(frame).addWidget(inside)
    frame.connect("contentsCollapsed(bool)", told.append)
    frame.resize(200, 80)
    frame.show()
    opened = desktop.grab(frame)
    frame.collapsed = True
    assert (inside.visible, told) == (False, [True])
    frame.click()
    assert (inside.visible, frame.collapsed, told) == (True, False, [True, False])
    assert colors(opened) > 3
    slider, values = ctk.ctkSliderWidget(), []
    slider.decimals, slider.maximum = 1, 10
    slider.connect("valueChanged(double)", values.append)
    slider.value = 2.5
    slider.setValue(99)
    assert values == [2.5, 10.0]
    both = ctk.ctkRangeWidget()
    both.connect("valuesChanged(double,double)", lambda *a: values.append(a))
    both.setValues(3, 4)
    assert (both.minimumValue, both.maximumValue, values[-1]) == (3.0, 4.0, (3.0, 4.0))
    desktop.answers["getOpenFileName"] = "/some/file"
    path = ctk.ctkPathLineEdit()
    path.browse()
    assert path.currentPath == "/some/file"


def test_node_box_follows_the_scene(desktop):
    import slicer

    box, told = slicer.qMRMLNodeComboBox(), []
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.noneEnabled = True
    box.setMRMLScene(slicer.mrmlScene)
    box.connect("currentNodeChanged(vtkMRMLNode*)", told.append)
    one, two = image(desktop, "one"), image(desktop, "two")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    assert (box.nodeCount(), box.currentNode(), told) == (2, None, [])
    box.setCurrentNode(two)
    box.currentNodeID = one.GetID()
    slicer.mrmlScene.RemoveNode(one)
    assert told == [two, one, None]
    assert box.nodes() == [two]
    made = box.addNode()
    assert told[-1] is made is box.currentNode()
    slicer.mrmlScene.Clear(0)
    assert (box.nodeCount(), box.currentNode()) == (0, None)


def test_segments_table_selector_and_editor_follow_a_segmentation(desktop):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    liver = node.GetSegmentation().AddEmptySegment("", "liver")
    table, told = slicer.qMRMLSegmentsTableView(), []
    table.setMRMLScene(slicer.mrmlScene)
    table.setSegmentationNode(node)
    table.connect("selectionChanged(QItemSelection,QItemSelection)", lambda: told.append(table.selectedSegmentIDs()))
    spleen = node.GetSegmentation().AddEmptySegment("", "spleen")
    table.setSelectedSegmentIDs([spleen])
    assert (table.displayedSegmentIDs(), told) == ([liver, spleen], [[spleen]])
    selector = slicer.qMRMLSegmentSelectorWidget()
    selector.setMRMLScene(slicer.mrmlScene)
    selector.setCurrentNode(node)
    selector.setCurrentSegmentID(spleen)
    assert (selector.currentSegmentID(), selector.segmentIDs()) == (spleen, [liver, spleen])
    editor, seen = slicer.qMRMLSegmentEditorWidget(), []
    editor.connect("currentSegmentIDChanged(QString)", seen.append)
    editor.setMRMLScene(slicer.mrmlScene)
    with pytest.raises(RuntimeError, match="vtkMRMLSegmentEditorNode"):
        editor.setSegmentationNode(node)
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setSegmentationNode(node)
    editor.setCurrentSegmentID(liver)
    assert (editor.segmentationNode(), seen[-1]) == (node, liver)
    editor.saveStateForUndo()
    node.GetSegmentation().RemoveSegment(spleen)
    assert selector.segmentIDs() == [liver]
    assert table.displayedSegmentIDs() == [liver]
    editor.undo()
    assert node.GetSegmentation().GetSegment(spleen)

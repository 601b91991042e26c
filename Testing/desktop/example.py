"""A module with one panel, small enough to test the test double with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .double import Desktop

PANEL = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Panel</class>
 <widget class="qMRMLWidget" name="Panel">
  <layout class="QVBoxLayout" name="column">
   <property name="leftMargin"><number>0</number></property>
   <item>
    <widget class="ctkCollapsibleButton" name="inputs">
     <property name="text"><string>Inputs</string></property>
     <property name="accessibleName"><string>Inputs of the example</string></property>
     <layout class="QFormLayout" name="form">
      <item row="0" column="0">
       <widget class="QLabel" name="imageLabel"><property name="text"><string>Image:</string></property></widget>
      </item>
      <item row="0" column="1">
       <widget class="qMRMLNodeComboBox" name="imageBox">
        <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
        <property name="noneEnabled"><bool>true</bool></property>
        <property name="SlicerParameterName" stdset="0"><string>image</string></property>
       </widget>
      </item>
      <item row="1" column="0" colspan="2">
       <widget class="ctkSliderWidget" name="widthSlider">
        <property name="toolTip"><string>Width of the brush</string></property>
        <property name="decimals"><number>1</number></property>
        <property name="SlicerParameterName" stdset="0"><string>width</string></property>
       </widget>
      </item>
      <item row="2" column="1">
       <layout class="QHBoxLayout" name="buttons">
        <item>
         <widget class="QCheckBox" name="fillBox">
          <property name="text"><string>Fill</string></property>
          <property name="SlicerParameterName" stdset="0"><string>fill</string></property>
         </widget>
        </item>
        <item>
         <widget class="QComboBox" name="modeBox">
          <property name="SlicerParameterName" stdset="0"><string>mode</string></property>
         </widget>
        </item>
       </layout>
      </item>
     </layout>
    </widget>
   </item>
   <item>
    <widget class="QTabWidget" name="tabs">
     <widget class="QWidget" name="first"><attribute name="title"><string>First</string></attribute></widget>
     <widget class="QWidget" name="second"><attribute name="title"><string>Second</string></attribute></widget>
    </widget>
   </item>
   <item>
    <spacer name="rest">
     <property name="orientation"><enum>Qt::Vertical</enum></property>
     <property name="sizeHint" stdset="0"><size><width>20</width><height>40</height></size></property>
    </spacer>
   </item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>a.h</header></customwidget>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>a.h</header></customwidget>
  <customwidget><class>ctkSliderWidget</class><extends>QWidget</extends><header>a.h</header></customwidget>
  <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>a.h</header></customwidget>
 </customwidgets>
 <connections>
  <connection>
   <sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>imageBox</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
 </connections>
</ui>
"""

MODULE = """
import enum
from typing import Annotated

import qt
import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


@parameterNodeWrapper
class Parameters:
    image: slicer.vtkMRMLScalarVolumeNode
    width: Annotated[float, WithinRange(0, 20)] = 5.0
    fill: bool = False
    mode: Annotated[str, Choice(["box", "point"]), Default("point")]
    names: list[str]


class Example(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Example")
        slicer.app.connect("startupCompleted()", lambda: said.append("startup"))


class ExampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/Panel.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, lambda *_: said.append("closed"))
        self.bind()

    def bind(self):
        self.parameters = Parameters(ExampleLogic().getParameterNode())
        named = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values()}
        self.tag = self.parameters.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def enter(self):
        said.append("enter")

    def exit(self):
        said.append("exit")

    def cleanup(self):
        self.removeObservers()
        said.append("cleanup")


class ExampleLogic(ScriptedLoadableModuleLogic):
    pass


said = []
"""
COLORS = np.diag([-1.0, -1.0, 2.0, 1.0])


def write_example(folder: Path) -> Path:
    """The module's file, with its panel where Slicer looks for it."""
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Resources" / "UI" / "Panel.ui").write_text(PANEL)
    (folder / "Example.py").write_text(MODULE)
    return folder / "Example.py"


def image(desktop: Desktop, name: str = "image"):
    k, j, i = np.mgrid[:20, :60, :80]
    ball = ((k - 10) * 2) ** 2 + (j - 30) ** 2 + (i - 40) ** 2 < 300
    return desktop.add_volume(np.where(ball, 900, -50).astype(np.int16), COLORS, name)


def colors(picture) -> int:
    return len({picture.pixel(x, y) for x in range(0, picture.width(), 3) for y in range(0, picture.height(), 3)})

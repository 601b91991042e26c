# ruff: noqa: N802, N815 - the names are Slicer's
"""Behaviour of CTK's widgets, as far as panels use it, with widgets of Qt inside so that they can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

from .standins import Behaviour


def row(widget: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    """A layout without margins for what is inside a widget."""
    layout = QtWidgets.QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    widget.setLayout(layout)
    return layout


class CollapsibleButton(Behaviour):
    """A title bar that hides and shows what lies below it."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"collapsed": False, "collapsedHeight": 10, "contentsLineWidth": 1}

    def _build(self: Any) -> None:
        self._hidden_before: set[QtWidgets.QWidget] = set()
        self._own = False
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._on_toggled)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._bar(), 0, 0)

    def _bar(self: Any) -> int:
        return int(self.fontMetrics().height()) + 8

    def _on_toggled(self: Any, checked: bool) -> None:
        self._write("collapsed", not checked)

    def _children(self: Any) -> list[QtWidgets.QWidget]:
        return [child for child in self.children() if isinstance(child, QtWidgets.QWidget)]

    def _set_collapsed(self: Any, collapsed: bool) -> None:
        self.setChecked(not collapsed)
        self._apply()
        self.updateGeometry()
        self._emit("contentsCollapsed(bool)", collapsed)

    def childEvent(self: Any, event: QtCore.QChildEvent) -> None:
        if event.type() == QtCore.QEvent.Type.ChildAdded:
            event.child().installEventFilter(self)

    def eventFilter(self: Any, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """What a person's code hides or shows while all is hidden holds when it is unfolded, as in CTK."""
        kinds = QtCore.QEvent.Type
        if not self._own and isinstance(child, QtWidgets.QWidget):
            if event.type() == kinds.HideToParent:
                self._hidden_before.add(child)
            elif event.type() == kinds.ShowToParent:
                self._hidden_before.discard(child)
                if self._values["collapsed"]:
                    self._apply()
        return False

    def _apply(self: Any) -> None:
        self._own = True
        for child in self._children():
            child.setVisible(not self._values["collapsed"] and child not in self._hidden_before)
        self._own = False
        self.setMaximumHeight(self._bar() if self._values["collapsed"] else 16777215)

    def showEvent(self: Any, event: QtGui.QShowEvent) -> None:
        if self._values["collapsed"]:
            self._apply()

    def hitButton(self: Any, position: QtCore.QPoint) -> bool:
        return position.y() <= self._bar()

    def sizeHint(self: Any) -> QtCore.QSize:
        inside = (
            self.layout().totalSizeHint() if self.layout() and not self._values["collapsed"] else QtCore.QSize(80, 0)
        )
        return QtCore.QSize(inside.width(), max(inside.height(), self._bar()))

    def minimumSizeHint(self: Any) -> QtCore.QSize:
        inside = (
            self.layout().totalMinimumSize() if self.layout() and not self._values["collapsed"] else QtCore.QSize()
        )
        return QtCore.QSize(inside.width(), max(inside.height(), self._bar()))

    def paintEvent(self: Any, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        bar = QtCore.QRect(0, 0, self.width - 1, self._bar() - 1)
        painter.fillRect(bar, self.palette.color(QtGui.QPalette.ColorRole.Button))
        painter.setPen(self.palette.color(QtGui.QPalette.ColorRole.Mid))
        painter.drawRect(bar)
        painter.setPen(self.palette.color(QtGui.QPalette.ColorRole.ButtonText))
        arrow = "▸" if self._values["collapsed"] else "▾"
        left = QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.drawText(bar.adjusted(6, 0, 0, 0), left, f"{arrow}  {self.text}")
        painter.end()


def _inside(name: str) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]]:
    def get(self: Any) -> Any:
        return getattr(self._spin_box, name)

    def put(self: Any, value: Any) -> None:
        setattr(self._spin_box, name, value)
        self._shown()

    return get, put


class NumberInside(Behaviour):
    """A spin box of Qt inside that keeps the numbers."""

    _get_minimum, _set_minimum = _inside("minimum")
    _get_maximum, _set_maximum = _inside("maximum")
    _get_singleStep, _set_singleStep = _inside("singleStep")
    _get_decimals, _set_decimals = _inside("decimals")
    _get_prefix, _set_prefix = _inside("prefix")
    _get_suffix, _set_suffix = _inside("suffix")
    _get_value, _set_value = _inside("value")

    def _shown(self: Any) -> None:
        """Called after a number changed."""

    def setRange(self: Any, minimum: float, maximum: float) -> None:
        self._spin_box.setRange(minimum, maximum)
        self._shown()

    def spinBox(self: Any) -> QtWidgets.QDoubleSpinBox:
        return self._spin_box


class DoubleSpinBox(NumberInside):
    """``ctkDoubleSpinBox``."""

    def _build(self: Any) -> None:
        self._spin_box = QtWidgets.QDoubleSpinBox(self)
        row(self).addWidget(self._spin_box)
        self._spin_box.connect("valueChanged(double)", lambda value: self._on_value(value))
        self._spin_box.connect("editingFinished()", lambda: self._emit("editingFinished()"))

    def _on_value(self: Any, value: float) -> None:
        self._emit("valueChanged(double)", value)
        self._emit("valueChanged(QString)", self._spin_box.text)

    def _set_readOnly(self: Any, value: bool) -> None:
        self._spin_box.readOnly = value

    def stepUp(self: Any) -> None:
        self._spin_box.stepUp()

    def stepDown(self: Any) -> None:
        self._spin_box.stepDown()


class SliderWidget(NumberInside):
    """``ctkSliderWidget``: a slider and a spin box that say the same."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"tracking": True, "spinBoxVisible": True, "pageStep": 10.0}
    STEPS = 1000

    def _build(self: Any) -> None:
        self._spin_box, self._slider = QtWidgets.QDoubleSpinBox(self), QtWidgets.QSlider(self)
        self._slider.setOrientation(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, self.STEPS)
        self._spin_box.setDecimals(0)
        self._spin_box.setRange(0, 99)
        layout = row(self)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin_box)
        self._spin_box.connect("valueChanged(double)", lambda value: self._on_value(value))
        self._slider.connect("sliderMoved(int)", lambda step: self._on_slid(step))

    def _on_slid(self: Any, step: int) -> None:
        low, high = self._spin_box.minimum, self._spin_box.maximum
        self._spin_box.value = low + (high - low) * step / self.STEPS

    def _on_value(self: Any, value: float) -> None:
        self._shown()
        self._emit("valueIsChanging(double)", value)
        self._emit("valueChanged(double)", value)

    def _shown(self: Any) -> None:
        low, high = self._spin_box.minimum, self._spin_box.maximum
        if high > low:
            self._slider.value = round((self._spin_box.value - low) / (high - low) * self.STEPS)

    def _set_spinBoxVisible(self: Any, value: bool) -> None:
        self._spin_box.setVisible(value)

    def slider(self: Any) -> QtWidgets.QSlider:
        return self._slider


class RangeWidget(Behaviour):
    """``ctkRangeWidget``: the spin boxes of both ends; the bar between them is only drawn."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"maximum": 99.0, "maximumValue": 99.0, "singleStep": 1.0, "tracking": True}

    def _build(self: Any) -> None:
        self._low, self._high = QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self)
        self._bar = QtWidgets.QProgressBar(self)
        self._bar.textVisible = False
        layout = row(self)
        layout.addWidget(self._low)
        layout.addWidget(self._bar, 1)
        layout.addWidget(self._high)
        self._show_numbers()
        self._low.connect("valueChanged(double)", lambda value: self.setValues(value, max(value, self.maximumValue)))
        self._high.connect("valueChanged(double)", lambda value: self.setValues(min(value, self.minimumValue), value))

    def _show_numbers(self: Any, *_: Any) -> None:
        for box, value in ((self._low, self._values["minimumValue"]), (self._high, self._values["maximumValue"])):
            box.blockSignals(True)
            box.decimals = self._read("decimals")
            box.setRange(self._read("minimum"), self._read("maximum"))
            box.value = value
            box.blockSignals(False)
        span = self._read("maximum") - self._read("minimum")
        self._bar.value = round(100 * (self._read("maximumValue") - self._read("minimumValue")) / span) if span else 0

    def _put(self: Any, low: float, high: float) -> None:
        before = self._values["minimumValue"], self._values["maximumValue"]
        least, most = self._read("minimum"), self._read("maximum")
        low = min(max(float(low), least), most)
        high = min(max(float(high), low), most)
        self._values["minimumValue"], self._values["maximumValue"] = low, high
        self._show_numbers()
        for name, old, new in (("minimum", before[0], low), ("maximum", before[1], high)):
            if old != new:
                self._emit(f"{name}ValueIsChanging(double)", new)
                self._emit(f"{name}ValueChanged(double)", new)
        if before != (low, high):
            self._emit("valuesChanged(double,double)", low, high)

    def _start(self: Any) -> None:
        super()._start()
        self._values.setdefault("minimumValue", 0.0)

    def _set_minimumValue(self: Any, value: float) -> None:
        self._put(value, self._values["maximumValue"])

    def _set_maximumValue(self: Any, value: float) -> None:
        self._put(self._values["minimumValue"], value)

    def _limits(self: Any, _: float) -> None:
        self._put(self._values["minimumValue"], self._values["maximumValue"])
        self._emit("rangeChanged(double,double)", self._read("minimum"), self._read("maximum"))

    _set_minimum = _set_maximum = _limits
    _set_decimals = _show_numbers

    def setRange(self: Any, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def setValues(self: Any, low: float, high: float) -> None:
        self._put(low, high)


class PathLineEdit(Behaviour):
    """``ctkPathLineEdit``: a line and a button that asks for a file."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"showBrowseButton": True, "showHistoryButton": True}

    def _build(self: Any) -> None:
        self._line, self._button = QtWidgets.QLineEdit(self), QtWidgets.QToolButton(self)
        self._button.text = "..."
        layout = row(self)
        layout.addWidget(self._line, 1)
        layout.addWidget(self._button)
        self._line.connect("textChanged(QString)", lambda text: self._emit("currentPathChanged(QString)", text))
        self._button.connect("clicked()", lambda: self.browse())

    def _get_currentPath(self: Any) -> str:
        return str(self._line.text)

    def _set_currentPath(self: Any, path: str) -> None:
        self._line.text = path

    def _set_showBrowseButton(self: Any, value: bool) -> None:
        self._button.setVisible(value)

    def addCurrentPathToHistory(self: Any) -> None:
        """There is no history to look at."""

    def browse(self: Any) -> None:
        chosen = QtWidgets.QFileDialog.getOpenFileName(self, "", self._line.text)
        if chosen:
            self.currentPath = chosen


class DirectoryButton(Behaviour):
    """``ctkDirectoryButton``."""

    def _build(self: Any) -> None:
        self._button = QtWidgets.QPushButton(self)
        row(self).addWidget(self._button)
        self._button.connect("clicked()", lambda: self.browse())

    def _set_directory(self: Any, path: str) -> None:
        self._button.text = path
        self._emit("directoryChanged(QString)", path)

    def browse(self: Any) -> None:
        chosen = QtWidgets.QFileDialog.getExistingDirectory(self)
        if chosen:
            self.directory = chosen
            self._emit("directorySelected(QString)", chosen)


class ColorPickerButton(Behaviour):
    """``ctkColorPickerButton``: a button with its colour as icon."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"color": QtGui.QColor("black"), "displayColorName": True}

    def _build(self: Any) -> None:
        self._paint()
        self.connect("clicked()", lambda: self.changeColor())

    def _paint(self: Any) -> None:
        picture = QtGui.QPixmap(16, 16)
        picture.fill(self._values["color"])
        self.icon = QtGui.QIcon(picture)
        self.setText(self._values["color"].name() if self._values["displayColorName"] else "")

    def _set_color(self: Any, color: QtGui.QColor) -> None:
        self._paint()
        self._emit("colorChanged(QColor)", color)

    def _set_displayColorName(self: Any, _: bool) -> None:
        self._paint()

    def changeColor(self: Any) -> None:
        chosen = QtWidgets.QColorDialog.getColor(self.color, self)
        if chosen.isValid():
            self.color = chosen


class CollapsibleGroupBox(Behaviour):
    """``ctkCollapsibleGroupBox``."""

    def _build(self: Any) -> None:
        self.setCheckable(True)
        self.connect("toggled(bool)", lambda checked: self._write("collapsed", not checked))

    def _set_collapsed(self: Any, collapsed: bool) -> None:
        self.setChecked(not collapsed)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not collapsed)


class FittedTextBrowser(Behaviour):
    """``ctkFittedTextBrowser``."""

    def setCollapsibleText(self: Any, text: str) -> None:
        self.setHtml(text)


BEHAVIOURS: dict[str, type] = {
    "ctkCollapsibleButton": CollapsibleButton,
    "ctkCollapsibleGroupBox": CollapsibleGroupBox,
    "ctkColorPickerButton": ColorPickerButton,
    "ctkDirectoryButton": DirectoryButton,
    "ctkDoubleSpinBox": DoubleSpinBox,
    "ctkFittedTextBrowser": FittedTextBrowser,
    "ctkPathLineEdit": PathLineEdit,
    "ctkRangeWidget": RangeWidget,
    "ctkSliderWidget": SliderWidget,
}

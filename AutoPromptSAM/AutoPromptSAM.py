"""AutoPromptSAM in 3D Slicer: what the application shows of the module, and when its panels are made and left.

The panels are in ``AutoPromptSAMDesktop``. Nothing is installed, fetched or loaded before a person asks for it.
"""

from __future__ import annotations

import os.path
import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# In a clone of the repository the library lies beside the module's folder; in an installed extension, within it.
_beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isdir(os.path.join(_beside, "AutoPromptSAMLib")) and _beside not in sys.path:
    sys.path.append(_beside)


class AutoPromptSAM(ScriptedLoadableModule):
    """What Slicer shows of the module in its menus, help and credits."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "AutoPromptSAM"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["SegmentEditor", "Segmentations", "Markups"]
        parent.contributors = ["The AutoPromptSAM contributors"]
        parent.helpText = _(
            "Promptable segmentation that prompts itself: one click, box or doodle becomes a 3D segment; one "
            "annotated case prompts every other one; it shows where it is unsure. Start with the "
            '<a href="{tutorial}">tutorial</a>, which uses the sample CT.'
        ).format(tutorial="https://github.com/AutoPromptSAM/AutoPromptSAM/blob/main/docs/tutorial.md")
        parent.acknowledgementText = _("Apache-2.0. The licence of each model is on its card.")
        slicer.app.connect("startupCompleted()", register_sample_data)


def register_sample_data() -> None:
    """Offer the sample CT in the module Sample Data."""
    from AutoPromptSAMDesktop.sample_data import register

    register()


class AutoPromptSAMWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's page: a desk with its panels, told when the module or the scene comes and goes."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.desk = None

    def setup(self) -> None:
        """Called by Slicer when the module is opened for the first time."""
        from AutoPromptSAMDesktop.desk import Desk

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = AutoPromptSAMLogic()
        self.desk = Desk(self.layout)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, lambda *_: self.desk.leave_scene())
        self.addObserver(scene, scene.EndCloseEvent, lambda *_: self.show_scene())
        self.addObserver(scene, scene.StartSaveEvent, lambda *_: self.desk.keep_prompts())
        self.addObserver(scene, scene.StartImportEvent, lambda *_: self.desk.leave_scene())
        self.addObserver(scene, scene.EndImportEvent, lambda *_: self.show_scene())

    def enter(self) -> None:
        """Called by Slicer each time the module is shown."""
        self.desk.enter(self.logic.parameters())

    def exit(self) -> None:
        """Called by Slicer each time another module is shown."""
        self.desk.exit()

    def cleanup(self) -> None:
        """Called by Slicer when the application ends or the module is reloaded."""
        self.removeObservers()
        if self.desk is not None:
            self.desk.close()

    def onReload(self) -> None:  # noqa: N802 - Slicer's name
        """Called by Slicer's developer section: the panels are read anew, too."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "AutoPromptSAMDesktop"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def show_scene(self) -> None:
        """Another scene is there."""
        if self.desk.shown:
            self.desk.use_parameters(self.logic.parameters())


class AutoPromptSAMLogic(ScriptedLoadableModuleLogic):
    """Keeps the module's parameters in the scene; the work is done by ``AutoPromptSAMLib``."""

    def parameters(self):
        """The parameters of the scene, typed."""
        from AutoPromptSAMDesktop.parameters import Parameters

        return Parameters(self.getParameterNode())


class AutoPromptSAMTest(ScriptedLoadableModuleTest):
    """The self-test of the application: the page comes up, and nothing is installed or fetched by that."""

    def runTest(self) -> None:  # noqa: N802 - Slicer's name
        """Called by Slicer's developer section."""
        self.setUp()
        widget = slicer.util.getModuleWidget("AutoPromptSAM")
        slicer.util.selectModule("AutoPromptSAM")
        assert widget.desk.shown
        assert widget.desk.segmenter is None
        self.delayDisplay("The page is there.")

"""AutoPromptSAM in 3D Slicer's list of modules. Nothing is imported from the library until a person asks for it."""

from __future__ import annotations

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget


class AutoPromptSAM(ScriptedLoadableModule):
    """What Slicer shows of the module in its menus, help and credits."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "AutoPromptSAM"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.contributors = ["The AutoPromptSAM contributors"]
        parent.helpText = _(
            "Promptable segmentation with the Segment Anything family: one click, box or doodle becomes a 3D segment. "
            'See the <a href="https://github.com/AutoPromptSAM/AutoPromptSAM">project page</a>.'
        )
        parent.acknowledgementText = _("Apache-2.0. The licence of each model is on its card.")


class AutoPromptSAMWidget(ScriptedLoadableModuleWidget):
    """The module's panel: it says what there is and how to use it."""

    def setup(self) -> None:
        """Called by Slicer when the module is opened for the first time."""
        import qt  # Slicer's own; only the application has it

        ScriptedLoadableModuleWidget.setup(self)
        text = qt.QLabel(
            _(
                "In this version AutoPromptSAM is used from the command line, and its results open here as "
                "segmentations (.seg.nrrd): run <b>autopromptsam doctor</b> in a terminal to see what is installed "
                "and what to do next, and <b>autopromptsam segment --help</b> to segment an image."
            )
        )
        text.wordWrap = True
        self.layout.addWidget(text)
        self.layout.addStretch(1)

"""Run by Slicer's own build: the module opens in a Slicer that has none of the packages that it needs."""

from __future__ import annotations

import sys

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

HEAVY = {"torch", "torchvision", "timm", "segment_anything", "openvino"}


class AutoPromptSAMModuleTest(ScriptedLoadableModuleTest):
    """Opening, leaving and closing a scene install nothing, import nothing heavy and raise nothing."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):  # noqa: N802
        """All of it, for Slicer's button Reload and Test."""
        for test in (self.test_is_there, self.test_looks_for_packages, self.test_opens_and_survives_a_closed_scene):
            self.setUp()
            test()

    def test_is_there(self):
        """Slicer loaded the module's file."""
        module = slicer.util.getModule("AutoPromptSAM")
        assert module.title == "AutoPromptSAM"
        assert module.helpText

    def test_looks_for_packages(self):
        """What is missing is found without importing any of it."""
        from AutoPromptSAMLib.workbench.packages import missing
        from AutoPromptSAMLib.workbench.requirements import REQUIREMENTS

        before = set(sys.modules)
        assert set(missing()) <= set(REQUIREMENTS)
        assert not HEAVY & (set(sys.modules) - before)

    def test_opens_and_survives_a_closed_scene(self):
        """The page is made and left, with the packages and without."""
        from AutoPromptSAMLib.workbench.packages import missing

        before, packages = set(sys.modules), missing()
        widget = slicer.util.getNewModuleWidget("AutoPromptSAM")
        widget.enter()
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        widget.exit()
        widget.cleanup()
        assert missing() == packages
        if packages:
            assert not HEAVY & (set(sys.modules) - before)

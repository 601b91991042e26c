"""What importing the package brings along."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import AutoPromptSAMLib.mrml


def test_no_torch_and_no_qt() -> None:
    names = [f"AutoPromptSAMLib.mrml.{module.name}" for module in pkgutil.iter_modules(AutoPromptSAMLib.mrml.__path__)]
    assert "AutoPromptSAMLib.mrml.segments" in names
    code = (
        f"import sys, {', '.join(names)}\n"
        "heavy = {'torch', 'torchvision', 'timm', 'qt', 'ctk', 'PyQt5', 'PySide6', 'scipy', 'skimage'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"

"""What importing the package brings along."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import AutoPromptSAMLib.workbench as package


def test_no_torch_and_no_widgets() -> None:
    names = [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    assert "AutoPromptSAMLib.workbench.examples_desk" in names
    code = (
        f"import sys, {', '.join(names)}\n"
        "heavy = {'torch', 'torchvision', 'timm', 'qt', 'ctk', 'PyQt5', 'PySide6', 'trame', 'scipy', 'skimage'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"

"""What is imported when Slicer starts, or a person asks for help on the command line: no torch."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_FILE = ROOT / "AutoPromptSAM" / "AutoPromptSAM.py"
HEAVY = ["torch", "torchvision", "timm", "segment_anything", "sam2", "safetensors"]

# Just enough of Slicer's application for a module file to be executed: names that it derives from or calls on import.
STAND_INS = """
import sys, types
from unittest.mock import MagicMock

class Base:
    def __init__(self, *args, **kwargs): pass

scripted = types.ModuleType("slicer.ScriptedLoadableModule")
for kind in ("Module", "ModuleWidget", "ModuleLogic", "ModuleTest"):
    setattr(scripted, f"ScriptedLoadable{kind}", type(f"ScriptedLoadable{kind}", (Base,), {}))
scripted.__all__ = [name for name in vars(scripted) if name.startswith("Scripted")]
util = types.ModuleType("slicer.util")
util.VTKObservationMixin = type("VTKObservationMixin", (), {"__init__": lambda self, *a, **k: None})
i18n = types.ModuleType("slicer.i18n")
i18n.tr = i18n.translate = lambda *texts: texts[-1]
wrapper = types.ModuleType("slicer.parameterNodeWrapper")
wrapper.parameterNodeWrapper = lambda cls: cls
wrapper.__getattr__ = lambda name: MagicMock(name=name)
slicer = MagicMock(name="slicer")
slicer.__path__, slicer.util = [], util
util.__getattr__ = lambda name: MagicMock(name=name)
sys.modules |= {"slicer": slicer, "slicer.ScriptedLoadableModule": scripted, "slicer.util": util,
                "slicer.i18n": i18n, "slicer.parameterNodeWrapper": wrapper}
sys.modules |= {name: MagicMock(name=name) for name in ("qt", "ctk")}
"""


def heavy_after(program: str) -> list[str]:
    """The heavy packages that a new Python has in memory after ``program``."""
    tail = f"\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", program + tail],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


@pytest.mark.parametrize(
    "name", ["", ".session", ".session.local", ".session.remote", ".zoo", ".prompts", ".backbones", ".cli"]
)
def test_importing_brings_no_torch(name: str) -> None:
    assert heavy_after(f"import AutoPromptSAMLib{name}") == []


def test_importing_all_of_mrml_brings_no_torch() -> None:
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed")
    folder = ROOT / "AutoPromptSAMLib" / "mrml"
    names = [f"AutoPromptSAMLib.mrml.{path.stem}" for path in folder.glob("[!_]*.py")]
    assert names
    assert heavy_after(f"import {', '.join(names)}") == []


@pytest.mark.skipif(not MODULE_FILE.exists(), reason="there is no desktop module yet")
def test_loading_the_slicer_module_file_brings_no_torch() -> None:
    program = f"""{STAND_INS}
import runpy
sys.path.insert(0, {str(MODULE_FILE.parent)!r})
found = runpy.run_path({str(MODULE_FILE)!r}, run_name="AutoPromptSAM")
assert isinstance(found["AutoPromptSAM"], type), "a module file defines a class of its own name"
"""
    assert heavy_after(program) == []


def test_the_check_sees_what_is_imported() -> None:
    assert heavy_after("import AutoPromptSAMLib.backbones.cache") == ["torch", "safetensors"]

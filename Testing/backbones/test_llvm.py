from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from AutoPromptSAMLib.backbones import llvm

_DRAWN = "7f00-7f01 r-xp 00000000 fe:00 123  /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1\n"
_NOT_DRAWN = "7f00-7f01 r-xp 00000000 fe:00 123  /usr/lib/x86_64-linux-gnu/libc.so.6\n"

# What Slicer does: it draws, and later somebody asks for a model.
_DRAW_AND_LEARN = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.Render()
from AutoPromptSAMLib.backbones.llvm import settle_triton
settle_triton()
import torch._dynamo, torchvision
window.Render()
print("alive")
"""


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
        monkeypatch.delitem(sys.modules, name)


def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    path = tmp_path / "maps"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(llvm, "_MAPS", path)


def test_triton_is_hidden_where_mesa_has_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None
) -> None:
    maps(tmp_path, monkeypatch, _DRAWN)
    llvm.settle_triton()
    assert sys.modules["triton"] is None
    assert find_spec("triton") is None
    with pytest.raises(ImportError):
        import triton  # noqa: F401
    del sys.modules["triton"]


@pytest.mark.parametrize("content", [_NOT_DRAWN, None])
def test_triton_is_loaded_first_where_nothing_was_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None, content: str | None
) -> None:
    folder = tmp_path / "packages" / "triton"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    maps(tmp_path, monkeypatch, content)
    llvm.settle_triton()
    assert sys.modules["triton"].loaded  # type: ignore[attr-defined]
    del sys.modules["triton"]


def test_triton_that_is_loaded_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps(tmp_path, monkeypatch, _DRAWN)
    monkeypatch.setitem(sys.modules, "triton", pytest)
    llvm.settle_triton()
    assert sys.modules["triton"] is pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Mesa and Triton meet on Linux only")
def test_a_program_that_has_drawn_can_load_a_model() -> None:
    pytest.importorskip("vtk")
    done = subprocess.run([sys.executable, "-c", _DRAW_AND_LEARN], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "alive" in done.stdout

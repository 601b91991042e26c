"""How packages come into Slicer 5.10 and 5.12; pip, Slicer and PyTorchUtils are stand-ins."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import subprocess
import sys
import types
from pathlib import Path

import pytest

from AutoPromptSAMLib.workbench import packages
from AutoPromptSAMLib.workbench.installing import Installer
from AutoPromptSAMLib.workbench.packages import missing, plan
from AutoPromptSAMLib.workbench.pip_output import InstallError
from AutoPromptSAMLib.workbench.requirements import REQUIREMENTS

ROOT = Path(__file__).parents[2]
FACTS = Path(__file__).parent / "double" / "facts" / "python.json"


class World:
    """The packages that are installed, what was asked for, and a network that can fail."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.asked: list[str] = []
        self.constraints: dict[str, str] = {}
        self.fails: dict[str, list[str]] = {}
        self.pending: list = []
        self.dialogs = 0

    def pip(self, arguments: list[str], constraints: str, say) -> int:
        wanted, *options = arguments
        assert options == ["--only-binary", ":all:"], "pip may compile"
        name, version = wanted.split(">=")
        self.asked.append(wanted)
        self.constraints[name] = Path(constraints).read_text()
        for line in self.fails.get(name, ()):
            say(line)
        if name in self.fails:
            return 1
        say(f"Successfully installed {name}-{version}")
        self.versions[name] = version
        return 0


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def installer(monkeypatch, tmp_path, world):
    """Installs into the stand-in for Slicer."""
    monkeypatch.syspath_prepend(str(ROOT / "AutoPromptSAM"))
    module = importlib.import_module("AutoPromptSAMDesktop.application")
    monkeypatch.setattr(module.Application, "log_path", lambda self: tmp_path / "logs" / "install.log")
    monkeypatch.setattr(packages, "version_of", world.versions.get)
    monkeypatch.setattr(packages, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(packages, "_is_in_memory", lambda module: False)
    monkeypatch.setattr(packages.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=100e9))
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Installer(module.Application())


def slicer_with(monkeypatch, **members) -> types.ModuleType:
    slicer = types.ModuleType("slicer")
    slicer.__path__ = []
    vars(slicer).update(members)
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    for name, member in members.items():
        if isinstance(member, types.ModuleType):
            monkeypatch.setitem(sys.modules, f"slicer.{name}", member)
    return slicer


@pytest.fixture
def slicer_510(monkeypatch, world):
    """pip blocks, its lines go to the console and to the application's log, and it raises when it fails."""

    def say(line):
        print(line)
        logging.getLogger().warning(line)

    def pip_install(requirements, **kwargs):
        assert not kwargs, "5.10 takes only the requirements"
        assert requirements[-2] == "--constraint"
        code = world.pip(requirements[:-2], requirements[-1], say)
        if code:
            raise subprocess.CalledProcessError(code, "pip")

    util = types.ModuleType("slicer.util")
    util.pip_install = pip_install
    return slicer_with(monkeypatch, util=util)


@pytest.fixture
def slicer_512(monkeypatch, world):
    """pip runs while the application handles events, and says how it ended through a callback."""

    def pip_install(
        requirements,
        constraints=None,
        no_deps_requirements=None,
        skip_packages=None,
        blocking=True,
        show_progress=True,
        requester=None,
        logCallback=None,  # noqa: N803
        completedCallback=None,  # noqa: N803
    ):
        world.dialogs += blocking or show_progress
        assert requester == "AutoPromptSAM"
        world.pending.append(lambda: completedCallback(world.pip(requirements, constraints, logCallback)))

    packaging = types.ModuleType("slicer.packaging")
    packaging.pip_install, packaging.isPipInstallInProgress = pip_install, lambda: bool(world.pending)
    app = types.SimpleNamespace(processEvents=lambda: world.pending.pop(0)(), testingEnabled=lambda: False)
    return slicer_with(monkeypatch, packaging=packaging, app=app)


@pytest.fixture(params=["5.10", "5.12"])
def slicer(request):
    return request.getfixturevalue("slicer_" + request.param.replace(".", ""))


@pytest.fixture
def pytorch(monkeypatch, world):
    """The extension PyTorch, as it is called."""
    calls = []

    class PyTorchUtilsLogic:
        def installTorch(  # noqa: N802
            self,
            askConfirmation=False,  # noqa: N803
            forceComputationBackend=None,  # noqa: N803
            torchVersionRequirement=None,  # noqa: N803
            torchvisionVersionRequirement=None,  # noqa: N803
        ):
            calls.append((torchVersionRequirement, torchvisionVersionRequirement))
            world.asked.append("PyTorch")
            assert not askConfirmation
            print("Successfully installed torch-2.9.1+cpu torchvision-0.24.1+cpu")
            if "torch" in world.fails:
                print(*world.fails["torch"], sep="\n")
                raise subprocess.CalledProcessError(1, "ltt")
            world.versions.setdefault("torch", "2.9.1+cpu")
            world.versions["torchvision"] = "0.24.1+cpu"

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return calls


def all_there(world, *but: str) -> None:
    for requirement in REQUIREMENTS:
        if requirement.package not in but:
            world.versions[requirement.package] = requirement.wanted.split(">=")[1]


def test_all_that_is_missing_comes_and_is_heard_once(installer, world, slicer, pytorch):
    lines = []
    assert installer.install(plan(), on_line=lines.append) is False
    assert missing(optional=True) == []
    assert world.asked == ["PyTorch", *(r.wanted for r in REQUIREMENTS if r.package not in ("torch", "torchvision"))]
    assert pytorch == [(">=2.4", ">=0.19")]
    assert world.dialogs == 0
    # Heard from print, from the log of 5.10 or from the callback of 5.12, and noted in the file.
    for text in ("Successfully installed torch-2.9.1+cpu", "Successfully installed timm-1.0.15", "All packages are"):
        assert sum(text in line for line in lines) == 1
        assert text in installer.log()


def test_slicers_packages_are_not_replaced(installer, world, slicer, pytorch):
    all_there(world, "timm")
    world.versions["SimpleITK"] = "2.5.0"
    installer.install(plan())
    assert world.constraints["timm"].split() == ["numpy==1.26", "SimpleITK==2.5.0", "torch==2.4", "torchvision==0.19"]


def test_a_failing_pip_says_what_to_do_next(installer, world, slicer, pytorch):
    all_there(world, "timm")
    world.fails["timm"] = ["OSError: [Errno 28] No space left on device"]
    with pytest.raises(InstallError, match="disk is full"):
        installer.install(plan())


def test_a_failing_pytorch_says_what_to_do_next(installer, world, slicer, pytorch):
    world.fails["torch"] = ["OSError: [Errno 28] No space left on device"]
    with pytest.raises(InstallError, match="disk is full"):
        installer.install(plan())
    assert world.asked == ["PyTorch"]


def test_a_pip_that_failed_after_the_package_itself_is_told(installer, world, slicer, pytorch):
    all_there(world, "timm")
    real = world.pip
    world.pip = lambda *arguments: real(*arguments) or 1
    with pytest.raises(InstallError, match="timm could not be installed"):
        installer.install(plan())


def test_in_slicers_test_mode_nothing_is_called_back(installer, world, slicer_512, pytorch, monkeypatch):
    all_there(world, "timm")

    def waits(requirements, constraints=None, blocking=True, **options):
        assert blocking
        world.pip(requirements, constraints, print)

    monkeypatch.setattr(slicer_512.packaging, "pip_install", waits)
    monkeypatch.setattr(slicer_512.app, "testingEnabled", lambda: True)
    installer.install(plan())
    assert missing() == []


def test_another_modules_installation_is_waited_for(installer, world, slicer_512, pytorch):
    all_there(world, "timm")
    world.pending.append(None)
    with pytest.raises(InstallError, match="Another module is installing"):
        installer.install(plan())


def test_without_the_extension_pytorch_nothing_is_begun(installer, world, slicer, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(InstallError, match="install the extension PyTorch from the Extensions Manager"):
        installer.install(plan())
    assert world.asked == []


def test_the_texts_of_the_workbench_are_in_slicers_language(installer, monkeypatch):
    i18n = types.ModuleType("slicer.i18n")
    i18n.translate = lambda context, text: f"{context}: {text}"
    slicer_with(monkeypatch, i18n=i18n)
    assert packages.size_text(62) == "workbench.packages: 62 MB"


def test_the_stand_ins_are_called_as_slicers_own(slicer_512, pytorch):
    if not FACTS.is_file():
        pytest.skip("the interface facts are not here")
    modules = json.loads(FACTS.read_text())["modules"]
    ours = {
        modules["slicer.packaging"]["functions"]["pip_install"]: slicer_512.packaging.pip_install,
        modules["PyTorchUtils"]["classes"]["PyTorchUtilsLogic"]["methods"]["installTorch"]: sys.modules[
            "PyTorchUtils"
        ].PyTorchUtilsLogic.installTorch,
    }
    for signature, stand_in in ours.items():
        assert str(inspect.signature(stand_in)) == signature
    assert modules["slicer.util"]["functions"]["pip_install"].startswith("(requirements")

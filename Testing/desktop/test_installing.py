"""What the desktop module installs, in which order and by whom; pip, Slicer and PyTorchUtils are stand-ins."""

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

ROOT = Path(__file__).parents[2]
FACTS = Path(__file__).parent / "double" / "facts" / "python.json"

NO_VERSION = "ERROR: Could not find a version that satisfies the requirement timm (from versions: none)"


class World:
    """The packages that are installed, what was asked for, and a network that can fail."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.asked: list[str] = []
        self.constraints: dict[str, str] = {}
        self.fails: dict[str, list[str]] = {}
        self.pending: list = []
        self.dialogs = 0
        self.in_memory: set[str] = set()

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
def installing(monkeypatch, tmp_path, world):
    monkeypatch.syspath_prepend(str(ROOT / "AutoPromptSAM"))
    module = importlib.import_module("AutoPromptSAMDesktop.installing")
    monkeypatch.setattr(module, "_version", world.versions.get)
    monkeypatch.setattr(module, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(module, "log_path", lambda: tmp_path / "logs" / "install.log")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=100e9))
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "_is_in_memory", world.in_memory.__contains__)
    return module


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


def all_there(installing, world, *but: str) -> None:
    for requirement in installing.REQUIREMENTS:
        if requirement.package not in but:
            world.versions[requirement.package] = requirement.wanted.split(">=")[1]


def test_nothing_to_do_when_all_is_there(installing, world):
    all_there(installing, world)
    plan = installing.plan()
    assert (plan.requirements, plan.steps, plan.total_mb, plan.licences) == ((), (), 0, ())
    assert installing.Installer().install(plan) is False
    assert world.asked == []


def test_all_that_is_missing_comes_pytorch_first(installing, world, slicer, pytorch):
    steps, lines = [], []
    plan = installing.plan()
    restart = installing.Installer().install(plan, lambda *step: steps.append(step), on_line=lines.append)
    assert restart is False
    assert installing.missing(optional=True) == []
    rest = [r.wanted for r in installing.REQUIREMENTS if r.package not in ("torch", "torchvision")]
    assert world.asked == ["PyTorch", *rest]
    assert pytorch == [(">=2.4", ">=0.19")]
    assert [step[0] for step in steps][:2] == ["torch + torchvision", "numpy"]
    assert [step[1] for step in steps] == sorted(step[1] for step in steps)
    assert steps[-1] == ("", plan.total_mb, plan.total_mb)
    assert world.dialogs == 0
    # Heard from print, from the log of 5.10 or from the callback of 5.12, and noted in the file.
    for text in ("Successfully installed torch-2.9.1+cpu", "Successfully installed timm-1.0.15", "All packages are"):
        assert sum(text in line for line in lines) == 1
        assert text in installing.log_path().read_text()


def test_only_what_is_missing_is_asked_for(installing, world, slicer, pytorch):
    all_there(installing, world, "torch", "torchvision")
    installing.Installer().install(installing.plan())
    assert world.asked == ["PyTorch"]


def test_torchvision_comes_for_the_pytorch_that_is_there(installing, world, slicer_512, pytorch):
    all_there(installing, world, "torchvision")
    world.versions["torch"] = "2.7.0+cu128"
    installing.Installer().install(installing.plan())
    assert pytorch == [("==2.7.0+cu128", ">=0.19")]


def test_slicers_packages_and_pytorch_are_not_replaced(installing, world, slicer, pytorch):
    all_there(installing, world, "timm", "numpy")
    world.versions |= {"numpy": "1.24", "torch": "2.9.1+cpu", "SimpleITK": "2.5.0", "vtk": "no version"}
    installing.Installer().install(installing.plan())
    assert world.constraints["timm"].split() == [
        "numpy==1.26", "SimpleITK==2.5.0", "torch==2.9.1+cpu", "torchvision==0.19",
    ]  # fmt: skip
    assert "numpy" not in world.constraints["numpy"]


def test_cancelled_between_packages_and_gone_on(installing, world, slicer, pytorch):
    installer = installing.Installer()
    with pytest.raises(installing.Cancelled, match="go on from here"):
        installer.install(installing.plan(), cancelled=lambda: "scipy>=1.11" in world.asked)
    assert world.asked[-1] == "scipy>=1.11"
    before = list(world.asked)
    assert not installer.running
    installer.install(installing.plan())
    assert installing.missing() == []
    assert len(world.asked) == len(set(world.asked)), "a package was asked for again"
    assert world.asked[: len(before)] == before


def test_a_plan_of_before_asks_for_nothing_that_came_meanwhile(installing, world, slicer, pytorch):
    plan = installing.plan()
    all_there(installing, world, "timm")
    installing.Installer().install(plan)
    assert world.asked == ["timm>=1.0.15"]


OFFLINE = "WARNING: Retrying after connection broken by 'NameResolutionError(\"Failed to resolve 'pypi.org'\")'"


def test_a_failure_says_what_to_do_next_and_is_gone_on_from(installing, world, slicer, pytorch):
    all_there(installing, world, "timm", "kornia")
    world.fails["timm"] = [OFFLINE, NO_VERSION]
    installer = installing.Installer()
    with pytest.raises(
        installing.InstallError, match=r"^timm could not be downloaded .* connect to the internet"
    ) as e:
        installer.install(installing.plan())
    assert "kornia>=0.7" not in world.asked
    assert str(e.value) in installing.log_path().read_text()
    world.fails.clear()
    installer.install(installing.plan())
    assert installing.missing() == []


def test_a_failing_pytorch_says_what_to_do_next(installing, world, slicer, pytorch):
    world.fails["torch"] = [OFFLINE]
    with pytest.raises(installing.InstallError, match=r"torch \+ torchvision could not be downloaded"):
        installing.Installer().install(installing.plan())
    assert world.asked == ["PyTorch"]


def test_a_package_that_did_not_come_though_pip_was_content_is_missed(installing, world, slicer_512, pytorch):
    all_there(installing, world, "timm")
    world.pip = lambda arguments, constraints, say: 0
    with pytest.raises(installing.InstallError, match="timm could not be installed"):
        installing.Installer().install(installing.plan())


def test_a_pip_that_failed_after_the_package_itself_is_told(installing, world, slicer, pytorch):
    all_there(installing, world, "timm")
    real = world.pip
    world.pip = lambda *arguments: real(*arguments) or 1
    with pytest.raises(installing.InstallError, match="timm could not be installed"):
        installing.Installer().install(installing.plan())


def test_a_failure_is_not_explained_by_the_one_before(installing, world, slicer, pytorch):
    world.fails |= {"openvino": [NO_VERSION], "scipy": ["something else altogether"]}
    with pytest.raises(installing.InstallError, match="scipy could not be installed; see the end of the log"):
        installing.Installer().install(installing.plan())


def test_in_slicers_test_mode_nothing_is_called_back(installing, world, slicer_512, pytorch, monkeypatch):
    all_there(installing, world, "timm")

    def waits(requirements, constraints=None, blocking=True, **options):
        assert blocking
        world.pip(requirements, constraints, print)

    monkeypatch.setattr(slicer_512.packaging, "pip_install", waits)
    monkeypatch.setattr(slicer_512.app, "testingEnabled", lambda: True)
    installing.Installer().install(installing.plan())
    assert installing.missing() == []


def test_another_modules_installation_is_waited_for(installing, world, slicer_512, pytorch):
    all_there(installing, world, "timm")
    world.pending.append(None)
    with pytest.raises(installing.InstallError, match="Another module is installing"):
        installing.Installer().install(installing.plan())


def test_without_the_extension_pytorch_nothing_is_begun(installing, world, slicer, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(installing.InstallError, match="install the extension PyTorch from the Extensions Manager"):
        installing.Installer().install(installing.plan())
    assert world.asked == []


def test_without_the_extension_pytorch_the_rest_comes_when_pytorch_is_there(installing, world, slicer, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    all_there(installing, world, "timm")
    installing.Installer().install(installing.plan())
    assert installing.missing() == []


def test_a_full_disk_is_told_before_anything_comes(installing, world, slicer, pytorch, monkeypatch):
    monkeypatch.setattr(installing.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=0.3e9))
    with pytest.raises(installing.InstallError, match=r"need about 1\.\d GB .* where 0\.3 GB are free"):
        installing.Installer().install(installing.plan())
    assert world.asked == []


def test_openvino_may_fail(installing, world, slicer, pytorch):
    world.fails["openvino"] = [NO_VERSION]
    lines = []
    assert installing.Installer().install(installing.plan(), on_line=lines.append) is False
    assert installing.missing() == []
    assert [r.package for r in installing.missing(optional=True)] == ["openvino"]
    assert any("going on without it" in line for line in lines)


def test_a_pytorch_in_use_cannot_be_replaced(installing, world, slicer, pytorch):
    all_there(installing, world)
    world.versions["torch"] = "2.1.0"
    world.in_memory.add("torch")
    plan = installing.plan()
    assert plan.needs_restart == ("torch",)
    with pytest.raises(installing.InstallError, match="restart Slicer and press Install"):
        installing.Installer().install(plan)
    assert world.asked == []


def test_another_package_in_use_asks_for_a_restart_afterwards(installing, world, slicer, pytorch):
    all_there(installing, world)
    world.versions["urllib3"] = "1.26"
    world.in_memory.add("urllib3")
    assert installing.Installer().install(installing.plan()) is True
    assert world.asked == ["urllib3>=2.0"]


def test_with_a_gpu_the_size_and_the_licence_are_told(installing, monkeypatch):
    cpu = installing.plan()
    monkeypatch.setattr(installing, "has_nvidia_gpu", lambda: True)
    gpu = installing.plan()
    assert (gpu.gpu, cpu.gpu) == (True, False)
    assert gpu.total_mb > cpu.total_mb + 2000
    assert any("NVIDIA" in licence for licence in gpu.licences)
    assert not any("NVIDIA" in licence for licence in cpu.licences)


def test_a_log_that_cannot_be_written_stops_nothing(installing, world, slicer, pytorch, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(installing, "log_path", lambda: tmp_path / "file" / "install.log")
    installing.Installer().install(installing.plan())
    assert installing.missing() == []


def test_one_installation_at_a_time(installing, world, slicer_512, pytorch):
    installer = installing.Installer()
    plan = installing.plan()
    again = []

    def on_progress(*step):
        with pytest.raises(installing.InstallError, match="being installed already"):
            installer.install(plan)
        again.append(step)

    installer.install(plan, on_progress)
    assert again
    assert installing.missing() == []


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

"""What is installed, in which order, and what is told; the application, pip and PyTorch's installer are stand-ins."""

from __future__ import annotations

import subprocess
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.workbench import packages
from AutoPromptSAMLib.workbench.installing import Installer
from AutoPromptSAMLib.workbench.packages import missing, plan
from AutoPromptSAMLib.workbench.pip_output import InstallError
from AutoPromptSAMLib.workbench.requirements import REQUIREMENTS

NO_VERSION = "ERROR: Could not find a version that satisfies the requirement timm (from versions: none)"


class World:
    """An application: the packages that are installed, what was asked for, and a network that can fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions: dict[str, str] = {}
        self.asked: list[str] = []
        self.pytorch: list[tuple[str, str]] = []
        self.constraints: dict[str, str] = {}
        self.fails: dict[str, list[str]] = {}
        self.in_memory: set[str] = set()
        self.has_extension = True

    def log_path(self) -> Path:
        return self.folder / "install.log"

    def pip(self, arguments: list[str], constraints: Path, say: Callable[[str], None]) -> int:
        wanted, *options = arguments
        assert options == ["--only-binary", ":all:"], "pip may compile"
        name, version = wanted.split(">=")
        self.asked.append(wanted)
        self.constraints[name] = constraints.read_text()
        for line in self.fails.get(name, ()):
            say(line)
        if name in self.fails:
            return 1
        say(f"Successfully installed {name}-{version}")
        self.versions[name] = version
        return 0

    def pip_install(self, arguments: list[str], constraints: Path, on_line: Callable[[str], None]) -> None:
        code = self.pip(arguments, constraints, on_line)
        if code:
            raise subprocess.CalledProcessError(code, "pip")

    def torch_installer(self) -> Callable[[str, str], None]:
        if not self.has_extension:
            raise InstallError("Install the extension PyTorch.")
        return self.install_torch

    def install_torch(self, torch: str, vision: str) -> None:
        self.pytorch.append((torch, vision))
        self.asked.append("PyTorch")
        print("Successfully installed torch-2.9.1+cpu torchvision-0.24.1+cpu")
        if "torch" in self.fails:
            print(*self.fails["torch"], sep="\n")
            raise subprocess.CalledProcessError(1, "ltt")
        self.versions.setdefault("torch", "2.9.1+cpu")
        self.versions["torchvision"] = "0.24.1+cpu"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world = World(tmp_path / "logs")
    monkeypatch.setattr(packages, "version_of", world.versions.get)
    monkeypatch.setattr(packages, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(packages.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=100e9))
    monkeypatch.setattr(packages, "_is_in_memory", world.in_memory.__contains__)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return world


def all_there(world, *but: str) -> None:
    for requirement in REQUIREMENTS:
        if requirement.package not in but:
            world.versions[requirement.package] = requirement.wanted.split(">=")[1]


def test_nothing_to_do_when_all_is_there(world):
    all_there(world)
    wanted = plan()
    assert (wanted.requirements, wanted.steps, wanted.total_mb) == ((), (), 0)
    assert Installer(world).install(wanted) is False
    assert world.asked == []


def test_all_that_is_missing_comes_pytorch_first(world):
    steps, lines = [], []
    wanted = plan()
    restart = Installer(world).install(wanted, lambda *step: steps.append(step), on_line=lines.append)
    assert restart is False
    assert missing(optional=True) == []
    rest = [r.wanted for r in REQUIREMENTS if r.package not in ("torch", "torchvision")]
    assert world.asked == ["PyTorch", *rest]
    assert world.pytorch == [(">=2.4", ">=0.19")]
    assert [step[0] for step in steps][:2] == ["torch + torchvision", "numpy"]
    assert [step[1] for step in steps] == sorted(step[1] for step in steps)
    assert steps[-1] == ("", wanted.total_mb, wanted.total_mb)
    # Heard from print or from the application, and noted in the file.
    for text in ("Successfully installed torch-2.9.1+cpu", "Successfully installed timm-1.0.15", "All packages are"):
        assert sum(text in line for line in lines) == 1
        assert text in world.log_path().read_text()


def test_only_what_is_missing_is_asked_for(world):
    all_there(world, "torch", "torchvision")
    Installer(world).install(plan())
    assert world.asked == ["PyTorch"]


def test_torchvision_comes_for_the_pytorch_that_is_there(world):
    all_there(world, "torchvision")
    world.versions["torch"] = "2.7.0+cu128"
    Installer(world).install(plan())
    assert world.pytorch == [("==2.7.0+cu128", ">=0.19")]


def test_slicers_packages_and_pytorch_are_not_replaced(world):
    all_there(world, "timm", "numpy")
    world.versions |= {"numpy": "1.24", "torch": "2.9.1+cpu", "SimpleITK": "2.5.0", "vtk": "no version"}
    Installer(world).install(plan())
    assert world.constraints["timm"].split() == [
        "numpy==1.26", "SimpleITK==2.5.0", "torch==2.9.1+cpu", "torchvision==0.19",
    ]  # fmt: skip
    assert "numpy" not in world.constraints["numpy"]


def test_cancelled_between_packages_and_gone_on(world):
    installer = Installer(world)
    with pytest.raises(Cancelled, match="go on from here"):
        installer.install(plan(), cancelled=lambda: "scipy>=1.11" in world.asked)
    assert world.asked[-1] == "scipy>=1.11"
    before = list(world.asked)
    assert not installer.running
    installer.install(plan())
    assert missing() == []
    assert len(world.asked) == len(set(world.asked)), "a package was asked for again"
    assert world.asked[: len(before)] == before


def test_a_plan_of_before_asks_for_nothing_that_came_meanwhile(world):
    wanted = plan()
    all_there(world, "timm")
    Installer(world).install(wanted)
    assert world.asked == ["timm>=1.0.15"]


OFFLINE = "WARNING: Retrying after connection broken by 'NameResolutionError(\"Failed to resolve 'pypi.org'\")'"


def test_a_failure_says_what_to_do_next_and_is_gone_on_from(world):
    all_there(world, "timm", "kornia")
    world.fails["timm"] = [OFFLINE, NO_VERSION]
    installer = Installer(world)
    with pytest.raises(InstallError, match=r"^timm could not be downloaded .* connect to the internet") as e:
        installer.install(plan())
    assert "kornia>=0.7" not in world.asked
    assert str(e.value) in world.log_path().read_text()
    world.fails.clear()
    installer.install(plan())
    assert missing() == []


def test_a_failing_pytorch_says_what_to_do_next(world):
    world.fails["torch"] = [OFFLINE]
    with pytest.raises(InstallError, match=r"torch \+ torchvision could not be downloaded"):
        Installer(world).install(plan())
    assert world.asked == ["PyTorch"]


def test_a_package_that_did_not_come_though_pip_was_content_is_missed(world):
    all_there(world, "timm")
    world.pip = lambda arguments, constraints, say: 0
    with pytest.raises(InstallError, match="timm could not be installed"):
        Installer(world).install(plan())


def test_a_pip_that_failed_after_the_package_itself_is_told(world):
    all_there(world, "timm")
    real = world.pip
    world.pip = lambda *arguments: real(*arguments) or 1
    with pytest.raises(InstallError, match="timm could not be installed"):
        Installer(world).install(plan())


def test_a_failure_is_not_explained_by_the_one_before(world):
    world.fails |= {"openvino": [NO_VERSION], "scipy": ["something else altogether"]}
    with pytest.raises(InstallError, match="scipy could not be installed; see the end of the log"):
        Installer(world).install(plan())


def test_without_the_extension_pytorch_nothing_is_begun(world):
    world.has_extension = False
    with pytest.raises(InstallError, match="extension PyTorch"):
        Installer(world).install(plan())
    assert world.asked == []


def test_without_the_extension_pytorch_the_rest_comes_when_pytorch_is_there(world):
    world.has_extension = False
    all_there(world, "timm")
    Installer(world).install(plan())
    assert missing() == []


def test_a_full_disk_is_told_before_anything_comes(world, monkeypatch):
    monkeypatch.setattr(packages.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=0.3e9))
    with pytest.raises(InstallError, match=r"need about 1\.\d GB .* where 0\.3 GB are free"):
        Installer(world).install(plan())
    assert world.asked == []


def test_openvino_may_fail(world):
    world.fails["openvino"] = [NO_VERSION]
    lines = []
    assert Installer(world).install(plan(), on_line=lines.append) is False
    assert missing() == []
    assert [r.package for r in missing(optional=True)] == ["openvino"]
    assert any("going on without it" in line for line in lines)


def test_a_pytorch_in_use_cannot_be_replaced(world):
    all_there(world)
    world.versions["torch"] = "2.1.0"
    world.in_memory.add("torch")
    wanted = plan()
    assert wanted.needs_restart == ("torch",)
    with pytest.raises(InstallError, match="restart Slicer and press Install"):
        Installer(world).install(wanted)
    assert world.asked == []


def test_another_package_in_use_asks_for_a_restart_afterwards(world):
    all_there(world)
    world.versions["urllib3"] = "1.26"
    world.in_memory.add("urllib3")
    assert Installer(world).install(plan()) is True
    assert world.asked == ["urllib3>=2.0"]


def test_with_a_gpu_the_size_and_the_licence_are_told(world, monkeypatch):
    cpu = plan()
    monkeypatch.setattr(packages, "has_nvidia_gpu", lambda: True)
    gpu = plan()
    assert (gpu.gpu, cpu.gpu) == (True, False)
    assert gpu.total_mb > cpu.total_mb + 2000
    assert any("NVIDIA" in licence for *_, licence in gpu.rows)
    assert not any("NVIDIA" in licence for *_, licence in cpu.rows)


def test_a_log_that_cannot_be_written_stops_nothing(world, tmp_path):
    (tmp_path / "file").write_text("")
    world.folder = tmp_path / "file"
    Installer(world).install(plan())
    assert missing() == []


def test_one_installation_at_a_time(world):
    installer = Installer(world)
    wanted = plan()
    again = []

    def on_progress(*step):
        with pytest.raises(InstallError, match="being installed already"):
            installer.install(wanted)
        again.append(step)

    installer.install(wanted, on_progress)
    assert again
    assert missing() == []

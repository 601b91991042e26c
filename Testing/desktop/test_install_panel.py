"""The page that installs, driven as a person does, in the double of Slicer 5.10 and 5.12."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

from AutoPromptSAMLib.workbench import packages
from AutoPromptSAMLib.workbench.requirements import REQUIREMENTS

from .double import Desktop

ROOT = Path(__file__).parents[2]
UI = ROOT / "AutoPromptSAM" / "Resources" / "UI" / "InstallPanel.ui"
OFFLINE = "WARNING: Retrying after connection broken by 'NameResolutionError(\"Failed to resolve 'pypi.org'\")'"


class Desk:
    """What the panel asks of the desk."""

    segmenter = None
    client_only = False

    def __init__(self) -> None:
        self.begun = 0

    def guarded(self, action):
        return functools.partial(action)

    def installed(self) -> None:
        self.begun += 1


class Page:
    """The panel, what is installed, and hands."""

    def __init__(self, desktop, module, versions) -> None:
        self.desktop, self.module, self.versions = desktop, module, versions
        self.desk = Desk()

    def open(self, *lacking: str):
        """The panel in a Slicer that lacks these packages."""
        for requirement in REQUIREMENTS:
            if requirement.package not in lacking:
                self.versions[requirement.package] = requirement.wanted.split(">=")[1]
        self.desktop.installer.answer = self.come
        self.panel = self.module.InstallPanel(self.desk)
        return self.panel.ui

    def come(self, request) -> None:
        """pip succeeds."""
        for wish in request.requirements:
            name, _, version = wish.partition(">=")
            if name in {requirement.package for requirement in REQUIREMENTS}:
                self.versions[name] = version or "9.0"

    @property
    def log_path(self) -> Path:
        return self.module.Application().log_path()

    @property
    def asked(self) -> list[str]:
        return [request.requirements[0] for request in self.desktop.installed]

    @property
    def everything(self) -> list[str]:
        return [requirement.package for requirement in REQUIREMENTS]


@pytest.fixture(params=[(5, 10), (5, 12)], ids=["5.10", "5.12"])
def page(request, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "AutoPromptSAM"))
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Desktop(tmp_path / "slicer", request.param) as desktop:
        module = importlib.import_module("AutoPromptSAMDesktop.install_panel")
        versions: dict[str, str] = {}
        monkeypatch.setattr(packages, "version_of", versions.get)
        monkeypatch.setattr(packages, "has_nvidia_gpu", lambda: False)
        monkeypatch.setattr(packages.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=100e9))
        monkeypatch.setattr(packages, "_is_in_memory", lambda module: False)
        # What PyTorchUtils gives back; importing the real one takes seconds.
        monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch", types.ModuleType("torch")))
        yield Page(desktop, module, versions)
        monkeypatch.undo()
        # They hold this desktop's qt.
        for name in [name for name in sys.modules if name.startswith("AutoPromptSAMDesktop")]:
            del sys.modules[name]


def rows(ui) -> list[list[str]]:
    table = ui.packagesTable
    return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]


def test_hides_when_all_is_there(page):
    page.open()
    assert not page.panel.widget.visible
    assert page.desk.begun == 0, "the desk is not made yet when the panel is"
    assert page.asked == []


def test_says_what_will_be_installed_and_installs_nothing(page):
    ui = page.open(*page.everything)
    page.desktop.spin()
    table = ui.packagesTable
    headers = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount)]
    assert headers == ["Package", "What for", "Size", "Licence"]
    assert [row[0] for row in rows(ui)] == page.everything
    assert ["torch", "runs the models", "200 MB", "BSD-3-Clause"] in rows(ui)
    assert "19 packages" in ui.installIntroLabel.text
    assert "372 MB" in ui.installIntroLabel.text
    assert "CPU, which is slower" in ui.installDeviceLabel.text
    assert not ui.installProgressBar.visible
    assert not ui.installCancelButton.enabled
    assert ui.installLogButton.collapsed
    assert page.asked == []


def test_says_that_a_gpu_build_is_large_and_whose_licence_it_has(page, monkeypatch):
    monkeypatch.setattr(packages, "has_nvidia_gpu", lambda: True)
    ui = page.open("torch")
    assert rows(ui)[0][2:] == ["3.0 GB", "BSD-3-Clause AND LicenseRef-NVIDIA-CUDA"]
    assert "run on the GPU" in ui.installDeviceLabel.text


def test_pytorch_alone(page):
    ui = page.open("torch", "torchvision")
    assert [row[0] for row in rows(ui)] == ["torch", "torchvision"]
    ui.installButton.click()
    assert [request.by for request in page.desktop.installed] == ["installTorch"]
    assert page.desk.begun == 1
    assert not page.panel.widget.visible


def test_everything_in_one_click_without_a_dialog(page):
    ui = page.open(*page.everything)
    ui.installButton.click()
    assert page.desk.begun == 1
    assert not page.panel.widget.visible
    assert len(page.asked) == len(page.everything) - 1, "PyTorch and torchvision come together"
    assert page.desktop.dialogs == []
    assert ui.installProgressBar.value == ui.installProgressBar.maximum == 372
    log = ui.installLogText.plainText
    assert log.index("Installing torch + torchvision") < log.index("Installing timm") < log.index("All packages")
    assert page.log_path.read_text(encoding="utf-8").strip() == log.strip()


def test_cancelled_between_packages_and_gone_on(page):
    ui = page.open(*page.everything)

    def cancelled_at_scipy(request):
        page.come(request)
        if request.requirements[0].startswith("scipy"):
            assert ui.installProgressBar.visible
            assert "Installing scipy" in ui.installMessageLabel.text
            assert not ui.installButton.enabled
            ui.installCancelButton.click()
            assert "Stopping" in ui.installMessageLabel.text

    page.desktop.installer.answer = cancelled_at_scipy
    ui.installButton.click()
    asked = page.asked
    assert asked[-1].startswith("scipy")
    assert "press Install to go on from here" in ui.installMessageLabel.text
    assert (page.desk.begun, page.panel.widget.visible, ui.installProgressBar.visible) == (0, True, False)
    assert rows(ui)[0][0] == "pillow", "what came is not in the list any more"
    ui.installButton.click()
    assert page.asked[: len(asked)] == asked
    assert len(page.asked) == len(set(page.asked)) == len(page.everything) - 1
    assert page.desk.begun == 1


def test_a_failure_says_the_next_step_and_shows_the_log(page):
    ui = page.open("timm", "kornia")

    def no_network(request):
        print(OFFLINE)
        raise RuntimeError("pip ended with 1")

    page.desktop.installer.answer = no_network
    ui.installButton.click()
    assert "timm could not be downloaded" in ui.installMessageLabel.text
    assert "connect to the internet" in ui.installMessageLabel.text
    assert not ui.installLogButton.collapsed
    assert "NameResolutionError" in ui.installLogText.plainText
    assert (page.desk.begun, ui.installButton.enabled, ui.installCancelButton.enabled) == (0, True, False)
    assert page.desktop.dialogs == []
    page.desktop.installer.answer = page.come
    ui.installButton.click()
    assert page.desk.begun == 1


def test_without_the_extension_pytorch_it_says_where_that_is(page, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    ui = page.open("torch", "timm")
    ui.installButton.click()
    assert "install the extension PyTorch from the Extensions Manager" in ui.installMessageLabel.text
    assert page.asked == []


def test_a_package_in_use_asks_for_a_restart(page, monkeypatch):
    ui = page.open()
    page.versions["urllib3"] = "1.26"
    monkeypatch.setattr(packages, "_is_in_memory", lambda module: module == "urllib3")
    page.panel.begin()
    ui.installButton.click()
    assert "Save your scene and restart Slicer" in ui.installMessageLabel.text
    assert (page.desk.begun, page.panel.widget.visible, ui.installButton.enabled) == (0, True, False)
    assert page.desktop.restarts == 0


def test_an_impatient_click_while_it_runs_starts_nothing(page):
    ui = page.open("timm")

    def impatient(request):
        ui.installButton.click()
        page.panel.install()
        page.come(request)

    page.desktop.installer.answer = impatient
    ui.installButton.click()
    assert len(page.asked) == 1
    assert page.desk.begun == 1


def test_log_is_copied(page):
    ui = page.open("timm")
    clipboard = page.desktop.app.clipboard()
    ui.copyLogButton.click()
    assert clipboard.text() == "Nothing was installed yet."
    ui.installButton.click()
    ui.copyLogButton.click()
    assert clipboard.text() == ui.installLogText.plainText
    assert "Installing timm" in clipboard.text()


def test_a_later_session_copies_the_log_of_the_last_one(page):
    ui = page.open("timm")
    page.log_path.parent.mkdir(parents=True, exist_ok=True)
    page.log_path.write_text("what was done yesterday\n", encoding="utf-8")
    ui.copyLogButton.click()
    assert page.desktop.app.clipboard().text() == "what was done yesterday\n"


def test_each_control_has_a_tooltip_and_a_name_for_screen_readers():
    plain = {"QWidget", "qMRMLWidget"}
    widgets = [each for each in ElementTree.parse(UI).getroot().iter("widget") if each.get("class") not in plain]
    assert len(widgets) == 11
    for widget in widgets:
        texts = {each.get("name"): each.findtext("string") for each in widget.findall("property")}
        assert texts.get("toolTip"), widget.get("name")
        assert texts.get("accessibleName"), widget.get("name")


def test_a_client_needs_nothing_that_computes_models(page):
    ui = page.open("torch", "torchvision", "timm", "openvino", "py-undo-stack")
    ui.clientOnlyCheck.click()
    assert page.desk.client_only
    assert [row[0] for row in rows(ui)] == ["py-undo-stack"]
    assert "server" in ui.installDeviceLabel.text
    ui.clientOnlyCheck.click()
    assert not page.desk.client_only
    assert rows(ui)[0][0] == "torch"


def test_a_client_that_lacks_nothing_else_is_ready_at_once(page):
    page.open("torch", "torchvision").clientOnlyCheck.click()
    assert page.desk.begun == 1
    assert page.asked == []

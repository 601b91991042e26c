"""The page that is there until all packages are: what will be installed, a button, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.application import Application
from AutoPromptSAMDesktop.panel import Panel
from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled
from AutoPromptSAMLib.workbench.installing import Installer
from AutoPromptSAMLib.workbench.packages import Plan, missing, plan

if TYPE_CHECKING:
    from AutoPromptSAMDesktop.desk import Desk


class InstallPanel(Panel):
    """Shows what is missing, and hides once nothing is; only the button Install installs."""

    name = "InstallPanel"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._installer = Installer(Application())
        self._cancelled = False
        self._items: list[qt.QTableWidgetItem] = []  # the table does not keep them alive in every version
        table = self.ui.packagesTable
        table.setHorizontalHeaderLabels([_("Package"), _("What for"), _("Size"), _("Licence")])
        table.verticalHeader().visible = False
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(1, qt.QHeaderView.Stretch)
        self.bind(self.ui.installButton, self.install)
        self.bind(self.ui.installCancelButton, self.cancel)
        self.bind(self.ui.copyLogButton, self.copy_log)
        self.ui.clientOnlyCheck.connect("clicked(bool)", desk.guarded(self._choose))
        self.begin()

    def begin(self) -> None:
        """Show what is missing now, or nothing when all is there."""
        needed = self._missing()
        self.widget.visible = needed
        self.ui.clientOnlyCheck.checked = self.desk.client_only
        if needed:
            self._show_plan(self._plan())

    def install(self) -> None:
        """Install what the list shows; returns when it is there, was cancelled or failed."""
        if self._installer.running:
            return
        self._cancelled = False
        wanted = self._plan()
        self._show_plan(wanted)
        self._show_running(True)
        try:
            restart = self._installer.install(wanted, self._show_progress, lambda: self._cancelled, self._show_line)
        except Cancelled as stopped:
            self._say(str(stopped))
            return
        except AutoPromptSAMError as error:
            self._say(str(error))
            self.ui.installLogButton.collapsed = False
            return
        finally:
            self._show_running(False)
            if self._missing():
                self._show_plan(self._plan())
        if restart:
            text = _("All packages are there. Save your scene and restart Slicer: it has older versions in use.")
            self._say(text)
            self.ui.installButton.enabled = False
            return
        self.widget.visible = False
        self.desk.installed()

    def cancel(self) -> None:
        """Stop before the next package."""
        self._cancelled = True
        self.ui.installCancelButton.enabled = False
        self._say(_("Stopping as soon as this package is there…"))

    def copy_log(self) -> None:
        """Put the log on the clipboard: that of this time, or the file's last part before anything was installed."""
        qt.QApplication.clipboard().setText(self.ui.installLogText.plainText or self._installer.log())

    def _choose(self, client: bool) -> None:
        """Models run elsewhere, or here."""
        self.desk.client_only = client
        self._show_plan(self._plan())
        if not self._missing():
            self.widget.visible = False
            self.desk.installed()

    def _missing(self) -> bool:
        return bool(missing(client=self.desk.client_only))

    def _plan(self) -> Plan:
        return plan(self.desk.client_only)

    def _show_plan(self, wanted: Plan) -> None:
        self.ui.installIntroLabel.text = wanted.about
        self.ui.installDeviceLabel.text = wanted.device
        table = self.ui.packagesTable
        self._items.clear()
        table.setRowCount(len(wanted.rows))
        for row, texts in enumerate(wanted.rows):
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(row, column, item)
                self._items.append(item)

    def _show_running(self, running: bool) -> None:
        self.ui.installButton.enabled = self.ui.clientOnlyCheck.enabled = not running
        self.ui.installCancelButton.enabled = running
        self.ui.installProgressBar.visible = running

    def _show_progress(self, package: str, done: int, total: int) -> None:
        self.ui.installProgressBar.maximum = max(total, 1)
        self.ui.installProgressBar.value = done
        if package:
            self._say(_("Installing {package}; a large one takes some minutes.").format(package=package))
        slicer.app.processEvents()

    def _show_line(self, line: str) -> None:
        self.ui.installLogText.appendPlainText(line)
        slicer.app.processEvents()

    def _say(self, text: str) -> None:
        self.ui.installMessageLabel.text = text
        self.ui.installMessageLabel.visible = bool(text)

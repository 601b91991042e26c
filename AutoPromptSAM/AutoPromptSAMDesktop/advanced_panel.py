"""Keys, prompts as files, and what the module keeps on this computer."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.panel import Panel
from AutoPromptSAMLib.errors import StorageError


class AdvancedPanel(Panel):
    """What is needed now and then."""

    name = "AdvancedPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self.bind(self.ui.savePromptsButton, self.save_prompts)
        self.bind(self.ui.loadPromptsButton, self.load_prompts)
        self.bind(self.ui.openFolderButton, self._open_folder)
        self._enable(False)

    def begin(self) -> None:
        """The keys, and where files are kept."""
        from AutoPromptSAMLib.zoo import home

        self.ui.folderLabel.text = str(home())
        self.ui.keysLabel.text = keys_card(self.desk.page.actions())

    def show_keys(self) -> None:
        """Unfold the card of keys."""
        self.ui.advancedSection.collapsed = False

    def save_prompts(self) -> None:
        """Write all prompts to a file that any host, and the command line, can replay."""
        from AutoPromptSAMLib.mrml.exports import export

        segmenter = self.desk.need_segmenter()
        path = qt.QFileDialog.getSaveFileName(self.widget, _("Save prompts"), "prompts.json", "(*.json)")
        if path:
            if not path.endswith(".json"):
                raise StorageError(_("Give the file a name that ends in .json."))
            export(segmenter, Path(path))
            self.desk.say(_("The prompts were written to {path}.").format(path=path))

    def load_prompts(self) -> None:
        """Take over the prompts in a file, by segment name, and find their slices again."""
        from AutoPromptSAMLib.mrml.exports import import_file

        segmenter = self.desk.need_segmenter()
        path = qt.QFileDialog.getOpenFileName(self.widget, _("Load prompts"), "", "(*.json)")
        if path:
            import_file(segmenter, Path(path))

    def connected(self, segmenter: Any) -> None:
        """Prompts can be saved and loaded."""
        self._enable(True)

    def disconnected(self) -> None:
        """There are no prompts."""
        self._enable(False)

    def _open_folder(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self.ui.folderLabel.text))

    def _enable(self, on: bool) -> None:
        self.ui.savePromptsButton.enabled = self.ui.loadPromptsButton.enabled = on


def keys_card(actions: Any) -> str:
    """The keys that do something here, as a table."""
    from AutoPromptSAMLib.workbench.shortcuts import SHORTCUTS, key_text

    rows = [
        f"<tr><td><b>{escape(' '.join(map(key_text, shortcut.keys)))}</b>&nbsp;&nbsp;</td>"
        f"<td>{escape(shortcut.text)}</td></tr>"
        for shortcut in SHORTCUTS
        if shortcut.action in actions
    ]
    return f"<table>{''.join(rows)}</table>"

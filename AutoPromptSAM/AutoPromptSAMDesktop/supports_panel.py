"""Examples (support pairs): annotated images that prompt every other one, made of the open image or of files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.panel import Panel, add_row
from AutoPromptSAMLib.errors import PromptError

if TYPE_CHECKING:
    from AutoPromptSAMLib.workbench.examples_desk import Added, Found

THUMBNAIL = 72  # pixels a side
VOUCHED = 1  # of the combo box: the slices that were corrected or accepted, and not slices spread over the segments


class SupportsPanel(Panel):
    """A gallery over the library, which is on disk and the same for all scenes, programs and the browser."""

    name = "SupportsPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        ui = self.ui
        for button, action in (
            (ui.addFromSceneButton, self.add_from_scene), (ui.addFromFilesButton, self.add_from_files),
            (ui.importSupportsButton, self.import_), (ui.exportSupportsButton, self.export),
            (ui.renameSupportsButton, self.rename), (ui.removePairButton, self.remove_pair),
            (ui.unremovePairButton, self.unremove_pair), (ui.removeSetButton, self.remove_set),
        ):  # fmt: skip
            self.bind(button, action)
        ui.setCombo.connect("activated(int)", desk.guarded(lambda _index: self.choose()))
        ui.objectsList.connect("itemChanged(QListWidgetItem*)", desk.guarded(self._ticked))
        ui.objectsList.connect("itemDoubleClicked(QListWidgetItem*)", desk.guarded(self._recolour))
        ui.pairsList.iconSize = qt.QSize(THUMBNAIL, THUMBNAIL)
        self._busy = False
        self._delete_text = _("Delete set")
        self._enable()

    def unfold(self) -> None:
        """Show the panel."""
        self.ui.supportsSection.collapsed = False
        self.list()

    # -- sets ---------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Show the library: the set that the scene speaks of, else the first."""
        self._follow()
        self.list()

    def parameters_changed(self) -> None:
        """The scene speaks of another set."""
        if self._follow():
            self.list()

    def _follow(self) -> bool:
        """Choose the set that the scene speaks of; whether it is another one than before."""
        parameters, examples = self.desk.parameters, self.desk.examples
        wanted = "" if parameters is None else parameters.supportSet
        chosen = "" if examples is None or examples.chosen is None else examples.chosen.id
        if examples is None or not wanted or wanted == chosen:
            return False
        rows, _problems = examples.sets()
        if wanted not in [row.id for row in rows]:  # it is on another machine, or was deleted
            return False
        examples.choose(wanted)
        return True

    def _chosen(self) -> None:
        """A person chose a set, or made or deleted one: the scene speaks of it, and it is shown."""
        examples, parameters = self.desk.examples, self.desk.parameters
        self.list()
        if parameters is not None:
            parameters.supportSet = "" if examples.chosen is None else examples.chosen.id

    def list(self) -> None:
        """Show the sets, the pairs and the objects of the chosen one as they are on disk now."""
        examples, ui = self.desk.examples, self.ui
        if examples is None:
            return
        rows, problems = examples.sets()
        for problem in problems:
            self.desk.say(problem, "warning")
        ui.setCombo.clear()
        for row in rows:
            learned = _(" · learned with {models}").format(models=", ".join(row.learned)) if row.learned else ""
            ui.setCombo.addItem(f"{row.name} · {row.about}{learned}", row.id)
        if examples.chosen is not None:
            ui.setCombo.currentIndex = ui.setCombo.findData(examples.chosen.id)
        ui.pairsList.clear()
        for pair in examples.pairs():
            item = add_row(ui.pairsList, pair.name, pair.id, pair.text)
            if pair.thumbnail is not None:
                item.setIcon(qt.QIcon(str(pair.thumbnail)))
        self._show_objects()
        self._enable()

    def choose(self) -> None:
        """Work with another set."""
        self.desk.examples.choose(self.ui.setCombo.currentData)
        self._chosen()

    def rename(self) -> None:
        """Give the chosen set another name."""
        name = self.ui.nameEdit.text.strip()
        if not name:
            raise PromptError(_("Type the new name of the set first."))
        self.desk.examples.rename(name)
        self.ui.nameEdit.clear()
        self.list()

    def remove_pair(self) -> None:
        """Take the chosen pair out; "Bring back" takes it in again."""
        item = self.ui.pairsList.currentItem()
        if item is None:
            raise PromptError(_("Choose an example first."))
        self.desk.examples.remove_pair(item.data(qt.Qt.UserRole))
        self.list()

    def unremove_pair(self) -> None:
        """Bring back the pair that was taken out last."""
        self.desk.examples.unremove_pair()
        self.list()

    def remove_set(self) -> None:
        """Delete the chosen set, with the second click."""
        button = self.ui.removeSetButton
        if button.text == self._delete_text:
            button.text = _("Delete it for good?")
        else:
            button.text = self._delete_text
            self.desk.examples.remove_set(self.desk.segmenter)
            self._chosen()

    def import_(self) -> None:
        """A new set from a file."""
        path = qt.QFileDialog.getOpenFileName(self.widget, _("Import examples"), "", "(*.apsupports)")
        if path:
            examples = self.desk.examples

            def show(new: Any) -> None:
                examples.choose(new.id)
                self.desk.say(examples.imported_text(new))
                self._chosen()

            self._work(_("Importing examples…"), lambda: examples.import_(Path(path)), show)

    def export(self) -> None:
        """Write the chosen set into one file."""
        examples = self.desk.examples
        chosen = examples.need()
        start = f"{chosen.name}.apsupports"
        path = qt.QFileDialog.getSaveFileName(self.widget, _("Export examples"), start, "(*.apsupports)")
        if path:

            def show(written: Path) -> None:
                self.desk.say(_('"{name}" was written to {path}.').format(name=chosen.name, path=written))

            self._work(_("Exporting…"), lambda: examples.export(chosen.id, Path(path)), show)

    # -- new pairs ----------------------------------------------------------------------------------------------------

    def add_from_scene(self) -> None:
        """Pairs of the open image and its visible segments."""
        segmenter, examples = self.desk.need_segmenter(), self.desk.examples
        rows = examples.drawn(segmenter)
        vouched = self.ui.slicesCombo.currentIndex == VOUCHED
        axis = self.desk.page.automatic.axis if vouched else None
        found = examples.from_scene(segmenter, [row.id for row in rows], axis)
        self._add(found, [row.name for row in rows])

    def add_from_files(self) -> None:
        """Pairs of an image file and its mask."""
        image = qt.QFileDialog.getOpenFileName(self.widget, _("The image"), "", "")
        mask = image and qt.QFileDialog.getOpenFileName(self.widget, _("Its mask"), "", "")
        if mask:
            found = self.desk.examples.from_files(Path(image), Path(mask), self.ui.objectNamesEdit.text)
            self._add(found, Path(image).name.split(".")[0])

    def _add(self, found: Callable[[], Found], wanted: Any) -> None:
        examples = self.desk.examples
        new = self.ui.newSetCheck.checked or examples.chosen is None
        typed = self.ui.nameEdit.text.strip()
        work = examples.add(found, examples.free_name(typed or wanted) if new else None)

        def show(added: Added) -> None:
            examples.choose(added.set.id)
            self.ui.nameEdit.clear()
            self.desk.say(added.text)
            self._chosen()

        self._work(_("Making examples…"), work, show)

    def _work(self, text: str, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """Run ``load`` on another thread; the panel waits for it."""
        self._busy = True
        self._enable()

        def ended(tell: Callable[[Any], None], result: Any) -> None:
            self._busy = False
            self._enable()
            tell(result)

        self.desk.work(text, load, partial(ended, show), partial(ended, self.desk.failed))

    # -- objects ------------------------------------------------------------------------------------------------------

    def refresh(self, what: str) -> None:
        """How sure each object is; a set may have learned something."""
        if what == "propagation":
            self._show_objects()
        if what == "learning" and self.desk.need_segmenter().learner.learning is None:
            self.list()
        if what in ("segments", "active"):
            self._enable()

    def connected(self, segmenter: Any) -> None:
        """Pairs can be made of the open image."""
        self._show_objects()
        self._enable()

    def disconnected(self) -> None:
        """There is no image to make pairs of."""
        self._enable()

    def _show_objects(self) -> None:
        examples, ui = self.desk.examples, self.ui
        rows = [] if examples is None else examples.object_rows(self.segmenter)
        off = [] if self.desk.parameters is None else self.desk.parameters.skippedObjects
        ui.objectsList.blockSignals(True)
        ui.objectsList.clear()
        for row in rows:
            sure = "" if row.sure is None else f" · {row.sure} %"
            tip = row.text or _("Ticked objects are looked for; a double click changes the colour.")
            item = add_row(ui.objectsList, row.name + sure, row.name, tip)
            color = qt.QPixmap(14, 14)
            color.fill(qt.QColor(row.colour))
            item.setIcon(qt.QIcon(color))
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Unchecked if row.name in off else qt.Qt.Checked)
        ui.objectsList.blockSignals(False)

    def _ticked(self, item: Any) -> None:
        name, off = item.data(qt.Qt.UserRole), list(self.desk.parameters.skippedObjects)
        rest = [each for each in off if each != name]
        self.desk.parameters.skippedObjects = rest if item.checkState() == qt.Qt.Checked else [*rest, name]

    def _recolour(self, item: Any) -> None:
        color = qt.QColorDialog.getColor(qt.QColor("#FFFFFF"), self.widget)
        if color.isValid():
            self.desk.examples.recolour(item.data(qt.Qt.UserRole), color.name())
            self._show_objects()

    def _enable(self) -> None:
        ui, examples = self.ui, self.desk.examples
        free = examples is not None and not self._busy
        chosen = free and examples.chosen is not None
        ui.addFromSceneButton.enabled = free and self.segmenter is not None
        ui.addFromFilesButton.enabled = ui.importSupportsButton.enabled = free
        for button in (ui.exportSupportsButton, ui.renameSupportsButton, ui.removePairButton, ui.removeSetButton):
            button.enabled = chosen
        ui.unremovePairButton.visible = bool(free and examples.removed)
        ui.removeSetButton.text = self._delete_text

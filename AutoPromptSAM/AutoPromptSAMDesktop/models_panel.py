"""Models: cards with size, licence and training data; download after the licence was accepted; what runs where."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.panel import Panel
from AutoPromptSAMDesktop.parameters import AUTOMATIC, CPU, GPU
from AutoPromptSAMLib.errors import Cancelled, ModelError

if TYPE_CHECKING:
    from AutoPromptSAMDesktop.engines import Engine
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.workbench.model_rows import ModelRow

SERVER = "AutoPromptSAM/Server"  # of the user's settings; tokens are not kept
DEVICES = {CPU: "cpu", GPU: "cuda"}


class ModelsPanel(Panel):
    """Weights come only after a click; those that are here load when the module is shown."""

    name = "ModelsPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        ui = self.ui
        self._rows: dict[str, ModelRow] = {}
        self._stop = threading.Event()
        self._fetching = self._loading = self._default = ""
        self._loaded = ("", "")  # model and device in use
        for button, action in (
            (ui.useModelButton, self.use_chosen), (ui.fetchModelButton, self.fetch), (ui.stopFetchButton, self.stop),
            (ui.deleteModelButton, self.delete), (ui.useServerButton, self.use_server),
            (ui.runHereButton, self.run_here),
        ):  # fmt: skip
            self.bind(button, action)
        ui.modelCombo.connect("currentIndexChanged(int)", desk.guarded(lambda _index: self._show()))
        ui.acceptLicenceCheck.connect("toggled(bool)", desk.guarded(lambda _on: self._enable()))
        self._show()

    def begin(self) -> None:
        """Show the cards, and load the model of the scene if its weights are here."""
        self.ui.serverEdit.text = slicer.util.settingsValue(SERVER, "")
        self.list()
        if self.desk.client_only:
            self.ui.modelsSection.collapsed = False

    def parameters_changed(self) -> None:
        """The scene wants another model or device."""
        parameters = self.desk.parameters
        if not self._rows or self._loading or self.desk.client_only or self._is_far:
            return
        names = (parameters.model, self._loaded[0], self._default, *self._rows)
        wanted = next((name for name in names if self._is_here(name)), "")
        if wanted and self._loaded != (wanted, parameters.device):
            self.use(wanted)

    def list(self) -> None:
        """Show the cards, those that are here first."""
        from AutoPromptSAMLib.workbench.model_rows import model_rows
        from AutoPromptSAMLib.zoo import DEFAULT_MODEL

        self._default = DEFAULT_MODEL
        chosen = self.ui.modelCombo.currentData
        self._rows = {row.name: row for row in model_rows()}
        self.ui.modelCombo.clear()
        for row in self._rows.values():
            where = _("here") if row.installed else row.size
            self.ui.modelCombo.addItem(f"{row.title} · {where}", row.name)
        self.ui.modelCombo.currentIndex = max(self.ui.modelCombo.findData(chosen or DEFAULT_MODEL), 0)
        if not any(row.installed for row in self._rows.values()):
            self.ui.modelsSection.collapsed = False
        self._show()

    # -- loading ------------------------------------------------------------------------------------------------------

    def use_chosen(self) -> None:
        """Segment with the chosen model from now on."""
        self.use(self.ui.modelCombo.currentData)

    def use(self, name: str) -> None:
        """Load a model on another thread; prompts and voxels stay."""
        device = AUTOMATIC if self.desk.parameters is None else self.desk.parameters.device
        self._loading = name
        self.desk.page.status.working(_("Loading {model}…").format(model=self._rows[name].title))
        self._enable()

        def load() -> Backbone:
            from AutoPromptSAMLib.backbones import load_backbone
            from AutoPromptSAMLib.zoo import get_card

            return load_backbone(get_card(name), DEVICES.get(device, "auto"))

        def show(backbone: Backbone) -> None:
            self._loading, self._loaded = "", (name, device)
            self.desk.use_backbone(backbone)
            if self.desk.parameters is not None:
                self.desk.parameters.model = name
            self.desk.page.status.working("")
            self._enable()

        self.desk.thread.work(load, show, lambda error: self._not_loaded(error, device))

    # -- a server -----------------------------------------------------------------------------------------------------

    @property
    def _is_far(self) -> bool:
        return self.desk.engine is not None and self.desk.engine.is_far

    def use_server(self) -> None:
        """Segment with the model of a server from now on; images are sent there."""
        address, token = self.ui.serverEdit.text.strip(), self.ui.tokenEdit.text.strip()
        if not address or not token:
            raise ModelError(_("Type the server's address and the token that it printed."))
        from AutoPromptSAMDesktop.engines import engine_there

        status, thread = self.desk.page.status, self.desk.thread
        self._loading = address
        status.working(_("Asking the server…"))
        self._enable()

        def sending(progress: Any) -> None:
            thread.call(lambda: status.working(progress.text if progress.done < progress.total else ""))

        def show(engine: Engine) -> None:
            self._loading, self._loaded = "", ("", "")
            qt.QSettings().setValue(SERVER, address)
            status.working("")
            self.desk.use(engine)
            self._enable()

        def failed(error: BaseException) -> None:
            self._loading = ""
            status.working("")
            self.desk.failed(error)
            self._enable()

        thread.work(lambda: engine_there(address, token, sending), show, failed)

    def run_here(self) -> None:
        """Models run on this computer, too: the page says what that needs."""
        self.desk.client_only = False
        self.desk.page.install.begin()
        self._enable()

    def _not_loaded(self, error: BaseException, device: str) -> None:
        # Not again by itself: what is wrong stays wrong until the person chooses something else.
        self._loaded = (self._loading, device)
        self._loading = ""
        self.desk.page.status.working("")
        self.desk.failed(error)
        self._enable()

    # -- downloading --------------------------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Download the chosen model's weights; the licence was accepted."""
        name = self.ui.modelCombo.currentData
        self._fetching = name
        self._stop.clear()
        self.ui.fetchBar.maximum = 0
        self._enable()

        def progress(done: int, total: int | None) -> None:
            self.desk.thread.call(lambda: self._progress(done, total))

        def load() -> None:
            from AutoPromptSAMLib.zoo import ensure, get_card

            ensure(get_card(name), progress, self._stop.is_set)

        def ended(error: BaseException | None = None) -> None:
            self._fetching = ""
            self.list()
            if isinstance(error, Cancelled):
                self.desk.say(_("The download was stopped; start it again to go on from there."))
            elif error is not None:
                self.desk.failed(error)
            elif self.desk.engine is None:
                self.use(name)

        self.desk.thread.work(load, lambda _nothing: ended(), ended)

    def stop(self) -> None:
        """Stop the download; what came stays for the next time."""
        self._stop.set()

    def delete(self) -> None:
        """Remove the chosen model's weights from this computer; they can be downloaded again."""
        from AutoPromptSAMLib.zoo import get_card, remove

        name = self.ui.modelCombo.currentData
        if name == self._loaded[0]:
            raise ModelError(_("This model is in use; use another one before you delete its weights."))
        remove(get_card(name))
        self.list()
        self.desk.say(_("The weights were deleted."))

    def _progress(self, done: int, total: int | None) -> None:
        self.ui.fetchBar.maximum = 100 if total else 0
        self.ui.fetchBar.value = round(100 * done / total) if total else 0

    # -- what is shown ------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        row = self._rows.get(self.ui.modelCombo.currentData)
        self.ui.acceptLicenceCheck.checked = False
        if row is None:
            self.ui.cardLabel.text = ""
        else:
            lines = [
                _("<b>Takes</b> {prompts} · <b>sees</b> {side} pixels").format(prompts=row.prompts, side=row.input),
                _("<b>Trained on</b> {data}").format(data=row.trained_on),
                _('<b>Licence</b> <a href="{url}">{name}</a> {terms}').format(
                    url=row.licence_url, name=row.licence, terms=row.terms
                ),
            ]
            if not row.run_here:
                lines.append(_("Its loading was tested; these weights were not run by us."))
            if not row.installed and not row.fetchable:
                lines.append(_("Its weights have no published checksum, so they are not downloaded from here."))
            self.ui.cardLabel.text = "<br>".join(lines)
        self._enable()

    def _is_here(self, name: str) -> bool:
        return name in self._rows and self._rows[name].installed

    def _enable(self) -> None:
        ui, row = self.ui, self._rows.get(self.ui.modelCombo.currentData)
        here, busy = row is not None and row.installed, bool(self._fetching or self._loading)
        wanted = row is not None and not here and row.fetchable
        computes = not self.desk.client_only
        ui.useModelButton.enabled = here and computes and not busy and row.name != self._loaded[0]
        ui.runHereButton.visible = not computes
        ui.useServerButton.enabled = not busy
        ui.deleteModelButton.enabled = here and not busy
        ui.acceptLicenceCheck.visible = ui.fetchModelButton.visible = wanted and not self._fetching
        ui.fetchModelButton.enabled = ui.acceptLicenceCheck.checked and not busy
        ui.fetchBar.visible = ui.stopFetchButton.visible = bool(self._fetching)
        if row is not None:
            ui.fetchModelButton.text = _("Download {size}").format(size=row.size)

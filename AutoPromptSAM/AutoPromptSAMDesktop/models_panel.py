"""Models: cards with size, licence and training data; download after the licence was accepted; what runs where."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.panel import Panel
from AutoPromptSAMDesktop.parameters import AUTOMATIC, CPU, GPU
from AutoPromptSAMLib.errors import Cancelled
from AutoPromptSAMLib.workbench.models_desk import ModelsDesk

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.workbench.engines import Engine

SERVER = "AutoPromptSAM/Server"  # of the user's settings; tokens are not kept
DEVICES = {AUTOMATIC: "auto", CPU: "cpu", GPU: "cuda"}


class ModelsPanel(Panel):
    """Weights come only after a click; those that are here load when the module is shown."""

    name = "ModelsPanel"

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        ui = self.ui
        self.models = ModelsDesk()
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
        is_far = self.desk.engine is not None and self.desk.engine.is_far
        if self.models.rows and not self.desk.client_only and not is_far:
            wanted = self.models.wanted(self.desk.parameters.model, self._device)
            if wanted:
                self.use(wanted)

    def list(self) -> None:
        """Show the cards, those that are here first."""
        from AutoPromptSAMLib.workbench.model_rows import where_text
        from AutoPromptSAMLib.zoo import DEFAULT_MODEL

        combo = self.ui.modelCombo
        chosen, rows = combo.currentData, self.models.list()
        combo.clear()
        for row in rows:
            combo.addItem(where_text(row), row.name)
        combo.currentIndex = max(combo.findData(chosen or DEFAULT_MODEL), 0)
        if not any(row.installed for row in rows):
            self.ui.modelsSection.collapsed = False
        self._show()

    # -- loading ------------------------------------------------------------------------------------------------------

    @property
    def _device(self) -> str:
        return DEVICES[AUTOMATIC if self.desk.parameters is None else self.desk.parameters.device]

    def use_chosen(self) -> None:
        """Segment with the chosen model from now on."""
        if self.desk.segmenter is not None:
            self.desk.segmenter.need_rest("choose a model")
        self.use(self.ui.modelCombo.currentData)

    def use(self, name: str) -> None:
        """Load a model on another thread; prompts and voxels stay."""

        def show(backbone: Backbone) -> None:
            self.desk.use_backbone(backbone)
            if self.desk.parameters is not None:
                self.desk.parameters.model = name

        self._get(self.models.loading_text(name), self.models.load(name, self._device), show)

    def use_server(self) -> None:
        """Segment with the model of a server from now on; images are sent there."""
        address, status, thread = self.ui.serverEdit.text.strip(), self.desk.page.status, self.desk.thread

        def sending(progress: Any) -> None:
            thread.call(lambda: status.working(progress.text if progress.done < progress.total else ""))

        def show(engine: Engine) -> None:
            qt.QSettings().setValue(SERVER, address)
            self.desk.use(engine)

        ask = self.models.ask_server(address, self.ui.tokenEdit.text.strip(), sending)
        self._get(_("Asking the server…"), ask, show)

    def _get(self, text: str, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """Run ``load`` on another thread; nothing else is loaded meanwhile."""

        def got(model: Any) -> None:
            self.models.loaded(True)
            show(model)
            self._enable()

        def failed(error: BaseException) -> None:
            self.models.loaded(False)
            self.desk.failed(error)
            self._enable()

        self.desk.work(text, load, got, failed)
        self._enable()

    def run_here(self) -> None:
        """Models run on this computer, too: the page says what that needs."""
        self.desk.client_only = False
        self.desk.page.install.begin()
        self._enable()

    # -- downloading --------------------------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Download the chosen model's weights; the licence was accepted."""
        name, thread = self.ui.modelCombo.currentData, self.desk.thread
        load = self.models.fetch(name, lambda percent: thread.call(lambda: self._progress(percent)))
        self._progress(None)
        self._enable()

        def ended(error: BaseException | None = None) -> None:
            self.models.fetched()
            self.list()
            if isinstance(error, Cancelled):
                self.desk.say(self.models.stopped_text)
            elif error is not None:
                self.desk.failed(error)
            elif self.desk.engine is None and not self.models.loading:
                self.use(name)

        thread.work(load, lambda _nothing: ended(), ended)

    def stop(self) -> None:
        """Stop the download; what came stays for the next time."""
        self.models.stop()

    def delete(self) -> None:
        """Remove the chosen model's weights from this computer; they can be downloaded again."""
        self.models.delete(self.ui.modelCombo.currentData)
        self.list()
        self.desk.say(_("The weights were deleted."))

    def _progress(self, percent: int | None) -> None:
        self.ui.fetchBar.maximum = 0 if percent is None else 100
        self.ui.fetchBar.value = percent or 0

    # -- what is shown ------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        row = self.models.rows.get(self.ui.modelCombo.currentData)
        self.ui.acceptLicenceCheck.checked = False
        self.ui.cardLabel.text = ""
        if row is not None:
            from AutoPromptSAMLib.workbench.model_rows import card_text

            self.ui.cardLabel.text = card_text(row)
            self.ui.fetchModelButton.text = _("Download {size}").format(size=row.size)
        self._enable()

    def _enable(self) -> None:
        ui, computes = self.ui, not self.desk.client_only
        offers = self.models.offers(ui.modelCombo.currentData, ui.acceptLicenceCheck.checked, computes)
        ui.useModelButton.enabled = offers.use
        ui.deleteModelButton.enabled = offers.delete
        ui.acceptLicenceCheck.visible = ui.fetchModelButton.visible = offers.fetchable
        ui.fetchModelButton.enabled = offers.fetch
        ui.fetchBar.visible = ui.stopFetchButton.visible = offers.fetching
        ui.runHereButton.visible = not computes
        ui.useServerButton.enabled = not self.models.busy

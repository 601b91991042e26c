"""The models of a host: which are here, which one segments, and one download at a time.

Costs nothing to import: what it needs is imported inside functions, once the packages are there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.workbench.engines import Engine, engine_there
from AutoPromptSAMLib.workbench.language import tr as _

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.loops.job import Progress
    from AutoPromptSAMLib.workbench.model_rows import ModelRow


@dataclass(frozen=True)
class Offers:
    """What can be done with a model now; ``fetching`` and ``fetchable`` say what of a download is shown at all."""

    use: bool
    delete: bool
    fetchable: bool
    fetch: bool
    fetching: bool


class ModelsDesk:
    """``rows`` are the cards by name, ``used`` the model that segments, "" for none or one of a server.

    ``loading`` (a model, or the address of a server) and ``fetching`` name what is on its way. Belongs to the host's
    main thread but for the functions that methods return, which take their time and may run on any.
    """

    def __init__(self) -> None:
        self.rows: dict[str, ModelRow] = {}
        self.used = self.loading = self.fetching = ""
        self._tried = ("", "")  # the model and the device that were loaded last, or could not be
        self._stop = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether a model is being loaded or downloaded."""
        return bool(self.loading or self.fetching)

    def list(self) -> list[ModelRow]:
        """The cards as they are now, those that are here first."""
        from AutoPromptSAMLib.workbench.model_rows import model_rows

        rows = model_rows()
        self.rows = {row.name: row for row in rows}
        return rows

    def offers(self, name: str | None, accepted: bool, computes: bool = True) -> Offers:
        """What can be done with a model whose licence was ``accepted``; ``computes``: models may run here."""
        row = self.rows.get(name or "")
        if row is None:
            return Offers(False, False, False, False, bool(self.fetching))
        free, fetchable = not self.busy, not row.installed and row.fetchable
        return Offers(
            row.installed and computes and free and row.name != self.used,
            row.installed and free,
            fetchable and not self.fetching,
            fetchable and accepted and free,
            bool(self.fetching),
        )

    # -- loading ------------------------------------------------------------------------------------------------------

    def wanted(self, name: str, device: str) -> str:
        """The model to load by itself when ``name`` is chosen for ``device``: that, or another one that is here.

        "" when it is the one that was loaded last, or could not be: what is wrong stays wrong.
        """
        from AutoPromptSAMLib.zoo import DEFAULT_MODEL

        if self.loading:
            return ""
        here = [each for each in (name, self._tried[0], DEFAULT_MODEL, *self.rows) if self._is_here(each)]
        return here[0] if here and (here[0], device) != self._tried else ""

    def load(self, name: str, device: str = "auto") -> Callable[[], Backbone]:
        """Begin to load a model, which becomes ``loading``; the function that does it. Tell ``loaded`` how it ended.

        ``device``: "auto", "cpu" or "cuda". ModelError while another one is being loaded.
        """
        if self.loading:
            raise ModelError(_("A model is being loaded already; wait until it is there."))
        self.loading, self._tried = name, (name, device)

        def run() -> Backbone:
            from AutoPromptSAMLib.backbones import load_backbone
            from AutoPromptSAMLib.zoo import get_card

            return load_backbone(get_card(name), device)

        return run

    def ask_server(self, address: str, token: str, on_sending: Callable[[Progress], None]) -> Callable[[], Engine]:
        """Begin to ask a server for its model (``engine_there``); the function that does it. Tell ``loaded``."""
        run = engine_there(address, token, on_sending)
        self.loading = address
        return run

    def loaded(self, worked: bool) -> None:
        """Loading ended, or a server answered; the model before stays in use when it did not work."""
        if worked and self.loading in self.rows:
            self.used = self.loading
        elif worked:
            self.used, self._tried = "", ("", "")
        self.loading = ""

    def loading_text(self, name: str) -> str:
        """What goes on while a model is loaded."""
        return _("Loading {model}…").format(model=self.rows[name].title if name in self.rows else name)

    # -- downloading --------------------------------------------------------------------------------------------------

    def fetch(self, name: str, on_percent: Callable[[int | None], None]) -> Callable[[], None]:
        """Begin to download a model's weights, whose licence was accepted; the function that does it.

        Tell ``fetched`` that it ended. ``on_percent`` is called where that function runs, whenever there is more; None
        while the size is not known.
        """
        self.fetching = name
        self._stop.clear()
        shown: int | None = -1

        def progress(done: int, total: int | None) -> None:
            nonlocal shown
            percent = round(100 * done / total) if total else None
            if percent != shown:
                shown = percent
                on_percent(percent)

        def run() -> None:
            from AutoPromptSAMLib.zoo import ensure, get_card

            ensure(get_card(name), progress, self._stop.is_set)

        return run

    def stop(self) -> None:
        """Stop the download; what came stays for the next time."""
        self._stop.set()

    def fetched(self) -> None:
        """The download ended, one way or another."""
        self.fetching = ""
        self.list()

    @property
    def stopped_text(self) -> str:
        """What to say after ``stop``."""
        return _("The download was stopped; start it again to go on from there.")

    def delete(self, name: str) -> None:
        """Remove a model's weights from this computer; ModelError when it is in use."""
        from AutoPromptSAMLib.zoo import get_card, remove

        if name == self.used:
            raise ModelError(_("This model is in use; use another one before you delete its weights."))
        remove(get_card(name))
        self.list()

    def _is_here(self, name: str) -> bool:
        return name in self.rows and self.rows[name].installed

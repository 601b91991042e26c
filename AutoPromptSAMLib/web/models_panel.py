"""The models: cards with size, licence and training data; download, and what runs where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.workbench.model_rows import device_word, runs_text
from AutoPromptSAMLib.workbench.models_desk import ModelsDesk

if TYPE_CHECKING:
    from AutoPromptSAMLib.web.app import WebApp


class ModelsPanel(Panel):
    """A dialog; weights come only after the person accepted the licence and clicked."""

    template = page("models")

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self.models = ModelsDesk()
        self.list()

    def list(self) -> None:
        """Show the cards, those that are here first, then those that we ran."""
        self.state.models = [asdict(row) for row in self.models.list()]

    def on_models_open(self) -> None:
        """Show the dialog."""
        self.list()
        self.state.models_open = True

    async def use(self, name: str, device: str = "auto") -> None:
        """Load a model and let it segment from now on; prompts stay. Says so when that fails."""
        app, state, models = self.app, self.state, self.models
        load, before, backbone = models.load(name, device), state.model_title, None
        try:
            with state:
                state.model_title = models.loading_text(name)
            backbone = await asyncio.to_thread(load)
        except AutoPromptSAMError as error:
            app.say(str(error), "error")
        finally:
            models.loaded(backbone is not None)
            if backbone is None:
                with state:
                    state.model_title = before or "Choose a model"
                    if not state.model:
                        self.on_models_open()
        if backbone is None:
            return
        with state:
            state.model, state.model_title = name, f"{backbone.card.title} · {device_word(backbone.device)}"
            state.model_about = f"{runs_text(backbone)}; the views are drawn by the CPU."
            state.models_open = False
            app.use_backbone(backbone)

    def on_model_use(self, name: str) -> None:
        """Switch to a model that is here."""
        self.app.need_rest("choose a model")
        self.app.spawn(self.use(name, self.app.device))

    def on_model_fetch(self, name: str) -> None:
        """Download a model's weights; its licence was accepted."""
        if not self.models.fetching:
            self.state.model_fetching, self.state.model_fetched = name, 0
            self.app.spawn(self._fetch(name, self.models.fetch(name, self._show_percent)))

    def on_model_cancel(self) -> None:
        """Stop the download; what came stays for the next time."""
        self.models.stop()

    def _show_percent(self, percent: int | None) -> None:
        self.app.call(lambda: setattr(self.state, "model_fetched", percent or 0))

    async def _fetch(self, name: str, fetch: Callable[[], None]) -> None:
        worked = False
        try:
            await asyncio.to_thread(fetch)
            worked = True
        except Cancelled:
            self.app.say(self.models.stopped_text)
        except AutoPromptSAMError as error:
            self.app.say(str(error), "error")
        finally:
            with self.state:
                self.models.fetched()
                self.state.model_fetching = ""
                self.list()
        if worked and not self.state.model and not self.models.loading:
            await self.use(name, self.app.device)

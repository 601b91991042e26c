"""The models: cards with size, licence and training data; download, and what runs where."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.workbench.model_rows import device_text, device_word, model_rows

if TYPE_CHECKING:
    from AutoPromptSAMLib.web.app import WebApp


class ModelsPanel(Panel):
    """A dialog; weights come only after the person accepted the licence and clicked."""

    template = """
<v-dialog v-model="models_open" max-width="860" scrollable>
  <div class="aps-dialog" data-testid="models-dialog" role="dialog" aria-label="Models">
    <header class="aps-head"><h2>Models</h2><span class="aps-spring"></span>
      <button class="aps-icon" data-testid="models-close" aria-label="Close" @click="models_open = false">
        <v-icon>mdi-close</v-icon></button></header>
    <p class="aps-note" data-testid="models-device">{{ model_about }}</p>
    <div class="aps-cards">
      <article v-for="m in models" :key="m.name" class="aps-card" :class="{'aps-active': m.name === model}"
        data-testid="model-card" :data-model="m.name">
        <header><h3>{{ m.title }}</h3><span class="aps-tag">{{ m.size }}</span>
          <span v-if="m.name === model" class="aps-tag aps-on">in use</span>
          <span v-else-if="m.installed" class="aps-tag">here</span></header>
        <p><b>Takes</b> {{ m.prompts }} · <b>Sees</b> {{ m.input }} pixels</p>
        <p class="aps-clamp"><b>Trained on</b> {{ m.trained_on }}</p>
        <p><b>Licence</b> <a :href="m.licence_url" target="_blank"
          rel="noreferrer">{{ m.licence }}</a> {{ m.terms }}</p>
        <p v-if="!m.run_here" class="aps-warn">Its loading was tested; these weights were not run by us.</p>
        <footer>
          <template v-if="model_fetching === m.name">
            <div class="aps-bar" role="progressbar" :aria-valuenow="model_fetched">
              <span :style="{width: model_fetched + '%'}"></span></div>
            <span data-testid="model-progress">Downloading {{ model_fetched }} %</span>
            <button class="aps-button" data-testid="model-cancel" @click="trigger('model_cancel')">Cancel</button>
          </template>
          <template v-else-if="m.installed">
            <button class="aps-button aps-primary" v-if="m.name !== model" data-testid="model-use"
              :disabled="!!opening"
              @click="trigger('model_use', [m.name])">Use it</button>
          </template>
          <template v-else-if="m.fetchable">
            <label class="aps-check"><input type="checkbox" data-testid="model-accept"
              :checked="models_accepted.includes(m.name)" @change="models_accepted = $event.target.checked
                ? [...models_accepted, m.name] : models_accepted.filter((name) => name !== m.name)"/>
              I accept the licence</label>
            <button class="aps-button" data-testid="model-fetch"
              :disabled="!models_accepted.includes(m.name) || !!model_fetching"
              @click="trigger('model_fetch', [m.name])">Download {{ m.size }}</button>
          </template>
          <span v-else class="aps-note">Its weights have no published checksum:
            <code>autopromptsam models fetch {{ m.name }} --accept-unverified</code></span>
        </footer>
      </article>
    </div>
  </div>
</v-dialog>
"""

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._stop = threading.Event()
        self.list()

    def list(self) -> None:
        """Show the cards, those that are here first, then those that we ran."""
        self.state.models = [asdict(row) for row in model_rows()]

    def on_models_open(self) -> None:
        """Show the dialog."""
        self.list()
        self.state.models_open = True

    async def use(self, name: str, device: str = "auto") -> None:
        """Load a model and let it segment from now on; prompts stay. Says so when that fails."""
        from AutoPromptSAMLib.backbones import load_backbone
        from AutoPromptSAMLib.zoo import get_card

        app, state = self.app, self.state
        try:
            card = get_card(name)
            with state:
                state.model_title = f"Loading {card.title}…"
            backbone = await asyncio.to_thread(load_backbone, card, device)
        except AutoPromptSAMError as error:
            with state:
                state.model_title = state.model_title if state.model else "Choose a model"
                app.say(str(error), "error")
                if not state.model:
                    self.on_models_open()
            return
        with state:
            state.model, state.model_title = name, f"{card.title} · {device_word(backbone.device)}"
            state.model_about = f"{card.title} runs on {device_text(backbone)}; the views are drawn by the CPU."
            state.models_open = False
            app.use_backbone(backbone)

    def on_model_use(self, name: str) -> None:
        """Switch to a model that is here."""
        self.app.spawn(self.use(name, self.app.device))

    def on_model_fetch(self, name: str) -> None:
        """Download a model's weights; its licence was accepted."""
        if not self.state.model_fetching:
            self._stop.clear()
            self.state.model_fetching, self.state.model_fetched = name, 0
            self.app.spawn(self._fetch(name))

    def on_model_cancel(self) -> None:
        """Stop the download; what came stays for the next time."""
        self._stop.set()

    async def _fetch(self, name: str) -> None:
        from AutoPromptSAMLib.zoo import ensure, get_card

        def progress(done: int, total: int | None) -> None:
            share = round(100 * done / total) if total else 0
            if share != self.state.model_fetched:
                self.app.call(lambda: setattr(self.state, "model_fetched", share))

        try:
            await asyncio.to_thread(ensure, get_card(name), progress, self._stop.is_set)
        except Cancelled:
            self.app.say("The download was stopped; start it again to go on from there.")
        except AutoPromptSAMError as error:
            self.app.say(str(error), "error")
        with self.state:
            self.state.model_fetching = ""
            self.list()
        if not self.state.model:
            await self.use(name, self.app.device)

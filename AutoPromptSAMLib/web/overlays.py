"""What lies over the page: the start, toasts, the card of shortcuts, the first-run hints."""

from __future__ import annotations

import itertools
from typing import Literal

from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.workbench import shortcuts

LASTS_S = {"info": 6.0, "warning": 12.0, "error": 20.0}
TOASTS = """
<teleport to="body">
<div class="aps-toasts" aria-live="assertive">
  <div v-for="t in toasts" :key="t.id" class="aps-toast" :class="'aps-toast-' + t.kind" data-testid="toast"
    :data-kind="t.kind" role="alert">
    <v-icon size="20">{{ {info: 'mdi-information-outline', warning: 'mdi-alert-outline',
      error: 'mdi-alert-circle-outline'}[t.kind] }}</v-icon>
    <span>{{ t.text }}</span>
    <button class="aps-icon" data-testid="toast-close" aria-label="Close" @click="trigger('toast_close', [t.id])">
      <v-icon size="18">mdi-close</v-icon></button>
  </div>
</div>
</teleport>
"""
HELP = """
<v-dialog v-model="help_open" max-width="900">
  <div class="aps-dialog" data-testid="help-dialog" role="dialog" aria-label="Shortcuts">
    <header class="aps-head"><h2>Shortcuts</h2><span class="aps-spring"></span>
      <button class="aps-link" data-testid="help-hints" @click="help_open = false; hint_step = 1">Show the three steps
        again</button>
      <button class="aps-icon" data-testid="help-close" aria-label="Close" @click="help_open = false">
        <v-icon>mdi-close</v-icon></button></header>
    <div class="aps-shortcuts">
      <section v-for="g in shortcut_card" :key="g.group"><h3>{{ g.group }}</h3>
        <div v-for="r in g.rows" :key="r.text" class="aps-shortcut"><span>{{ r.text }}</span>
          <span><kbd v-for="k in r.keys" :key="k">{{ k }}</kbd></span></div></section>
      <section><h3>Mouse in a slice view</h3>
        <div class="aps-shortcut"><span>Go through the slices</span><span><kbd>Wheel</kbd></span></div>
        <div class="aps-shortcut"><span>Zoom</span><span><kbd>Right drag</kbd><kbd>Ctrl+Wheel</kbd></span></div>
        <div class="aps-shortcut"><span>Move</span><span><kbd>Middle drag</kbd><kbd>Shift+Left drag</kbd></span></div>
        <div class="aps-shortcut"><span>Same place in all views</span><span><kbd>Shift+Move</kbd></span></div>
      </section>
    </div>
  </div>
</v-dialog>
"""
HINTS = """
<div v-if="hint_step > 0 && has_image && !(models_open || open_open || export_open || help_open)"
  class="aps-hint-shade">
  <div class="aps-hint" :class="'aps-hint-' + hint_step" data-testid="hint" role="dialog" aria-label="First steps">
    <small>{{ hint_step }} of 3</small>
    <h3>{{ ['', 'Draw a box', 'Go through the volume', 'Correct what is wrong'][hint_step] }}</h3>
    <p>{{ ['', 'Choose the box tool (B) and drag around an organ on one slice. The outline appears at once.',
      'Press Space: the organ is followed to all other slices. Cancel at any time; what is done stays.',
      'Scroll to a wrong slice, click + or − on it, and propagate again: only the slices around it change.'][hint_step]
      }}</p>
    <div class="aps-hint-buttons">
      <button class="aps-link" data-testid="hint-skip" onclick="apsHints.end()">Skip</button>
      <button class="aps-button aps-primary" data-testid="hint-next" onclick="apsHints.next()">
        {{ hint_step < 3 ? 'Next' : 'Start' }}</button>
    </div>
  </div>
</div>
"""


class Overlays(Panel):
    """Toasts go by themselves; errors stay longest."""

    template = TOASTS + HELP + HINTS
    _ids = itertools.count(1)

    def say(self, text: str, kind: Literal["info", "warning", "error"] = "info") -> None:
        """Show a sentence; the same sentence is not shown twice."""
        shown = [toast for toast in self.state.toasts if toast["text"] != text]
        number = next(self._ids)
        self.state.toasts = [*shown, {"id": number, "text": text, "kind": kind}][-4:]
        if self.app.loop is not None:
            self.app.loop.call_later(LASTS_S[kind], self._expire, number)

    def on_toast_close(self, number: int) -> None:
        """Put a toast away."""
        self.state.toasts = [toast for toast in self.state.toasts if toast["id"] != number]

    def _expire(self, number: int) -> None:
        with self.state:
            self.on_toast_close(number)


def shortcut_state() -> dict[str, object]:
    """What the page needs of the table of shortcuts."""
    return {"shortcut_card": shortcuts.card(), "keys": dict(shortcuts.BY_KEY)}

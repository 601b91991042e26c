"""The prompts of the active segment: what, where, from whom; each can be shown and removed."""

from __future__ import annotations

from dataclasses import asdict

from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.workbench.prompt_rows import PromptRow, prompt_row

ICONS = {"box": "mdi-selection", "doodle": "mdi-draw", "mask": "mdi-texture-box"}


class PromptsPanel(Panel):
    """Rows in the order in which prompts were given."""

    template = """
<section class="aps-section aps-prompts" aria-label="Prompts">
  <header class="aps-head"><h2>Prompts</h2><span class="aps-count">{{ prompts.length || '' }}</span>
    <span class="aps-spring"></span>
    <select v-if="segments.length > 1 && active_segment" data-testid="prompt-mask"
      aria-label="Take over from a segment" title="Take over what another segment has on this slice"
      @change="trigger('prompt_mask', [$event.target.value]); $event.target.value = ''">
      <option value="">From segment…</option>
      <option v-for="s in segments.filter((s) => s.id !== active_segment)" :key="s.id" :value="s.id">
        {{ s.name }}</option>
    </select>
    <button class="aps-link" v-if="prompts.length" data-testid="prompts-clear" @click="trigger('prompts_clear')">
      Remove all</button>
  </header>
  <ul class="aps-list" data-testid="prompt-list">
    <li v-for="p in prompts" :key="p.id" class="aps-row" data-testid="prompt-row" :data-prompt="p.id" tabindex="0"
      :data-kind="p.kind" :title="'Show it: ' + p.text" @click="trigger('slice_jump', [p.view, p.slice])"
      @keydown.enter="trigger('slice_jump', [p.view, p.slice])">
      <v-icon size="18" :class="'aps-sign-' + p.sign">{{ p.icon }}</v-icon>
      <span class="aps-name">{{ p.text }}</span>
      <span class="aps-ml">{{ p.view }} {{ p.slice }}</span>
      <span class="aps-source" :title="p.source">
        <v-icon size="15">{{ p.person ? 'mdi-account-outline' : 'mdi-auto-fix' }}</v-icon>
        <span v-if="!p.person">{{ p.source }}</span></span>
      <button class="aps-icon aps-off" data-testid="prompt-remove" :aria-label="'Remove ' + p.text" title="Remove"
        @click.stop="trigger('prompt_remove', [p.id])"><v-icon size="18">mdi-close</v-icon></button>
    </li>
    <li v-if="tools_ready && !prompts.length" class="aps-empty">Draw a box around the object, or click on it.</li>
  </ul>
</section>
"""

    def refresh(self, what: str) -> None:
        """Show the list anew."""
        segmenter = self.app.segmenter
        if segmenter is None or what not in ("prompts", "active", "segments"):
            return
        geometry = segmenter.volume.geometry
        given = segmenter.prompts() if segmenter.active_segment else ()
        rows = [prompt_row(prompt, geometry) for prompt in given]
        self.state.prompts = [{**asdict(row), "icon": _icon(row)} for row in rows]

    def on_prompt_remove(self, prompt_id: str) -> None:
        """Remove one prompt; undo brings it back."""
        self.app.need_segmenter().remove_prompt(prompt_id)

    def on_prompts_clear(self) -> None:
        """Remove all prompts of the active segment."""
        self.app.need_segmenter().clear_prompts()

    def on_prompt_mask(self, segment_id: str) -> None:
        """Take over what another segment has on the shown slice, as a mask prompt."""
        if segment_id:
            self.app.need_segmenter().add_mask_prompt(segment_id)

    def remove_last(self) -> None:
        """Remove the prompt that was given last."""
        segmenter = self.app.segmenter
        if segmenter is not None and segmenter.active_segment and segmenter.prompts():
            segmenter.remove_prompt(segmenter.prompts()[-1].id)


def _icon(row: PromptRow) -> str:
    return ICONS.get(row.kind, f"mdi-{row.sign}-circle-outline")

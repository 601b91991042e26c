"""Going on to the other slices: which way, how far, how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from AutoPromptSAMLib.session.seeds import natural_axis
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.workbench.prompt_rows import view_along
from AutoPromptSAMLib.workbench.ranges import propagation_summary

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp


class PropagatePanel(Panel):
    """Range handles in slices of the chosen direction, one button, the result."""

    template = """
<section class="aps-section aps-propagate" aria-label="Propagate">
  <header class="aps-head"><span class="aps-tabs" role="tablist" aria-label="What to do with the volume">
      <button role="tab" data-testid="by-prompts" :aria-selected="guide === 'prompts'" @click="guide = 'prompts'"
        title="Go on from the prompts of the active segment">Propagate</button>
      <button role="tab" data-testid="by-examples" :aria-selected="guide === 'examples'" @click="guide = 'examples'"
        title="Go by annotated images of other patients">Examples</button>
      <button role="tab" data-testid="by-review" :aria-selected="guide === 'review'" @click="guide = 'review'"
        title="See where the model is unsure, and mend it">Review</button></span></header>
  <div class="aps-range" :style="{'--from': 100 * propagate_first / Math.max(1, propagate_count - 1) + '%',
    '--to': 100 * propagate_last / Math.max(1, propagate_count - 1) + '%'}">
    <input type="range" min="0" :max="propagate_count - 1" :value="propagate_first" data-testid="propagate-first"
      aria-label="From slice" @input="trigger('propagate_range', ['first', Number($event.target.value)])"/>
    <input type="range" min="0" :max="propagate_count - 1" :value="propagate_last" data-testid="propagate-last"
      aria-label="To slice" @input="trigger('propagate_range', ['last', Number($event.target.value)])"/>
  </div>
  <div class="aps-range-text"><span>from <b>{{ propagate_first }}</b> to <b>{{ propagate_last }}</b></span>
    <span class="aps-spring"></span>
    <select v-model="propagate_view" data-testid="propagate-view" aria-label="Along which slices">
      <option value="axial">Axial</option><option value="coronal">Coronal</option>
      <option value="sagittal">Sagittal</option></select>
    <button class="aps-link" data-testid="propagate-all" @click="trigger('propagate_all')">All slices</button></div>
  <template v-if="guide === 'prompts'">
  <button v-if="phase !== 'propagating'" class="aps-button aps-primary" data-testid="propagate"
    @click="trigger('propagate')"
    :disabled="!tools_ready || !(prompts.length || segments.some((s) => s.id === active_segment && s.ml !== '–'))">
    <v-icon size="18">mdi-layers-triple-outline</v-icon> Propagate <kbd>Space</kbd></button>
  <button v-else class="aps-button" data-testid="propagate-cancel" @click="trigger('cancel')">
    <v-icon size="18">mdi-stop-circle-outline</v-icon> Cancel, keep what is done <kbd>Esc</kbd></button>
  <div v-if="phase === 'propagating'" class="aps-bar" role="progressbar" :aria-valuenow="done" :aria-valuemax="total">
    <span :style="{width: 100 * done / Math.max(1, total) + '%'}"></span></div>
  <p v-if="propagate_about && phase !== 'propagating'" class="aps-note" data-testid="propagate-result">
    {{ propagate_about }}
    <template v-if="propagate_weak.length">Worth a look:
      <button v-for="n in propagate_weak" :key="n" class="aps-link" data-testid="propagate-weak"
        @click="trigger('slice_jump', [propagate_view, n])">{{ n }}</button></template></p>
  </template>
</section>
"""

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self.state.change("propagate_view")(lambda **_: self.on_propagate_all())

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """The range is the whole new image."""
        self.on_propagate_all()

    def refresh(self, what: str) -> None:
        """Follow the prompts' direction, and tell how the last run went."""
        segmenter = self.app.segmenter
        if segmenter is None or what not in ("prompts", "active", "propagation"):
            return
        if segmenter.active_segment and segmenter.prompts():
            axis = natural_axis(segmenter.prompts(), segmenter.volume.geometry)
            if axis != self.axis and what != "propagation":
                self.state.propagate_view = view_along(segmenter.volume.geometry, axis)
        found = propagation_summary(segmenter)
        self.state.propagate_about = "" if found is None else found.about
        self.state.propagate_weak = [] if found is None else list(found.weak)

    def on_propagate(self) -> None:
        """Go on from the prompted slices through the range."""
        if self.app.segmenter is None or self.state.phase == "propagating":
            return
        self.app.segmenter.propagate(*self.range(), self.axis)

    def on_cancel(self) -> None:
        """Stop what runs; finished slices stay."""
        if self.app.segmenter is not None:
            self.app.segmenter.cancel()

    def on_propagate_range(self, end: str, index: int) -> None:
        """Move one handle; it pushes the other one along."""
        index = min(max(int(index), 0), self.state.propagate_count - 1)
        state = self.state
        if end == "first":
            state.propagate_first, state.propagate_last = index, max(index, state.propagate_last)
        else:
            state.propagate_first, state.propagate_last = min(index, state.propagate_first), index

    def on_propagate_all(self) -> None:
        """From the first to the last slice."""
        segmenter = self.app.segmenter
        if segmenter is not None:
            count = segmenter.volume.geometry.shape[self.axis]
            self.state.propagate_count = count
            self.state.propagate_first, self.state.propagate_last = 0, count - 1

    @property
    def axis(self) -> int:
        """The array axis of the slices that the page works along."""
        return self.app.need_segmenter().volume.geometry.array_axis(self.state.propagate_view)

    @property
    def shown_slice(self) -> int:
        """The slice that is shown in the direction that the page works along."""
        return int(self.state[f"view_{self.state.propagate_view}"]["index"])

    def range(self, only: bool = False) -> tuple[int, int]:
        """The slices of the handles, first and last, or ``only`` the shown one."""
        if only:
            return self.shown_slice, self.shown_slice
        return int(self.state.propagate_first), int(self.state.propagate_last)

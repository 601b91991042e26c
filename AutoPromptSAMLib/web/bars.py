"""The top bar and the status line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vtkmodules.vtkCommonCore import vtkCommand

from AutoPromptSAMLib.intensity import CT_PRESETS, WindowLevel, default_mapping
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.views import LAYOUTS
from AutoPromptSAMLib.workbench.shortcuts import hint

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp

LAYOUT_ICONS = {
    "four-up": "mdi-view-grid-outline",
    "one-three": "mdi-view-quilt-outline",
    "axial": "mdi-square-outline",
    "3d": "mdi-cube-outline",
}
TOP = """
<header class="aps-top">
  <span class="aps-brand"><v-icon size="20" color="primary">mdi-star-four-points-outline</v-icon>
    AutoPrompt<b>SAM</b></span>
  <input type="file" multiple hidden data-testid="file-input" onchange="apsFiles.picked(this)"/>
  <button class="aps-button" data-testid="open" @click="trigger('open_dialog')">
    <v-icon size="18">mdi-folder-open-outline</v-icon> Open</button>
  <span class="aps-image" v-if="image_name" :title="image_about"><b data-testid="image-name">{{ image_name }}</b>
    <small>{{ image_about }}</small></span>
  <span class="aps-spring"></span>
  <label v-if="windows.length" class="aps-labelled" title="Window and level; the model sees the image in it, too">
    <v-icon size="18">mdi-contrast-circle</v-icon>
    <select v-model="window" data-testid="window" aria-label="Window and level">
      <option v-for="w in windows" :key="w.id" :value="w.id">{{ w.title }}</option></select></label>
  <button class="aps-icon" data-testid="oblique" :class="{'aps-on': oblique}" :aria-pressed="oblique"
    :disabled="!has_image" aria-label="Turn the slices" @click="trigger('oblique')">
    <v-icon size="20">mdi-rotate-3d-variant</v-icon><v-tooltip activator="parent" max-width="260">Turn the slices: drag
    the ends of the lines; again: straightOBLIQUE</v-tooltip></button>
  <span class="aps-group" role="group" aria-label="Layout">LAYOUTS</span>
  <button class="aps-button aps-model" data-testid="model-chip" @click="trigger('models_open')" :title="model_about">
    <v-icon size="18">mdi-chip</v-icon> {{ model_title || 'Choose a model' }}</button>
  <button class="aps-button" data-testid="export" :disabled="!tools_ready" @click="trigger('export_dialog')">
    <v-icon size="18">mdi-export-variant</v-icon> Export</button>
  <button class="aps-icon" data-testid="help" aria-label="Help and shortcuts" @click="trigger('help')">
    <v-icon size="20">mdi-help-circle-outline</v-icon><v-tooltip activator="parent">Help and shortcutsHELP</v-tooltip>
  </button>
</header>
"""
LAYOUT = """<button class="aps-icon" :class="{'aps-on': layout === 'ID'}" :aria-pressed="layout === 'ID'"
  data-testid="layout-ID" aria-label="TITLE" @click="trigger('view_layout', ['ID'])">
  <v-icon size="20">ICON</v-icon><v-tooltip activator="parent">TITLE</v-tooltip></button>"""


class TopBar(Panel):
    """Name, image, window, layout, model, export, help."""

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._node: Any = None
        self._presets: list[dict[str, str]] = []
        self._chosen = (0.0, 0.0)  # window and level that the menu shows
        self.state.change("window")(self._window_changed)

    @property
    def template(self) -> str:  # type: ignore[override]
        """With a button for each layout."""
        buttons = "".join(
            LAYOUT.replace("ID", name).replace("TITLE", title).replace("ICON", LAYOUT_ICONS[name])
            for name, title in LAYOUTS.items()
        )
        return TOP.replace("LAYOUTS", buttons).replace("HELP", hint("help")).replace("OBLIQUE", hint("oblique"))

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Offer the windows that fit the image."""
        volume, node = segmenter.volume, segmenter.volume_node
        if node is self._node:  # another model
            self._show_model(self.state.window)
            return
        self._node, self.state.windows = None, []
        if volume.is_colour:
            return
        self._node, self._presets = node, [{"id": "auto", "title": "Automatic"}]
        preset = default_mapping(volume).to_json()["type"] == "window"
        if preset:
            self._presets += [{"id": name, "title": name.capitalize()} for name in CT_PRESETS]
        self.state.windows = self._presets
        self.state.window = "abdomen" if preset else "auto"
        self._window_changed(self.state.window)
        node.GetScalarVolumeDisplayNode().AddObserver(vtkCommand.ModifiedEvent, lambda *_: self._dragged())

    def _dragged(self) -> None:
        """The window may have been changed with the mouse."""
        display = self._node.GetScalarVolumeDisplayNode()
        width, level = display.GetWindow(), display.GetLevel()
        if (width, level) != self._chosen:
            title = f"Level {level:.0f}, width {width:.0f}"
            self._chosen = (width, level)
            self.state.windows = [*self._presets, {"id": "custom", "title": title}]
            self.state.window = "custom"

    def on_help(self) -> None:
        """Show or hide the card of shortcuts."""
        self.state.help_open = not self.state.help_open

    def _window_changed(self, window: str, **_: Any) -> None:
        if self._node is None or window == "custom":
            return
        display = self._node.GetScalarVolumeDisplayNode()
        was = display.StartModify()
        if window in CT_PRESETS:
            level, width = CT_PRESETS[window]
            display.AutoWindowLevelOff()
            display.SetWindowLevel(width, level)
        else:
            display.AutoWindowLevelOff()
            display.AutoWindowLevelOn()
        self._chosen = (display.GetWindow(), display.GetLevel())
        display.EndModify(was)
        self.state.windows = self._presets
        self._show_model(window)

    def _show_model(self, window: str) -> None:
        """Let the model see the image in a window of the menu; one that was dragged is for the eyes only."""
        if self.app.segmenter is not None and window != "custom":
            self.app.segmenter.set_mapping(WindowLevel.preset(window) if window in CT_PRESETS else None)


class StatusBar(Panel):
    """What is going on in words, and what is under the mouse."""

    template = """
<footer class="aps-status" role="status" aria-live="polite">
  <span class="aps-dot" :class="'aps-phase-' + (opening ? 'opening' : phase)"></span>
  <span data-testid="status" :data-phase="opening ? 'opening' : phase">{{ opening || status }}</span>
  <button v-if="phase === 'propagating'" class="aps-link" data-testid="status-cancel" @click="trigger('cancel')">
    Cancel</button>
  <span class="aps-spring"></span>
  <span v-if="cursor" class="aps-cursor" data-testid="cursor">
    <span>RAS <b data-testid="cursor-ras">{{ cursor.ras }}</b></span>
    <span>IJK <b data-testid="cursor-ijk">{{ cursor.ijk }}</b></span>
    <span v-if="cursor.value !== ''">Value <b data-testid="cursor-value">{{ cursor.value }}</b></span>
    <span v-if="cursor.segment" data-testid="cursor-segment"><b>{{ cursor.segment }}</b></span>
  </span>
</footer>
"""

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._since = self._start = 0.0

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Say how it stands."""
        self.refresh("status")

    def refresh(self, what: str) -> None:
        """Follow the segmenter."""
        segmenter = self.app.segmenter
        if segmenter is None or what != "status":
            return
        status, state = segmenter.status, self.state
        if status.phase == "propagating" and state.phase != "propagating":
            self._since, self._start = time.monotonic(), status.done
        state.phase, state.done, state.total = status.phase, status.done, status.total
        words = {"embedding": "Preparing this slice…", "ready": "Ready", "segmenting": "Segmenting…"}
        if status.phase == "propagating":
            state.status = self._propagating(segmenter)
        else:
            state.status = words[status.phase]

    def _propagating(self, segmenter: InteractiveSegmenter) -> str:
        status = segmenter.status
        active = next((info.name for info in segmenter.segments if info.id == segmenter.active_segment), "")
        head, _, now = status.text.partition(": ")
        text = f"Propagating {active}".rstrip() if head.startswith("Propagate") else head
        if not status.total:
            return f"{text}…"
        if now and not now.startswith("slice"):
            return f"{text}: {now}, {status.done} of {status.total}"
        text += f": slice {status.done} of {status.total}"
        done = status.done - self._start
        if done < 3 or status.done >= status.total:  # the first slices say little about the rest
            return text
        left = (time.monotonic() - self._since) / done * (status.total - status.done)
        return f"{text} · {max(1, round(left))} s left"

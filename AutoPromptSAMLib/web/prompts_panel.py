"""The prompts of the active segment: what, where, from whom; each can be shown and removed."""

from __future__ import annotations

from dataclasses import asdict

from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.workbench.prompt_rows import PromptRow, prompt_row

ICONS = {"box": "mdi-selection", "doodle": "mdi-draw", "mask": "mdi-texture-box"}


class PromptsPanel(Panel):
    """Rows in the order in which prompts were given."""

    template = page("prompts")

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

"""The review: where the model is unsure of the active segment, what it suggests, prompts that mend themselves."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.mrml.uncertainty_nodes import COLORS
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import SHOWN, page
from AutoPromptSAMLib.workbench.prompt_rows import VIEWS
from AutoPromptSAMLib.workbench.review_desk import ReviewDesk
from AutoPromptSAMLib.workbench.segment_rows import active_segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.mrml.suggestion_nodes import SuggestionNodes
    from AutoPromptSAMLib.web.app import WebApp

# Whether there is something to look at: a segment with voxels, and nothing that has to end before.
READY = "(tools_ready && segments.some((s) => s.id === active_segment && s.ml !== '–') && !examples_learning)"
NOTHING: dict[str, Any] = {
    "review_ran": False, "review_about": "", "review_rows": [], "review_corrected": [], "review_changed": 0,
    "review_suggested": "", "review_steps": None,
}  # fmt: skip


class ReviewPanel(Panel):
    """Works on the active segment, along the slices and in the range that the page works in."""

    template = page("review", shown=SHOWN, ready=READY, gradient=f"linear-gradient(to right, {', '.join(COLORS)})")

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._nodes: SuggestionNodes | None = None
        self._desk: ReviewDesk | None = None
        self._shown_before = -1
        self._on_surface = False
        app.server.trigger("review_export")(self.export)
        self.state.change("review_overlay", "review_opacity", "guide")(lambda **_: self._show_overlay())
        self.state.change("review_surface", "guide")(lambda **_: self._show_surface())
        self.state.change("review_suggest", "guide")(lambda **_: self._show_suggestions())
        self.state.change("propagate_view", *(f"view_{view}" for view in VIEWS))(lambda **_: self._moved())

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Nothing is known of the new image yet."""
        from AutoPromptSAMLib.mrml.suggestion_nodes import SuggestionNodes

        self.disconnect()
        self._nodes = SuggestionNodes(segmenter, self.app.slicer_app.scene)
        self._desk = ReviewDesk(segmenter)
        self._show_suggestions()
        self._on_surface = False
        self._show_overlay()
        self._show_surface()

    def disconnect(self) -> None:
        """Let go of the segmenter."""
        if self._nodes is not None:
            self._nodes.close()
            self._nodes = None
        self._desk = None
        self.state.update(NOTHING)

    def refresh(self, what: str) -> None:
        """Follow looks, runs and corrections."""
        if what in ("review", "segments", "prompts", "active", "propagation"):
            self._show()
            if what in ("review", "active"):
                for control in self.app.views.slices.values():
                    control.view.schedule_render()

    # -- looking ------------------------------------------------------------------------------------------------------

    def on_review_run(self, only: bool = False) -> None:
        """Ask where the model is unsure on the slices of the range, or ``only`` on the shown one."""
        desk = self._need()
        self.state.guide = "review"
        desk.run(*self.app.propagate.range(only), self.app.propagate.axis)

    def on_review_one(self) -> None:
        """Ask for the shown slice only."""
        self.on_review_run(only=True)

    def on_review_next(self) -> None:
        """Go to the least sure slice that the person was not led to yet; corrections go to their neighbours first."""
        index = self._need().next_slice(self.app.propagate.axis, bool(self.state.review_carry))
        if index is not None:
            self.app.views.on_slice_jump(self.state.propagate_view, index)

    def on_review_accept(self) -> None:
        """What is on the shown slice is right: it stays."""
        self._need().accept(*self._here)

    def on_review_carry_now(self) -> None:
        """Find the neighbours of corrected slices anew."""
        self.app.need_segmenter().mending.carry()

    # -- mending ------------------------------------------------------------------------------------------------------

    def on_review_take(self) -> None:
        """Make what is suggested for the shown slice the person's prompts."""
        self._need().take(*self._here)

    def on_review_refine(self, only: bool = False) -> None:
        """Let prompts mend themselves on the slices of the range, or ``only`` on the shown one."""
        desk = self._need()
        self.state.guide = "review"
        desk.refine(*self.app.propagate.range(only), self.app.propagate.axis)

    def on_review_refine_one(self) -> None:
        """Let the prompts of the shown slice mend themselves."""
        self.on_review_refine(only=True)

    def on_review_step(self, by: int) -> None:
        """Put the step after (1) or before (-1) the shown one there."""
        self._need().step(*self._here, int(by))

    # -- what is shown ------------------------------------------------------------------------------------------------

    def on_review_overlay(self) -> None:
        """Show or hide the uncertainty over the image, which only this tab does."""
        self.state.review_overlay = not (self.state.review_overlay and self.state.guide == "review")
        self.state.guide = "review"

    async def export(self, suffix: str) -> str | None:
        """Write the uncertainty of the active segment; returns the one-time id to fetch it with, None on failure."""
        if suffix not in (".nrrd", ".nii.gz"):
            return None
        from AutoPromptSAMLib.images.writer import write_voxels

        def prepare(path: Path) -> Callable[[], None]:
            segmenter = self.app.need_segmenter()
            return partial(write_voxels, path, segmenter.looks.display.values(), segmenter.volume.geometry)

        active = active_segment(self.app.segmenter)
        name = f"{self.state.image_name} {'' if active is None else active.name} uncertainty{suffix}"
        return await self.app.exporting.write(name, prepare, "review_exporting", "Writing the file…")

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _here(self) -> tuple[int, int]:
        """The direction that the page works along, and the slice that is shown in it."""
        return self.app.propagate.axis, self.app.propagate.shown_slice

    def _need(self) -> ReviewDesk:
        """The desk; ImageError when there is no image yet."""
        self.app.need_segmenter()
        assert self._desk is not None
        return self._desk

    def _moved(self) -> None:
        if self._desk is not None and self.app.propagate.shown_slice != self._shown_before:
            self._shown_before = self.app.propagate.shown_slice
            self._show()

    def _show_overlay(self) -> None:
        segmenter = self.app.segmenter
        if segmenter is not None:
            shown = bool(self.state.review_overlay) and self.state.guide == "review"
            segmenter.looks.display.show(shown, float(self.state.review_opacity) / 100)
            for control in self.app.views.slices.values():
                control.view.schedule_render()

    def _show_surface(self) -> None:
        segmenter = self.app.segmenter
        shown = bool(self.state.review_surface) and self.state.guide == "review"
        if segmenter is not None and shown != self._on_surface:
            self._on_surface = shown
            segmenter.looks.display.show_on_surface(shown)
            if shown and not self.state.surface_shown:
                self.app.segments.on_segments_surface(True)
            self.app.views.surfaces_later()

    def _show_suggestions(self) -> None:
        if self._nodes is not None:
            self._nodes.set_visible(bool(self.state.review_suggest) and self.state.guide == "review")

    def _show(self) -> None:
        if self._desk is None:
            return
        found = self._desk.summary(*self._here)
        if found is None:
            self.state.update(NOTHING)
            return
        self.state.update({
            "review_ran": True,
            "review_about": found.about,
            "review_rows": [asdict(row) for row in found.rows],
            "review_corrected": list(found.corrected),
            "review_changed": found.changed,
            "review_suggested": found.suggested,
            "review_steps": None if found.steps is None else asdict(found.steps),
        })  # fmt: skip

"""The review: where the model is unsure of the active segment, what it suggests, prompts that mend themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.errors import AutoPromptSAMError, PromptError
from AutoPromptSAMLib.mrml.probe import slice_position
from AutoPromptSAMLib.mrml.reports import sure_level
from AutoPromptSAMLib.mrml.uncertainty_nodes import COLORS
from AutoPromptSAMLib.prompts import Box, Point, Prompt
from AutoPromptSAMLib.session import REACH
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.prompts_panel import VIEWS
from AutoPromptSAMLib.web.review_templates import PANEL
from AutoPromptSAMLib.web.shortcuts import hint

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.mrml.review_state import Reviewed
    from AutoPromptSAMLib.mrml.suggestion_nodes import SuggestionNodes
    from AutoPromptSAMLib.web.app import WebApp

ROWS = 4  # of the list of least sure slices: a choice
KEYS = {
    "RUN": "review:run",
    "NEXT": "examples:unsure",
    "ACCEPT": "examples:accept",
    "OVERLAY": "review:overlay",
    "TAKE": "review:take",
    "REFINE_ONE": "review:refine-one",
    "REFINE": "review:refine",
    "BACK": "review:back",
    "FORWARD": "review:forward",
}
NOTHING: dict[str, Any] = {
    "review_ran": False, "review_about": "", "review_rows": [], "review_corrected": [], "review_changed": 0,
    "review_suggested": "", "review_steps": None,
}  # fmt: skip


class ReviewPanel(Panel):
    """Works on the active segment, along the slices and in the range that the page works in."""

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self._nodes: SuggestionNodes | None = None
        self._visited: set[int] = set()  # where the person was led since the last look
        self._shown_before = -1
        self._on_surface = False
        app.server.trigger("review_export")(self.export)
        self.state.change("review_overlay", "review_opacity", "guide")(lambda **_: self._show_overlay())
        self.state.change("review_surface", "guide")(lambda **_: self._show_surface())
        self.state.change("review_suggest", "guide")(lambda **_: self._show_suggestions())
        self.state.change("propagate_view", *(f"view_{view}" for view in VIEWS))(lambda **_: self._moved())

    @property
    def template(self) -> str:  # type: ignore[override]
        """With the keys in the tooltips, and the colours of the uncertainty."""
        text = PANEL.replace("GRADIENT", f"linear-gradient(to right, {', '.join(COLORS)})")
        for name, action in KEYS.items():
            text = text.replace(f"{name}_KEY", hint(action))
        return text

    @property
    def axis(self) -> int:
        """The array axis of the slices that the page works along."""
        return self.app.need_segmenter().volume.geometry.array_axis(self.state.propagate_view)

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Nothing is known of the new image yet."""
        from AutoPromptSAMLib.mrml.suggestion_nodes import SuggestionNodes

        self.disconnect()
        self._nodes = SuggestionNodes(segmenter, self.app.slicer_app.scene)
        self._visited.clear()
        self._show_suggestions()
        self._on_surface = False
        self._show_overlay()
        self._show_surface()

    def disconnect(self) -> None:
        """Let go of the segmenter."""
        if self._nodes is not None:
            self._nodes.close()
            self._nodes = None
        self.state.update(NOTHING)

    def refresh(self, what: str) -> None:
        """Follow looks, runs and corrections."""
        segmenter = self.app.segmenter
        if segmenter is not None and what in ("review", "segments", "prompts", "active", "propagation"):
            self._show(segmenter)
            if what in ("review", "active"):
                for control in self.app.views.slices.values():
                    control.view.schedule_render()

    # -- looking ------------------------------------------------------------------------------------------------------

    def on_review_run(self, only: bool = False) -> None:
        """Ask where the model is unsure on the slices of the range, or ``only`` on the shown one."""
        segmenter = self.app.need_segmenter()
        self.state.guide = "review"
        self._visited.clear()
        segmenter.review(*self._range(only), self.axis)

    def on_review_one(self) -> None:
        """Ask for the shown slice only."""
        self.on_review_run(only=True)

    def on_review_next(self) -> None:
        """Go to the least sure slice that the person was not led to yet; corrections go to their neighbours first."""
        segmenter = self.app.need_segmenter()
        carried: Sequence[int] = ()
        if self.state.review_carry and segmenter.corrected_slices():
            carried = segmenter.carry_corrections()
        rows = [] if self._known(segmenter) is None else [row.index for row in segmenter.ranked_slices()]
        elsewhere = [n for n in rows if all(abs(n - index) > REACH for index in carried)]
        if not rows:
            raise PromptError('No slice is unsure; choose "Where is it unsure?" to look again.')
        if not elsewhere:  # all of them are just being found anew
            return
        if not [n for n in elsewhere if n not in self._visited]:
            self._visited.clear()
        index = next(n for n in elsewhere if n not in self._visited)
        self._visited.add(index)
        self.app.views.on_slice_jump(self.state.propagate_view, index)

    def on_review_accept(self) -> None:
        """What is on the shown slice is right: it stays."""
        self._need().accept_reviewed(self._shown)

    def on_review_carry_now(self) -> None:
        """Find the neighbours of corrected slices anew."""
        self.app.need_segmenter().carry_corrections()

    # -- mending ------------------------------------------------------------------------------------------------------

    def on_review_take(self) -> None:
        """Make what is suggested for the shown slice the person's prompts."""
        self._need().take_suggestions(self._shown)

    def on_review_refine(self, only: bool = False) -> None:
        """Let prompts mend themselves on the slices of the range, or ``only`` on the shown one."""
        segmenter = self.app.need_segmenter()
        self.state.guide = "review"
        segmenter.refine(*self._range(only), self.axis)

    def on_review_refine_one(self) -> None:
        """Let the prompts of the shown slice mend themselves."""
        self.on_review_refine(only=True)

    def on_review_step(self, by: int) -> None:
        """Put the step after (1) or before (-1) the shown one there."""
        segmenter = self.app.need_segmenter()
        known = self._known(segmenter)
        steps = None if known is None else known.steps.get(self._shown)
        if known is None or steps is None:
            raise PromptError(f"Slice {self._shown} was not refined, so it has no steps to go through.")
        number = known.shown_step(self._shown)
        segmenter.choose_step(self._shown, steps.chosen if number is None else number + int(by))

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

        with self.state:
            self.state.review_exporting = "Writing the file…"
        try:
            segmenter = self.app.need_segmenter()
            values, geometry = segmenter.uncertainty_values(), segmenter.volume.geometry
            name = next(info.name for info in segmenter.segments if info.id == segmenter.active_segment)
            path = self.app.exporting.downloads.path_for(f"{self.state.image_name} {name} uncertainty{suffix}")
            await asyncio.to_thread(write_voxels, path, values, geometry)
        except AutoPromptSAMError as error:
            self.app.say(str(error), "error")
            return None
        finally:
            with self.state:
                self.state.review_exporting = ""
        return self.app.exporting.downloads.offer(path)

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _shown(self) -> int:
        """The slice that is shown in the direction that the page works along."""
        return int(self.state[f"view_{self.state.propagate_view}"]["index"])

    def _range(self, only: bool) -> tuple[int, int]:
        return (self._shown,) * 2 if only else (int(self.state.propagate_first), int(self.state.propagate_last))

    def _need(self) -> InteractiveSegmenter:
        """The segmenter; PromptError when the active segment was not looked at along these slices."""
        segmenter = self.app.need_segmenter()
        if self._known(segmenter) is None:
            raise PromptError('The segment was not looked at along these slices; choose "Where is it unsure?" first.')
        return segmenter

    def _known(self, segmenter: InteractiveSegmenter) -> Reviewed | None:
        """What is known of the active segment along the slices that the page works along."""
        known = segmenter.reviewed()
        return None if known is None or known.axis != self.axis else known

    def _moved(self) -> None:
        segmenter = self.app.segmenter
        if segmenter is not None and self._shown != self._shown_before:
            self._shown_before = self._shown
            self._show(segmenter)

    def _show_overlay(self) -> None:
        segmenter = self.app.segmenter
        if segmenter is not None:
            shown = bool(self.state.review_overlay) and self.state.guide == "review"
            segmenter.set_uncertainty_shown(shown, float(self.state.review_opacity) / 100)
            for control in self.app.views.slices.values():
                control.view.schedule_render()

    def _show_surface(self) -> None:
        segmenter = self.app.segmenter
        shown = bool(self.state.review_surface) and self.state.guide == "review"
        if segmenter is not None and shown != self._on_surface:
            self._on_surface = shown
            segmenter.set_uncertain_surface_shown(shown)
            if shown and not self.state.surface_shown:
                self.app.segments.on_segments_surface(True)
            self.app.views.surfaces_later()

    def _show_suggestions(self) -> None:
        if self._nodes is not None:
            self._nodes.set_visible(bool(self.state.review_suggest) and self.state.guide == "review")

    def _show(self, segmenter: InteractiveSegmenter) -> None:
        known = self._known(segmenter)
        if known is None or not (known.looks or known.steps):
            self.state.update(NOTHING)
            return
        now, ranked = known.now(), segmenter.ranked_slices()
        corrected = segmenter.corrected_slices()
        geometry = segmenter.volume.geometry
        rows = []
        for review in ranked[:ROWS]:
            percent = round(100 * review.expected_dice)
            text = f"Expected Dice {percent} %"
            if review.is_empty:
                text = "The segment ends beside this slice; the object may go on here"
            rows.append({
                "index": review.index,
                "position": slice_position(geometry, known.axis, review.index),
                "percent": percent,
                "level": sure_level(review.expected_dice),
                "text": text,
                "beside": review.is_empty,
            })  # fmt: skip
        dice = [look.review.expected_dice for look in now.values() if not look.review.is_empty]
        about = ""
        if dice:
            count = f"{len(dice)} slice{'' if len(dice) == 1 else 's'}"
            about = f"Expected Dice {round(100 * sum(dice) / len(dice))} % on average of {count}."
        changed = [n for n in known.looks if n not in now and n not in corrected and known.shown_step(n) is None]
        self.state.update({
            "review_ran": True,
            "review_about": about,
            "review_rows": rows,
            "review_corrected": corrected,
            "review_changed": len(changed),
            "review_suggested": _listed(segmenter.suggestions(self._shown)),
            "review_steps": self._steps(known),
        })  # fmt: skip

    def _steps(self, known: Reviewed) -> dict[str, Any] | None:
        index = self._shown
        steps, number = known.steps.get(index), known.shown_step(index)
        if steps is None:
            return None
        count = len(steps.masks)
        if number is None:
            return {
                "index": index, "number": count - 1, "count": count, "title": "changed since it was refined",
                "reason": "Step back to what it was refined to.",
            }  # fmt: skip
        step = steps.steps[number]
        title = "as it was" if number == 0 else f"step {number} of {count - 1}"
        if number:
            reason = f"{'Accepted' if step.accepted else 'Refused'}: {step.reason.rstrip('.')}."
        elif any(later.accepted for later in steps.steps[1:]):
            reason = "Before it was refined."
        else:
            reason = "Nothing surer was found, so it stays."
        reason += f" Mean uncertainty {step.score:.3f} bits."
        return {"index": index, "number": number, "count": count, "title": title, "reason": reason}


def _listed(prompts: Sequence[Prompt]) -> str:
    """Prompts in words: "a box and 3 points"."""
    parts = []
    for kind, word in ((Box, "box"), (Point, "point")):
        count = sum(isinstance(prompt, kind) for prompt in prompts)
        if count:
            plural = "es" if word == "box" else "s"
            parts.append(f"a {word}" if count == 1 else f"{count} {word}{plural}")
    return " and ".join(parts)

"""Going on to the other slices: which way, how far, how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.workbench.ranges import propagation_summary
from AutoPromptSAMLib.workbench.slice_range import moved_range, view_across_prompts

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp


class PropagatePanel(Panel):
    """Range handles in slices of the chosen direction, one button, the result."""

    template = page("propagate")

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
        if what != "propagation":
            self.state.propagate_view = view_across_prompts(segmenter) or self.state.propagate_view
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
        state = self.state
        state.propagate_first, state.propagate_last = moved_range(
            state.propagate_first, state.propagate_last, state.propagate_count, end, int(index)
        )

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

"""Prompting from examples: which objects, where, how sure each slice is, what a person accepts, and learning."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from AutoPromptSAMLib.web.panel import Panel, for_page
from AutoPromptSAMLib.web.templates import NO_LEARNING, NO_RUN, NO_SCENE, SHOWN, page
from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk
from AutoPromptSAMLib.workbench.prompt_rows import view_along
from AutoPromptSAMLib.workbench.thumbnails import data_address

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter

PREVIEW = 256  # pixels a side


class SupportsPanel(Panel):
    """What the chosen set of the gallery does to the open image."""

    template = page("examples", shown=SHOWN, no_scene=NO_SCENE, no_run=NO_RUN, no_learning=NO_LEARNING)

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Nothing was found on the new image yet."""
        self.desk.forget()
        self.chosen_changed()

    def refresh(self, what: str) -> None:
        """Follow runs, corrections and learning."""
        segmenter = self.app.segmenter
        if segmenter is None:
            return
        if what in ("propagation", "prompts", "segments"):
            self._show_found(segmenter)
        if what == "learning":
            self._show_learning(segmenter)

    def chosen_changed(self) -> None:
        """Another set, or another of its contents: look along the slices that its examples show."""
        segmenter, chosen = self.app.segmenter, self.desk.chosen
        names = () if chosen is None else chosen.names
        self.state.examples_off = [name for name in self.state.examples_off if name in names]
        if segmenter is None:
            self.state.examples_objects = [for_page(row) for row in self.desk.object_rows(None)]
            return
        if self.state.guide == "examples":
            self.state.propagate_view = self.desk.view_of_examples(segmenter) or self.state.propagate_view
        self._show_found(segmenter)

    # -- a run --------------------------------------------------------------------------------------------------------

    def on_examples_run(self, only: bool = False) -> None:
        """Find the ticked objects on the slices of the range, or ``only`` on the shown one."""
        segmenter = self.app.need_segmenter()
        self.state.guide = "examples"
        chosen = self.desk.fresh()
        if chosen is None or not chosen.pairs:
            self.app.gallery.on_examples_open()
        elif self.state.phase == "propagating":
            return
        first, last = self.app.propagate.range(only)
        self.desk.run(segmenter, self.state.examples_off, first, last, self.app.propagate.axis)

    def on_examples_one(self) -> None:
        """Find the objects on the shown slice only."""
        self.on_examples_run(only=True)

    def on_examples_unsure(self, name: str = "") -> None:
        """Show the least sure slice, of one segment if it is named; again: the next one."""
        segmenter = self.app.need_segmenter()
        segment_id, axis, index = self.desk.next_unsure(segmenter, self.app.propagate.shown_slice, name)
        segmenter.active_segment = segment_id
        self.app.views.on_slice_jump(view_along(segmenter.volume.geometry, axis), index)

    def on_examples_accept(self) -> None:
        """What was found on the shown slice is right: it stays, and is an example when the rest is run again."""
        self.app.need_segmenter().examples.accept(self.app.propagate.axis, self.app.propagate.shown_slice)

    def on_examples_tick(self, name: str) -> None:
        """Look for an object, or do not."""
        off = list(self.state.examples_off)
        self.state.examples_off = [n for n in off if n != name] if name in off else [*off, name]

    # -- learning -----------------------------------------------------------------------------------------------------

    def on_examples_learn(self) -> None:
        """Learn the chosen set for the chosen number of minutes."""
        self.desk.learn(self.app.need_segmenter(), float(self.state.examples_minutes))

    def on_examples_learn_cancel(self) -> None:
        """End learning; the best so far is kept."""
        self.app.need_segmenter().learner.cancel()

    def _show_learning(self, segmenter: InteractiveSegmenter) -> None:
        learning = segmenter.learner.learning
        if learning is None:
            self.state.examples_learning = None
            self.app.gallery.list()  # a set may have learned something
            return
        from PIL import Image

        preview = "" if learning.preview is None else data_address(Image.fromarray(learning.preview), PREVIEW)
        text = self.desk.learning_text(learning, float(self.state.examples_minutes))
        self.state.examples_learning = {**asdict(text), "preview": preview, "name": learning.name}

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def desk(self) -> ExamplesDesk:
        """What the gallery shows."""
        return self.app.gallery.desk

    def _show_found(self, segmenter: InteractiveSegmenter) -> None:
        found = self.desk.summary(segmenter, self.app.propagate.axis)
        self.state.update({
            "examples_objects": [for_page(row) for row in found.objects],
            "examples_ran": found.ran,
            "examples_unsure": None if found.unsure is None else for_page(found.unsure),
            "examples_vouched": found.vouched,
            "examples_accepted": list(found.accepted),
        })  # fmt: skip

"""Prompting from examples: which objects, where, how sure each slice is, what a person accepts, and learning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.mrml.segment_list import hexadecimal
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.prompts_panel import VIEWS
from AutoPromptSAMLib.web.shortcuts import hint
from AutoPromptSAMLib.web.supports_gallery import data_address
from AutoPromptSAMLib.web.supports_templates import PANEL

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter

PREVIEW = 256  # pixels a side


class SupportsPanel(Panel):
    """What the chosen set of the gallery does to the open image."""

    _unsure: tuple[str, int] | None = None  # where the person was led last

    @property
    def template(self) -> str:  # type: ignore[override]
        """With the keys in the tooltips."""
        text = PANEL
        for name in ("run", "unsure", "accept", "open"):
            text = text.replace(f"{name.upper()}_KEY", hint(f"examples:{name}"))
        return text

    @property
    def axis(self) -> int:
        """The array axis of the slices that the page works along."""
        return self.app.need_segmenter().volume.geometry.array_axis(self.state.propagate_view)

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Nothing was found on the new image yet."""
        self._unsure = None
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
        chosen, segmenter = self.app.gallery.chosen, self.app.segmenter
        names = () if chosen is None else chosen.names
        self.state.examples_off = [name for name in self.state.examples_off if name in names]
        if segmenter is None:
            self.state.examples_objects = [] if chosen is None else [_object(each, None) for each in chosen.objects]
            return
        views = [pair.view for pair in chosen.pairs if pair.view] if chosen is not None else []
        ran = any(run.automatic for run in self._runs(segmenter))
        if views and not ran and self.state.guide == "examples" and segmenter.volume.geometry.shape[0] > 1:
            self.state.propagate_view = max(VIEWS, key=views.count)
        self._show_found(segmenter)

    # -- a run --------------------------------------------------------------------------------------------------------

    def on_examples_run(self, only: bool = False) -> None:
        """Find the ticked objects on the slices of the range, or ``only`` on the shown one."""
        segmenter = self.app.need_segmenter()
        self.state.guide = "examples"
        chosen = self.app.gallery.fresh()
        if chosen is None or not chosen.pairs:
            self.app.gallery.on_examples_open()
            raise PromptError("There are no examples to go by; make some from this image or from files.")
        if self.state.phase == "propagating":
            return
        annotated = {name for pair in chosen.pairs for name in pair.objects}
        names = [name for name in chosen.names if name in annotated and name not in self.state.examples_off]
        if not names:
            raise PromptError("No object is ticked; tick at least one of those that the examples show.")
        first, last = int(self.state.propagate_first), int(self.state.propagate_last)
        if only:
            first = last = self._shown
        self._unsure = None
        segmenter.prompt_automatically(chosen, names, first, last, self.axis)

    def on_examples_one(self) -> None:
        """Find the objects on the shown slice only."""
        self.on_examples_run(only=True)

    def on_examples_unsure(self, name: str = "") -> None:
        """Show the least sure slice, of one segment if it is named; again: the next one."""
        segmenter = self.app.need_segmenter()
        wanted = next((info.id for info in segmenter.segments if info.name == name), None)
        if name and wanted is None:
            return
        rows = [(id, index) for id, index, _ in segmenter.unsure_slices(wanted)]
        if not rows:
            raise PromptError("No slice is unsure: prompt automatically first, or all slices are accepted already.")
        at = rows.index(self._unsure) + 1 if self._unsure in rows and self._shown == self._unsure[1] else 0
        self._unsure = rows[at % len(rows)]
        segment_id, index = self._unsure
        run = segmenter.propagation(segment_id)
        assert run is not None
        segmenter.active_segment = segment_id
        view = next(view for view in VIEWS if segmenter.volume.geometry.array_axis(view) == run.axis)
        self.app.views.on_slice_jump(view, index)

    def on_examples_accept(self) -> None:
        """What was found on the shown slice is right: it stays, and is an example when the rest is run again."""
        self.app.need_segmenter().accept_slice(self.axis, self._shown)

    def on_examples_tick(self, name: str) -> None:
        """Look for an object, or do not."""
        off = list(self.state.examples_off)
        self.state.examples_off = [n for n in off if n != name] if name in off else [*off, name]

    # -- learning -----------------------------------------------------------------------------------------------------

    def on_examples_learn(self) -> None:
        """Learn the chosen set for the chosen number of minutes."""
        chosen = self.app.gallery.need()
        if len(chosen.pairs) < 2:
            raise PromptError(f'Learning needs at least two examples; add more to "{chosen.name}".')
        self.app.need_segmenter().learn(chosen, self.app.gallery.library, float(self.state.examples_minutes))

    def on_examples_learn_cancel(self) -> None:
        """End learning; the best so far is kept."""
        self.app.need_segmenter().cancel_learning()

    def _show_learning(self, segmenter: InteractiveSegmenter) -> None:
        learning = segmenter.learning
        if learning is None:
            self.state.examples_learning = None
            self.app.gallery.list()  # a set may have learned something
            return
        from PIL import Image

        preview = "" if learning.preview is None else data_address(Image.fromarray(learning.preview), PREVIEW)
        percent = round(100 * learning.done / learning.total) if learning.total else 0
        left = "" if learning.preview is None else _minutes_left(float(self.state.examples_minutes), percent)
        self.state.examples_learning = {"text": learning.text, "left": left, "percent": percent, "preview": preview}

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _shown(self) -> int:
        """The slice that is shown in the direction that the page works along."""
        return int(self.state[f"view_{self.state.propagate_view}"]["index"])

    def _runs(self, segmenter: InteractiveSegmenter) -> list[Any]:
        found = [segmenter.propagation(info.id) for info in segmenter.segments]
        return [run for run in found if run is not None]

    def _show_found(self, segmenter: InteractiveSegmenter) -> None:
        chosen = self.app.gallery.chosen
        if chosen is None:
            self.state.update({"examples_objects": [], "examples_ran": False, "examples_unsure": None})
            self.state.update({"examples_vouched": 0, "examples_accepted": []})
            return
        ids = {info.name: info.id for info in reversed(segmenter.segments)}
        runs = {name: segmenter.propagation(ids[name]) for name in chosen.names if name in ids}
        runs = {name: run for name, run in runs.items() if run is not None and run.automatic}
        self.state.examples_objects = [_object(each, runs.get(each.name)) for each in chosen.objects]
        self.state.examples_ran = bool(runs)
        names = {id: name for name, id in ids.items()}
        unsure = [row for row in segmenter.unsure_slices() if row[0] in names]  # the least sure first
        self.state.examples_unsure = None
        if unsure:
            segment_id, index, sure = unsure[0]
            name = names[segment_id]
            color = next((each["color"] for each in self.state.examples_objects if each["name"] == name), "#FFFFFF")
            self.state.examples_unsure = {"name": name, "color": color, "slice": index, "sure": _percent(sure)}
        vouched = segmenter.vouched_slices(self.axis, [ids[name] for name in chosen.names if name in ids])
        self.state.examples_vouched = len(vouched)
        self.state.examples_accepted = segmenter.accepted_slices(self.axis)


def _object(each: Any, run: Any) -> dict[str, Any]:
    """An object of the set for the page; ``sure``: the mean over the slices that it was found on, in percent."""
    agreement = {} if run is None else run.agreement
    sure = _percent(sum(agreement.values()) / len(agreement)) if agreement else None
    text = ""
    if agreement:
        worst = min(agreement, key=agreement.__getitem__)
        count = f"{len(agreement)} slice{'' if len(agreement) == 1 else 's'}"
        text = f"Found on {count}, {sure} % sure on average; least sure: slice {worst}, {_percent(agreement[worst])} %"
    return {"name": each.name, "color": hexadecimal(each.colour), "sure": sure, "text": text, "ran": run is not None}


def _minutes_left(minutes: float, percent: int) -> str:
    left = math.ceil(minutes * (100 - percent) / 100)
    return f"at most {left} min left" if left else "almost done"


def _percent(sure: float) -> int:
    return round(100 * sure)

"""Prompting from examples: what is looked for, where to look, learning, and what is shown of all that."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.mrml.examples import matched
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.learning import Learning
from AutoPromptSAMLib.supports import SupportLibrary
from AutoPromptSAMLib.workbench.example_rows import ExamplesSummary, ObjectRow, Unsure, object_row, percent
from AutoPromptSAMLib.workbench.example_sets import ExampleSets
from AutoPromptSAMLib.workbench.prompt_rows import VIEWS


@dataclass(frozen=True)
class LearningText:
    """Learning in words: what is done, how long it takes still ("" when unknown), how far it is in percent."""

    text: str
    left: str
    percent: int


class ExamplesDesk(ExampleSets):
    """What the chosen set does to the image of a segmenter."""

    def __init__(self, library: SupportLibrary | None = None) -> None:
        super().__init__(library)
        self._unsure: tuple[str, int] | None = None  # segment and slice where the person was led last

    # -- a run --------------------------------------------------------------------------------------------------------

    def objects_to_find(self, off: Collection[str]) -> list[str]:
        """What is annotated in the chosen set, read anew, and not ``off``; PromptError when there is nothing."""
        chosen = self.fresh()
        if chosen is None or not chosen.pairs:
            raise PromptError("There are no examples to go by; make some from this image or from files.")
        annotated = {name for pair in chosen.pairs for name in pair.objects}
        names = [name for name in chosen.names if name in annotated and name not in off]
        if not names:
            raise PromptError("No object is ticked; tick at least one of those that the examples show.")
        return names

    def run(self, segmenter: InteractiveSegmenter, off: Collection[str], first: int, last: int, axis: int) -> None:
        """Find the objects that are not ``off`` on slices ``first`` to ``last`` along ``axis``."""
        names = self.objects_to_find(off)
        self.forget()
        segmenter.examples.run(self.need(), names, first, last, axis)

    def forget(self) -> None:
        """Lead to the least sure slice first again, as after a run and on another image."""
        self._unsure = None

    def next_unsure(self, segmenter: InteractiveSegmenter, shown: int, name: str = "") -> tuple[str, int, int]:
        """Segment, axis and index of the least sure slice, of the chosen set's objects or of the one called ``name``.

        Without a set, as in a scene of somebody else, of all that examples found. The next one when the person still
        is where the last call led: on slice ``shown``. PromptError when none is unsure.
        """
        wanted = [id for object_name, id in self._ids(segmenter).items() if name in ("", object_name)]
        anything = self.chosen is None and not name
        rows = [(id, index) for id, index, _ in segmenter.examples.unsure_slices() if anything or id in wanted]
        if not rows:
            raise PromptError("No slice is unsure: prompt automatically first, or all slices are accepted already.")
        at = rows.index(self._unsure) + 1 if self._unsure in rows and shown == self._unsure[1] else 0
        self._unsure = segment_id, index = rows[at % len(rows)]
        run = segmenter.propagation(segment_id)
        assert run is not None
        return segment_id, run.axis, index

    def view_of_examples(self, segmenter: InteractiveSegmenter | None = None) -> str | None:
        """The view that most examples show, None when they show pictures.

        With a ``segmenter``: None, too, when its image has only one slice or was prompted from examples already.
        """
        views = [] if self.chosen is None else [pair.view for pair in self.chosen.pairs if pair.view]
        if segmenter is not None:
            runs = [segmenter.propagation(info.id) for info in segmenter.segments]
            if segmenter.volume.geometry.shape[0] == 1 or any(run is not None and run.automatic for run in runs):
                return None
        return max(VIEWS, key=views.count) if views else None

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn(self, segmenter: InteractiveSegmenter, minutes: float) -> None:
        """Learn the chosen set for so many minutes at most; PromptError when it has less than two examples."""
        chosen = self.need()
        if len(chosen.pairs) < 2:
            raise PromptError(f'Learning needs at least two examples; add more to "{chosen.name}".')
        segmenter.learner.learn(chosen, self.library, minutes)

    def learning_text(self, learning: Learning, minutes: float) -> LearningText:
        """How far learning is, of so many minutes at most."""
        done = round(100 * learning.done / learning.total) if learning.total else 0
        left = "" if learning.preview is None else self.minutes_left(minutes, done)
        return LearningText(learning.text, left, done)

    @staticmethod
    def minutes_left(minutes: float, percent: int) -> str:
        """How long learning takes still, in words."""
        left = math.ceil(minutes * (100 - percent) / 100)
        return f"at most {left} min left" if left else "almost done"

    # -- what is shown ------------------------------------------------------------------------------------------------

    def object_rows(self, segmenter: InteractiveSegmenter | None) -> list[ObjectRow]:
        """The objects of the chosen set, and how sure the slices are that each was found on."""
        return self._rows(segmenter, {} if segmenter is None else self._ids(segmenter))

    def summary(self, segmenter: InteractiveSegmenter, axis: int) -> ExamplesSummary:
        """What the chosen set found on an image; ``axis``: of the slices that the person works along."""
        if self.chosen is None:
            return ExamplesSummary()
        ids = self._ids(segmenter)
        rows = self._rows(segmenter, ids)
        vouched = segmenter.examples.vouched_slices(axis, list(ids.values()))
        return ExamplesSummary(
            tuple(rows),
            any(row.ran for row in rows),
            _least_sure(segmenter, ids, rows),
            len(vouched),
            tuple(segmenter.examples.accepted_slices(axis)),
        )

    def _ids(self, segmenter: InteractiveSegmenter) -> dict[str, str]:
        """The segments of the chosen set's objects, by their names."""
        names = () if self.chosen is None else self.chosen.names
        return matched(names, {info.id: info.name for info in segmenter.segments})

    def _rows(self, segmenter: InteractiveSegmenter | None, ids: Mapping[str, str]) -> list[ObjectRow]:
        objects = () if self.chosen is None else self.chosen.objects
        runs = {} if segmenter is None else {name: segmenter.propagation(id) for name, id in ids.items()}
        runs = {name: run for name, run in runs.items() if run is not None and run.automatic}
        return [object_row(each, runs.get(each.name)) for each in objects]


def _least_sure(segmenter: InteractiveSegmenter, ids: Mapping[str, str], rows: Sequence[ObjectRow]) -> Unsure | None:
    by_id = {ids[row.name]: row for row in rows if row.name in ids}
    for segment_id, index, sure in segmenter.examples.unsure_slices():  # the least sure first
        if segment_id in by_id:
            return Unsure(by_id[segment_id].name, by_id[segment_id].colour, index, percent(sure))
    return None

"""Examples (supports) in a scene: segments found by them, slices that a person vouches for, new examples.

A set of supports names its objects; prompts and voxels belong to segments. A run goes by the names: an object is the
segment of that name, which is made, in the object's colour, where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume
from AutoPromptSAMLib.geometry.views import view_of
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.mrml.learning import TaskLearning
from AutoPromptSAMLib.mrml.reports import Message, Propagation, Status
from AutoPromptSAMLib.mrml.segment_list import is_visible
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.names import different
from AutoPromptSAMLib.prompts import MaskPrompt
from AutoPromptSAMLib.session.protocol import AutomaticResult
from AutoPromptSAMLib.session.seeds import seed_slices
from AutoPromptSAMLib.supports import SupportObject, SupportPair, SupportSet, pairs_from_volume

MakePairs = Callable[[], list[SupportPair]]


class AutomaticPrompting(TaskLearning):
    """Segments found by examples; ``InteractiveSegmenter`` adds propagation and files."""

    _given: tuple[Any, ...] | None = None  # which supports the session has
    _last_pushed: Step | None = None

    # -- a run --------------------------------------------------------------------------------------------------------

    def prompt_automatically(
        self,
        supports: SupportSet,
        objects: Sequence[str] | None = None,
        first: int = 0,
        last: int | None = None,
        axis: int | None = None,
    ) -> None:
        """Find ``objects`` (default: all) of a set on slices ``first`` to ``last`` along array axis ``axis``.

        ``axis`` None is the one whose slices the set shows. All of it is one undo step. Slices that a person prompted
        or painted keep what is there, and are examples of the others.
        """
        if not self._is_free():
            return
        self._take_edits()
        before, runs = self._active, dict(self._runs)
        step = Step(f"Prompt from {supports.name}", self._travel, by_hand=dict(self.kept.by_hand))
        with self._saying(), self._taken_back(step):
            from AutoPromptSAMLib.session.automatic import Automatic  # here, for it brings scipy

            prompting, unlike = Automatic(supports), _unlike(supports, self.volume)
            along = prompting.axis(self.volume.geometry) if axis is None else axis
            ids, new = self._targets(supports, prompting.checked_objects(objects))
            try:
                step.prompt_steps = sum(self._masks.take_painted(id, along) for id in ids.values())
                self._give(supports, ids)
                self._since_run.clear()
                end = self.volume.geometry.shape[along] - 1 if last is None else last
                kept = {id: self._elsewhere(id, along, first, end) for id in ids.values()}
                found = {id: dict(run.agreement) for id, run in kept.items()}
                self._propagating = self.session.prompt_automatically(
                    list(ids.values()),
                    along,
                    first,
                    last,
                    lambda id, index, crop, sure: self._call(
                        lambda: self._show_found(id, along, index, crop, sure, found, step)
                    ),
                    self._later(self._on_progress),
                    self._later(lambda job: self._found(job, step, kept)),
                )
            except AutoPromptSAMError:
                for id in new:
                    self._drop(id)
                self._activate(before)
                raise
            undone, redone = self._adding(new)

            def undo() -> None:
                undone()
                after.update(self._runs)
                self._runs = dict(runs)
                self._activate(before if before in self.kept.known else next(iter(self.kept.known), None))

            def redo() -> None:
                redone()
                self._runs = dict(after)
                self.changed("propagation")

            after: dict[str, Propagation] = {}
            step.undone, step.redone = undo, redo
            self._push(step)
            for id, sure in found.items():
                self._runs[id] = replace(kept[id], agreement=sure, complete=False)
            if unlike is not None:
                self.said(Message(unlike, "warning"))
            self._running = Status("propagating", f"Prompting from {supports.name}")
            self._set_status()
            if self._active not in found:
                self._activate(next(iter(found)))
            for what in ("segments", "prompts", "propagation"):
                self.changed(what)

    def unsure_slices(self) -> list[tuple[str, int, float]]:
        """Segment, slice and confidence (0 to 1) of what examples found, the least sure first.

        Without the slices that a person has prompted or painted since.
        """
        rows = []
        for id, run in self._runs.items():
            if run.automatic and id in self.kept.known:
                vouched = self._vouched(id, run.axis)
                rows += [(id, index, sure) for index, sure in run.agreement.items() if index not in vouched]
        return sorted(rows, key=lambda row: (row[2], row[1]))

    def accept_slice(self, axis: int, index: int) -> None:
        """Vouch for what is seen on a slice that examples prompted: re-runs keep it exactly, and go by it on others.

        Segments that are hidden are not vouched for: nobody looked at them.

        A prompt that is moved there later takes that back for its segment (``replace_prompt``), and so does a new box.
        """
        taken = []
        step = Step(f"Accept slice {index}", self._travel, by_hand=dict(self.kept.by_hand))
        with self._saying(), self._taken_back(step):
            for id, run in self._runs.items():
                content = self.kept.slice_of(id, axis, index)
                if not run.automatic or run.axis != axis or content.is_empty or not is_visible(self.kept.node, id):
                    continue
                taken.append(id)
                if index not in self._exact(id, axis):
                    self.session.add_prompt(id, MaskPrompt(content, self.volume.geometry))
                    step.prompt_steps += 1
            if not taken:
                raise PromptError(
                    f"Examples found nothing on slice {index} that is shown; go to a slice with a result, or show the "
                    "segment."
                )
            if step.prompt_steps:
                self._push(step)
                self.changed("prompts")

    def accepted_slices(self, axis: int) -> list[int]:
        """The slices along ``axis`` on which all that examples found was accepted or painted."""
        runs = {id: run for id, run in self._runs.items() if run.automatic and run.axis == axis}
        exact = {id: self._exact(id, axis) for id in runs if id in self.kept.known}

        def is_whole(index: int) -> bool:
            return all(index in on or self.kept.slice_of(id, axis, index).is_empty for id, on in exact.items())

        return [index for index in sorted(set().union(*exact.values())) if is_whole(index)]

    # -- examples of this image ---------------------------------------------------------------------------------------

    def vouched_slices(self, axis: int, segment_ids: Sequence[str]) -> dict[int, tuple[str, ...]]:
        """The slices along ``axis`` that a person prompted, painted or accepted: which of these segments are there."""
        found: dict[int, list[str]] = {}
        for id in segment_ids:
            for index in self._vouched(id, axis):
                if not self.kept.slice_of(id, axis, index).is_empty:
                    found.setdefault(index, []).append(id)
        return {index: tuple(ids) for index, ids in sorted(found.items())}

    def new_pairs(
        self, segment_ids: Sequence[str], axis: int | None = None
    ) -> tuple[tuple[SupportObject, ...], MakePairs]:
        """What segments show, as a set's objects, and a function that makes its pairs, for any thread.

        ``axis`` None: slices that are spread over the segments (``supports.choice``). Else the vouched slices along
        that axis, with the segments that were vouched for. PromptError when there is nothing.
        """
        ids = [id for id in segment_ids if not self.kept.known.get(id, Crop.empty()).is_empty]
        if not ids:
            raise PromptError("None of the segments has voxels on this image; draw one first.")
        objects = {id: self._object_of(id) for id in ids}
        crops = {id: self.kept.known[id] for id in ids}
        volume, mapping = self.volume, self.mapping
        slices = {} if axis is None else self.vouched_slices(axis, ids)
        if axis is not None and not slices:
            raise PromptError(
                "No slice of this image was prompted, painted or accepted yet; accept the slices that are right."
            )

        def make(chosen: Sequence[str], **more: Any) -> list[SupportPair]:
            masks = {objects[id].name: crops[id] for id in chosen}
            return pairs_from_volume(volume, masks, mapping=mapping, **more)

        def run() -> list[SupportPair]:
            if axis is None:
                return make(ids)
            view = view_of(volume.geometry, axis)
            return [pair for n, on in slices.items() for pair in make(on, view=view, slices=[n], complete=False)]

        return tuple(objects.values()), run

    # -- inside -------------------------------------------------------------------------------------------------------

    def _targets(self, supports: SupportSet, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """The segment id of each object, and which of them were added for it."""
        there = matched(names, {id: self._name(id) for id in self.kept.known})
        ids = {name: id for name, id in there.items() if not self._is_locked(id)}
        wanted = [each for each in supports.objects if each.name in names and each.name not in there]
        if not ids and not wanted:
            raise PromptError("All segments that the examples show are locked; unlock one in the segment list first.")
        new = []
        for each in wanted:
            with self.kept.own_changes():
                id = self.writer.add_segment(each.name, each.colour)
            self.kept.known[id] = Crop.empty()
            if each.terminology:
                self._segment(id).SetTerminology(each.terminology)
            ids[each.name] = id
            new.append(id)
        return ids, new

    def _give(self, supports: SupportSet, ids: Mapping[str, str]) -> None:
        """Let the session go by a set whose objects are called as their segments."""
        pairs = tuple((pair.id, pair.objects) for pair in supports.pairs)
        given = (supports.id, pairs, supports.names, dict(supports.tasks), dict(ids))
        if given != self._given:
            self._given = None
            self.session.set_supports(_renamed(supports, ids))
            self._given = given

    def _show_found(
        self, id: str, axis: int, index: int, crop: Crop, sure: float, found: dict[str, dict[int, float]], step: Step
    ) -> None:
        if self._closed or index in self._own_slices(id, axis):
            return
        if crop.is_empty:
            found[id].pop(index, None)
        else:
            found[id][index] = sure
        self._show_slice(id, axis, index, crop, step)
        self.changed("propagation")

    def _found(self, job: Job[AutomaticResult], step: Step, kept: Mapping[str, Propagation]) -> None:
        self._propagating = self._running = None
        with self._saying():
            if job.error is not None and not step.flips and self._last_pushed is step:
                self._travel(step, False)
                step.obsolete = True
                self.undo_stack.undo()  # which drops it
            if isinstance(job.error, Cancelled):
                self.said(Message("Cancelled before a slice was finished; nothing was changed."))
            elif job.error is not None:
                raise job.error
            else:
                self._keep(job.result(), kept)
        self._set_status()
        self.changed("propagation")

    def _elsewhere(self, segment_id: str, axis: int, first: int, last: int) -> Propagation:
        """What the last run of a segment found on the slices that a run from ``first`` to ``last`` leaves alone."""
        run = self._runs.get(segment_id)
        if run is None or not run.automatic or run.axis != axis:
            return Propagation(axis, automatic=True)
        sure = {index: value for index, value in run.agreement.items() if not first <= index <= last}
        return replace(run, agreement=sure, seeds=[index for index in run.seeds if not first <= index <= last])

    def _keep(self, result: AutomaticResult, kept: Mapping[str, Propagation]) -> None:
        nowhere = []
        for id, sure in result.confidence.items():
            if id in self.kept.known:
                seeds = sorted({*kept[id].seeds, *result.corrected.get(id, ())})
                together = dict(sorted({**kept[id].agreement, **sure}.items()))
                self._runs[id] = Propagation(result.axis, together, seeds, result.complete, True)
                nowhere += [] if sure else [f'"{self._name(id)}"']
        if not result.complete:
            self.said(Message("Cancelled; the slices that were finished are kept."))
        elif nowhere:
            names = " and ".join(nowhere)
            self.said(
                Message(f"{names} was found on none of these slices; if it is there, box it on one and run again.")
            )

    def _vouched(self, segment_id: str, axis: int) -> set[int]:
        """Slices that a person prompted, painted or accepted."""
        prompted = seed_slices(self.prompts(segment_id), self.volume.geometry, axis)
        return prompted | set(self.kept.painted_slices(segment_id, axis))

    def _exact(self, segment_id: str, axis: int) -> set[int]:
        """Slices whose mask a person painted or accepted."""
        masks = [prompt for prompt in self.prompts(segment_id) if isinstance(prompt, MaskPrompt)]
        return seed_slices(masks, self.volume.geometry, axis) | set(self.kept.painted_slices(segment_id, axis))

    def _object_of(self, segment_id: str) -> SupportObject:
        segment = self._segment(segment_id)
        red, green, blue = segment.GetColor()
        names = different(self._name(id) for id in self.kept.known)
        name = names[list(self.kept.known).index(segment_id)]
        return SupportObject(name, (red, green, blue), segment.GetTerminology() or "")

    def _push(self, step: Step) -> None:
        self._last_pushed = step
        super()._push(step)


def _unlike(supports: SupportSet, volume: Volume) -> str | None:
    """What makes it unlikely that examples fit an image, by the first of them."""
    are_colour = _shows_colour(supports.pairs[0].image)
    is_colour = volume.is_colour and _shows_colour(volume.array)
    if are_colour == is_colour:
        return None
    here, there = ("in colour", "grey") if is_colour else ("grey", "in colour")
    return f'The examples of "{supports.name}" are {there} and this image is {here}; what is found may well be wrong.'


def _shows_colour(image: np.ndarray) -> bool:
    """Whether an image (..., 3) is not grey all over, as an X-ray that was saved in colour is."""
    return bool((image != image[..., :1]).any())


def matched(objects: Iterable[str], segments: Mapping[str, str]) -> dict[str, str]:
    """The segment (id -> name) of each object that has one.

    It is the first of the object's name, or else the first that no other object has and that a person takes for the
    same: "Spleen" and "spleen " are one.
    """
    objects = list(objects)
    found: dict[str, str] = {}
    for same in (str, lambda name: " ".join(name.split()).casefold()):
        for name in objects:
            free = [id for id, called in segments.items() if same(called) == same(name) and id not in found.values()]
            if name not in found and free:
                found[name] = free[0]
    return found


def _renamed(supports: SupportSet, ids: Mapping[str, str]) -> SupportSet:
    """A set whose objects are called by ``ids``; the others keep their names, with a sign that no id begins with."""
    names = {name: ids.get(name, f"– {name}") for name in supports.names}

    def pair(of: SupportPair) -> SupportPair:
        def read() -> tuple[np.ndarray, dict[str, np.ndarray]]:
            return of.image, {names[name]: mask for name, mask in of.masks.items()}

        return replace(of, objects=tuple(names[name] for name in of.objects), read=read)

    objects = tuple(replace(each, name=names[each.name]) for each in supports.objects)
    return replace(supports, objects=objects, pairs=tuple(map(pair, supports.pairs)))

"""Examples (supports) in a scene: segments found by them, slices that a person vouches for, new examples.

A set of supports names its objects; prompts and voxels belong to segments. A run goes by the names: an object is the
segment of that name, which is made, in the object's colour, where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from AutoPromptSAMLib.errors import AutoPromptSAMError, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume
from AutoPromptSAMLib.geometry.views import view_of
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.mrml.reports import Message, Propagation
from AutoPromptSAMLib.mrml.segment_list import is_visible, segment_of
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.mrml.volume_runs import NOTHING, VolumeRuns
from AutoPromptSAMLib.names import different
from AutoPromptSAMLib.prompts import MaskPrompt
from AutoPromptSAMLib.session.protocol import AutomaticResult
from AutoPromptSAMLib.supports import SupportObject, SupportPair, SupportSet, pairs_from_volume

MakePairs = Callable[[], list[SupportPair]]


class Examples:
    """What examples do for a segmenter."""

    def __init__(self, segmenter: VolumeRuns) -> None:
        self.segmenter = segmenter
        self._given: tuple[Any, ...] | None = None  # which supports the session has

    # -- a run --------------------------------------------------------------------------------------------------------

    def run(
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
        segmenter = self.segmenter
        if not segmenter.is_free():
            return
        segmenter.take_edits()
        before = segmenter.active_segment
        step = segmenter.new_step(f"Prompt from {supports.name}")
        with segmenter.saying(), segmenter.taken_back(step):
            from AutoPromptSAMLib.session.automatic import Automatic  # here, for it brings scipy

            prompting, unlike = Automatic(supports), _unlike(supports, segmenter.volume)
            along = prompting.axis(segmenter.volume.geometry) if axis is None else axis
            ids, new = self._targets(supports, prompting.checked_objects(objects))
            try:
                step.prompt_steps = sum(segmenter.present_masks.take_painted(id, along) for id in ids.values())
                self._give(supports, ids)
                end = segmenter.volume.geometry.shape[along] - 1 if last is None else last
                kept = {id: self._elsewhere(id, along, first, end) for id in ids.values()}
                found = {id: dict(run.agreement) for id, run in kept.items()}
                segmenter.start(
                    f"Prompting from {supports.name}",
                    lambda: segmenter.session.prompt_automatically(
                        list(ids.values()),
                        along,
                        first,
                        last,
                        lambda id, index, crop, sure: segmenter.call(
                            lambda: self._show_found(id, along, index, crop, sure, found, step)
                        ),
                        segmenter.later(segmenter.on_progress),
                        segmenter.later(lambda job: segmenter.ended(job, lambda job: self._found(job, step, kept))),
                    ),
                )
            except AutoPromptSAMError:
                for id in new:
                    segmenter.drop_segment(id)
                segmenter.activate(before)
                raise
            undone, step.redone = segmenter.adding(new)

            def undo() -> None:
                undone()
                known = segmenter.kept.known
                segmenter.activate(before if before in known else next(iter(known), None))

            step.undone = undo
            segmenter.undo_with_runs(step)
            segmenter.push(step)
            for id, sure in found.items():
                segmenter.runs[id] = replace(kept[id], agreement=sure, complete=False)
            if unlike is not None:
                segmenter.said(Message(unlike, "warning"))
            if segmenter.active_segment not in found:
                segmenter.activate(next(iter(found)))
            for what in ("segments", "prompts", "propagation"):
                segmenter.changed(what)

    def unsure_slices(self) -> list[tuple[str, int, float]]:
        """Segment, slice and confidence (0 to 1) of what examples found, the least sure first.

        Without the slices that a person has prompted or painted since.
        """
        rows = []
        for id, run in self.segmenter.runs.items():
            if run.automatic and id in self.segmenter.kept.known:
                vouched = self.segmenter.vouched(id, run.axis)
                rows += [(id, index, sure) for index, sure in run.agreement.items() if index not in vouched]
        return sorted(rows, key=lambda row: (row[2], row[1]))

    def accept(self, axis: int, index: int) -> None:
        """Vouch for what is seen on a slice that examples prompted: re-runs keep it exactly, and go by it on others.

        Segments that are hidden are not vouched for: nobody looked at them. A prompt that is moved there later takes
        that back for its segment (``replace_prompt``), and so does a new box.
        """
        segmenter, taken = self.segmenter, []
        step = segmenter.new_step(f"Accept slice {index}")
        with segmenter.saying(), segmenter.taken_back(step):
            for id, run in segmenter.runs.items():
                content = segmenter.kept.slice_of(id, axis, index)
                if not run.automatic or run.axis != axis or content.is_empty:
                    continue
                if not is_visible(segmenter.segmentation_node, id):
                    continue
                taken.append(id)
                if index not in segmenter.exact(id, axis):
                    segmenter.session.add_prompt(id, MaskPrompt(content, segmenter.volume.geometry))
                    step.prompt_steps += 1
            if not taken:
                raise PromptError(
                    f"Examples found nothing on slice {index} that is shown; go to a slice with a result, or show the "
                    "segment."
                )
            if step.prompt_steps:
                segmenter.push(step)
                segmenter.changed("prompts")

    def accepted_slices(self, axis: int) -> list[int]:
        """The slices along ``axis`` on which all that examples found was accepted or painted."""
        segmenter, kept = self.segmenter, self.segmenter.kept
        runs = {id: run for id, run in segmenter.runs.items() if run.automatic and run.axis == axis}
        exact = {id: segmenter.exact(id, axis) for id in runs if id in kept.known}

        def is_whole(index: int) -> bool:
            return all(index in on or kept.slice_of(id, axis, index).is_empty for id, on in exact.items())

        return [index for index in sorted(set().union(*exact.values())) if is_whole(index)]

    # -- examples of this image ---------------------------------------------------------------------------------------

    def vouched_slices(self, axis: int, segment_ids: Sequence[str]) -> dict[int, tuple[str, ...]]:
        """The slices along ``axis`` that a person prompted, painted or accepted: which of these segments are there."""
        found: dict[int, list[str]] = {}
        for id in segment_ids:
            for index in self.segmenter.vouched(id, axis):
                if not self.segmenter.kept.slice_of(id, axis, index).is_empty:
                    found.setdefault(index, []).append(id)
        return {index: tuple(ids) for index, ids in sorted(found.items())}

    def new_pairs(
        self, segment_ids: Sequence[str], axis: int | None = None
    ) -> tuple[tuple[SupportObject, ...], MakePairs]:
        """What segments show, as a set's objects, and a function that makes its pairs, for any thread.

        ``axis`` None: slices that are spread over the segments (``supports.choice``). Else the vouched slices along
        that axis, with the segments that were vouched for. PromptError when there is nothing.
        """
        ids = [id for id in segment_ids if not self.segmenter.kept.known.get(id, Crop.empty()).is_empty]
        if not ids:
            raise PromptError("None of the segments has voxels on this image; draw one first.")
        objects = {id: self._object_of(id) for id in ids}
        crops = {id: self.segmenter.kept.known[id] for id in ids}
        volume, mapping = self.segmenter.volume, self.segmenter.mapping
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
        segmenter, kept = self.segmenter, self.segmenter.kept
        there = matched(names, {id: segmenter.name_of(id) for id in kept.known})
        ids = {name: id for name, id in there.items() if not segmenter.is_locked(id)}
        wanted = [each for each in supports.objects if each.name in names and each.name not in there]
        if not ids and not wanted:
            raise PromptError("All segments that the examples show are locked; unlock one in the segment list first.")
        new = []
        for each in wanted:
            with kept.own_changes():
                id = segmenter.writer.add_segment(each.name, each.colour)
            kept.known[id] = Crop.empty()
            if each.terminology:
                segment_of(segmenter.segmentation_node, id).SetTerminology(each.terminology)
            ids[each.name] = id
            new.append(id)
        return ids, new

    def _give(self, supports: SupportSet, ids: Mapping[str, str]) -> None:
        """Let the session go by a set whose objects are called as their segments."""
        pairs = tuple((pair.id, pair.objects) for pair in supports.pairs)
        given = (supports.id, pairs, supports.names, dict(supports.tasks), dict(ids))
        if given != self._given:
            self._given = None
            self.segmenter.session.set_supports(_renamed(supports, ids))
            self._given = given

    def _show_found(
        self, id: str, axis: int, index: int, crop: Crop, sure: float, found: dict[str, dict[int, float]], step: Step
    ) -> None:
        if self.segmenter.is_closed or index in self.segmenter.own_slices(id, axis):
            return
        if crop.is_empty:
            found[id].pop(index, None)
        else:
            found[id][index] = sure
        self.segmenter.show_slice(id, axis, index, crop, step)
        self.segmenter.changed("propagation")

    def _found(self, job: Job[AutomaticResult], step: Step, kept: Mapping[str, Propagation]) -> bool:
        segmenter = self.segmenter
        if job.error is not None:
            segmenter.drop_step(step)
        is_whole = segmenter.is_whole(job, NOTHING)
        if job.error is not None:
            return False
        result, nowhere = job.result(), []
        for id, sure in result.confidence.items():
            if id in segmenter.kept.known:
                seeds = sorted({*kept[id].seeds, *result.corrected.get(id, ())})
                together = dict(sorted({**kept[id].agreement, **sure}.items()))
                segmenter.runs[id] = Propagation(result.axis, together, seeds, result.complete, True)
                nowhere += [] if sure else [f'"{segmenter.name_of(id)}"']
        if is_whole and nowhere:
            names = " and ".join(nowhere)
            segmenter.said(
                Message(f"{names} was found on none of these slices; if it is there, box it on one and run again.")
            )
        return is_whole

    def _elsewhere(self, segment_id: str, axis: int, first: int, last: int) -> Propagation:
        """What the last run of a segment found on the slices that a run from ``first`` to ``last`` leaves alone."""
        run = self.segmenter.runs.get(segment_id)
        if run is None or not run.automatic or run.axis != axis:
            return Propagation(axis, automatic=True)
        sure = {index: value for index, value in run.agreement.items() if not first <= index <= last}
        return replace(run, agreement=sure, seeds=[index for index in run.seeds if not first <= index <= last])

    def _object_of(self, segment_id: str) -> SupportObject:
        segmenter = self.segmenter
        segment, ids = segment_of(segmenter.segmentation_node, segment_id), list(segmenter.kept.known)
        red, green, blue = segment.GetColor()
        name = different(map(segmenter.name_of, ids))[ids.index(segment_id)]
        return SupportObject(name, (red, green, blue), segment.GetTerminology() or "")


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

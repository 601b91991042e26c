"""Prompts of segments and what is found on their slices: each answer belongs to the step that asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import slicer

from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled, PromptError
from AutoPromptSAMLib.geometry import Crop, Plane, slab_thickness, slice_plane
from AutoPromptSAMLib.intensity import IntensityMapping
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.mrml.present_masks import PresentMasks
from AutoPromptSAMLib.mrml.reports import Message, Status
from AutoPromptSAMLib.mrml.segment_editing import SegmentEditing
from AutoPromptSAMLib.mrml.segments import slice_region
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.prompts import MaskPrompt, Prompt, on_plane
from AutoPromptSAMLib.session.protocol import Session, SliceResult
from AutoPromptSAMLib.session.seeds import natural_axis, seed_slices

NEIGHBOURS = 2  # slices on either side of the shown one that are encoded ahead

T = TypeVar("T")


class SlicePrompting(SegmentEditing):
    """Segments with prompts that are answered on their slices; ``InteractiveSegmenter`` goes on to the volume."""

    def __init__(
        self,
        session: Session,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        call: Callable[[Callable[[], None]], None],
        logic: slicer.vtkSlicerSegmentEditorLogic | None = None,
    ) -> None:
        super().__init__(volume_node, segmentation_node, call, logic)
        self.session = session
        self.status = Status()
        self.mapping: IntensityMapping | None = None  # how the model sees the image; None is the default for it
        self._plane: Plane | None = None
        self._dragged: Step | None = None
        self._on_oblique: dict[str, tuple[str, Crop]] = {}  # what the last answer on an oblique plane wrote
        self._asked: dict[tuple[str, str], tuple[Job[SliceResult], Step]] = {}
        self._preparing: list[Job[None]] = []
        self._is_prepared = True
        self.running: Status | None = None  # how the run through the volume stands that is going on
        self.since_run: set[tuple[str, int, int]] = set()  # segment, axis and slice that a person prompted meanwhile
        self.present_masks = PresentMasks(session, self.kept, self.volume.geometry)
        session.set_image(self.volume)

    def close(self) -> None:
        """Cancel what runs and let go of the scene; the session stays open."""
        for job in self._preparing:
            job.cancel()
        for answer, _ in self._asked.values():
            answer.cancel()
        super().close()

    # -- prompts ------------------------------------------------------------------------------------------------------

    def prompts(self, segment_id: str | None = None) -> tuple[Prompt, ...]:
        """The prompts of a segment, default the active one."""
        given = self.session.objects.get(segment_id or self._active or "")
        return () if given is None else given.prompts

    def add_prompt(self, prompt: Prompt) -> None:
        """Give the active segment a prompt, a new segment when there is none, and find the object on its slice."""
        segment_id = self._active or self.add_segment()
        if self.is_locked(segment_id):
            return
        plane = self._plane_of(prompt)
        step = self.new_step(f"Add {prompt.type}")
        with self.saying(), self.taken_back(step):
            step.prompt_steps = self.present_masks.take_for(segment_id, prompt, plane)
            self.session.add_prompt(segment_id, prompt)
            self.push(step)
            self.prompted("", segment_id, plane, 1, step)

    def add_mask_prompt(self, segment_id: str) -> None:
        """Give the active segment what another one has on the shown slice as a mask prompt."""
        shown = self._plane
        content = Crop.empty()
        if shown is not None and shown.axis is not None and shown.index is not None:
            content = self.kept.slice_of(segment_id, shown.axis, shown.index)
        with self.saying():
            if content.is_empty:
                raise PromptError(f'"{self.name_of(segment_id)}" is not on this slice; go to a slice where it is.')
            self.add_prompt(MaskPrompt(content, self.volume.geometry))

    def replace_prompt(self, prompt: Prompt, final: bool = True) -> None:
        """Put a prompt in the place of the one with its id, as a handle is dragged; ``final`` when it was let go.

        All changes until ``final`` are one undo step. A mask that was accepted on its slice since the prompt was given
        goes, for the mask would decide what is there.
        """
        segment_id = self._owner(prompt.id)
        if segment_id is None or self.is_locked(segment_id):
            return
        left = self._plane_of(self.session.objects[segment_id][prompt.id])
        with self.saying():
            self.session.replace_prompt(segment_id, prompt)
            plane = self._plane_of(prompt)
            steps = 1
            if self._dragged is None:
                steps += self.present_masks.give_way(segment_id, prompt.id, left)
            if final:
                steps += self.present_masks.give_way(segment_id, prompt.id, plane)
            self._dragged = self.prompted(f"Move {prompt.type}", segment_id, plane, steps, self._dragged)
            if left is not None and plane is not None and _key(left) != _key(plane):
                self.prompted("", segment_id, left, 0, self._dragged)
        if final:
            self._dragged = None

    def remove_prompt(self, id: str) -> None:
        """Take a prompt away, and what it did with it."""
        segment_id = self._owner(id)
        if segment_id is None or self.is_locked(segment_id):
            return
        prompt = self.session.objects[segment_id][id]
        plane = self._plane_of(prompt)
        with self.saying():
            self.session.remove_prompt(segment_id, id)
            self.prompted(f"Remove {prompt.type}", segment_id, plane, 1)

    def clear_prompts(self) -> None:
        """Take all prompts of the active segment away; its voxels stay."""
        if self._active is not None and self.prompts() and not self.is_locked(self._active):
            self.session.clear_prompts(self._active)
            self.push(self.new_step("Clear prompts", prompt_steps=1))
            self.changed("prompts")

    # -- one slice ----------------------------------------------------------------------------------------------------

    def set_mapping(self, mapping: IntensityMapping | None) -> None:
        """Let the model see the image in another window from the next prompt on (None: the default for the image)."""
        with self.saying():
            self.session.set_mapping(mapping)
            self.mapping = mapping
            shown, self._plane = self._plane, None
            if shown is not None:
                self.show_plane(shown)

    def show_plane(self, plane: Plane) -> None:
        """Tell where the person looks: the plane is encoded in the background."""
        if self._plane is not None and _key(self._plane) == _key(plane):
            return
        self._plane = plane
        for job in self._preparing:
            job.cancel()
        self._is_prepared = False
        self._preparing = [self.session.prepare(plane, self.later(self._prepared))]
        self.set_status()

    def prepare_neighbours(self) -> None:
        """Encode the slices around the shown one in the background.

        For a moment of rest: a prompt has to wait for the slice that is being encoded.
        """
        shown = self._plane
        if shown is None or shown.axis is None or shown.index is None or self.running is not None:
            return
        count = self.volume.geometry.shape[shown.axis]
        near = [shown.index + sign * n for n in range(1, NEIGHBOURS + 1) for sign in (1, -1)]
        planes = [slice_plane(self.volume.geometry, shown.axis, n) for n in near if 0 <= n < count]
        self._preparing += [self.session.prepare(plane) for plane in planes]

    def pause_preparing(self) -> None:
        """Encode no more slices around the shown one for now: the person is about to prompt."""
        for job in self._preparing[1:]:
            job.cancel()
        del self._preparing[1:]

    # -- for parts ----------------------------------------------------------------------------------------------------

    @contextmanager
    def taken_back(self, step: Step) -> Iterator[None]:
        """Take back what was done for a step that could not be made after all."""
        try:
            yield
        except AutoPromptSAMError:
            for _ in range(step.prompt_steps):
                self.session.undo()
            self.kept.by_hand = dict(step.by_hand)
            raise

    def prompted(self, text: str, segment_id: str, plane: Plane | None, steps: int, merge: Step | None = None) -> Step:
        """Prompts changed on a plane: note it as a step, or as part of ``merge``, and find the object there anew."""
        step = merge
        if step is None:
            step = self.new_step(text)
            self.push(step)
        step.prompt_steps += steps
        if steps:
            self.changed("prompts")
        if plane is not None:
            self._ask(segment_id, plane, step)
        return step

    def vouched(self, segment_id: str, axis: int) -> set[int]:
        """Slices that a person prompted, painted or accepted."""
        prompted = seed_slices(self.prompts(segment_id), self.volume.geometry, axis)
        return prompted | set(self.kept.painted_slices(segment_id, axis))

    def exact(self, segment_id: str, axis: int) -> set[int]:
        """Slices whose mask a person painted or accepted."""
        masks = [prompt for prompt in self.prompts(segment_id) if isinstance(prompt, MaskPrompt)]
        return seed_slices(masks, self.volume.geometry, axis) | set(self.kept.painted_slices(segment_id, axis))

    def push(self, step: Step) -> None:
        """Make what was done a step that can be undone; what is dragged from now on is another one."""
        self._dragged = None
        super().push(step)

    def forget(self, segment_id: str) -> int:
        """Drop the prompts of a segment that goes; returns how many steps of the session that took."""
        has_prompts = bool(self.prompts(segment_id))
        self.session.clear_prompts(segment_id)
        return int(has_prompts)

    def later(self, function: Callable[[T], None]) -> Callable[[T], None]:
        """``function`` on the main thread, whichever thread calls."""

        def hand_over(argument: T) -> None:
            self.call(lambda: None if self.is_closed else function(argument))

        return hand_over

    def set_status(self) -> None:
        """Tell how things stand when that changed."""
        if self.running is not None:
            status = self.running
        elif not self._is_prepared:
            status = Status("embedding", "Preparing this slice")
        else:
            status = Status("segmenting", "Segmenting") if self._asked else Status()
        if status != self.status:
            self.status = status
            self.changed("status")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _owner(self, id: str) -> str | None:
        return next((name for name, prompts in self.session.objects.items() if id in prompts), None)

    def _plane_of(self, prompt: Prompt) -> Plane | None:
        """The plane that a prompt was put on: the one on display when it is on that, else a slice it crosses."""
        shown, geometry = self._plane, self.volume.geometry
        if shown is not None:
            try:
                if not on_plane([prompt], shown, slab_thickness(shown, geometry)).is_empty:
                    return shown
            except PromptError:  # beside the image; the session says so
                pass
        return next(iter(self._planes((prompt,))), None)

    def _planes(self, prompts: Sequence[Prompt]) -> list[Plane]:
        geometry = self.volume.geometry
        axis = natural_axis(prompts, geometry)
        return [slice_plane(geometry, axis, index) for index in sorted(seed_slices(prompts, geometry, axis))]

    def _ask(self, segment_id: str, plane: Plane, step: Step) -> None:
        """Find the object on a plane; the answer belongs to ``step``."""
        key = (segment_id, _key(plane))
        asked = self._asked.pop(key, None)
        if asked is not None:
            asked[0].cancel()
            if asked[1] is not step:
                step.before = asked[1]
        if plane.axis is not None and plane.index is not None and self.running is not None:
            self.since_run.add((segment_id, plane.axis, plane.index))
        if on_plane(self.prompts(segment_id), plane, slab_thickness(plane, self.volume.geometry)).is_empty:
            self._write(segment_id, plane, Crop.empty(), step)
            return
        step.ask = lambda: self._ask(segment_id, plane, step)
        answer = self.session.segment(segment_id, plane, self.later(lambda job: self._answered(job, key, plane, step)))
        self._asked[key] = (answer, step)
        self.set_status()

    def _answered(self, job: Job[SliceResult], key: tuple[str, str], plane: Plane, step: Step) -> None:
        if self._asked.get(key, (None,))[0] is not job:
            return  # another question took its place
        del self._asked[key]
        segment_id = key[0]
        with self.saying():
            if job.error is not None and not isinstance(job.error, Cancelled):
                step.ask = None
                raise job.error
            if job.error is None:
                step.ask = None
                result = job.result()
                self._write(segment_id, plane, result.mask, step)
                if result.explanation:
                    self.said(Message(self._worded(result.explanation), "warning"))
        self.set_status()

    def _write(self, segment_id: str, plane: Plane, crop: Crop, step: Step) -> None:
        if segment_id not in self.kept.known:
            return
        self.take_edits()
        if plane.axis is not None and plane.index is not None:
            region = slice_region(self.volume.geometry, plane.axis, plane.index)
        else:
            key, before = self._on_oblique.get(segment_id, ("", Crop.empty()))
            region = before.union(crop) if key == _key(plane) else crop
            self._on_oblique[segment_id] = (_key(plane), crop)
        self.record(self.kept.write(segment_id, crop, region), step)

    def _travel(self, step: Step, forward: bool) -> None:
        """Undo or redo a step."""
        for key, (job, asked) in list(self._asked.items()):
            if asked is step:
                job.cancel()
                del self._asked[key]
        for _ in range(step.prompt_steps):
            if forward:
                self.session.redo()
            else:
                self.session.undo()
        super()._travel(step, forward)
        unanswered = step if forward else step.before
        if unanswered is not None and unanswered.ask is not None:
            unanswered.ask()
        self.changed("prompts")
        self.set_status()

    def _prepared(self, job: Job[None]) -> None:
        if self._preparing and self._preparing[0] is job:
            self._is_prepared = True
            self.set_status()
            if job.error is not None and not isinstance(job.error, Cancelled):
                self.said(Message(str(job.error), "error"))


def _key(plane: Plane) -> str:
    """Tells planes apart."""
    return f"{plane.axis} {plane.index}" if plane.axis is not None else plane.pixel_to_ras.tobytes().hex()

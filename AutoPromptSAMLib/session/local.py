"""A session whose model runs in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from AutoPromptSAMLib.backbones import adapted_backbone, plain_backbone
from AutoPromptSAMLib.errors import ImageError, PromptError
from AutoPromptSAMLib.geometry import Crop, Plane, Volume, paste_mask, slab_thickness
from AutoPromptSAMLib.intensity import IntensityMapping
from AutoPromptSAMLib.loops.job import Control, Job, Progress, Worker
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.slice import segment_slice
from AutoPromptSAMLib.prompts import MaskPrompt, Prompt, PromptSet, Source, on_plane
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.session import review as reviewing
from AutoPromptSAMLib.session.automatic import Automatic, OnSlice, Target
from AutoPromptSAMLib.session.image import SessionImage
from AutoPromptSAMLib.session.learning import LearningResult, learn_from
from AutoPromptSAMLib.session.propagation import SliceStack, no_prompts, propagate_prompts
from AutoPromptSAMLib.session.protocol import (
    REACH,
    AutomaticResult,
    PropagationResult,
    RefinedSlice,
    RefineResult,
    Review,
    SliceResult,
    SliceReview,
)
from AutoPromptSAMLib.session.replay import model_remarks, prompts_on
from AutoPromptSAMLib.session.seeds import check_inside, corrected_mask, natural_axis, seed_slices, slice_range

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.supports import SupportSet
    from AutoPromptSAMLib.training.preview import Preview

VOLUME_LOOP = Source("prompter", "volume loop")


class LocalSession:
    """The ``Session`` protocol with a backbone in this process and one worker thread.

    ``cache`` keeps encoded slices, by default in memory only. ``runs_folder`` keeps the slices that propagation has
    done, so that a killed process goes on where it was.
    """

    def __init__(
        self, backbone: Backbone, cache: EmbeddingCache | None = None, runs_folder: Path | None = None
    ) -> None:
        if cache is None:
            from AutoPromptSAMLib.backbones.cache import EmbeddingCache

            cache = EmbeddingCache(None)
        self.backbone = backbone
        self._cache = cache
        self._memory = SliceMemory(runs_folder)
        self._tasks_folder = Path(tempfile.gettempdir()) if runs_folder is None else runs_folder.parent / "tasks"
        self._worker = Worker()
        self._image: SessionImage | None = None
        self._objects: dict[str, PromptSet] = {}
        # Undo steps over all objects: the object, and how many of its own steps belong together.
        self._undo: list[tuple[str, int]] = []
        self._redo: list[tuple[str, int]] = []
        self._propagated: dict[str, PropagationResult] = {}
        self._automatic: Automatic | None = None

    @property
    def objects(self) -> Mapping[str, PromptSet]:
        """The prompts by object name."""
        return self._objects

    @property
    def volume(self) -> Volume:
        """The image; ImageError before ``set_image``."""
        return self._current_image().volume

    def set_image(self, volume: Volume, mapping: IntensityMapping | None = None) -> None:
        """Start with a new image; see ``Session.set_image``."""
        self._image = SessionImage.of(volume, mapping)
        self._start({})

    def set_mapping(self, mapping: IntensityMapping | None) -> None:
        """Show the image otherwise to the model; see ``Session.set_mapping``."""
        self._image = SessionImage.of(self.volume, mapping)

    def add_prompt(self, name: str, prompt: Prompt) -> None:
        """Give object ``name`` a prompt; see ``Session.add_prompt``.

        A click on a slice that propagation filled corrects what is there: that slice's mask becomes a prompt too.
        """
        check_inside(prompt, self.volume.geometry)
        if not name:
            raise PromptError("The object has no name; give it one.")
        prompts = self._objects.setdefault(name, PromptSet())
        if prompt.id in prompts:
            raise PromptError(f'The prompt "{prompt.id}" is already there; give the new one its own id.')
        steps = 1
        base = self._present_mask(name, prompt)
        if base is not None:
            prompts.add(base, "Keep slice")
            steps = 2
        prompts.add(prompt)
        self._stepped(name, steps)

    def replace_prompt(self, name: str, prompt: Prompt) -> None:
        """Put a prompt in the place of the one with its id; see ``Session.replace_prompt``."""
        check_inside(prompt, self.volume.geometry)
        self._object(name).replace(prompt.id, prompt)
        self._stepped(name, 1)

    def remove_prompt(self, name: str, id: str) -> None:
        """Drop a prompt; see ``Session.remove_prompt``."""
        self._object(name).remove(id)
        self._stepped(name, 1)

    def clear_prompts(self, name: str) -> None:
        """Drop all prompts of an object; see ``Session.clear_prompts``."""
        if self._objects.get(name):
            self._objects[name].clear("Clear prompts")
            self._stepped(name, 1)

    def undo(self) -> str | None:
        """Take back the last change; see ``Session.undo``."""
        if not self._undo:
            return None
        name, steps = self._undo.pop()
        self._redo.append((name, steps))
        undone = [self._objects[name].undo() for _ in range(steps)]
        return undone[0]

    def redo(self) -> str | None:
        """Do the last undone change again; see ``Session.redo``."""
        if not self._redo:
            return None
        name, steps = self._redo.pop()
        self._undo.append((name, steps))
        return [self._objects[name].redo() for _ in range(steps)][-1]

    def prepare(self, plane: Plane, on_done: Callable[[Job[None]], None] | None = None) -> Job[None]:
        """Encode a plane ahead; see ``Session.prepare``."""
        current = self._current_image()

        def run(control: Control) -> None:
            control.report(0, 1, "Preparing the slice")
            self._cache.get_or_encode(self.backbone, current.pixels(plane))

        return self._worker.submit(run, on_done=on_done, background=True)

    def segment(
        self, name: str, plane: Plane, on_done: Callable[[Job[SliceResult]], None] | None = None
    ) -> Job[SliceResult]:
        """Find the object on a plane; see ``Session.segment``."""
        current = self._current_image()
        volume = current.volume
        prompts = on_plane(self._prompts_of(name), plane, slab_thickness(plane, volume.geometry))

        def run(control: Control) -> SliceResult:
            started = time.perf_counter()
            control.report(0, 1, "Encoding the slice")
            features = self._cache.get_or_encode(self.backbone, current.pixels(plane))
            encoded = time.perf_counter()
            control.check()
            logits = segment_slice(self.backbone, features, prompts)
            decoded = time.perf_counter()
            crop = paste_mask(logits > 0, plane, volume.geometry)
            pasted = time.perf_counter()
            control.report(1, 1, "Done")
            seconds = {"encode": encoded - started, "decode": decoded - encoded, "paste": pasted - decoded}
            return SliceResult(name, crop, plane, seconds)

        return self._worker.submit(run, on_done=on_done)

    def propagate(
        self,
        name: str,
        axis: int | None = None,
        first: int = 0,
        last: int | None = None,
        on_slice: Callable[[int, Crop], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Job[PropagationResult]], None] | None = None,
    ) -> Job[PropagationResult]:
        """Find the object in the volume; see ``Session.propagate``."""
        geometry, propagated = self.volume.geometry, self._propagated
        prompts = self._prompts_of(name)
        along = natural_axis(prompts, geometry) if axis is None else axis
        stack = SliceStack(self._current_image(), along, self.backbone, self._cache)
        lower, upper = slice_range(prompts, geometry, stack.axis)
        lower, upper = max(lower, first), min(upper, len(stack) - 1 if last is None else last)
        candidates = [n for n in seed_slices(prompts, geometry, stack.axis) if lower <= n <= upper]
        if not candidates:
            raise no_prompts(name, lower, upper)

        def run(control: Control) -> PropagationResult:
            extent = (lower, upper)
            result = propagate_prompts(name, stack, prompts, candidates, extent, self._memory, control, on_slice)
            propagated[name] = result
            return result

        return self._worker.submit(run, on_progress, on_done, background=True)

    def set_supports(self, supports: SupportSet | None) -> None:
        """Choose what ``prompt_automatically`` goes by; see ``Session.set_supports``."""
        self._automatic = None if supports is None else Automatic(supports)

    def prompt_automatically(
        self,
        objects: Sequence[str] | None = None,
        axis: int | None = None,
        first: int = 0,
        last: int | None = None,
        on_slice: OnSlice | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Job[AutomaticResult]], None] | None = None,
    ) -> Job[AutomaticResult]:
        """Find what the supports show; see ``Session.prompt_automatically``."""
        current, propagated, automatic = self._current_image(), self._propagated, self._automatic
        plain = plain_backbone(self.backbone)  # which prompting networks are trained with
        if automatic is None:
            raise PromptError("There are no supports; choose a set of annotated images first.")
        wanted = automatic.checked_objects(objects)
        along = automatic.axis(current.volume.geometry) if axis is None else axis
        prompts = {name: self._objects[name].prompts for name in wanted if self._objects.get(name)}
        target = Target.of(current, along, first, last, wanted, prompts)

        def run(control: Control) -> AutomaticResult:
            result = automatic.run(target, plain, self._cache, self._memory, control, on_slice)
            for name in wanted:  # what a click on a slice corrects
                propagated[name] = result.of(name)
            return result

        return self._worker.submit(run, on_progress, on_done, background=True)

    def learn(
        self,
        supports: SupportSet,
        minutes: float = 15.0,
        on_progress: Callable[[Progress], None] | None = None,
        on_preview: Callable[[Preview], None] | None = None,
        on_done: Callable[[Job[LearningResult]], None] | None = None,
    ) -> Job[LearningResult]:
        """Learn the set's objects; see ``Session.learn``."""

        def run(control: Control) -> LearningResult:
            folder = self._tasks_folder
            return learn_from(
                supports, plain_backbone(self.backbone), self._cache, folder, minutes, control, on_preview
            )

        return self._worker.submit(run, on_progress, on_done, background=True)

    def review(
        self,
        name: str,
        mask: Crop,
        axis: int | None = None,
        first: int = 0,
        last: int | None = None,
        on_slice: Callable[[SliceReview], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Job[Review]], None] | None = None,
    ) -> Job[Review]:
        """Ask how sure the model is; see ``Session.review``."""
        target = self._target(name, mask, axis, self._judge)
        wanted = target.to_review(first, last)
        return self._worker.submit(
            lambda control: reviewing.review(target, wanted, control, on_slice), on_progress, on_done, background=True
        )

    def refine(
        self,
        name: str,
        mask: Crop,
        axis: int | None = None,
        first: int = 0,
        last: int | None = None,
        on_slice: Callable[[RefinedSlice], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Job[RefineResult]], None] | None = None,
    ) -> Job[RefineResult]:
        """Let prompts mend themselves; see ``Session.refine``."""
        target = self._target(name, mask, axis, self._judge)
        wanted = target.to_refine(first, last)
        return self._worker.submit(
            lambda control: reviewing.refine(target, wanted, control, on_slice), on_progress, on_done, background=True
        )

    def carry(
        self,
        name: str,
        mask: Crop,
        index: int,
        axis: int | None = None,
        reach: int = REACH,
        on_slice: Callable[[int, Crop], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Job[PropagationResult]], None] | None = None,
    ) -> Job[PropagationResult]:
        """Carry a correction to its neighbours; see ``Session.carry``."""
        target, propagated = self._target(name, mask, axis, self.backbone), self._propagated
        target.check_carry(index, reach)

        def run(control: Control) -> PropagationResult:
            known = propagated.get(name)
            propagated[name] = reviewing.carry(target, index, reach, self._memory, control, on_slice, known)
            return propagated[name]

        return self._worker.submit(run, on_progress, on_done, background=True)

    def export_prompts(self) -> PromptFile:
        """All prompts; see ``Session.export_prompts``."""
        model = {"name": self.backbone.card.name, "sha256": self.backbone.fingerprint}
        return PromptFile({n: PromptSet(p.prompts) for n, p in self._objects.items()}, model, self.volume.geometry)

    def replay(self, file: PromptFile) -> list[str]:
        """Take over the prompts of a file; see ``Session.replay``."""
        self._start(prompts_on(file, self.volume.geometry))
        return model_remarks(file, self.export_prompts())

    @property
    def is_busy(self) -> bool:
        """See ``Session.is_busy``."""
        return self._worker.busy

    def close(self, cancel: bool = False) -> None:
        """End the worker thread; see ``Session.close``."""
        self._worker.close(cancel)

    def _current_image(self) -> SessionImage:
        if self._image is None:
            raise ImageError("There is no image yet; load one first.")
        return self._image

    @cached_property
    def _judge(self) -> Backbone:
        """Who is asked how sure it is: the model with its adapter, if it has one, which takes boxes that do not fit.

        They share their features, so no slice is encoded for it.
        """
        return adapted_backbone(self.backbone)

    def _target(self, name: str, mask: Crop, axis: int | None, backbone: Backbone) -> reviewing.Target:
        known, given = self._propagated.get(name), self._objects.get(name)
        prompts = () if given is None else given.prompts
        if axis is None:
            axis = known.axis if known is not None else natural_axis(prompts, self.volume.geometry)
        stack = SliceStack(self._current_image(), axis, backbone, self._cache)
        return reviewing.Target(name, stack, mask, prompts)

    def _start(self, objects: dict[str, PromptSet]) -> None:
        self._objects = objects
        # A new dictionary: a job that still runs on the image before writes into the one it was started with.
        self._propagated = {}
        self._undo.clear()
        self._redo.clear()

    def _object(self, name: str) -> PromptSet:
        if name not in self._objects:
            raise PromptError(f'There is no object "{name}"; choose one of those that have prompts.')
        return self._objects[name]

    def _prompts_of(self, name: str) -> tuple[Prompt, ...]:
        prompts = self._objects.get(name)
        if not prompts:
            raise PromptError(f'"{name}" has no prompts; give it a point, a box or a doodle first.')
        return prompts.prompts

    def _stepped(self, name: str, steps: int) -> None:
        self._undo.append((name, steps))
        self._redo.clear()

    def _present_mask(self, name: str, prompt: Prompt) -> MaskPrompt | None:
        """The propagated mask of the slice that a click falls on, unless the slice has prompts of its own."""
        result = self._propagated.get(name)
        # Without prompts the object starts anew: what is left of an earlier one is not meant. What was found by
        # supports alone never had prompts.
        anew = result is not None and result.seeds and not self._objects[name]
        if result is None or anew:
            return None
        geometry, others = self.volume.geometry, self._objects[name].prompts
        return corrected_mask(prompt, others, result.mask, result.axis, geometry, VOLUME_LOOP)

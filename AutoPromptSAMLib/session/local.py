"""A session whose model runs in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from AutoPromptSAMLib.backbones import adapted_backbone, plain_backbone
from AutoPromptSAMLib.geometry import Crop, Plane, paste_mask, slab_thickness
from AutoPromptSAMLib.loops.job import Control, Job, Progress
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.slice import segment_slice
from AutoPromptSAMLib.prompts import on_plane
from AutoPromptSAMLib.session import review as reviewing
from AutoPromptSAMLib.session.automatic import OnSlice
from AutoPromptSAMLib.session.learning import LearningResult, learn_from
from AutoPromptSAMLib.session.prompted_image import PromptedImage
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
from AutoPromptSAMLib.session.seeds import natural_axis, seed_slices, slice_range

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.supports import SupportSet
    from AutoPromptSAMLib.training.preview import Preview


class LocalSession(PromptedImage):
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
        super().__init__()
        self.backbone = backbone
        self._cache = cache
        self._memory = SliceMemory(runs_folder)
        self._tasks_folder = Path(tempfile.gettempdir()) if runs_folder is None else runs_folder.parent / "tasks"

    @property
    def model(self) -> dict[str, str]:
        """See ``PromptedImage.model``."""
        return {"name": self.backbone.card.name, "sha256": self.backbone.fingerprint}

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
        (automatic, target), propagated = self._sought(objects, axis, first, last), self._propagated
        plain = plain_backbone(self.backbone)  # which prompting networks are trained with

        def run(control: Control) -> AutomaticResult:
            result = automatic.run(target, plain, self._cache, self._memory, control, on_slice)
            for name in target.objects:  # what a click on a slice corrects
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
        target = self._target(name, mask, axis, self._stack(self._judge))
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
        target = self._target(name, mask, axis, self._stack(self._judge))
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
        target, propagated = self._target(name, mask, axis, self._stack(self.backbone)), self._propagated
        target.check_carry(index, reach)

        def run(control: Control) -> PropagationResult:
            known = propagated.get(name)
            propagated[name] = reviewing.carry(target, index, reach, self._memory, control, on_slice, known)
            return propagated[name]

        return self._worker.submit(run, on_progress, on_done, background=True)

    @cached_property
    def _judge(self) -> Backbone:
        """Who is asked how sure it is: the model with its adapter, if it has one, which takes boxes that do not fit.

        They share their features, so no slice is encoded for it.
        """
        return adapted_backbone(self.backbone)

    def _stack(self, backbone: Backbone) -> Callable[[int], SliceStack]:
        image = self._current_image()
        return lambda axis: SliceStack(image, axis, backbone, self._cache)

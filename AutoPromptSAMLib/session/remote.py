"""A session whose model runs on another machine. Importing this module does not import torch.

Image, prompts and history are kept here, as a local session keeps them; each job takes along the prompts that it goes
by. So a server that was started anew lacks nothing but the image, which is then sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from AutoPromptSAMLib.atomic import atomic_path, storage_error
from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.geometry import Crop, Plane, Volume
from AutoPromptSAMLib.intensity import IntensityMapping
from AutoPromptSAMLib.loops.job import Control, Job, Progress
from AutoPromptSAMLib.session.automatic import OnSlice
from AutoPromptSAMLib.session.connection import Connection
from AutoPromptSAMLib.session.errands import About, Errand, Errands
from AutoPromptSAMLib.session.learning import LearningResult
from AutoPromptSAMLib.session.prompted_image import PromptedImage
from AutoPromptSAMLib.session.propagation import SliceStack, no_prompts
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
from AutoPromptSAMLib.session.wire import IMAGE_TYPES, RemoteError
from AutoPromptSAMLib.zoo import home

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.prompts import Prompt
    from AutoPromptSAMLib.supports import SupportSet
    from AutoPromptSAMLib.training.preview import Preview

TIMEOUT_SECONDS = 20.0  # without a sign of a server that sends one every five seconds; a choice
AHEAD = 8  # slices and words of progress that a server may be ahead: hides 50 ms of network on a GPU; a choice


class RemoteSession(PromptedImage):
    """The ``Session`` protocol with a model on the server at ``address``, started by ``autopromptsam serve``.

    What needs no model (prompts, undo, files) is kept here. ``token`` is what the server printed. ``model``
    None is the server's first. A server that sends nothing for ``timeout_s`` counts as lost: the job ends with a
    RemoteError, prompts stay, and the next job tries anew. ``on_sending`` gets the progress of sending the image, in
    MB, on the jobs' thread. ``ahead`` is that of ``Errands``.

    Raises RemoteError when there is no server or it refuses the token, ModelError when it has not the model. Waits for
    the network; no other method does, but for ``close``.
    """

    def __init__(
        self,
        address: str,
        token: str,
        timeout_s: float = TIMEOUT_SECONDS,
        model: str | None = None,
        on_sending: Callable[[Progress], None] | None = None,
        ahead: int = AHEAD,
    ) -> None:
        self._errands = Errands(Connection(address, token, timeout_s), model, ahead, on_sending)
        super().__init__()

    @property
    def about(self) -> About:
        """The server: its address, model and device in words for people."""
        return self._errands.about

    @property
    def model(self) -> dict[str, str]:
        """See ``PromptedImage.model``."""
        return {"name": self.about.model, "sha256": self.about.fingerprint}

    def set_image(self, volume: Volume, mapping: IntensityMapping | None = None) -> None:
        """Start with a new image, which the first job sends; see ``Session.set_image``."""
        if volume.array.dtype.newbyteorder("<").str not in IMAGE_TYPES:
            raise ImageError(f"An image of {volume.array.dtype} cannot be sent; convert it to float32 first.")
        super().set_image(volume, mapping)

    def prepare(self, plane: Plane, on_done: Callable[[Job[None]], None] | None = None) -> Job[None]:
        """Encode a plane ahead; see ``Session.prepare``."""
        errand = Errand("prepare", {"plane": plane}, self._current_image())
        return self._worker.submit(self._running(errand), on_done=on_done, background=True)

    def segment(
        self, name: str, plane: Plane, on_done: Callable[[Job[SliceResult]], None] | None = None
    ) -> Job[SliceResult]:
        """Find the object on a plane; see ``Session.segment``."""
        image, prompts = self._current_image(), self._prompts_of(name)
        errand = Errand("segment", {"name": name, "plane": plane}, image, {name: prompts})

        def run(control: Control) -> SliceResult:
            control.report(0, 1, "Asking the server")
            found: SliceResult = self._errands.run(errand, control)
            return SliceResult(name, found.mask, plane, found.seconds)

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
        image, geometry = self._current_image(), self.volume.geometry
        prompts = self._prompts_of(name)
        along = natural_axis(prompts, geometry) if axis is None else axis
        count = len(self._stack(along))
        lower, upper = slice_range(prompts, geometry, along)
        lower, upper = max(lower, first), min(upper, count - 1 if last is None else last)
        if not any(lower <= n <= upper for n in seed_slices(prompts, geometry, along)):
            raise no_prompts(name, lower, upper)
        arguments = {"name": name, "axis": along, "first": first, "last": last}
        errand = Errand(
            "propagate", arguments, image, {name: prompts}, progress=on_progress is not None, on_event=on_slice
        )
        return self._worker.submit(self._finding(errand, name), on_progress, on_done, background=True)

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
        arguments = {"objects": target.objects, "axis": target.axis, "first": target.first, "last": target.last}
        errand = Errand(
            "prompt_automatically",
            arguments,
            target.image,
            target.prompts,
            automatic.supports,
            progress=on_progress is not None,
            on_event=on_slice,
        )

        def run(control: Control) -> AutomaticResult:
            result: AutomaticResult = self._errands.run(errand, control)
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
        """Learn the set's objects; see ``Session.learn``. What was learned is brought here."""

        def run(control: Control) -> LearningResult:
            parts: list[bytes] = []
            errand = Errand(
                "learn",
                {"minutes": minutes},
                supports=supports,
                progress=on_progress is not None,
                on_event=on_preview,
                on_part=parts.append,
            )
            return _kept(self._errands.run(errand, control), b"".join(parts))

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
        target = self._target(name, mask, axis, self._stack)
        target.to_review(first, last)  # says what is wrong
        arguments = {"name": name, "mask": mask, "axis": target.stack.axis, "first": first, "last": last}
        errand = self._about_mask("review", arguments, target.prompts, on_slice, on_progress)
        return self._worker.submit(self._running(errand), on_progress, on_done, background=True)

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
        target = self._target(name, mask, axis, self._stack)
        target.to_refine(first, last)  # says what is wrong
        arguments = {"name": name, "mask": mask, "axis": target.stack.axis, "first": first, "last": last}
        errand = self._about_mask("refine", arguments, target.prompts, on_slice, on_progress)
        return self._worker.submit(self._running(errand), on_progress, on_done, background=True)

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
        target = self._target(name, mask, axis, self._stack)
        target.check_carry(index, reach)
        arguments = {"name": name, "mask": mask, "index": index, "axis": target.stack.axis, "reach": reach}
        errand = self._about_mask("carry", arguments, target.prompts, on_slice, on_progress)
        return self._worker.submit(self._finding(errand, name), on_progress, on_done, background=True)

    def close(self, cancel: bool = False) -> None:
        """End the worker thread, and the session at the server; see ``Session.close``."""
        self._worker.close(cancel)
        self._errands.close()

    def _about_mask(
        self,
        call: str,
        arguments: dict[str, Any],
        prompts: Sequence[Prompt],
        on_slice: Callable[..., None] | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> Errand:
        image, given = self._current_image(), {arguments["name"]: tuple(prompts)}
        return Errand(call, arguments, image, given, progress=on_progress is not None, on_event=on_slice)

    def _stack(self, axis: int) -> SliceStack:
        """The slices as far as checks ask for them: there is neither a model nor an embedding here."""
        return SliceStack(self._current_image(), axis, cast("Backbone", None), cast("EmbeddingCache", None))

    def _running(self, errand: Errand) -> Callable[[Control], Any]:
        return lambda control: self._errands.run(errand, control)

    def _finding(self, errand: Errand, name: str) -> Callable[[Control], PropagationResult]:
        """The errand, whose result a click then corrects."""
        propagated = self._propagated  # that of the image that the job was started on

        def run(control: Control) -> PropagationResult:
            known = propagated.get(name) if errand.call == "carry" else None
            propagated[name] = self._errands.run(replace(errand, known=known), control)
            return propagated[name]

        return run


def _kept(result: dict[str, Any], task: bytes) -> LearningResult:
    """What was learned, in a file below ``zoo.home()`` that is called by its content."""
    digest = hashlib.sha256(task).hexdigest()
    if digest != result["sha256"]:
        raise RemoteError("What the server learned was damaged on the way; learn again, which goes on from there.")
    path = home() / "tasks" / f"{digest}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(task)
    except OSError as error:
        raise storage_error(path, error) from error
    later = {name: result[name] for name in ("better", "held_back") if name in result}  # other versions lack them
    return LearningResult(path, result["dice"], result["steps"], result["seconds"], result["complete"], **later)

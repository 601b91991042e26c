"""What a session keeps wherever its model runs: one image, the prompts of its objects, and their history."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from AutoPromptSAMLib.errors import ImageError, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume
from AutoPromptSAMLib.intensity import IntensityMapping
from AutoPromptSAMLib.loops.job import Worker
from AutoPromptSAMLib.prompts import MaskPrompt, Prompt, PromptSet, Source
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.session.automatic import Automatic
from AutoPromptSAMLib.session.automatic import Target as AutomaticTarget
from AutoPromptSAMLib.session.image import SessionImage
from AutoPromptSAMLib.session.propagation import SliceStack
from AutoPromptSAMLib.session.protocol import PropagationResult
from AutoPromptSAMLib.session.replay import model_remarks, prompts_on
from AutoPromptSAMLib.session.review import Target
from AutoPromptSAMLib.session.seeds import check_inside, corrected_mask, natural_axis
from AutoPromptSAMLib.supports import SupportSet

# The mask that a click corrects where propagation has filled a slice.
VOLUME_LOOP = Source("prompter", "volume loop")


class PromptedImage(ABC):
    """The part of the ``Session`` protocol that needs no model, and the one worker thread of the rest."""

    def __init__(self) -> None:
        self._worker = Worker()
        self._image: SessionImage | None = None
        self._objects: dict[str, PromptSet] = {}
        # Undo steps over all objects: the object, and how many of its own steps belong together.
        self._undo: list[tuple[str, int]] = []
        self._redo: list[tuple[str, int]] = []
        self._propagated: dict[str, PropagationResult] = {}
        self._automatic: Automatic | None = None

    @property
    @abstractmethod
    def model(self) -> dict[str, str]:
        """The model that prompts are answered by: its "name", and the "sha256" of its weights."""

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

    def set_supports(self, supports: SupportSet | None) -> None:
        """Choose what ``prompt_automatically`` goes by; see ``Session.set_supports``."""
        self._automatic = None if supports is None else Automatic(supports)

    def export_prompts(self) -> PromptFile:
        """All prompts; see ``Session.export_prompts``."""
        prompts = {name: PromptSet(given.prompts) for name, given in self._objects.items()}
        return PromptFile(prompts, self.model, self.volume.geometry)

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

    def _sought(
        self, objects: Sequence[str] | None, axis: int | None, first: int, last: int | None
    ) -> tuple[Automatic, AutomaticTarget]:
        """What examples are to find, and where; PromptError or GeometryError when that makes no sense."""
        if self._automatic is None:
            raise PromptError("There are no supports; choose a set of annotated images first.")
        image = self._current_image()
        wanted = self._automatic.checked_objects(objects)
        along = self._automatic.axis(image.volume.geometry) if axis is None else axis
        prompts = {name: self._objects[name].prompts for name in wanted if self._objects.get(name)}
        return self._automatic, AutomaticTarget.of(image, along, first, last, wanted, prompts)

    def _target(self, name: str, mask: Crop, axis: int | None, stack: Callable[[int], SliceStack]) -> Target:
        """What a review of ``mask`` is about; ``axis`` None is that of the last run, or of the prompts."""
        known, given = self._propagated.get(name), self._objects.get(name)
        prompts = () if given is None else given.prompts
        if axis is None:
            axis = known.axis if known is not None else natural_axis(prompts, self.volume.geometry)
        return Target(name, stack(axis), mask, prompts)

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

"""What a host asks of a session, wherever the model runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from AutoPromptSAMLib.session.grey import GreyCrop, united_grey

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import Crop, Plane, Volume, VolumeGeometry
    from AutoPromptSAMLib.intensity import IntensityMapping
    from AutoPromptSAMLib.loops.job import Job, Progress
    from AutoPromptSAMLib.prompts import Prompt, PromptSet
    from AutoPromptSAMLib.prompts.file import PromptFile
    from AutoPromptSAMLib.session.learning import LearningResult
    from AutoPromptSAMLib.supports import SupportSet
    from AutoPromptSAMLib.training.preview import Preview

# Slices on both sides of a corrected one that are found anew, unless somebody says otherwise. A choice.
REACH = 5


@dataclass(frozen=True, eq=False)
class SliceResult:
    """One object on one plane: ``mask`` as a crop of the volume, ``seconds`` by stage (encode, decode, paste)."""

    name: str
    mask: Crop
    plane: Plane
    seconds: Mapping[str, float]

    @property
    def explanation(self) -> str:
        """Why the mask is empty, "" when it is not."""
        if not self.mask.is_empty:
            return ""
        return f'Nothing was found for "{self.name}" here; draw a tighter box or click in the middle of the object.'


@dataclass(frozen=True, eq=False)
class PropagationResult:
    """One object in the volume.

    ``agreement``: for each slice index along array axis ``axis`` where the object is, the Dice with the slice that it
    was prompted from (1 for the slices a person prompted, ``seeds``). ``decoded``: slices that had to be decoded, the
    others were remembered. ``complete``: False after a cancel.
    """

    name: str
    mask: Crop
    axis: int
    agreement: Mapping[int, float]
    seeds: tuple[int, ...]
    decoded: int
    complete: bool


@dataclass(frozen=True, eq=False)
class AutomaticResult:
    """What supports found, by object.

    ``confidence``: from 0 to 1 for each slice index along array axis ``axis`` where the object is; 1 where a person's
    prompts decided (``corrected``). ``complete``: False after a cancel. ``seconds`` by stage (encode, prompt, total).
    ``decoded``: slices that had to be computed, the others were remembered.
    """

    masks: Mapping[str, Crop]
    confidence: Mapping[str, Mapping[int, float]]
    axis: int
    complete: bool
    seconds: Mapping[str, float]
    decoded: int
    corrected: Mapping[str, tuple[int, ...]]

    def of(self, name: str) -> PropagationResult:
        """One object in the form of a propagation's result, its confidence as agreement."""
        seeds = self.corrected.get(name, ())
        return PropagationResult(
            name, self.masks[name], self.axis, self.confidence[name], seeds, self.decoded, self.complete
        )


@dataclass(frozen=True, eq=False)
class SliceReview:
    """How sure the model is of one slice of a mask.

    ``expected_dice``: of the present mask, by the model's own probabilities, 0 to 1. ``uncertainty``: in bits, 255
    is 1 bit. ``suggestions``: the box and the points that the model would try next, in RAS, by a prompter "UGPA".
    ``expected_error``: voxels of this slice that are expected to be wrong. ``is_empty``: the mask is not on this
    slice, which is beside one of its ends.
    """

    index: int
    expected_dice: float
    uncertainty: GreyCrop
    suggestions: tuple[Prompt, ...] = ()
    expected_error: float = 0.0
    is_empty: bool = False


@dataclass(frozen=True, eq=False)
class Review:
    """The slices of a mask along array axis ``axis`` with how sure the model is of each, by index.

    ``complete``: False after a cancel.
    """

    name: str
    axis: int
    slices: Mapping[int, SliceReview]
    complete: bool
    seconds: float

    @property
    def ranked(self) -> list[int]:
        """The slice indices, in which order they are worth a look: least sure first."""
        return sorted(self.slices, key=lambda index: (self.slices[index].expected_dice, index))

    def volume(self, geometry: VolumeGeometry) -> GreyCrop:
        """The uncertainty of all slices together, to be laid over the image of ``geometry`` or written to a file.

        Raises GeometryError when it does not fit into that.
        """
        together = united_grey([review.uncertainty for review in self.slices.values()])
        together.check_fits(geometry.shape)
        return together


@dataclass(frozen=True, eq=False)
class RefinedStep:
    """One step of a slice that mends its own prompts.

    ``mask`` on the slice, what ``prompts`` made it, ``uncertainty`` in bits (255 is 1 bit) with its mean over the
    slice as ``score``. ``reason`` says in plain words why the step was ``accepted`` or not. The first step is what
    was there before.
    """

    mask: Crop
    uncertainty: GreyCrop
    score: float
    prompts: tuple[Prompt, ...]
    accepted: bool
    reason: str


@dataclass(frozen=True, eq=False)
class RefinedSlice:
    """A slice with all of its steps; ``chosen`` is the index of the best, 0 (what was there) unless ``improved``."""

    index: int
    steps: tuple[RefinedStep, ...]
    chosen: int
    improved: bool

    @property
    def best(self) -> RefinedStep:
        """The chosen step."""
        return self.steps[self.chosen]


@dataclass(frozen=True, eq=False)
class RefineResult:
    """The slices along array axis ``axis`` that were refined, by index; ``complete``: False after a cancel.

    Slices that a person accepted or painted are not among them.
    """

    name: str
    axis: int
    slices: Mapping[int, RefinedSlice]
    complete: bool
    seconds: float


@runtime_checkable
class Session(Protocol):
    """One image at a time, objects by name. Prompts change on the host's thread, jobs run on the session's own."""

    @property
    def objects(self) -> Mapping[str, PromptSet]:
        """The prompts by object name."""

    def set_image(self, volume: Volume, mapping: IntensityMapping | None = None) -> None:
        """Start with a new image; prompts and results of the one before are dropped.

        ``mapping`` is how intensities become the model's 8 bits, default ``intensity.default_mapping``.
        """

    def set_mapping(self, mapping: IntensityMapping | None) -> None:
        """Show the image otherwise to the model from now on (None: the default for it); prompts stay.

        Raises ImageError, and changes nothing, for a mapping that does not fit the image.
        """

    def add_prompt(self, name: str, prompt: Prompt) -> None:
        """Give object ``name`` a prompt, as one undo step.

        Raises PromptError for a prompt outside the image, an id that is taken, or a name that is empty.
        """

    def replace_prompt(self, name: str, prompt: Prompt) -> None:
        """Put ``prompt`` in the place of the one with its id, as one undo step: a handle was dragged.

        Raises PromptError when there is none with that id, or for a prompt outside the image.
        """

    def remove_prompt(self, name: str, id: str) -> None:
        """Drop a prompt, as one undo step; PromptError when it is not there."""

    def clear_prompts(self, name: str) -> None:
        """Drop all prompts of an object as one undo step; nothing happens when it has none."""

    def undo(self) -> str | None:
        """Take back the last change of any object's prompts; its name, or None when there is none."""

    def redo(self) -> str | None:
        """Do the last undone change again; its name, or None when there is none."""

    def prepare(self, plane: Plane, on_done: Callable[[Job[None]], None] | None = None) -> Job[None]:
        """Encode a plane ahead, in the background: what it takes is then not part of the next ``segment`` there."""

    def segment(
        self, name: str, plane: Plane, on_done: Callable[[Job[SliceResult]], None] | None = None
    ) -> Job[SliceResult]:
        """Find the object on a plane from the prompts on it; PromptError when the object has none.

        The job raises PromptError when none of them is on the plane.
        """

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
        """Find the object on slices ``first`` to ``last`` along array axis ``axis`` from the slices with prompts.

        ``axis`` None is the one that the object's prompts lie across. ``on_slice`` gets each slice's mask as a crop
        (on the job's thread). Cancelling the job keeps the finished slices: it ends with a result that is not
        ``complete`` (or raises Cancelled when no slice was finished), and the next call goes on from there. The result
        may be narrower than the range, which a solid box limits too.

        Raises PromptError when no prompt is in the range, GeometryError for an axis that there is not.
        """

    def set_supports(self, supports: SupportSet | None) -> None:
        """Choose the annotated images that ``prompt_automatically`` goes by; None: none any more.

        They stay when the image changes. What they take to be used is done by the first job that needs it. Raises
        PromptError for a set without any.
        """

    def prompt_automatically(
        self,
        objects: Sequence[str] | None = None,
        axis: int | None = None,
        first: int = 0,
        last: int | None = None,
        on_slice: Callable[[str, int, Crop, float], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Job[AutomaticResult]], None] | None = None,
    ) -> Job[AutomaticResult]:
        """Find ``objects`` (default: all that the supports show) on slices ``first`` to ``last`` along ``axis``.

        ``axis`` None is the one whose slices the supports show. A slice with prompts of an object keeps what they
        make of it, and prompts the others as one more support. ``on_slice`` gets every object of every slice, with its
        confidence, as soon as it is known, empty ones too, and again when a look at all slices together changes it (on
        the job's thread). Cancelling keeps the finished slices: the job ends with a result that is not ``complete``
        (or raises Cancelled when no slice was finished), and the next call goes on from there.

        Raises PromptError without supports or for an object that none of them shows, GeometryError for an axis or
        slices that there are not. The job raises ModelError when no network fits the model.
        """

    def learn(
        self,
        supports: SupportSet,
        minutes: float = 15.0,
        on_progress: Callable[[Progress], None] | None = None,
        on_preview: Callable[[Preview], None] | None = None,
        on_done: Callable[[Job[LearningResult]], None] | None = None,
    ) -> Job[LearningResult]:
        """Learn to find the set's objects from its annotated images, in the background; clicks are answered meanwhile.

        ``on_preview`` gets what the network makes of a held-back image (on the job's thread). Cancelling ends with the
        best network so far. The job raises PromptError for too few images, Cancelled before anything was learned.
        """

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
        """Ask the model how sure it is of ``mask`` on slices ``first`` to ``last`` along array axis ``axis``.

        ``axis`` None is the one that the object was found along, else that of its prompts. The slices beside both
        ends of the mask count too: the object may go on there. ``on_slice`` gets each slice as soon as it is known (on
        the job's thread). Cancelling keeps the finished slices: the job ends with a review that is not ``complete``
        (or raises Cancelled when no slice was finished).

        Raises PromptError for an empty mask, GeometryError for one that does not fit the image and for an axis or
        slices that there are not.
        """

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
        """Let the prompts of ``mask`` mend themselves on slices ``first`` to ``last``; nothing else changes.

        A slice with a person's prompts starts from those, any other from the boxes of its mask. Every click of a
        person stays obeyed. A slice with a mask prompt (a person accepted or painted it) is left alone. Else as
        ``review``.
        """

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
        """Carry a correction on slice ``index`` of ``mask`` to at most ``reach`` slices on both sides of it.

        Slices that a person prompted stay as they are, and so does everything beyond the reach. The result's mask is
        the whole object. ``on_slice`` gets every slice that was found anew. Else as ``review``.
        """

    def export_prompts(self) -> PromptFile:
        """All prompts with the model and the image's geometry, to be saved and replayed."""

    def replay(self, file: PromptFile) -> list[str]:
        """Take over the prompts of a file; returns remarks (another model, say).

        Raises GeometryError when they were made on an image of another geometry, PromptError for one outside the
        image; the session then stays as it was.
        """

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits. A host whose event loop keeps Python's lock gives it away meanwhile."""

    def close(self, cancel: bool = False) -> None:
        """End the session's thread once its jobs are done; with ``cancel`` they end at their next slice."""

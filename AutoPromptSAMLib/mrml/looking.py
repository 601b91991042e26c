"""Where the model is unsure of a segment: looks at its slices, the uncertainty over the image, what it would try next.

How sure the model is is no undo step: it is remembered by what is on a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import slicer

from AutoPromptSAMLib.errors import AutoPromptSAMError, Cancelled, PromptError
from AutoPromptSAMLib.geometry import Plane
from AutoPromptSAMLib.geometry.grid import FloatArray
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.mrml import segment_list
from AutoPromptSAMLib.mrml.automatic import AutomaticPrompting
from AutoPromptSAMLib.mrml.kept_segments import crop_slice
from AutoPromptSAMLib.mrml.reports import Message, Propagation, Status
from AutoPromptSAMLib.mrml.review_state import Reviewed, spans
from AutoPromptSAMLib.mrml.steps import Step
from AutoPromptSAMLib.mrml.uncertain_surface import UncertainSurface
from AutoPromptSAMLib.mrml.uncertainty_nodes import UncertaintyNodes, release_left_over
from AutoPromptSAMLib.prompts import Prompt
from AutoPromptSAMLib.session.grey import GreyCrop
from AutoPromptSAMLib.session.protocol import (
    Review,
    Session,
    SliceReview,
)

Task = Callable[[], Job[Any]]


class Looking(AutomaticPrompting):
    """What the model says of segments; ``Reviewing`` acts on it. ``changed`` says "review"."""

    uncertainty: UncertaintyNodes | None = None  # from the first look on
    _overlay: tuple[bool, float] = (True, 0.6)  # whether it is shown, and how opaque
    _surface: UncertainSurface | None = None
    _on_surface = False
    _live: Job[Review] | None = None  # a look at a slice that a person just corrected

    def __init__(
        self,
        session: Session,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        call: Callable[[Callable[[], None]], None],
        logic: slicer.vtkSlicerSegmentEditorLogic | None = None,
    ) -> None:
        super().__init__(session, volume_node, segmentation_node, call, logic)
        self._reviews: dict[str, Reviewed] = {}
        self._tasks: list[Task] = []  # what runs after the present job
        self._seen: dict[int, int] = {}  # the slice that the person looked at last, by array axis
        self._drawn: dict[tuple[str, int], GreyCrop] = {}  # what is in the nodes
        if release_left_over(volume_node.GetScene()):  # it was saved while it hid the colours of the segments
            segment_list.display_of(segmentation_node).SetVisibility2DFill(True)

    def close(self) -> None:
        """Cancel what runs and let go of the scene; the session stays open."""
        if self._live is not None:
            self._live.cancel()
        super().close()
        if self._surface is not None:
            self._surface.hide()
        if self.uncertainty is not None:
            self.changed.disconnect(self._follow)
            self.set_uncertainty_shown(False)
            self.uncertainty.close()

    def cancel(self) -> None:
        """End the run after the slice that it is at; what is done stays."""
        self._tasks.clear()
        super().cancel()

    def review(self, first: int = 0, last: int | None = None, axis: int | None = None) -> None:
        """Ask how sure the model is of the active segment on slices ``first`` to ``last`` along array axis ``axis``.

        ``axis`` None is the one of the segment's last run or of its prompts. Nothing is changed.
        """
        if not self._is_free():
            return
        self._take_edits()
        with self._saying():
            segment_id, along = self._chosen(axis)
            start = f"Looking where {self._name(segment_id)} is unsure"
            self._start(start, partial(self._look, segment_id, along, first, last))

    def reviewed(self, segment_id: str | None = None) -> Reviewed | None:
        """What is known of a segment, default the active one."""
        return self._reviews.get(segment_id or self._active or "")

    def expected_dice(self, segment_id: str | None = None) -> Propagation | None:
        """The expected Dice by slice, as far as it is known of what is there now, to be shown as other runs are."""
        known = self.reviewed(segment_id)
        if known is None:
            return None
        dice = {index: look.review.expected_dice for index, look in known.now().items()}
        return Propagation(known.axis, dice, (), known.complete, True)

    def ranked_slices(self, segment_id: str | None = None) -> list[SliceReview]:
        """The slices that are worth a look, the least sure first; not those that a person corrected or accepted."""
        segment_id, known = segment_id or self._active or "", self.reviewed(segment_id)
        if known is None:
            return []
        exact = self._exact(segment_id, known.axis)
        looks = [look for index, look in known.now().items() if index not in exact and not look.by_person]
        return sorted((look.review for look in looks), key=lambda review: (review.expected_dice, review.index))

    def corrected_slices(self) -> list[int]:
        """Slices of the active segment that a person changed since they were looked at, and that were not carried."""
        known, segment_id = self.reviewed(), self._active or ""
        if known is None:
            return []
        vouched = self._vouched(segment_id, known.axis)
        return [n for n in sorted(known.looks) if n in vouched and known.is_own(n) and not known.was_carried(n)]

    def set_uncertainty_shown(self, shown: bool, opacity: float = 0.6) -> None:
        """Lay the uncertainty of the active segment over the image, or not; ``opacity`` from 0 to 1."""
        self._overlay = (shown, opacity)
        if self.uncertainty is not None and self.segmentation_node.GetScene() and self.volume_node.GetScene():
            there = shown and self._active is not None and self.uncertainty.node(self._active) is not None
            self.uncertainty.show(self._active if there else None, opacity)
            # The outlines stay; the segment's own colour would hide what is to be seen.
            segment_list.display_of(self.segmentation_node).SetVisibility2DFill(not there)

    def set_uncertain_surface_shown(self, shown: bool) -> None:
        """Colour the active segment's surface by the uncertainty around it, or not, when surfaces are made next."""
        self._surface = UncertainSurface(self.segmentation_node) if self._surface is None else self._surface
        self._on_surface = shown
        if not shown:
            self._surface.hide()

    def update_surfaces(self) -> None:
        """Make the surfaces of what the segments are now; hosts call it when nobody works: it takes up to seconds."""
        super().update_surfaces()
        if self._surface is None or not (self._on_surface and self.surface_shown):
            if self._surface is not None:
                self._surface.hide()
            return
        node = None if self.uncertainty is None or self._active is None else self.uncertainty.node(self._active)
        if node is None or self._active is None or self.uncertainty is None:
            self._surface.hide()
        else:
            self._surface.show(self._active, node, self.uncertainty.color_node(transparent=False).GetID())

    def uncertainty_values(self, segment_id: str | None = None) -> FloatArray:
        """The uncertainty on the voxels of the image (K, J, I) in bits, float32, 0 where nobody looked."""
        values = None
        if self.uncertainty is not None:
            values = self.uncertainty.values(segment_id or self._active or "")
        if values is None:
            raise PromptError('There is no uncertainty to export; choose "Where is it unsure?" first.')
        return values

    def show_plane(self, plane: Plane) -> None:
        """Tell where the person looks: the plane is encoded in the background, suggestions for it are shown."""
        super().show_plane(plane)
        if plane.axis is not None and plane.index is not None:
            self._seen[plane.axis] = plane.index
            if self._reviews:
                self.changed("review")

    def suggestions(self, index: int | None = None) -> tuple[Prompt, ...]:
        """What the model would try next on a slice of the active segment, default the one that the person looks at."""
        known = self.reviewed()
        if known is None:
            return ()
        look = known.look(self._seen.get(known.axis, -1) if index is None else index)
        return () if look is None else look.suggestions

    def change_suggestion(self, prompt: Prompt) -> None:
        """Put ``prompt`` in the place of the suggestion with its id: a handle was dragged."""
        known = self.reviewed()
        for look in () if known is None else known.now().values():
            if prompt.id in [each.id for each in look.suggestions]:
                look.suggestions = tuple(prompt if each.id == prompt.id else each for each in look.suggestions)
                self.changed("review")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _chosen(self, axis: int | None) -> tuple[str, int]:
        """The active segment and the axis to work along; PromptError when there is nothing to work on."""
        segment_id = self._active
        if segment_id is None:
            raise PromptError("There is no segment to review; draw a box around the object first.")
        if self.kept.known[segment_id].is_empty:
            raise PromptError(f'"{self._name(segment_id)}" is empty; draw a box around the object first.')
        run = self._runs.get(segment_id)
        if axis is None:
            axis = run.axis if run is not None else self._masks.natural_axis(segment_id)
        return segment_id, axis

    def _known(self) -> Reviewed:
        known = self.reviewed()
        if known is None:
            raise PromptError('The segment was not looked at yet; choose "Where is it unsure?" first.')
        return known

    def _report(self, segment_id: str, axis: int) -> Reviewed:
        """What is known of a segment along an axis; another axis starts anew."""
        if self.uncertainty is None:
            self.uncertainty = UncertaintyNodes(self.volume_node)
            self.changed.connect(self._follow)
        known = self._reviews.get(segment_id)
        if known is None or known.axis != axis:
            self._forget_review(segment_id)
            known = Reviewed(axis, lambda index: self.kept.slice_of(segment_id, axis, index))
            self._reviews[segment_id] = known
        return known

    def _start(self, text: str, *tasks: Task) -> None:
        """Run jobs one after the other; raises what the first one does not like."""
        self._propagating = tasks[0]()
        self._tasks = list(tasks[1:])
        self._running = Status("propagating", text)
        self._set_status()

    def _ended(self, job: Job[Any], then: Callable[[Any], bool]) -> None:
        """A job of a run is over: what comes of it, and the next one if it is whole."""
        is_whole = False
        try:
            with self._saying():
                is_whole = then(job)
        finally:
            if not is_whole:
                self._tasks.clear()
            self._propagating = None
            with self._saying():
                if self._tasks:
                    self._propagating = self._tasks.pop(0)()
            if self._propagating is None:
                self._tasks.clear()
                self._running = None
            self._set_status()
            for what in ("review", "propagation"):
                self.changed(what)

    def _is_whole(self, job: Job[Any], nothing: str) -> bool:
        """Whether a job did all of it; says so when it was cancelled, ``nothing`` when it has no result."""
        if job.error is not None and not isinstance(job.error, Cancelled):
            raise job.error
        is_whole = job.error is None and bool(job.result().complete)
        if not is_whole:
            self.said(Message(nothing if job.error else "Cancelled; the slices that were finished are kept."))
        return is_whole

    def _looks(self, segment_id: str, axis: int, indices: Collection[int]) -> list[Task]:
        """Looks at some slices; not at those beside which the segment is no more."""
        mask = self.kept.known[segment_id]
        there = [n for n in indices if any(not crop_slice(mask, axis, n + by).is_empty for by in (-1, 0, 1))]
        return [partial(self._look, segment_id, axis, first, last) for first, last in spans(there)]

    def _look(self, segment_id: str, axis: int, first: int, last: int | None) -> Job[Review]:
        """Ask for the uncertainty of what is there now."""
        known = self._report(segment_id, axis)

        def done(job: Job[Review]) -> bool:
            known.complete = self._is_whole(job, "Cancelled before a slice was looked at.")
            return known.complete

        return self._ask_review(segment_id, axis, first, last, False, lambda job: self._ended(job, done))

    def _ask_review(
        self,
        segment_id: str,
        axis: int,
        first: int,
        last: int | None,
        by_person: bool,
        done: Callable[[Job[Review]], None],
    ) -> Job[Review]:
        mask = self.kept.known[segment_id]

        def looked(review: SliceReview) -> None:
            known = self._reviews.get(segment_id)
            if known is not None and known.axis == axis:
                known.add(crop_slice(mask, axis, review.index), review, by_person)
                self._draw(segment_id, review.index)
                self.changed("review")

        progress = None if by_person else self._later(self._on_progress)
        return self.session.review(
            segment_id, mask, axis, first, last, self._later(looked), progress, self._later(done)
        )

    def _look_live(self) -> None:
        """Look at a slice that a person has just corrected, beside what else goes on."""
        segment_id, known = self._active or "", self.reviewed()
        if self._live is not None or known is None or self._closed:
            return
        unknown = [index for index in self.corrected_slices() if known.look(index) is None]
        if not unknown or self.kept.known[segment_id].is_empty:
            return

        def done(job: Job[Review]) -> None:
            self._live = None
            if job.error is None and self._propagating is None:
                self._look_live()

        try:
            index = unknown[0]
            self._live = self._ask_review(segment_id, known.axis, index, index, True, done)
        except AutoPromptSAMError:  # it was not asked for: the next run says what is wrong
            self._live = None

    def _draw(self, segment_id: str, index: int | None = None) -> None:
        """Bring the uncertainty node up to date on a slice, default all; one that changed since shows nothing."""
        known = self._reviews.get(segment_id)
        if known is None or self.uncertainty is None:
            return
        for n in {*known.looks, *known.steps} if index is None else (index,):
            grey = known.uncertainty(n)
            if self._drawn.get((segment_id, n)) is not grey:
                self._drawn[segment_id, n] = grey
                self.uncertainty.write(segment_id, self._name(segment_id), known.axis, n, grey)
        self.set_uncertainty_shown(*self._overlay)

    def _follow(self, what: str) -> None:
        """Another segment is the active one, or somebody changed one."""
        if what == "active":
            self.set_uncertainty_shown(*self._overlay)
        elif what in ("segments", "propagation") and self._propagating is None and self._active in self._reviews:
            self._draw(self._active)
            self._look_live()

    def _drop_step(self, step: Step) -> None:
        """Forget a step of which nothing came."""
        if not step.flips and self._last_pushed is step:
            self._travel(step, False)
            step.obsolete = True
            self.undo_stack.undo()  # which drops it

    def _forget(self, segment_id: str) -> int:
        self._forget_review(segment_id)
        return super()._forget(segment_id)

    def _forget_review(self, segment_id: str) -> None:
        if self._reviews.pop(segment_id, None) is not None and self.uncertainty is not None:
            self._drawn = {key: grey for key, grey in self._drawn.items() if key[0] != segment_id}
            self.uncertainty.remove(segment_id)
            self.set_uncertainty_shown(*self._overlay)
            self.changed("review")

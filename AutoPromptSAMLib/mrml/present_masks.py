"""What is in a segment already, as prompts: what a click corrects, and what a run starts from."""

from __future__ import annotations

from collections.abc import Sequence

from AutoPromptSAMLib.geometry import Plane, VolumeGeometry
from AutoPromptSAMLib.mrml.kept_segments import KeptSegments
from AutoPromptSAMLib.prompts import PERSON, Box, Doodle, MaskPrompt, Point, Prompt, Source
from AutoPromptSAMLib.session.protocol import Session
from AutoPromptSAMLib.session.seeds import natural_axis, seed_slices

PRESENT = Source("prompter", "mask on the slice")


class PresentMasks:
    """Makes the masks on slices prompts of the session; each call returns how many steps of the session that took."""

    def __init__(self, session: Session, kept: KeptSegments, geometry: VolumeGeometry) -> None:
        self.session, self.kept, self.geometry = session, kept, geometry

    def take_for(self, segment_id: str, prompt: Prompt, plane: Plane | None) -> int:
        """What is on the slice of a prompt: a click corrects it, so it becomes a prompt too.

        A box starts the slice anew: masks that were taken up before go.
        """
        if plane is None or plane.axis is None or plane.index is None:
            return 0
        there = self._prompts_on(segment_id, plane.axis, plane.index)
        masks = [p for p in there if isinstance(p, MaskPrompt)]
        if isinstance(prompt, Box):
            self.kept.take_up(segment_id, plane.axis, plane.index)
            return self._exchange(segment_id, masks, None)
        painted = plane.index in self.kept.painted_slices(segment_id, plane.axis)
        content = self.kept.slice_of(segment_id, plane.axis, plane.index)
        if not isinstance(prompt, (Point, Doodle)) or content.is_empty or (there and not painted):
            return 0
        self.kept.take_up(segment_id, plane.axis, plane.index)
        source = PERSON if painted else PRESENT
        return self._exchange(segment_id, masks, MaskPrompt(content, self.geometry, source=source))

    def give_way(self, segment_id: str, prompt_id: str, plane: Plane | None) -> int:
        """Masks of the slice that were given after a prompt there go: it was moved, which is newer still."""
        ids = [prompt.id for prompt in self._prompts(segment_id)]
        if prompt_id not in ids or plane is None or plane.axis is None or plane.index is None:
            return 0
        after = [p for p in self._prompts(segment_id)[ids.index(prompt_id) :] if isinstance(p, MaskPrompt)]
        here = [p for p in after if seed_slices([p], self.geometry, plane.axis) == {plane.index}]
        return self._exchange(segment_id, here, None)

    def take_painted(self, segment_id: str, axis: int) -> int:
        """The slices along ``axis`` that a person painted, for a run."""
        steps = 0
        for index in self.kept.painted_slices(segment_id, axis):
            masks = [p for p in self._prompts_on(segment_id, axis, index) if isinstance(p, MaskPrompt)]
            content = self.kept.slice_of(segment_id, axis, index)
            new = None if content.is_empty else MaskPrompt(content, self.geometry)
            steps += self._exchange(segment_id, masks, new)
            self.kept.take_up(segment_id, axis, index)
        return steps

    def natural_axis(self, segment_id: str) -> int:
        """The array axis that the prompts lie across, or what was painted where there are none."""
        if prompts := self._prompts(segment_id):
            return natural_axis(prompts, self.geometry)
        return self.kept.painted_axis(segment_id)

    def _prompts(self, segment_id: str) -> Sequence[Prompt]:
        given = self.session.objects.get(segment_id)
        return () if given is None else given.prompts

    def _prompts_on(self, segment_id: str, axis: int, index: int) -> list[Prompt]:
        return [p for p in self._prompts(segment_id) if index in seed_slices([p], self.geometry, axis)]

    def _exchange(self, segment_id: str, old: Sequence[Prompt], new: Prompt | None) -> int:
        for prompt in old:
            self.session.remove_prompt(segment_id, prompt.id)
        if new is not None:
            self.session.add_prompt(segment_id, new)
        return len(old) + (new is not None)

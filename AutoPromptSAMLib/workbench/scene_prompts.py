"""Prompts that a scene keeps for its segmentations, also when the image under them moves or changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from AutoPromptSAMLib.geometry.lattice import same_voxels
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.persistence import SceneState, restore_state, store_state
from AutoPromptSAMLib.mrml.volumes import volume_from_node
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.prompts.moving import moved_with_image


class ScenePrompts:
    """What a segmenter remembers, in its scene: saving and the next segmenter find them there.

    They are kept where the image was when they were made, and moved when they are brought back. So an image that goes
    somewhere else and comes back has them as they were, whatever could not be done with it meanwhile.
    """

    def __init__(self, segmenter: InteractiveSegmenter) -> None:
        self.segmenter = segmenter
        self._is_lost = False  # whether the scene has some that could not be brought back

    def restore(self) -> None:
        """Bring back what the scene keeps for the segmentation; voxels stay as they are.

        Raises AutoPromptSAMError when that cannot be done: it then stays in the scene until there are other prompts.
        """
        self._is_lost = True
        node = self.segmenter.segmentation_node
        state = restore_state(node.GetScene(), node)
        if state is not None:
            of = state.remembered
            painted = None if of.painted is None else self._here(state, of.painted)
            self.segmenter.restore(replace(of, prompts=self._here(state, of.prompts), painted=painted))
        self._is_lost = False

    def keep(self) -> None:
        """Put the prompts into the scene, if it is still there."""
        segmenter = self.segmenter
        scene, remembered = segmenter.segmentation_node.GetScene(), segmenter.remembered()
        if scene is None or (self._is_lost and not any(remembered.prompts.objects.values())):
            return
        store_state(scene, SceneState(remembered, {}, segmenter.volume_node, segmenter.segmentation_node))

    def _here(self, state: SceneState, file: PromptFile) -> PromptFile:
        """Prompts where their image is now; those of another image stay where they are."""
        now = self.segmenter.volume.geometry
        if file.geometry is None or state.volume_node is not self.segmenter.volume_node:
            return file
        is_moved = file.geometry.shape == now.shape and not same_voxels(file.geometry, now)
        return moved_with_image(file, file.geometry, now) if is_moved else file


def image_change(segmenter: InteractiveSegmenter) -> Literal["place", "voxels"] | None:
    """What became of the image since the segmenter was made: another ``place``, or other ``voxels``.

    None when it is the same, or out of the scene.
    """
    if segmenter.volume_node.GetScene() is None:
        return None
    now, known = volume_from_node(segmenter.volume_node), segmenter.volume
    if not now.geometry.close_to(known.geometry):
        return "place"
    return None if now.digest == known.digest else "voxels"

"""Prompts that a scene keeps for its segmentations, also when the image under them moves or changes."""

from __future__ import annotations

from dataclasses import dataclass

from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.persistence import SceneState, restore_states, store_state
from AutoPromptSAMLib.mrml.volumes import volume_from_node
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.prompts.moving import moved_with_image


@dataclass(frozen=True)
class ImageChange:
    """The image of a segmenter is another one: ``is_moved`` in space, or with other voxels.

    ``prompts``: those of before, where they belong now; None when they stay where they are or belong nowhere.
    """

    is_moved: bool
    prompts: PromptFile | None


def keep_prompts(segmenter: InteractiveSegmenter, prompts: PromptFile | None = None) -> None:
    """Put the prompts of a segmenter, or these, into its scene, where saving finds them."""
    scene = segmenter.segmentation_node.GetScene()
    if scene is not None:
        kept = segmenter.session.export_prompts() if prompts is None else prompts
        store_state(scene, SceneState(kept, {}, segmenter.volume_node, segmenter.segmentation_node))


def kept_prompts(segmenter: InteractiveSegmenter) -> list[PromptFile]:
    """The prompts that the scene keeps for a segmentation; PromptError when they cannot be read."""
    node = segmenter.segmentation_node
    return [state.prompts for state in restore_states(node.GetScene()) if state.segmentation_node is node]


def image_change(segmenter: InteractiveSegmenter) -> ImageChange | None:
    """What became of the image since the segmenter was made; None when it is the same, or out of the scene."""
    if segmenter.volume_node.GetScene() is None:
        return None
    now, known = volume_from_node(segmenter.volume_node), segmenter.volume
    is_moved = not now.geometry.close_to(known.geometry)
    if not is_moved and now.digest == known.digest:
        return None
    if not is_moved or now.geometry.shape != known.geometry.shape:
        return ImageChange(is_moved, None)
    return ImageChange(True, moved_with_image(segmenter.session.export_prompts(), known.geometry, now.geometry))

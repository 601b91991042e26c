"""What a person or a prompter says about an object: points, boxes, doodles and masks as plain data.

Prompts are immutable, in RAS millimetres (``types``), so they outlive the plane, the image and the process they were
made in. ``on_plane`` turns them into pixels of one plane for a network (``pixels``); ``file`` keeps them on disk.
"""

from AutoPromptSAMLib.prompts.pixels import PixelPrompts, doodle_mask, on_plane
from AutoPromptSAMLib.prompts.prompt_set import PromptSet
from AutoPromptSAMLib.prompts.types import PERSON, Box, Doodle, MaskPrompt, Point, Prompt, Source, new_id

__all__ = [
    "PERSON",
    "Box",
    "Doodle",
    "MaskPrompt",
    "PixelPrompts",
    "Point",
    "Prompt",
    "PromptSet",
    "Source",
    "doodle_mask",
    "new_id",
    "on_plane",
]

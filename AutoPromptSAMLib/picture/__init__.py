"""One picture of a segmentation for people: slices, organs in 3D, and what each prompt led to."""

from AutoPromptSAMLib.picture.figure import BoxPrompt, overview_picture, segment_colors
from AutoPromptSAMLib.picture.slices import orientation_letters

__all__ = ["BoxPrompt", "orientation_letters", "overview_picture", "segment_colors"]

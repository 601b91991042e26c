"""Images and label maps from disk, segments to disk; geometry always in RAS."""

from AutoPromptSAMLib.images.files import is_picture, load_labels, load_volume
from AutoPromptSAMLib.images.segmentation_file import load_segmentation, save_segmentation

__all__ = ["is_picture", "load_labels", "load_segmentation", "load_volume", "save_segmentation"]

"""Supports: annotated images of other patients, kept to prompt new ones. Importing this package does not import torch.

``library`` keeps sets of them on disk, ``from_files`` and ``from_volume`` make them, ``encode`` (which imports torch)
prepares them for a network.
"""

from AutoPromptSAMLib.supports.errors import SupportError
from AutoPromptSAMLib.supports.from_files import pairs_from_files
from AutoPromptSAMLib.supports.from_volume import pairs_from_volume
from AutoPromptSAMLib.supports.library import SupportLibrary
from AutoPromptSAMLib.supports.pairs import SupportObject, SupportPair, SupportSet

__all__ = [
    "SupportError",
    "SupportLibrary",
    "SupportObject",
    "SupportPair",
    "SupportSet",
    "pairs_from_files",
    "pairs_from_volume",
]

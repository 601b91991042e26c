"""Prompts on an image whose place in the world became another one, as when a transform is put on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.geometry.grid import SHEAR_TOLERANCE
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.prompts.prompt_set import PromptSet
from AutoPromptSAMLib.prompts.types import Box, Doodle, MaskPrompt, Point, Prompt


def moved(prompt: Prompt, matrix: ArrayLike, geometry: VolumeGeometry) -> Prompt:
    """The prompt on the same voxels as before; it keeps its id.

    Args:
        matrix: 4x4, from where the image's voxels were, RAS mm, to where they are now.
        geometry: that of the image now.

    Raises:
        PromptError: a box would be sheared.
    """
    m = np.asarray(matrix, dtype=float)
    if isinstance(prompt, MaskPrompt):
        return replace(prompt, geometry=geometry)
    if isinstance(prompt, Point | Doodle):
        return replace(prompt, ras=prompt.ras @ m[:3, :3].T + m[:3, 3])
    assert isinstance(prompt, Box)
    axes = prompt.axes @ m[:3, :3].T
    lengths = np.linalg.norm(axes, axis=1)
    axes = axes / lengths[:, None]
    if np.abs(axes @ axes.T - np.eye(3)).max() > SHEAR_TOLERANCE:
        raise PromptError("The image was moved so that a box on it would be sheared; draw the box again.")
    center = m[:3, :3] @ prompt.center_ras + m[:3, 3]
    return replace(prompt, center_ras=center, axes=axes, size_mm=prompt.size_mm * lengths)


def moved_with_image(file: PromptFile, before: VolumeGeometry, now: VolumeGeometry) -> PromptFile:
    """All prompts of an image, gone along with its voxels. Raises PromptError when a box would be sheared."""
    matrix = now.ijk_to_ras @ np.linalg.inv(before.ijk_to_ras)
    objects = {
        name: PromptSet([moved(prompt, matrix, now) for prompt in given.prompts])
        for name, given in file.objects.items()
    }
    return PromptFile(objects, file.model, now)

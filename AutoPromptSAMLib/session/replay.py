"""Prompts of a file on the image of a session."""

from __future__ import annotations

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.geometry.lattice import crop_on, same_voxels
from AutoPromptSAMLib.prompts import MaskPrompt, Prompt, PromptSet
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.session.seeds import check_inside


def prompts_on(file: PromptFile, geometry: VolumeGeometry) -> dict[str, PromptSet]:
    """The prompts of a file by object, its masks on the grid of ``geometry``.

    Raises GeometryError when they were made on an image of another geometry, PromptError for one outside the image.
    """
    if file.geometry is not None and not same_voxels(file.geometry, geometry):
        raise GeometryError(
            f"The prompts were made on an image of {file.geometry}, this one has {geometry}; "
            "load the image they belong to."
        )
    objects = {
        name: PromptSet([_on_grid(prompt, geometry) for prompt in prompts]) for name, prompts in file.objects.items()
    }
    for prompts in objects.values():
        for prompt in prompts:
            check_inside(prompt, geometry)
    return objects


def model_remarks(file: PromptFile, own: PromptFile) -> list[str]:
    """What there is to say when a file was made with another model than ``own``."""
    made = file.model
    if made is None or made == own.model:
        return []
    name = own.model["name"] if own.model else ""
    if made["name"] == name:
        return [f"The prompts were made with other weights of {name} than these, which may answer otherwise."]
    return [f"The prompts were made with {made['name']}; {name} may answer otherwise."]


def _on_grid(prompt: Prompt, geometry: VolumeGeometry) -> Prompt:
    """A mask that was made on the same voxels in another order, in the order of ``geometry``; others as they are."""
    if not isinstance(prompt, MaskPrompt):
        return prompt
    crop = crop_on(prompt.crop, prompt.geometry, geometry)
    return prompt if crop is None else MaskPrompt(crop, geometry, source=prompt.source, id=prompt.id)

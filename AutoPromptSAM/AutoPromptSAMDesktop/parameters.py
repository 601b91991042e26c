"""What a scene remembers of the module; widgets are bound to it by ``SlicerParameterName`` in the .ui files."""

# No postponed annotations here: the wrapper reads them as they are.

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

DIRECTIONS = ("Axial", "Coronal", "Sagittal")
FROM_PROMPTS, FROM_SUPPORTS = "From my prompts", "From examples"
LEAVE, OVERWRITE_ALL, OVERWRITE_VISIBLE = "Leave as they are", "Overwrite all", "Overwrite visible ones"
AUTOMATIC, CPU, GPU = "Automatic", "CPU", "GPU (CUDA)"


@parameterNodeWrapper
class Parameters:
    """The node's parameters: what a person chose. Prompts are kept beside them (``mrml.persistence``)."""

    inputVolume: vtkMRMLScalarVolumeNode  # noqa: N815 - Slicer's spelling, in the scene's files too
    segmentation: vtkMRMLSegmentationNode
    overwrite: Annotated[str, Choice([LEAVE, OVERWRITE_ALL, OVERWRITE_VISIBLE])] = LEAVE
    showIn3D: bool = False  # noqa: N815
    brushDiameterMm: Annotated[float, WithinRange(1, 60)] = 8.0  # noqa: N815
    supportSet: str = ""  # noqa: N815
    skippedObjects: list[str]  # noqa: N815
    learnMinutes: Annotated[int, WithinRange(1, 120)] = 15  # noqa: N815
    method: Annotated[str, Choice([FROM_PROMPTS, FROM_SUPPORTS])] = FROM_PROMPTS
    direction: Annotated[str, Choice(list(DIRECTIONS))] = "Axial"
    firstSlice: int = 0  # noqa: N815
    lastSlice: int = -1  # noqa: N815 - -1: the last one that there is
    uncertaintyShown: bool = True  # noqa: N815
    uncertaintyOpacity: Annotated[float, WithinRange(0, 100)] = 60.0  # noqa: N815
    uncertaintyOnSurface: bool = False  # noqa: N815
    suggestionsShown: bool = True  # noqa: N815
    carryCorrections: bool = True  # noqa: N815
    model: str = ""
    device: Annotated[str, Choice([AUTOMATIC, CPU, GPU])] = AUTOMATIC
    shortcuts: bool = True

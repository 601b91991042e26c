# ruff: noqa: N802, N803 - the names are Slicer's
"""``slicer.util`` where the application is needed, and the modules beside it: i18n, packaging, SampleData ..."""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import installing, ui_file


def modules(desktop: Any) -> dict[str, types.ModuleType]:
    """The modules of Python that Slicer has and slicer-core has not, by name."""
    found = {
        "slicer.i18n": _i18n(),
        "slicer.ScriptedLoadableModule": _scripted(),
        "slicer.parameterNodeWrapper": _parameter_node_wrapper(),
        "SampleData": _sample_data(desktop),
        "PyTorchUtils": installing.pytorch_module(desktop.installer, confirm),
    }
    if desktop.version >= (5, 12):
        found["slicer.packaging"] = installing.packaging_module(desktop.installer, confirm)
    return found


def functions(desktop: Any) -> dict[str, Callable[..., Any]]:
    """What replaces functions of the wheel's ``slicer.util``; the others are the application's own already."""

    def loadUI(path):
        return ui_file.load_ui(path, desktop.class_of)

    def pip_install(requirements, **kwargs):
        desktop.installer.take("pip_install", requirements, **kwargs)

    def pip_uninstall(requirements, **kwargs):
        desktop.installer.take("pip_uninstall", requirements, **kwargs)

    def modulePath(moduleName):
        import slicer

        return getattr(slicer.modules, moduleName.lower()).path

    def selectModule(module):
        desktop.selected_module = module if isinstance(module, str) else module.name

    def selectedModule():
        return getattr(desktop, "selected_module", "")

    made = (loadUI, pip_install, pip_uninstall, modulePath, selectModule, selectedModule)
    return {function.__name__: function for function in made}


def confirm(text: str) -> bool:
    import slicer

    return bool(slicer.util.confirmOkCancelDisplay(text))


def _i18n() -> types.ModuleType:
    module = types.ModuleType("slicer.i18n")

    def translate(context, text):
        return text

    def getContext(sourceFile):
        return Path(sourceFile).stem

    def tr(text):
        return text

    for function in (translate, getContext, tr):
        setattr(module, function.__name__, function)
    return module


def _scripted() -> types.ModuleType:
    scripted = importlib.import_module(f"{__package__}.scripted")
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    names = [name for name in vars(scripted) if name.startswith("ScriptedLoadableModule")]
    vars(module).update({name: getattr(scripted, name) for name in names}, __all__=names)
    return module


@functools.cache
def _parameter_node_wrapper() -> types.ModuleType:
    module = types.ModuleType("slicer.parameterNodeWrapper")
    types_ = importlib.import_module(f"{__package__}.parameter_types")
    parameters = importlib.import_module(f"{__package__}.parameters")
    vars(module).update({cls.__name__: cls for cls in types_.EXPORTS})
    module.parameterNodeWrapper = parameters.parameter_node_wrapper  # type: ignore[attr-defined]
    module.isParameterNodeWrapper = parameters.is_parameter_node_wrapper  # type: ignore[attr-defined]
    module.findChildWidgetForParameter = parameters.find_child_widget  # type: ignore[attr-defined]
    module.__all__ = [name for name in vars(module) if not name.startswith("_")]  # type: ignore[attr-defined]
    return module


def _sample_data(desktop: Any) -> types.ModuleType:
    module = types.ModuleType("SampleData")

    class SampleDataLogic:
        """Registers sources; a source with its own downloader can be had, others are not fetched."""

        def __init__(self, logMessage=None):
            self.logMessage = logMessage

        @staticmethod
        def registerCustomSampleDataSource(
            category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
            thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties={}, checksums=None,  # noqa: B006
            loadFileType=None,
        ):  # fmt: skip
            desktop.samples.append(vars(_Source(dict(locals()))))

        def downloadSamples(self, sampleName):
            for each in desktop.samples:
                if each["sampleName"] == sampleName and each["customDownloader"]:
                    found = each["customDownloader"](_Source(each))
                    return found if isinstance(found, list) else [found]
            raise NotImplementedError(f"the double does not fetch {sampleName}")

        def downloadSample(self, sampleName):
            return self.downloadSamples(sampleName)[0]

    module.SampleDataLogic = SampleDataLogic  # type: ignore[attr-defined]
    return module


class _Source(types.SimpleNamespace):
    """A source: its fields are of one length, which that of its URIs says, though it has its own downloader."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(**{name: value for name, value in values.items() if name != "desktop"})
        names = ("uris", "fileNames", "nodeNames", "checksums", "loadFiles", "loadFileTypes")
        is_one = isinstance(self.uris, str)
        for name in names:
            value = getattr(self, name)
            if is_one:
                setattr(self, name, [value])
            elif value is None and name not in ("uris", "fileNames"):
                setattr(self, name, [None] * len(self.uris))
        if len({len(getattr(self, name)) for name in names}) != 1:
            raise ValueError("All fields of sample data source must have the same length")

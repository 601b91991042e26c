"""Export: what to write, and its way to the browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import page

if TYPE_CHECKING:
    from AutoPromptSAMLib.files.downloads import Downloads
    from AutoPromptSAMLib.web.app import WebApp

FORMATS = (
    (".seg.nrrd", "Segmentation", "Names, colours and voxels, for 3D Slicer and others", "mdi-layers-outline"),
    (".nii.gz", "Label map", "One number a segment, for programs; segments may not overlap", "mdi-numeric"),
    (".mrb", "Scene", "Everything, with the image and the prompts, for 3D Slicer", "mdi-package-variant-closed"),
    (".json", "Prompts", "What you drew, to be replayed here or on the command line", "mdi-selection"),
)


def _button(suffix: str, title: str, text: str, icon: str) -> str:
    id = suffix.lstrip(".").replace(".", "-")
    return page("export_format", id=id, suffix=suffix, title=title, text=text, icon=icon)


class Exporting(Panel):
    """A dialog with one button a format."""

    template = page("export", formats="".join(_button(*known) for known in FORMATS))

    def __init__(self, app: WebApp, downloads: Downloads) -> None:
        super().__init__(app)
        self.downloads = downloads
        app.server.trigger("export")(self.export)

    def on_export_dialog(self) -> None:
        """Show the dialog."""
        self.state.export_open = True

    async def export(self, suffix: str) -> str | None:
        """Write the work; returns the one-time id to fetch it with, None when it cannot be written."""
        from AutoPromptSAMLib.mrml.exports import prepare_export

        if suffix not in [known for known, *_ in FORMATS]:
            return None

        def prepare(path: Path) -> Callable[[], None]:
            return prepare_export(self.app.need_segmenter(), path, {"model": self.state.model})

        name = f"{self.state.image_name or 'segmentation'}{suffix}"
        id = await self.write(name, prepare, "exporting", f"Writing the {suffix} file…")
        if id is not None:
            with self.state:
                self.state.export_open = False
        return id

    async def write(
        self, name: str, prepare: Callable[[Path], Callable[[], object]], busy: str, text: str
    ) -> str | None:
        """Write a file for the browser; the one-time id to fetch it with, None when it cannot be written.

        ``prepare`` gets its path and returns what writes it, on a thread; the page has ``text`` in its state ``busy``
        meanwhile. What goes wrong is told.
        """
        with self.state:
            self.state[busy] = text
        try:
            path = self.downloads.path_for(name)
            try:
                await asyncio.to_thread(prepare(path))
            except BaseException:
                self.downloads.remove(path)
                raise
        except AutoPromptSAMError as error:
            self.tell(error)
            return None
        finally:
            with self.state:
                self.state[busy] = ""
        return self.downloads.offer(path)

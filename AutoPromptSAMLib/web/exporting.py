"""Export: what to write, and its way to the browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.web.panel import Panel

if TYPE_CHECKING:
    from AutoPromptSAMLib.web.app import WebApp
    from AutoPromptSAMLib.web.uploads import Downloads

FORMATS = (
    (".seg.nrrd", "Segmentation", "Names, colours and voxels, for 3D Slicer and others", "mdi-layers-outline"),
    (".nii.gz", "Label map", "One number a segment, for programs; segments may not overlap", "mdi-numeric"),
    (".mrb", "Scene", "Everything, with the image and the prompts, for 3D Slicer", "mdi-package-variant-closed"),
    (".json", "Prompts", "What you drew, to be replayed here or on the command line", "mdi-selection"),
)


def _rows() -> str:
    return "".join(
        f"""<button class="aps-export" data-testid="export-{suffix.lstrip(".").replace(".", "-")}"
          :disabled="!!exporting"
        onclick="apsFiles.download('{suffix}')"><v-icon size="24">{icon}</v-icon>
        <span><b>{title}</b> <small>{suffix}</small><br/>{text}</span></button>"""
        for suffix, title, text, icon in FORMATS
    )


class Exporting(Panel):
    """A dialog with one button a format."""

    template = f"""
<v-dialog v-model="export_open" max-width="520">
  <div class="aps-dialog" data-testid="export-dialog" role="dialog" aria-label="Export">
    <header class="aps-head"><h2>Export</h2><span class="aps-spring"></span>
      <button class="aps-icon" data-testid="export-close" aria-label="Close" @click="export_open = false">
        <v-icon>mdi-close</v-icon></button></header>
    {_rows()}
    <p v-if="exporting" class="aps-note" data-testid="exporting">{{{{ exporting }}}}</p>
  </div>
</v-dialog>
"""

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
        with self.state:
            self.state.exporting = f"Writing the {suffix} file…"
        try:
            segmenter = self.app.need_segmenter()
            path = self.downloads.path_for(f"{self.state.image_name or 'segmentation'}{suffix}")
            write = prepare_export(segmenter, path, {"model": self.state.model})
            await asyncio.to_thread(write)
        except AutoPromptSAMError as error:
            self.app.say(str(error), "error")
            return None
        finally:
            with self.state:
                self.state.exporting = ""
        with self.state:
            self.state.export_open = False
        return self.downloads.offer(path)

"""Opening: the dialog, uploads, folders of this machine, the sample, scenes, and work that was not finished."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from AutoPromptSAMLib.files.folders import AllowedFolders
from AutoPromptSAMLib.files.opened import Opened, list_series
from AutoPromptSAMLib.files.uploads import Uploads
from AutoPromptSAMLib.mrml.autosave import SAMPLE
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.workbench.opening import may_be_labels, work_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from AutoPromptSAMLib.errors import AutoPromptSAMError
    from AutoPromptSAMLib.geometry import Volume
    from AutoPromptSAMLib.web.app import WebApp


class Opening(Panel):
    """What may be opened, and how it gets here."""

    template = page("open")

    def __init__(self, app: WebApp, uploads: Uploads, folders: AllowedFolders) -> None:
        super().__init__(app)
        self.uploads, self.folders = uploads, folders
        self._folder: Path | None = None  # with several DICOM series, one of which is to be chosen
        self._unclear: tuple[Path, Volume] | None = None  # an image or a label map, as the person will say

    def on_open_dialog(self) -> None:
        """Show the dialog."""
        self._forget_questions()
        if self.folders.folders and not self.state.folder["path"]:
            self.on_open_list(None)
        self.state.open_open = True

    def on_open_list(self, path: str | None) -> None:
        """Look into a folder of this machine."""
        found = self.folders.list(path)
        self.state.folder = {
            "path": str(found.folder),
            "parent": None if found.parent is None else str(found.parent),
            "folders": [str(folder) for folder in found.folders],
            "files": [str(file) for file in found.files],
            "dicom": found.dicom,
        }

    def on_open_file(self, path: str) -> None:
        """Open a file or DICOM folder of this machine."""
        self.app.spawn(self.open_path(self.folders.resolve(path)))

    def on_open_series(self, uid: str) -> None:
        """Open one series of the folder that has several."""
        if self._folder is not None:
            self.app.spawn(self._open_image(self._folder, uid))

    def on_open_sample(self) -> None:
        """Open the sample CT."""
        self.app.spawn(self.open_sample())

    def on_upload_progress(self, text: str) -> None:
        """Files are on their way; "" when they are there or were refused."""
        self.state.opening = text

    def on_upload_failed(self, text: str) -> None:
        """A file was refused."""
        self.state.opening = ""
        self.app.say(text, "error")

    def on_upload_done(self, batch: str, purpose: str = "") -> None:
        """All files that belong together are here; ``purpose`` "segments" when they are to be added as such."""
        self.state.opening = ""
        self.app.spawn(self._finish(batch, purpose))

    def on_open_as(self, segments: bool) -> None:
        """The file that could be either is a label map, or an image."""
        unclear, self._unclear = self._unclear, None
        self.state.open_open = False
        if unclear is not None and segments:
            self._import(unclear[0])
        elif unclear is not None:
            self.app.show_volume(unclear[1], None, str(unclear[0]))

    def on_open_unfinished(self, folder: str) -> None:
        """Go on with work that was not finished."""
        for work in self.app.keeping.keeper.unfinished():
            if str(work.folder) == folder:
                path = Path(work.source)
                self.app.spawn(self.open_sample() if work.source == SAMPLE else self._open_image(path, work.series))

    def show_unfinished(self) -> None:
        """List on the start page what can be gone on with."""
        works = self.app.keeping.keeper.unfinished()[:3]
        self.state.unfinished = [asdict(row) for row in work_rows(works)]

    async def open_path(self, path: Path) -> None:
        """Open an image, a DICOM folder, an archive of one, a scene, segments or prompts."""
        await self._loading(f"Opening {path.name}…", lambda: self.uploads.open(path), self._open)

    async def open_sample(self) -> None:
        """Open the sample CT, which is downloaded the first time."""
        from AutoPromptSAMLib.images import load_volume
        from AutoPromptSAMLib.zoo import sample_ct

        def progress(done: int, total: int | None) -> None:
            share = f" {100 * done // total} %" if total else ""
            self.app.call(lambda: self.state.update({"opening": f"Downloading the sample CT (35 MB){share}"}))

        def load() -> Volume:
            return load_volume(sample_ct(progress).image)

        await self._loading(
            "Opening the sample CT…", load, lambda volume: self.app.show_volume(volume, "Sample CT", SAMPLE)
        )

    async def _finish(self, batch: str, purpose: str) -> None:
        await self._loading(
            "Unpacking…", lambda: self.uploads.finish(batch), lambda opened: self._open(opened, purpose)
        )

    def _open(self, opened: Opened, purpose: str = "") -> None:
        self.state.open_open = False
        if opened.kind in ("segmentation", "prompts") or (opened.kind == "image" and purpose == "segments"):
            self._import(opened.path)
        elif opened.kind == "scene":
            self._show_scene(opened.path)
        elif opened.kind == "dicom":
            self.app.spawn(self._choose_series(opened.path))
        else:
            self.app.spawn(self._open_image(opened.path, ask=True))

    def _import(self, path: Path) -> None:
        from AutoPromptSAMLib.mrml.exports import import_file

        import_file(self.app.need_segmenter(), path)

    def _forget_questions(self) -> None:
        self._unclear = None
        self.state.update({"series": [], "unclear": ""})

    async def _choose_series(self, folder: Path) -> None:
        found = await asyncio.to_thread(list_series, folder)
        if len(found) < 2:
            await self._open_image(folder)
            return
        self._folder = folder
        with self.state:
            self._forget_questions()
            self.state.series = [vars(series) for series in found]
            self.state.open_open = True

    async def _open_image(self, path: Path, series: str | None = None, ask: bool = False) -> None:
        from AutoPromptSAMLib.images import load_volume

        def show(volume: Volume) -> None:
            present = None if self.app.segmenter is None else self.app.segmenter.volume
            if ask and may_be_labels(volume, present):
                self._forget_questions()
                self._unclear = (path, volume)
                self.state.update({"unclear": path.name, "open_open": True})
                return
            name = next((s["description"] for s in self.state.series if s["uid"] == series), "")
            self.state.open_open = False
            self.app.show_volume(volume, name or None, str(path), series)

        await self._loading(f"Opening {path.name}…", lambda: load_volume(path, series), show)

    def _show_scene(self, path: Path) -> None:
        """Show the image and the segments of a scene, with the prompts that it keeps."""
        from AutoPromptSAMLib.mrml.scene_reading import read_scene

        self.app.need_rest("open a scene")
        found = read_scene(self.app.slicer_app.scene, path)  # what is open stays open until there is something to show
        self.app.close_image(None)
        self.app.show_nodes(found.volume_node, found.segmentation_node, found.others, found.remembered)
        if found.damage is not None:
            self.app.say(found.damage, "warning")

    async def _loading(self, text: str, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """``load``, one at a time."""
        if self.state.opening:
            self.app.say("An image is still being opened; open the next one when it is there.", "warning")
        else:
            await self.load("opening", text, load, show)

    def tell(self, error: AutoPromptSAMError) -> None:
        """Say what went wrong: a person knows the name of what they dropped, not where it was put here."""
        self.app.say(self.uploads.named(str(error)), "error")

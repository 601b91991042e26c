"""Opening: the dialog, uploads, folders of this machine, the sample, scenes, and work that was not finished."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError
from AutoPromptSAMLib.web.files import AllowedFolders, Opened, list_series
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.uploads import Uploads

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import Volume
    from AutoPromptSAMLib.web.app import WebApp

SAMPLE = "sample"
START = """
<div v-if="!has_image" class="aps-start" data-testid="start">
  <div class="aps-start-card">
    <v-icon size="40" color="primary">mdi-star-four-points-outline</v-icon>
    <h1>Draw one box. Get the organ.</h1>
    <p>Drop an image here, or choose one: NIfTI, NRRD, MetaImage, a DICOM folder or zip, PNG, JPEG, TIFF, or a Slicer
      scene.</p>
    <template v-if="!opening">
      <div class="aps-start-buttons">
        <button class="aps-button aps-primary" data-testid="start-open" @click="trigger('open_dialog')">
          <v-icon size="18">mdi-folder-open-outline</v-icon> Open an image</button>
        <button class="aps-button" data-testid="start-sample" @click="trigger('open_sample')">
          <v-icon size="18">mdi-human</v-icon> Try the sample CT</button>
      </div>
      <div v-if="unfinished.length" class="aps-unfinished">
        <h3>Go on where you were</h3>
        <button v-for="w in unfinished" :key="w.folder" class="aps-button" data-testid="resume" :disabled="!w.there"
          @click="trigger('open_unfinished', [w.folder])"><v-icon size="18">mdi-history</v-icon>
          <span><b>{{ w.name }}</b> · {{ w.about }}</span></button>
      </div>
    </template>
    <div v-else class="aps-opening" data-testid="opening"><div class="aps-bar aps-bar-endless"><span></span></div>
      {{ opening }}</div>
    <small>Everything stays on this machine. Research software, not a medical device.</small>
  </div>
</div>
"""


class Opening(Panel):
    """What may be opened, and how it gets here."""

    template = """
<v-dialog v-model="open_open" max-width="620">
  <div class="aps-dialog" data-testid="open-dialog" role="dialog" aria-label="Open">
    <header class="aps-head"><h2>Open</h2><span class="aps-spring"></span>
      <button class="aps-icon" data-testid="open-close" aria-label="Close" @click="open_open = false">
        <v-icon>mdi-close</v-icon></button></header>
    <div class="aps-drop"><p>Drop files or a folder anywhere on the page, or</p>
      <div class="aps-start-buttons">
        <label class="aps-button aps-primary" tabindex="0"><v-icon size="18">mdi-file-outline</v-icon> Choose files
          <input type="file" multiple data-testid="open-files" onchange="apsFiles.picked(this)"/></label>
        <label class="aps-button" tabindex="0"><v-icon size="18">mdi-folder-outline</v-icon> Choose a DICOM folder
          <input type="file" webkitdirectory data-testid="open-folder" onchange="apsFiles.picked(this)"/></label>
        <button class="aps-button" data-testid="open-sample" @click="open_open = false; trigger('open_sample')">
          <v-icon size="18">mdi-human</v-icon> Sample CT</button>
      </div>
      <p class="aps-note">An image replaces the present one. Segments (.seg.nrrd) and prompts (.json) are
        added to it.</p>
    </div>
    <template v-if="series.length"><h3>Which series?</h3>
      <ul class="aps-list"><li v-for="s in series" :key="s.uid" class="aps-row" data-testid="open-series" tabindex="0"
        @click="trigger('open_series', [s.uid])" @keydown.enter="trigger('open_series', [s.uid])">
        <v-icon size="18">mdi-layers-outline</v-icon><span class="aps-name">{{ s.description || s.uid }}</span>
        <span class="aps-ml">{{ s.modality }} · {{ s.slices }} files</span></li></ul></template>
    <template v-if="folder.path"><h3>On this machine</h3>
      <div class="aps-note">{{ folder.path }}
        <button v-if="folder.dicom" class="aps-link" data-testid="open-dicom"
          @click="trigger('open_file', [folder.path])">
          Open as DICOM</button></div>
      <ul class="aps-list aps-folder">
        <li v-if="folder.parent" class="aps-row" tabindex="0" @click="trigger('open_list', [folder.parent])"
          @keydown.enter="trigger('open_list', [folder.parent])"><v-icon size="18">mdi-arrow-up</v-icon>
          <span class="aps-name">up</span></li>
        <li v-for="f in folder.folders" :key="f" class="aps-row" tabindex="0" @click="trigger('open_list', [f])"
          @keydown.enter="trigger('open_list', [f])"><v-icon size="18">mdi-folder-outline</v-icon>
          <span class="aps-name">{{ f.split(/[/\\\\]/).pop() }}</span></li>
        <li v-for="f in folder.files" :key="f" class="aps-row" data-testid="open-file" tabindex="0"
          @click="trigger('open_file', [f])" @keydown.enter="trigger('open_file', [f])">
          <v-icon size="18">mdi-file-outline</v-icon><span class="aps-name">{{ f.split(/[/\\\\]/).pop() }}</span></li>
      </ul></template>
  </div>
</v-dialog>
"""

    def __init__(self, app: WebApp, uploads: Uploads, folders: AllowedFolders) -> None:
        super().__init__(app)
        self.uploads, self.folders = uploads, folders
        self._folder: Path | None = None  # with several DICOM series, one of which is to be chosen

    def on_open_dialog(self) -> None:
        """Show the dialog."""
        self.state.series = []
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

    def on_upload_done(self, batch: str) -> None:
        """All files that belong together are here."""
        self.state.opening = ""
        self.app.spawn(self._finish(batch))

    def on_open_unfinished(self, folder: str) -> None:
        """Go on with work that was not finished."""
        for work in self.app.keeping.unfinished():
            if str(work.folder) == folder:
                path = Path(work.source)
                self.app.spawn(self.open_sample() if work.source == SAMPLE else self._open_image(path, work.series))

    def show_unfinished(self) -> None:
        """List on the start page what can be gone on with."""
        self.state.unfinished = [
            {
                "folder": str(work.folder),
                "name": "Sample CT" if work.source == SAMPLE else Path(work.source).name,
                "about": f"{len(work.segments)} segments, {_ago(time.time() - work.time)}",
                "there": work.source_is_there,
            }
            for work in self.app.keeping.unfinished()[:3]
        ]

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

    async def _finish(self, batch: str) -> None:
        await self._loading("Unpacking…", lambda: self.uploads.finish(batch), self._open)

    def _open(self, opened: Opened) -> None:
        self.state.open_open = False
        if opened.kind in ("segmentation", "prompts"):
            from AutoPromptSAMLib.mrml.exports import import_file

            import_file(self.app.need_segmenter(), opened.path)
        elif opened.kind == "scene":
            self._show_scene(opened.path)
        elif opened.kind == "dicom":
            self.app.spawn(self._choose_series(opened.path))
        else:
            self.app.spawn(self._open_image(opened.path))

    async def _choose_series(self, folder: Path) -> None:
        found = await asyncio.to_thread(list_series, folder)
        if len(found) < 2:
            await self._open_image(folder)
            return
        self._folder = folder
        with self.state:
            self.state.series = [vars(series) for series in found]
            self.state.open_open = True

    async def _open_image(self, path: Path, series: str | None = None) -> None:
        from AutoPromptSAMLib.images import load_volume

        def show(volume: Volume) -> None:
            self.state.open_open = False
            self.app.show_volume(volume, None, str(path), series)

        await self._loading(f"Opening {path.name}…", lambda: load_volume(path, series), show)

    def _show_scene(self, path: Path) -> None:
        """Show the image and the segments of a scene, with the prompts that it keeps."""
        from AutoPromptSAMLib.mrml.persistence import open_scene, restore_states
        from AutoPromptSAMLib.mrml.segments import create_segmentation

        scene = self.app.slicer_app.scene
        self.app.close_image(None)
        before = set(_nodes(scene))
        open_scene(scene, path, clear=False)  # clearing would take the views' nodes away
        states = restore_states(scene)
        prompts = states[0].prompts if states else None
        volume = states[0].volume_node if states else scene.GetFirstNodeByClass("vtkMRMLVolumeNode")
        segmentation = states[0].segmentation_node if states else scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        new = [node for node in _nodes(scene) if node not in before]
        if volume is None:
            for node in new:
                scene.RemoveNode(node)
            raise ImageError(f"{path.name} holds no image; open a scene with a volume.")
        for node in new if states else ():
            if node.IsA("vtkMRMLMarkupsNode") or node.IsA("vtkMRMLTextNode"):  # the prompts, shown in our own way
                scene.RemoveNode(node)
        segmentation = segmentation or create_segmentation(volume)
        kept = [node for node in new if node.GetScene() is not None and node not in (volume, segmentation)]
        self.app.show_nodes(volume, segmentation, kept, prompts)

    async def _loading(self, text: str, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """Run ``load`` on a thread and ``show`` with what it gave; say what goes wrong."""
        if self.state.opening:
            return
        with self.state:
            self.state.opening = text
        loaded: list[Any] = []
        try:
            loaded.append(await asyncio.to_thread(load))
        except AutoPromptSAMError as error:
            # A person knows the name of what they dropped, not where it was put here.
            inside = re.escape(str(self.uploads.folder)) + r"[/\\][^/\\]+[/\\](files|unpacked)[/\\]"
            self.app.say(re.sub(inside, "", str(error)), "error")
        finally:
            with self.state:
                self.state.opening = ""
        if loaded:
            with self.state:
                self.app.guarded(show)(loaded[0])


def _nodes(scene: Any) -> list[Any]:
    """What a scene file brings: no views, and nothing that there is only one of."""
    count = scene.GetNumberOfNodes()
    nodes = [scene.GetNthNode(number) for number in range(count)]
    return [node for node in nodes if node.IsA("vtkMRMLDisplayableNode") or node.IsA("vtkMRMLTextNode")]


def _ago(seconds: float) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"

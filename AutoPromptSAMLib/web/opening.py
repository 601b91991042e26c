"""Opening: the dialog, uploads, folders of this machine, the sample, scenes, and work that was not finished."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
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
        <label class="aps-button aps-primary"><v-icon size="18">mdi-file-outline</v-icon> Choose files
          <input type="file" multiple data-testid="open-files" onchange="apsFiles.picked(this)"/></label>
        <label class="aps-button"><v-icon size="18">mdi-folder-outline</v-icon> Choose a DICOM folder
          <input type="file" webkitdirectory data-testid="open-folder" onchange="apsFiles.picked(this)"/></label>
        <label v-if="tools_ready" class="aps-button"><v-icon size="18">mdi-layers-plus</v-icon>
          Add segments
          <input type="file" data-testid="open-segments" onchange="apsFiles.picked(this, 'segments')"/></label>
        <button class="aps-button" data-testid="open-sample" @click="open_open = false; trigger('open_sample')">
          <v-icon size="18">mdi-human</v-icon> Sample CT</button>
      </div>
      <p class="aps-note">An image replaces the present one. Segments (.seg.nrrd or a label map) and prompts (.json)
        are added to it.</p>
    </div>
    <template v-if="unclear"><h3>{{ unclear }} lies on the voxels of the open image. What is it?</h3>
      <div class="aps-start-buttons">
        <button class="aps-button aps-primary" data-testid="open-as-segments" @click="trigger('open_as', [true])">
          A label map: add its segments</button>
        <button class="aps-button" data-testid="open-as-image" @click="trigger('open_as', [false])">
          Another image: open it instead</button></div></template>
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
            if ask and self._may_be_labels(volume):
                self._forget_questions()
                self._unclear = (path, volume)
                self.state.update({"unclear": path.name, "open_open": True})
                return
            name = next((s["description"] for s in self.state.series if s["uid"] == series), "")
            self.state.open_open = False
            self.app.show_volume(volume, name or None, str(path), series)

        await self._loading(f"Opening {path.name}…", lambda: load_volume(path, series), show)

    def _may_be_labels(self, volume: Volume) -> bool:
        present = None if self.app.segmenter is None else self.app.segmenter.volume
        return (
            present is not None
            and not volume.is_colour
            and volume.array.dtype.kind in "bui"
            and volume.geometry.close_to(present.geometry)
        )

    def _show_scene(self, path: Path) -> None:
        """Show the image and the segments of a scene, with the prompts that it keeps."""
        from AutoPromptSAMLib.mrml.persistence import open_scene, restore_states
        from AutoPromptSAMLib.mrml.segments import create_segmentation
        from AutoPromptSAMLib.mrml.volumes import geometry_from_node

        scene = self.app.slicer_app.scene
        before = set(_nodes(scene))
        new: list[Any] = []
        try:  # what is open stays open until there is something to show instead
            try:
                open_scene(scene, path, clear=False)  # clearing would take the views' nodes away
            finally:
                new += (node for node in _nodes(scene) if node not in before)
            state = next((found for found in restore_states(scene) if found.volume_node in new), None)
            volume = state.volume_node if state else _first(new, "vtkMRMLScalarVolumeNode")
            if volume is None:
                raise ImageError(f"{path.name} holds no image; open a scene with a volume.")
            geometry_from_node(volume)
        except AutoPromptSAMError:
            for node in new:
                scene.RemoveNode(node)
            raise
        self.app.close_image(None)
        for node in new if state else ():
            if node.IsA("vtkMRMLMarkupsNode") and node.GetScene() is not None:  # the prompts, shown in our own way
                scene.RemoveNode(node)
        segmentation = state.segmentation_node if state else _first(new, "vtkMRMLSegmentationNode")
        segmentation = segmentation or create_segmentation(volume)
        kept = [node for node in new if node.GetScene() is not None and node not in (volume, segmentation)]
        self.app.show_nodes(volume, segmentation, kept, state.prompts if state else None)

    async def _loading(self, text: str, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """Run ``load`` on a thread and ``show`` with what it gave; say what goes wrong."""
        if self.state.opening:
            self.app.say("An image is still being opened; open the next one when it is there.", "warning")
            return
        with self.state:
            self.state.opening = text
        loaded: list[Any] = []
        try:
            loaded.append(await asyncio.to_thread(load))
        except AutoPromptSAMError as error:
            self._say_wrong(error)
        finally:
            with self.state:
                self.state.opening = ""
        if loaded:
            with self.state:
                try:
                    show(loaded[0])
                except AutoPromptSAMError as error:
                    self._say_wrong(error)

    def _say_wrong(self, error: AutoPromptSAMError) -> None:
        # A person knows the name of what they dropped, not where it was put here.
        inside = re.escape(str(self.uploads.folder)) + r"[/\\][^/\\]+[/\\](files|unpacked)[/\\]"
        self.app.say(re.sub(inside, "", str(error)), "error")


def _first(nodes: Iterable[Any], kind: str) -> Any:
    """The first node of a class that is no label map; None without."""
    return next((n for n in nodes if n.IsA(kind) and not n.IsA("vtkMRMLLabelMapVolumeNode")), None)


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

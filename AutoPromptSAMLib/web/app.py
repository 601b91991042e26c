"""The web application: one image, its segmenter, and the page around them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html
from trame_slicer.core import SlicerApp
from vtkmodules.vtkCommonCore import vtkObject

from AutoPromptSAMLib.backbones.llvm import settle_triton
from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError
from AutoPromptSAMLib.files.downloads import Downloads
from AutoPromptSAMLib.files.folders import AllowedFolders
from AutoPromptSAMLib.files.uploads import Uploads
from AutoPromptSAMLib.mrml.persistence import forget_states
from AutoPromptSAMLib.mrml.segments import create_segmentation
from AutoPromptSAMLib.mrml.volumes import geometry_from_node, has_size, volume_to_node
from AutoPromptSAMLib.session.opening import local_session
from AutoPromptSAMLib.web.bars import StatusBar, TopBar
from AutoPromptSAMLib.web.exporting import Exporting
from AutoPromptSAMLib.web.keeping import Keeping
from AutoPromptSAMLib.web.models_panel import ModelsPanel
from AutoPromptSAMLib.web.opening import Opening
from AutoPromptSAMLib.web.overlays import Overlays, shortcut_state
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.prompts_panel import PromptsPanel
from AutoPromptSAMLib.web.propagate_panel import PropagatePanel
from AutoPromptSAMLib.web.review_panel import ReviewPanel
from AutoPromptSAMLib.web.segments_panel import SegmentsPanel
from AutoPromptSAMLib.web.state import INITIAL
from AutoPromptSAMLib.web.supports_gallery import SupportsGallery
from AutoPromptSAMLib.web.supports_panel import SupportsPanel
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.web.theme import MODULE, VUETIFY
from AutoPromptSAMLib.web.tools import Tools
from AutoPromptSAMLib.web.views import Views
from AutoPromptSAMLib.workbench.connection import Connection
from AutoPromptSAMLib.workbench.opening import image_text
from AutoPromptSAMLib.workbench.shortcuts import Keys

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.geometry import Volume
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Message
    from AutoPromptSAMLib.mrml.remembered import Remembered

log = logging.getLogger(__name__)
UPLOAD_LIMIT = 8 << 30  # bytes: a choice, above every CT
TIDY_S = 3600.0  # how often what nobody needs is looked for: a choice


class WebApp:
    """The page of one server. All methods run on the server's event loop; ``call`` brings work there from others."""

    def __init__(self, server: Any, home: Path, device: str = "auto", folders: Sequence[Path] = ()) -> None:
        settle_triton()
        server.client_type = "vue3"
        self.server, self.state, self.device = server, server.state, device
        self.loop: asyncio.AbstractEventLoop | None = None
        # VTK warns of names that trame-slicer still uses and of the display that there is not: nothing to act on.
        vtkObject.GlobalWarningDisplayOff()
        self.slicer_app = SlicerApp()
        # The editor gets no undo stack: it would copy all voxels twice a stroke, and the segmenter notes what changes.
        editor = self.slicer_app.segmentation_editor
        # It would make or remove all surfaces after each edit; the segmenter knows which changed, the views when.
        editor.segmentation_modified.disconnect(editor._on_segmentation_modified)
        self._backbone: Backbone | None = None
        self._connection: Connection | None = None  # once there are an image and a model
        self._nodes: tuple[Any, Any] | None = None  # of the image and its segmentation
        self._others: Sequence[Any] = ()  # nodes that came with them in a scene
        self._remembered: Remembered | None = None  # of a scene or the model before, for the segmenter to come
        self._source: str | None = None  # where the image came from
        self._tasks: set[asyncio.Task[Any]] = set()
        self.state.update({**INITIAL, **shortcut_state()})
        self.state.trame__title = "AutoPromptSAM"
        self.state.client_only("hint_step", "renaming")
        server.enable_module(MODULE)
        self.views = Views(self)
        self.tools, self.overlays = Tools(self), Overlays(self)
        self.models, self.top, self.status = ModelsPanel(self), TopBar(self), StatusBar(self)
        self.segments, self.prompts, self.propagate = SegmentsPanel(self), PromptsPanel(self), PropagatePanel(self)
        self.gallery, self.supports = SupportsGallery(self), SupportsPanel(self)
        self.review = ReviewPanel(self)
        self.opening = Opening(self, Uploads(home / "uploads", UPLOAD_LIMIT), AllowedFolders(folders))
        self.exporting = Exporting(self, Downloads(home / "downloads"))
        self.keeping = Keeping(self, home / "work")
        self.keys = self._bind_keys()
        self.layout = self._build()
        vtkObject.GlobalWarningDisplayOn()
        server.controller.on_server_ready.add(self._on_ready)

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All parts of the page."""
        return (
            self.tools, self.views, self.keeping, self.segments, self.prompts, self.propagate, self.top, self.status,
            self.models, self.opening, self.exporting, self.overlays, self.gallery, self.supports,
            self.review,
        )  # fmt: skip

    @property
    def segmenter(self) -> InteractiveSegmenter | None:
        """That of the image, None until there are an image and a model."""
        return None if self._connection is None else self._connection.segmenter

    def say(self, text: str, kind: Literal["info", "warning", "error"] = "info") -> None:
        """Show the person a sentence."""
        with self.state:
            self.overlays.say(text, kind)

    def pass_on(self, message: Message) -> None:
        """Show the person what somebody below has to say."""
        self.say(message.text, message.kind)

    def guarded(self, action: Callable[..., Any]) -> Callable[..., Any]:
        """``action``, whose errors are shown to the person instead of raised."""

        @functools.wraps(action)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return action(*args, **kwargs)
            except Exception as error:  # the page has nobody to raise it to
                self.failed(error)
                return None

        return run

    def failed(self, error: BaseException) -> None:
        """Say what went wrong; what is no error of ours goes to the program's log as well."""
        if isinstance(error, AutoPromptSAMError):
            self.say(str(error), "error")
            return
        log.error("The web application failed", exc_info=error)
        self.say("Something went wrong; the program's log says what.", "error")

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` on the event loop, from any thread, and show what it changed."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._showing, function)

    def later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Run ``function`` on the event loop so many seconds from now; what is returned calls that off."""
        return (lambda: None) if self.loop is None else self.loop.call_later(seconds, self._showing, function).cancel

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start ``work`` on the event loop; what it does not expect is logged and told."""

        def done(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self.failed(error)

        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(done)

    def need_segmenter(self) -> InteractiveSegmenter:
        """The segmenter; ImageError when there is none yet."""
        if self.segmenter is None:
            raise ImageError("There is no image yet, or its model is still loading; open an image and choose a model.")
        return self.segmenter

    def need_rest(self, what: str) -> None:
        """PromptError while a run is going on, for ``what`` would leave it half done."""
        if self.segmenter is not None:
            self.segmenter.need_rest(what)

    def show_volume(
        self, volume: Volume, name: str | None = None, source: str | None = None, series: str | None = None
    ) -> None:
        """Replace the image by ``volume``; ``source`` and ``series`` say where it came from."""
        self.need_rest("open an image")
        self.close_image(source, series)
        node = volume_to_node(volume, self.slicer_app.scene, name)
        node.CreateDefaultDisplayNodes()
        self.show_nodes(node, create_segmentation(node))

    def show_nodes(
        self,
        node: Any,
        segmentation: Any,
        others: Sequence[Any] = (),
        remembered: Remembered | None = None,
    ) -> None:
        """Show a volume node and its segmentation; ``others`` go with them."""
        self._nodes, self._others, self._remembered = (node, segmentation), others, remembered
        self.slicer_app.segmentation_editor.set_active_segmentation(segmentation, node)
        geometry = geometry_from_node(node)
        about = image_text(geometry, has_size(node))
        self.state.update({
            "image_name": node.GetName(), "image_about": about, "has_image": True, "one_slice": geometry.shape[0] == 1,
        })  # fmt: skip
        for panel in self.panels:
            panel.shown(node, geometry)
        self._connect()

    def use_backbone(self, backbone: Backbone) -> None:
        """Segment with this model from now on; prompts and voxels stay as they are."""
        before, self._backbone = self.segmenter, backbone
        if self._nodes is not None:
            active = None if before is None else before.active_segment
            if before is not None:
                self._remembered = before.remembered()
            self._disconnect()
            self._connect()
            if self.segmenter is not None and active is not None:
                self.segmenter.active_segment = active

    def _connect(self) -> None:
        """Make the segmenter, once there are an image and a model."""
        if self._nodes is None or self._backbone is None:
            if self._nodes is not None:
                self.state.update({"phase": "embedding", "status": "Waiting for the model…"})
            return
        self._connection = Connection(
            local_session(self._backbone),
            *self._nodes,
            self.call,
            self._refresh,
            self.pass_on,
            self.slicer_app.segmentation_editor.editor_logic,
        )
        if self._remembered is not None:
            self.guarded(self._connection.segmenter.restore)(self._remembered)
            self._remembered = None
        self.state.tools_ready = True
        for panel in self.panels:
            panel.connected(self._connection.segmenter)
        self._connection.tell_all()

    def _disconnect(self) -> None:
        self.tools.placing.segmenter = None
        self.review.disconnect()
        self.keeping.keeper.disconnect()
        if self._connection is not None:
            # Waits for the step that learning is at: what was learned is shown with the next image or model.
            self._connection.close().close(cancel=True)
        self._connection = None
        self.state.tools_ready = False

    def close_image(self, source: str | None, series: str | None = None) -> None:
        """Let go of the image and its segments; ``source`` is where the next one comes from."""
        self.keeping.keeper.image_changes(source, series)
        self._source = source
        self._disconnect()
        scene = self.slicer_app.scene
        for node in (*(self._nodes or ()), *self._others):
            scene.RemoveNode(node)
        forget_states(scene)  # left by an exported scene: the next one is not to have them
        self._nodes, self._others = None, ()
        self.state.update({"has_image": False, "segments": [], "prompts": [], "active_segment": "", "cursor": None})

    def _showing(self, function: Callable[[], None]) -> None:
        with self.state:
            self.guarded(function)()

    def _refresh(self, changed: Sequence[str]) -> None:
        for what in changed:
            for panel in self.panels:
                self.guarded(panel.refresh)(what)

    def _bind_keys(self) -> Keys:
        keys = Keys()
        guarded = self.guarded
        keys.bind("tool", guarded(self.tools.on_tool))
        keys.bind("undo", guarded(lambda _: self.tools.on_undo()))
        keys.bind("redo", guarded(lambda _: self.tools.on_redo()))
        keys.bind("segment:add", guarded(lambda _: self.segments.on_segment_add()))
        keys.bind("prompt:delete-last", guarded(lambda _: self.prompts.remove_last()))
        keys.bind("propagate", guarded(lambda _: self.propagate.on_propagate()))
        keys.bind("examples:run", guarded(lambda _: self.supports.on_examples_run()))
        keys.bind("examples:unsure", guarded(lambda _: self._next_unsure()))
        keys.bind("examples:accept", guarded(lambda _: self._accept()))
        keys.bind("examples:open", guarded(lambda _: self.gallery.on_examples_open()))
        keys.bind("review:run", guarded(lambda _: self.review.on_review_run()))
        keys.bind("review:overlay", guarded(lambda _: self.review.on_review_overlay()))
        keys.bind("review:take", guarded(lambda _: self.review.on_review_take()))
        keys.bind("review:refine", guarded(lambda _: self.review.on_review_refine()))
        keys.bind("review:refine-one", guarded(lambda _: self.review.on_review_refine_one()))
        keys.bind("review:back", guarded(lambda _: self.review.on_review_step(-1)))
        keys.bind("review:forward", guarded(lambda _: self.review.on_review_step(1)))
        keys.bind("cancel", guarded(lambda _: self._escape()))
        keys.bind("slice", guarded(lambda way: self.views.step(1 if way == "next" else -1)))
        keys.bind("fit", guarded(lambda _: self.views.on_view_fit()))
        keys.bind("oblique", guarded(lambda _: self.views.on_oblique()))
        keys.bind("layout", guarded(self.views.on_view_layout))
        keys.bind("help", guarded(lambda _: self.top.on_help()))
        self.server.trigger("aps_key")(keys.press)
        return keys

    def _next_unsure(self) -> None:
        if self.state.guide == "review":
            self.review.on_review_next()
        else:
            self.supports.on_examples_unsure()

    def _accept(self) -> None:
        if self.state.guide == "review":
            self.review.on_review_accept()
        else:
            self.supports.on_examples_accept()

    def _escape(self) -> None:
        if self.state.phase == "propagating":
            self.propagate.on_cancel()
        else:
            self.state.tool = "navigate"

    def _build(self) -> VAppLayout:
        with VAppLayout(self.server, vuetify_config=VUETIFY) as layout, html.Div(classes="aps-app"):
            self.top.build()
            self.tools.build()
            with html.Main(classes="aps-views", mouseleave="cursor = null"):
                self.layout = layout
                with html.Div(classes="aps-view"):
                    self.views.build()
                html.Div(page("tool_options") + page("start"), classes="aps-contents")
                self.overlays.build()
            with html.Aside(classes="aps-side"):
                for panel in (self.segments, self.prompts, self.propagate, self.supports, self.review):
                    panel.build()
            self.status.build()
            for dialog in (self.models, self.opening, self.exporting, self.gallery):
                dialog.build()
        return layout

    def _on_ready(self, **_: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self._showing(self._tidy)

    def _tidy(self) -> None:
        """Remove uploads and downloads that nobody needs, now and from time to time: they are images of patients."""
        self.later(TIDY_S, self._tidy)
        # The work on the open image is none of the unfinished ones.
        sources = [self._source, *(work.source for work in self.keeping.keeper.unfinished())]
        needed = [Path(source) for source in sources if source is not None]
        self.exporting.downloads.remove_expired()
        self.spawn(asyncio.to_thread(self.opening.uploads.remove_unused, needed))

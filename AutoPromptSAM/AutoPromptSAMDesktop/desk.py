"""What the panels share: the scene's nodes, the model, the segmenter between them, and the thread that Qt runs on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from AutoPromptSAMDesktop.editor import Editor
from AutoPromptSAMDesktop.main_thread import MainThread
from AutoPromptSAMDesktop.pages import build_panels
from AutoPromptSAMDesktop.shortcuts import Shortcuts
from AutoPromptSAMDesktop.slice_views import SliceViews
from AutoPromptSAMLib.errors import AutoPromptSAMError, ImageError
from AutoPromptSAMLib.workbench import packages
from AutoPromptSAMLib.workbench.engines import Engine, engine_here
from AutoPromptSAMLib.workbench.timers import Timer

if TYPE_CHECKING:
    from AutoPromptSAMDesktop.panel import Panel
    from AutoPromptSAMDesktop.parameters import Parameters
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Message
    from AutoPromptSAMLib.mrml.placing import Placing
    from AutoPromptSAMLib.session import Session
    from AutoPromptSAMLib.workbench.connection import Connection
    from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk
    from AutoPromptSAMLib.workbench.resting import Surfaces
    from AutoPromptSAMLib.workbench.scene_prompts import ScenePrompts

log = logging.getLogger(__name__)
CHANGED_S = 0.3  # after the last change of the image or its transform, which comes many at a time while it is dragged
KEEP_S = 0.3  # after the last prompt or a run: not every way to save a scene tells of it before
LABELS = "vtkMRMLLabelMapVolumeNode"  # a scalar volume, too
CLIENT_ONLY = "AutoPromptSAM/ClientOnly"  # of the user's settings
FOLDER = "AutoPromptSAM prompts"  # of the subject hierarchy


class Desk:
    """One for the module's widget. All methods run on Qt's thread but for ``call``."""

    def __init__(self, layout: Any) -> None:
        self.parameters: Parameters | None = None
        self.ready = False  # whether all packages are there
        self.engine: Engine | None = None
        self.placing: Placing | None = None
        self.examples: ExamplesDesk | None = None
        self.editor: Editor | None = None
        self.shown = False
        self.connection: Connection | None = None
        self._connected: tuple[Any, ...] = ()
        self._is_refused = False  # whether these cannot be connected as they are
        self._scene_prompts: ScenePrompts | None = None
        self._surfaces: Surfaces | None = None
        self._observed: list[tuple[Any, int]] = []
        self._gui = None
        self.thread = MainThread(self.failed, lambda: self.connection is not None and self.connection.session.is_busy)
        self.views = SliceViews(self.thread.later, self._moved)
        self._keys, self._keys_wanted = Shortcuts(), False
        self._keep = Timer(self.thread.later, KEEP_S, self.keep_prompts)
        self._changed = Timer(self.thread.later, CHANGED_S, self._image_changed)
        self._watched: list[tuple[Any, int]] = []  # the image and the segmentation that are connected or refused
        self.page = build_panels(self, layout)
        self._bound = self.page.bound  # now, as some of the widgets' children do not live as long as they do

    @property
    def segmenter(self) -> InteractiveSegmenter | None:
        """That of the chosen volume, segmentation and model; None until there are all of them."""
        return None if self.connection is None else self.connection.segmenter

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All parts of the page, from top to bottom."""
        return self.page.panels

    # -- Slicer's life of a module ------------------------------------------------------------------------------------

    def enter(self, parameters: Parameters) -> None:
        """The module is shown."""
        self.shown = True
        self.use_parameters(parameters)
        if not self.ready and not packages.missing(client=self.client_only):
            self.installed()
        self._retry()
        self.update_tools()

    def exit(self) -> None:
        """Another module is shown: the mouse and the keys are theirs; what runs goes on."""
        self.shown = False
        self.page.prompts.put_away()
        self.page.correct.leave()
        self.update_tools()

    def close(self) -> None:
        """The widget goes for good."""
        self.exit()
        self.leave_scene()
        self.page.models.stop()
        self.thread.close()

    @property
    def client_only(self) -> bool:
        """Whether models run on a server and nothing that computes them is installed here; kept for the user."""
        return bool(slicer.util.settingsValue(CLIENT_ONLY, False, converter=slicer.util.toBool))

    @client_only.setter
    def client_only(self, client: bool) -> None:
        qt.QSettings().setValue(CLIENT_ONLY, client)

    def installed(self) -> None:
        """All packages are there: load what the panels need."""
        from AutoPromptSAMLib.mrml.placing import Placing
        from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk
        from AutoPromptSAMLib.workbench.resting import Surfaces

        if not self.ready:  # a client may become a machine that computes
            self.ready = True
            self.placing, self.examples = Placing(), ExamplesDesk()
            self._surfaces = Surfaces(self.thread.later, lambda: self.segmenter, self._shows_surfaces, lambda: None)
            self.views.begin()
        for panel in self.panels:
            panel.begin()
        self.parameters_changed()
        self.update_tools()

    def update_tools(self) -> None:
        """Tools and keys work while the module is shown and there is something to work on."""
        placing = self.placing
        if placing is not None and self.shown and self.segmenter is not None:
            self.views.attach(placing)
        else:
            self.views.detach()
        self._keys_wanted = self.parameters is not None and bool(self.parameters.shortcuts)
        if self.ready and self.shown and self._keys_wanted:
            self._keys.enter(self.page.actions())
        else:
            self._keys.exit()

    # -- the scene ----------------------------------------------------------------------------------------------------

    def use_parameters(self, parameters: Parameters) -> None:
        """Show and follow the parameters of the scene."""
        if self.parameters is not None and self.parameters.parameterNode is parameters.parameterNode:
            return
        self.leave_scene()
        self.parameters = parameters
        self.editor = Editor(slicer.mrmlScene)
        for panel in self.panels:
            panel.widget.setMRMLScene(slicer.mrmlScene)
        if not parameters.inputVolume:
            volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            images = [node for node in volumes if not node.GetHideFromEditors() and not node.IsA(LABELS)]
            parameters.inputVolume = images[0] if images else None
        # Not connectGui: Slicer's own drops what to disconnect by.
        self._gui = parameters.connectParametersToGui(self._bound)
        self._observe(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.parameters_changed)
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is not None:  # its views are made after this event
            self._observe(layout, vtk.vtkCommand.ModifiedEvent, lambda: self.thread.call(self._layout_changed))
        self.parameters_changed()

    def leave_scene(self) -> None:
        """Let go of all nodes, as before the scene is closed."""
        self.disconnect()
        for source, tag in self._observed:
            source.RemoveObserver(tag)
        self._observed.clear()
        if self.parameters is not None and self._gui is not None:
            self.parameters.disconnectGui(self._gui)
        self.parameters = self._gui = self.editor = None

    def keep_prompts(self) -> None:
        """Put the prompts into the scene, where saving finds them."""
        if self._scene_prompts is not None:
            self._scene_prompts.keep()

    def parameters_changed(self) -> None:
        """A person, or another module, chose something else."""
        if self.parameters is None:
            return
        self.reconnect()
        for panel in self.panels:
            self.guarded(panel.parameters_changed)()
        if self.parameters.shortcuts != self._keys_wanted:
            self.update_tools()

    # -- the segmenter ------------------------------------------------------------------------------------------------

    def use_backbone(self, backbone: Backbone) -> None:
        """Segment with this model from now on; prompts and voxels stay as they are."""
        self.use(engine_here(backbone))

    def use(self, engine: Engine) -> None:
        """Segment with the model of ``engine`` from now on."""
        self.engine = engine
        self.page.status.show_device(engine.word, engine.text)
        self.page.status.working("")
        self.page.models.ui.deviceLabel.text = engine.text
        self.reconnect()

    def reconnect(self) -> None:
        """Make the segmenter that of the chosen volume, segmentation and model."""
        chosen = self.parameters
        if chosen is None or not self.ready:
            return
        wanted = (chosen.inputVolume, chosen.segmentation, self.engine)
        if wanted == self._connected:
            return
        self.disconnect()
        self._connected = wanted
        if None not in (chosen.inputVolume, self.engine):
            self.guarded(self._connect, self._refuse)()

    def _connect(self) -> None:
        from AutoPromptSAMLib.mrml.segments import create_segmentation

        parameters = self.parameters
        assert parameters is not None
        volume, segmentation, engine = self._connected
        if segmentation is None:
            segmentation = create_segmentation(volume, f"{volume.GetName()} segmentation")
            self._connected = (volume, segmentation, engine)
            parameters.segmentation = segmentation
        for node, event in (
            (volume, volume.ImageDataModifiedEvent), (volume, volume.TransformModifiedEvent),
            (segmentation, segmentation.TransformModifiedEvent),
        ):  # fmt: skip
            self._watched.append((node, node.AddObserver(event, lambda *_: self._changed.start())))
        wanted = self._connected
        if engine.is_far:
            text, opened = _("Opening the image with the server…"), self.guarded(self._opened, self._refuse)
            self.work(text, engine.open, lambda session: opened(session, wanted), self._refuse)
        else:
            self._opened(engine.open(), wanted)

    def _opened(self, session: Session, wanted: tuple[Any, ...]) -> None:
        """A session is there for a volume, a segmentation and a model."""
        from AutoPromptSAMLib.workbench.connection import Connection
        from AutoPromptSAMLib.workbench.scene_prompts import ScenePrompts

        parameters, editor = self.parameters, self.editor
        is_late = wanted != self._connected or self.connection is not None  # chosen otherwise or tried again since
        if is_late or parameters is None or editor is None:
            self._close(session)
            return
        volume, segmentation, _engine = wanted
        editor.use(volume, segmentation)
        editor.set_overwrite(parameters.overwrite)
        connection = Connection(
            session, volume, segmentation, self.thread.call, self._refresh, self._said, editor.logic, FOLDER
        )
        self._is_refused = False
        self.connection, self._scene_prompts = connection, ScenePrompts(connection.segmenter)
        self.views.segmenter = segmenter = connection.segmenter
        if self.placing is not None:
            self.placing.segmenter = segmenter
        self.views.show_image(volume)
        self.update_tools()
        for panel in self.panels:
            panel.connected(segmenter)
        try:
            self._scene_prompts.restore()
        except AutoPromptSAMError as error:  # now, as the panels have taken away what was said of another image
            self.say(str(error), "warning")
        connection.tell_all()

    def _refuse(self, error: BaseException) -> None:
        """Say why there is no segmenter; once the person may have done something about it, it is tried again."""
        self._is_refused = self.connection is None
        self.failed(error)

    def _retry(self) -> None:
        if self._is_refused:
            self._connected = ()
            self.reconnect()

    def disconnect(self) -> None:
        """Let go of the segmenter; its prompts stay in the scene."""
        self._connected, self._is_refused = (), False
        self._changed.stop()
        for source, tag in self._watched:
            source.RemoveObserver(tag)
        self._watched.clear()
        if self.connection is None:
            return
        self.keep_prompts()
        for panel in self.panels:
            panel.disconnected()
        if self.placing is not None:
            self.placing.segmenter = None
        self._close(self.connection.close())
        self.connection = self._scene_prompts = self.views.segmenter = None
        self.update_tools()

    def _close(self, session: Session) -> None:
        """Close a session, on another thread: it says goodbye to its server, or waits for a slice to be encoded."""
        self.thread.work(lambda: session.close(cancel=True), lambda _nothing: None)

    def need_segmenter(self) -> InteractiveSegmenter:
        """The segmenter; ImageError when there is none yet."""
        if self.segmenter is None:
            raise ImageError(_("There is no image yet, or its model is still loading; choose a volume and a model."))
        return self.segmenter

    # -- telling the person -------------------------------------------------------------------------------------------

    def say(self, text: str, kind: Literal["info", "warning", "error"] = "info") -> None:
        """Show the person a sentence, without a dialog."""
        self.page.status.say(text, kind)

    def guarded(
        self, action: Callable[..., Any], failed: Callable[[BaseException], None] | None = None
    ) -> Callable[..., Any]:
        """``action``, whose errors are shown to the person, or given to ``failed``, instead of raised."""

        @functools.wraps(action)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return action(*args, **kwargs)
            except Exception as error:  # Qt has nobody to raise it to
                (failed or self.failed)(error)
                return None

        return run

    def failed(self, error: BaseException) -> None:
        """Say what went wrong; what is no error of ours goes to the application's log as well."""
        if isinstance(error, AutoPromptSAMError):
            self.say(str(error), "error")
            return
        log.error("AutoPromptSAM failed", exc_info=error)
        self.say(_("Something went wrong; the error log of the application says what."), "error")

    # -- inside -------------------------------------------------------------------------------------------------------

    def work(
        self, text: str, load: Callable[[], Any], show: Callable[[Any], None], failed: Callable[[Any], None]
    ) -> None:
        """Run ``load`` on another thread, which ``text`` tells of; then ``show`` what it gave, or ``failed``."""

        def then(tell: Callable[[Any], None]) -> Callable[[Any], None]:
            def run(result: Any) -> None:
                self.page.status.working("")
                tell(result)

            return run

        self.page.status.working(text)
        self.thread.work(load, then(show), then(failed))

    def _refresh(self, changed: Sequence[str]) -> None:
        for what in changed:
            for panel in self.panels:
                self.guarded(panel.refresh)(what)
        if self._surfaces is not None and {"segments", "history", "review"}.intersection(changed):
            self._surfaces.changed()
        rests = self.segmenter is None or self.segmenter.status.phase != "propagating"
        if {"prompts", "history"}.intersection(changed) or ("propagation" in changed and rests):  # painting is a step
            self._keep.start()

    def _said(self, message: Message) -> None:
        self.say(message.text, message.kind)

    def _layout_changed(self) -> None:
        if self.views.are_others:
            self.update_tools()

    def _image_changed(self) -> None:
        """The voxels of the image, or where they are, may be others: then all that was made of them is out of date."""
        from AutoPromptSAMLib.workbench.scene_prompts import image_change

        change = None if self.segmenter is None else image_change(self.segmenter)
        if change is not None:
            self.disconnect()
            if change == "place":
                self.views.image = None
            self.reconnect()
        else:
            self._retry()

    def _moved(self) -> None:
        """The person sees another slice."""
        if self.connection is not None:
            self.connection.tell("slice")

    def _shows_surfaces(self) -> bool:
        return self.segmenter is not None and self.segmenter.surface_shown

    def _observe(self, source: Any, event: Any, action: Callable[[], None]) -> None:
        self._observed.append((source, source.AddObserver(event, lambda *_: self.guarded(action)())))

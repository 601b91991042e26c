"""The views: layouts, what lies over each picture, its slice slider, and what the person looks at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from trame.widgets import html
from trame_rca.encoders import RcaImageEncoder
from trame_slicer.core import LayoutManager
from trame_slicer.rca_view import RemoteSliceViewFactory, RemoteThreeDViewFactory
from trame_slicer.views import AbstractView, Layout, LayoutDirection, SliceView, ThreeDView, ViewLayoutDefinition
from vtkmodules.vtkCommonCore import vtkCommand

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.mrml.probe import read_out
from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.rendering import UnderMouseFirst
from AutoPromptSAMLib.web.slice_view import FIRST, SLICE_TEMPLATE, SliceControl
from AutoPromptSAMLib.web.threed_view import THREED_TEMPLATE

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import VolumeGeometry
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp

# Slicer's own colours of the three directions.
COLORS = {"axial": "#F34A33", "coronal": "#6DAD4A", "sagittal": "#EFD64D"}
LAYOUTS = {"four-up": "Four-up", "one-three": "One slice + 3", "axial": "Axial only", "3d": "3D only"}
SURFACES_S = 1.0
MOST_PIXELS = 1_400_000  # of a view: drawn without a GPU, more than that lags behind the mouse
QUALITY = 85  # of the JPEG pictures
IDLE_S = 3.0  # without a hand on the mouse the slices around the shown one are prepared; a prompt would wait for them
REST_S = 0.12  # a slice that is shown for this long is prepared; while scrolling none is


class Views(Panel):
    """Three slice views and a 3D view of Slicer, in four layouts."""

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self.slices: dict[str, SliceControl] = {}
        self.threed: ThreeDView | None = None
        self.current = "axial"  # the slice view under the mouse, or the last one that was
        self.under = "axial"  # the same for all views
        self._resting: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._surfacing: asyncio.TimerHandle | None = None
        self._before_photo = ""  # the layout to go back to
        self._seen = False  # whether the 3D view was turned to the surfaces of this image
        encoder = RcaImageEncoder.TURBO_JPEG if _has_turbo_jpeg() else RcaImageEncoder.JPEG
        settings: Any = {"rca_encoder": encoder, "interactive_quality": QUALITY, "target_fps": 30.0, "blur_fps": 15.0}
        factories = (
            RemoteSliceViewFactory(app.server, populate_view_ui_f=self._over_slice, **settings),
            RemoteThreeDViewFactory(app.server, populate_view_ui_f=self._over_threed, **settings),
        )
        for factory in factories:
            app.slicer_app.view_manager.register_factory(factory)
        self.manager = LayoutManager(app.slicer_app.scene, app.slicer_app.view_manager, app.server)
        self.manager.register_layout_dict(_layouts())
        self.manager.set_layout("four-up")
        for view in app.slicer_app.view_manager.get_views():
            shown = next(found for f in factories if (found := f.get_factory_view(view.name)) is not None)
            shown.view_adapter.max_pixel_count = MOST_PIXELS
            shown.view_adapter.update_quality(QUALITY, QUALITY)  # when they differ, every picture is drawn twice
            self._draw_in_turn(view)
            if isinstance(view, SliceView):
                self.slices[view.name.lower()].adapter = shown.view_adapter
        self._crosshair = app.slicer_app.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        self._crosshair.SetCrosshairBehavior(self._crosshair.OffsetJumpSlice)
        self.state.change("layout")(self._layout_changed)
        self.state.change("guide")(lambda **_: self._refresh_strips())

    def build(self) -> None:
        """Put the grid of views where the enclosing widget is being filled."""
        self.manager.initialize_layout_grid(self.app.layout)

    def shown(self, volume_node: Any, geometry: VolumeGeometry) -> None:
        """Show the middle of the new image in all views."""
        self._seen = False
        self._set_oblique(False)
        for control in self.slices.values():
            control.show(volume_node, geometry)
        if self.threed is not None:
            self.threed.reset_view()
        if self.slices["axial"].count == 1:  # a photo or an X-ray has nothing to show elsewhere
            self._before_photo, self.state.layout = self._before_photo or self.state.layout, "axial"
        elif self._before_photo:
            self.state.layout, self._before_photo = self._before_photo, ""

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Prepare what is on display."""
        self.rest(self.current)

    def refresh(self, what: str) -> None:
        """Paint the strips over the sliders anew, and the surfaces."""
        if what in ("segments", "history", "review") and self.state.surface_shown:
            self.surfaces_later()
        reviewing = self.state.guide == "review"  # a slice that changed is no longer known
        if what in ("propagation", "prompts", "active", "review") or (what == "segments" and reviewing):
            self._refresh_strips()

    def _refresh_strips(self) -> None:
        if self.app.segmenter is not None:
            for control in self.slices.values():
                control.refresh_strip(self.app.segmenter)

    def look_at(self, name: str, linked: bool) -> None:
        """The mouse is over this view; ``linked``: with Shift, which brings all views to the same place."""
        crosshair = self._crosshair
        crosshair.SetCrosshairMode(crosshair.ShowBasic if linked else crosshair.NoCrosshair)
        self.under = name
        if name != self.current:
            self.current = name
            self.rest(name)
        self._not_idle()

    def point_at(self, ras: Any) -> None:
        """The mouse is at a position in RAS mm: tell what is there."""
        segmenter = self.app.segmenter
        if segmenter is not None:
            found = read_out(segmenter.volume_node, segmenter.segmentation_node, ras)
            value = "" if found.value is None else found.value
            self.state.cursor = {
                "ras": " ".join(f"{x:.1f}" for x in found.ras),
                "ijk": " ".join(map(str, found.ijk)),
                "value": " ".join(map(str, value)) if isinstance(value, tuple) else value and f"{value:g}",
                "segment": ", ".join(found.segments),
            }

    def moved(self, name: str) -> None:
        """A view shows another slice."""
        if name == self.current:
            self.rest(name)

    def rest(self, name: str) -> None:
        """Tell the segmenter what this view shows once it has stayed there for a moment."""
        if self._resting is not None:
            self._resting.cancel()
        loop = self.app.loop
        self._resting = None if loop is None else loop.call_later(REST_S, self._rested, name)

    def _rested(self, name: str) -> None:
        from AutoPromptSAMLib.mrml.planes import plane_from_slice_node

        segmenter = self.app.segmenter
        if segmenter is None or name not in self.slices:
            return
        try:
            plane = plane_from_slice_node(self.slices[name].node, segmenter.volume.geometry)
        except GeometryError:  # scrolled out of the volume: nothing to prepare
            return
        self.app.guarded(segmenter.show_plane)(plane)
        self._not_idle()

    def _not_idle(self) -> None:
        """The person is doing something: slices around the shown one are prepared when nothing happens."""
        if self._idle is not None:
            self._idle.cancel()
        segmenter, loop = self.app.segmenter, self.app.loop
        if segmenter is not None and loop is not None:
            segmenter.pause_preparing()
            self._idle = loop.call_later(IDLE_S, self._prepare_neighbours)

    def _prepare_neighbours(self) -> None:
        if self.app.segmenter is not None:  # it may be another one by now, of another image or model
            self.app.guarded(self.app.segmenter.prepare_neighbours)()

    def surfaces_changed(self) -> None:
        """The surfaces are there: look at all of them, unless the person has turned them already."""
        segmenter = self.app.segmenter
        there = segmenter is not None and any(info.ml for info in segmenter.segments)
        if self.state.surface_shown and self.threed is not None and there and not self._seen:
            self.threed.reset_view()
            self._seen = True

    def surfaces_later(self) -> None:
        """Make the surfaces anew once nobody works: it takes up to seconds, in which nothing else goes on."""
        if self._surfacing is not None:
            self._surfacing.cancel()
        loop = self.app.loop
        self._surfacing = None if loop is None else loop.call_later(SURFACES_S, self._update_surfaces)

    def _update_surfaces(self) -> None:
        segmenter = self.app.segmenter
        if segmenter is None or not self.state.surface_shown or self.state.layout == "axial":
            return
        if segmenter.status.phase in ("segmenting", "propagating"):
            self.surfaces_later()
            return
        segmenter.update_surfaces()
        self.surfaces_changed()

    def step(self, by: int) -> None:
        """Go to the next slice (1) or the one before (-1) in the current view."""
        if self.current in self.slices:
            self.slices[self.current].step(by)

    def on_view_layout(self, layout: str) -> None:
        """Choose a layout; "next" for the one after the present."""
        names = list(LAYOUTS)
        if layout == "next":
            layout = names[(names.index(self.state.layout) + 1) % len(names)]
        if layout in names:
            self.state.layout = layout

    def on_oblique(self) -> None:
        """Let the slices be turned by the lines in which they cut each other, or straighten them."""
        self._set_oblique(not self.state.oblique and bool(self.state.has_image))

    def _set_oblique(self, on: bool) -> None:
        logic, was, self.state.oblique = self.app.slicer_app.app_logic, self.state.oblique, on
        if was and not on:
            for control in self.slices.values():
                control.let_go()
        for feature in (
            logic.IntersectingSlicesVisibility, logic.IntersectingSlicesInteractive, logic.IntersectingSlicesRotation,
            logic.IntersectingSlicesTranslation,
        ):  # fmt: skip
            logic.SetIntersectingSlicesEnabled(feature, on)
        for control in self.slices.values():
            if was and not on:
                control.straighten()
            control.view.schedule_render()

    def on_view_fit(self) -> None:
        """Fit the image to all views."""
        for control in self.slices.values():
            control.fit()
        if self.threed is not None:
            self.threed.reset_view()

    def on_slice_jump(self, name: str, index: int) -> None:
        """Show slice ``index`` in the view ``name``."""
        self.current = self.under = name
        self.slices[name].jump(int(index))

    def _layout_changed(self, layout: str, **_: Any) -> None:
        self.manager.set_layout(layout)
        self.surfaces_later()

    def _draw_in_turn(self, view: AbstractView) -> None:
        name = view.name.lower()
        strategy = UnderMouseFirst(view._scheduled_render, lambda: self.under == name, lambda: self.app.loop)
        view.set_scheduled_render(strategy)
        if isinstance(view, ThreeDView):
            view.interactor().AddObserver(vtkCommand.MouseMoveEvent, lambda *_: setattr(self, "under", name), FIRST)

    def _over_slice(self, _server: Any, _id: str, view: SliceView) -> None:
        name = view.name.lower()
        self.slices[name] = SliceControl(self, name, view)
        self.state.setdefault(f"view_{name}", self.slices[name].summary())
        template = SLICE_TEMPLATE.replace("NAME", name).replace("TITLE", view.name).replace("COLOR", COLORS[name])
        html.Div(template, classes="aps-over", v_if=("has_image",))

    def _over_threed(self, _server: Any, _id: str, view: ThreeDView) -> None:
        self.threed = view
        view.render_window().SetMultiSamples(0)
        html.Div(THREED_TEMPLATE, classes="aps-over", v_if=("has_image",))


def _layouts() -> dict[str, Layout]:
    across, down = LayoutDirection.Horizontal, LayoutDirection.Vertical
    axial, coronal, sagittal = (
        ViewLayoutDefinition.slice_view(name, color=COLORS[name.lower()]) for name in ("Axial", "Coronal", "Sagittal")
    )
    threed = ViewLayoutDefinition.threed_view(background_color=("#0B0F13", "#1A222B"))
    return {
        "four-up": Layout(down, [Layout(across, [axial, threed]), Layout(across, [coronal, sagittal])]),
        "one-three": Layout(across, [axial, Layout(down, [threed, coronal, sagittal])], ["2.4", "1"]),
        "axial": Layout(down, [axial]),
        "3d": Layout(down, [threed]),
    }


def _has_turbo_jpeg() -> bool:
    try:
        from turbojpeg import TurboJPEG
    except ImportError:
        return False
    try:
        TurboJPEG()
    except (OSError, RuntimeError):
        return False
    return True

"""The views: layouts, what lies over each picture, its slice slider, and what the person looks at."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trame.widgets import html
from trame_rca.encoders import RcaImageEncoder
from trame_slicer.core import LayoutManager
from trame_slicer.rca_view import RemoteSliceViewFactory, RemoteThreeDViewFactory
from trame_slicer.views import AbstractView, Layout, LayoutDirection, SliceView, ThreeDView, ViewLayoutDefinition
from vtkmodules.vtkCommonCore import vtkCommand

from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.web.rendering import UnderMouseFirst
from AutoPromptSAMLib.web.slice_view import FIRST, SliceControl
from AutoPromptSAMLib.web.templates import page
from AutoPromptSAMLib.workbench.read_outs import cursor_text
from AutoPromptSAMLib.workbench.resting import Preparing, Surfaces

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import VolumeGeometry
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp

# Slicer's own colours of the three directions.
COLORS = {"axial": "#F34A33", "coronal": "#6DAD4A", "sagittal": "#EFD64D"}
LAYOUTS = {"four-up": "Four-up", "one-three": "One slice + 3", "axial": "Axial only", "3d": "3D only"}
MOST_PIXELS = 1_400_000  # of a view: drawn without a GPU, more than that lags behind the mouse
QUALITY = 85  # of the JPEG pictures


class Views(Panel):
    """Three slice views and a 3D view of Slicer, in four layouts."""

    def __init__(self, app: WebApp) -> None:
        super().__init__(app)
        self.slices: dict[str, SliceControl] = {}
        self.threed: ThreeDView | None = None
        self.current = "axial"  # the slice view under the mouse, or the last one that was
        self.under = "axial"  # the same for all views
        self._preparing = Preparing(app.later, lambda: app.segmenter, self._current_node)
        self._surfaces = Surfaces(app.later, lambda: app.segmenter, self._shows_surfaces, self.surfaces_changed)
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
        self._preparing.moved()

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
            self._preparing.moved()
        self._preparing.busy()

    def point_at(self, ras: Any) -> None:
        """The mouse is at a position in RAS mm: tell what is there."""
        if self.app.segmenter is not None:
            self.state.cursor = asdict(cursor_text(self.app.segmenter, ras))

    def moved(self, name: str) -> None:
        """A view shows another slice."""
        if name == self.current:
            self._preparing.moved()

    def _current_node(self) -> Any:
        return self.slices[self.current].node if self.current in self.slices else None

    def surfaces_changed(self) -> None:
        """The surfaces are there: look at all of them, unless the person has turned them already."""
        segmenter = self.app.segmenter
        there = segmenter is not None and any(info.ml for info in segmenter.segments)
        if self.state.surface_shown and self.threed is not None and there and not self._seen:
            self.threed.reset_view()
            self._seen = True

    def surfaces_later(self) -> None:
        """Make the surfaces anew once nobody works."""
        self._surfaces.changed()

    def _shows_surfaces(self) -> bool:
        return bool(self.state.surface_shown) and self.state.layout != "axial"

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
        template = page("slice_view", name=name, title=view.name, color=COLORS[name])
        html.Div(template, classes="aps-over", v_if=("has_image",))

    def _over_threed(self, _server: Any, _id: str, view: ThreeDView) -> None:
        self.threed = view
        view.render_window().SetMultiSamples(0)
        html.Div(page("threed_view"), classes="aps-over", v_if=("has_image",))


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

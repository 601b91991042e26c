"""A real slice view of a real scene, with a mouse, on an image and a segmenter."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk
from vtkmodules.util.numpy_support import vtk_to_numpy

pytest.importorskip("trame_slicer")
from slicer import vtkMRMLLayerDisplayableManager
from trame_slicer.core import SlicerApp
from trame_slicer.views import SliceView
from trame_slicer.views.render_scheduler import NoScheduleRendering

from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Message
from AutoPromptSAMLib.mrml.probe import display_at
from AutoPromptSAMLib.mrml.segments import create_segmentation
from AutoPromptSAMLib.mrml.transforms import matrix_from_array
from AutoPromptSAMLib.mrml.volumes import volume_to_node
from AutoPromptSAMLib.session.local import LocalSession

from ..threshold_backbone import ThresholdBackbone

SHAPE = (20, 64, 80)
HEARD = (
    "LeftButtonPressEvent",
    "MouseMoveEvent",
    "LeftButtonReleaseEvent",
    "KeyPressEvent",
    "RightButtonPressEvent",
    "MiddleButtonPressEvent",
)
SIZE = (600, 500)  # of the view; a pixel is 2/15 mm


class Bench:
    """``view`` of an image of 20 x 64 x 80 voxels of 1 x 1 x 2.5 mm with a bright ball, on slice 10."""

    def __init__(self) -> None:
        self.app = SlicerApp()
        self.scene: Any = self.app.scene
        affine = np.diag([-1.0, -1.0, 2.5, 1.0])
        affine[:3, 3] = [40, 30, -20]
        k, j, i = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
        ball = ((k - 10) * 2.5) ** 2 + (j - 30) ** 2 + (i - 40) ** 2 < 400
        volume = Volume(np.where(ball, 200, 50).astype(np.uint8), VolumeGeometry(SHAPE, affine), name="ball")
        self.geometry = volume.geometry
        self.volume_node = volume_to_node(volume, self.scene)
        self.volume_node.CreateDefaultDisplayNodes()
        self.view = self.add_view("Red", "Axial")
        self.slice_node: Any = self.scene.GetNodeByID(self.view.get_view_node_id())
        self.calls: queue.Queue[Callable[[], Any]] = queue.Queue()
        self.said: list[str] = []
        self.rendered = 0
        self._tags: list[int] = []

    def start(self, folder: Path) -> None:
        """A new segmentation and session; the view as at first, on slice 10."""
        self.slice_node.SetOrientation("Axial")
        self.view.fit_view_to_content()
        self.slice_node.SetSliceOffset(float(self.geometry.ras_from_ijk([[40, 30, 10]])[0, 2]))
        self.session = LocalSession(ThresholdBackbone(), EmbeddingCache(folder / "embeddings"), folder / "runs")
        self.segmentation_node = create_segmentation(self.volume_node)
        self.segmenter = InteractiveSegmenter(self.session, self.volume_node, self.segmentation_node, self.calls.put)
        self.segmenter.said.connect(self._on_said)
        self.said.clear()
        self.rendered = 0

    def stop(self) -> None:
        """End the session and take all that the test made out of the scene."""
        self.segmenter.close()
        self.session.close(cancel=True)
        self.settle()
        for tag in self._tags:
            self.view.interactor().RemoveObserver(tag)
        self._tags.clear()
        for kind in ("vtkMRMLMarkupsNode", "vtkMRMLSegmentationNode"):
            while (node := self.scene.GetFirstNodeByClass(kind)) is not None:
                self.scene.RemoveNode(node)

    def listen(self) -> list[str]:
        """A list of the mouse and key events that get past the tools to Slicer, from now on."""
        heard: list[str] = []
        for event in HEARD:
            tag = self.view.interactor().AddObserver(event, lambda _, event: heard.append(event), 5.0)
            self._tags.append(tag)
        return heard

    def add_view(self, name: str, orientation: Any) -> SliceView:
        view = SliceView(self.scene, self.app.app_logic, name, scheduled_render_strategy=NoScheduleRendering())
        view.set_orientation(orientation)
        view.render_window().SetSize(*SIZE)
        view._update_slice_size()
        view.set_background_volume_id(self.volume_node.GetID())
        view.fit_view_to_content()
        return view

    def _on_said(self, message: Message) -> None:
        self.said.append(message.text)

    def request_render(self) -> None:
        self.rendered += 1

    def settle(self) -> None:
        """Run what the session's thread handed over, until it has nothing more to do."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                self.calls.get(timeout=0.1)()
            except queue.Empty:
                return

    def at(self, *ijk: float) -> tuple[int, int]:
        """Display position of a voxel."""
        x, y = display_at(self.slice_node, self.geometry.ras_from_ijk([ijk]))[0]
        return round(x), round(y)

    def event(self, name: str, xy: Sequence[int], ctrl: bool = False, shift: bool = False) -> None:
        interactor = self.view.interactor()
        interactor.SetEventInformation(int(xy[0]), int(xy[1]), int(ctrl), int(shift), chr(0), 0, None)
        interactor.InvokeEvent(name)

    def press(self, xy: Sequence[int], **keys: bool) -> None:
        self.event("MouseMoveEvent", xy, **keys)
        self.event("LeftButtonPressEvent", xy, **keys)

    def move(self, xy: Sequence[int], **keys: bool) -> None:
        self.event("MouseMoveEvent", xy, **keys)

    def release(self, xy: Sequence[int], **keys: bool) -> None:
        self.event("LeftButtonReleaseEvent", xy, **keys)

    def click(self, xy: Sequence[int], **keys: bool) -> None:
        self.press(xy, **keys)
        self.release(xy, **keys)

    def drag(self, *path: Sequence[int], **keys: bool) -> None:
        self.press(path[0], **keys)
        for xy in path[1:]:
            self.move(xy, **keys)
        self.release(path[-1], **keys)

    def key(self, symbol: str) -> None:
        self.view.interactor().SetKeySym(symbol)
        self.view.interactor().InvokeEvent("KeyPressEvent")

    def turn(self, matrix: np.ndarray) -> None:
        """Turn the view's slice: a 3x3 rotation on the left of what it shows, about the image's centre."""
        node = self.slice_node
        center = self.geometry.ras_from_ijk([[(n - 1) / 2 for n in SHAPE[::-1]]])[0]
        slice_to_ras = np.array([[node.GetSliceToRAS().GetElement(r, c) for c in range(4)] for r in range(4)])
        slice_to_ras[:3, :3] = matrix @ slice_to_ras[:3, :3]
        slice_to_ras[:3, 3] = center
        node.GetSliceToRAS().DeepCopy(matrix_from_array(slice_to_ras))
        node.UpdateMatrices()

    def draw(self) -> None:
        """Render, as hosts do some time after a change; handles of boxes can be found from then on."""
        self.view.render_window().Render()

    def picture(self, save: str = "") -> np.ndarray:
        """What the view shows: (rows, cols, 3) from its top, uint8."""
        self.draw()
        image = vtk.vtkImageData()
        vtkMRMLLayerDisplayableManager.RenderWindowBufferToImage(self.view.render_window(), image)
        if save:
            writer = vtk.vtkPNGWriter()
            writer.SetFileName(save)
            writer.SetInputData(image)
            writer.Write()
        cols, rows, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, cols, -1)[::-1, :, :3].copy()

    def shows(self, color: Sequence[float], near: Sequence[int], reach: int = 6) -> bool:
        """Whether a pixel of about that colour is drawn near a display position."""
        x, y = near
        picture = self.picture()
        row = picture.shape[0] - 1 - y
        part = picture[max(row - reach, 0) : row + reach + 1, max(x - reach, 0) : x + reach + 1].astype(float)
        return bool((np.abs(part - np.array(color) * 255).max(axis=-1) < 60).any())


@pytest.fixture(scope="module")
def module_bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.view.finalize()
    bench.app.io_manager.cache_dir.cleanup()


@pytest.fixture
def bench(module_bench: Bench, tmp_path: Path) -> Iterator[Bench]:
    module_bench.start(tmp_path)
    yield module_bench
    module_bench.stop()

"""Slices are prepared and surfaces made while nobody works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.mrml.planes import show_index
from AutoPromptSAMLib.mrml.reports import Status
from AutoPromptSAMLib.workbench.resting import IDLE_S, REST_S, SURFACES_S, Preparing, Surfaces

from ..mrml.segmenting import Host
from .clock import Clock


class Asked:
    """A segmenter that notes what it is asked to do."""

    def __init__(self, host: Host) -> None:
        self.volume, self.status = host.segmenter.volume, Status()
        self.asked: list[Any] = []

    def show_plane(self, plane: Any) -> None:
        self.asked.append(plane.index)

    def pause_preparing(self) -> None:
        self.asked.append("pause")

    def prepare_neighbours(self) -> None:
        self.asked.append("neighbours")

    def update_surfaces(self) -> None:
        self.asked.append("surfaces")


@pytest.fixture
def segmenter(host: Host) -> Asked:
    return Asked(host)


@pytest.fixture
def slice_node(scene: Any, host: Host) -> Any:
    """An axial view in the middle of the volume."""
    node = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Axial")
    node.SetOrientationToAxial()
    node.RotateToVolumePlane(host.volume_node)
    show_index(node, host.segmenter.volume.geometry, 0, 5)
    return node


def test_a_slice_is_prepared_where_the_person_stays(segmenter: Asked, slice_node: Any) -> None:
    clock = Clock()
    preparing = Preparing(clock.later, lambda: segmenter, lambda: slice_node)
    for index in (1, 2, 3):
        show_index(slice_node, segmenter.volume.geometry, 0, index)
        preparing.moved()
        clock.go_on(REST_S / 2)
    assert segmenter.asked == []
    clock.go_on(REST_S)
    assert segmenter.asked == [3, "pause"]
    preparing.busy()
    clock.go_on(IDLE_S - 0.1)
    assert segmenter.asked == [3, "pause", "pause"]
    clock.go_on(0.2)
    assert segmenter.asked == [3, "pause", "pause", "neighbours"]


def test_nothing_is_prepared_outside_of_the_image_or_without_one(segmenter: Asked, slice_node: Any) -> None:
    clock, there = Clock(), [segmenter]
    preparing = Preparing(clock.later, lambda: there[0] if there else None, lambda: slice_node)
    slice_node.JumpSlice(*(segmenter.volume.geometry.ras_from_ijk(np.array([[0, 0, 500]]))[0]))
    preparing.moved()
    clock.go_on(10)
    assert segmenter.asked == []
    preparing.busy()
    there.clear()  # the image was closed
    preparing.moved()
    clock.go_on(10)
    assert segmenter.asked == ["pause"]


def test_surfaces_wait_for_what_runs_and_are_made_once(segmenter: Asked) -> None:
    clock, wanted, made = Clock(), [False], []
    surfaces = Surfaces(clock.later, lambda: segmenter, lambda: wanted[0], lambda: made.append(clock.now))
    surfaces.changed()
    clock.go_on(10)
    assert segmenter.asked == []
    wanted[0], segmenter.status = True, Status("propagating", "Propagate rod")
    start = clock.now
    for _ in range(3):
        surfaces.changed()
    clock.go_on(2.5 * SURFACES_S)
    assert segmenter.asked == []
    segmenter.status = Status()
    clock.go_on(10)
    assert segmenter.asked == ["surfaces"]
    assert made == [start + 3 * SURFACES_S]

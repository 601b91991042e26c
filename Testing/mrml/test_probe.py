"""What is under the mouse, and how views lie in the patient."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.persistence import open_scene, save_scene
from AutoPromptSAMLib.mrml.probe import (
    display_at,
    mm_per_pixel,
    orientation_letters,
    ras_at,
    read_out,
    scale_bar,
    slice_position,
)
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter, create_segmentation
from AutoPromptSAMLib.mrml.transforms import matrix_from_array
from AutoPromptSAMLib.mrml.volumes import geometry_from_node, volume_to_node


@pytest.fixture
def slice_node(scene: Any) -> Any:
    """An axial view of 600 x 400 pixels of 0.5 mm, patient right on the left, around (10, 20, 30)."""
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    node.SetOrientation("Axial")
    node.SetDimensions(600, 400, 1)
    node.SetFieldOfView(300, 200, 1)
    node.JumpSliceByCentering(10, 20, 30)
    return node


def turn(node: Any, rotation: np.ndarray) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    node.GetSliceToRAS().DeepCopy(matrix_from_array(matrix))
    node.UpdateMatrices()


def about_s(degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def paint(writer: SegmentWriter, name: str, *ijk: int) -> None:
    i, j, k = ijk
    writer.write(writer.add_segment(name), Crop(np.ones((1, 1, 2), dtype=bool), (k, j, i)))


@pytest.mark.parametrize("moved", [False, True])
def test_read_out(
    writer: SegmentWriter, put_under: Callable[..., Any], labels_at: Callable[..., list[str]], moved: bool
) -> None:
    paint(writer, "one", 5, 6, 3)
    paint(writer, "two", 6, 6, 3)  # overlaps "one": in another layer
    paint(writer, "far", 20, 15, 7)
    volume_node, segmentation_node = writer.volume_node, writer.segmentation_node
    if moved:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = about_s(30) * 1.5, [5, -70, 12]
        for node in (volume_node, segmentation_node):
            put_under(node, matrix)
    geometry = geometry_from_node(volume_node)
    rng = np.random.default_rng(0)
    for ijk, names in [((5, 6, 3), ["one"]), ((6, 6, 3), ["one", "two"]), ((7, 6, 3), ["two"]), ((21, 15, 7), ["far"]),
                       ((8, 6, 3), []), ((0, 0, 0), [])]:  # fmt: skip
        ras = geometry.ras_from_ijk([ijk + rng.uniform(-0.4, 0.4, 3)])[0]
        found = read_out(volume_node, segmentation_node, ras)
        assert found.ijk == ijk
        assert found.inside
        assert found.value == ijk[0]
        assert list(found.segments) == names == labels_at(segmentation_node, ras)
        assert found.ras == tuple(ras)


def test_read_out_outside_and_without_a_segmentation(volume_node: Any) -> None:
    geometry = geometry_from_node(volume_node)
    outside = read_out(volume_node, None, geometry.ras_from_ijk([[-0.6, 3, 3]])[0])
    assert (outside.ijk, outside.inside, outside.value, outside.segments) == ((-1, 3, 3), False, None, ())
    edge = read_out(volume_node, None, geometry.ras_from_ijk([[23.4, 19.4, 7.4]])[0])
    assert (edge.ijk, edge.inside, edge.value) == ((23, 19, 7), True, 23)


def test_read_out_of_colour(scene: Any) -> None:
    array = np.random.default_rng(0).integers(0, 255, (1, 4, 5, 3), dtype=np.uint8)
    node = volume_to_node(Volume(array, VolumeGeometry((1, 4, 5), np.eye(4))), scene)
    assert read_out(node, None, [3, 2, 0]).value == tuple(array[0, 2, 3].tolist())


def test_read_out_keeps_up_with_a_mouse(scene: Any) -> None:
    """On 512 x 512 x 200 voxels and five segments: no copy of the volume, not even of a slice."""
    shape = (200, 512, 512)
    volume_node = volume_to_node(Volume(np.zeros(shape, dtype=np.int16), VolumeGeometry(shape, np.eye(4))), scene)
    writer = SegmentWriter(create_segmentation(volume_node), volume_node)
    for n in range(5):
        writer.write(writer.add_segment(f"s{n}"), Crop(np.ones((9, 200, 200), dtype=bool), (50 + n, 100, 100)))
    tracemalloc.start()
    try:
        found = read_out(volume_node, writer.segmentation_node, [150.0, 150.0, 54.0])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.segments == ("s0", "s1", "s2", "s3", "s4")
    assert most < 100_000  # a slice of a segment's block has 40,000 voxels, one of the volume 512 KiB


def test_positions_on_the_screen(slice_node: Any) -> None:
    assert mm_per_pixel(slice_node) == pytest.approx(0.5)
    one, other = ras_at(slice_node, 100, 50), ras_at(slice_node, 102, 54)
    assert np.allclose(other - one, [-1, 2, 0])  # patient right is screen left
    assert one[2] == pytest.approx(30)
    assert np.allclose(display_at(slice_node, [one, np.add(other, [0, 0, 7])]), [[100, 50], [102, 54]])
    turn(slice_node, about_s(25) @ np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]))
    assert np.allclose(display_at(slice_node, ras_at(slice_node, 13, 17)), [[13, 17]])


@pytest.mark.parametrize(
    ("orientation", "letters"),
    [
        ("Axial", ("R", "L", "A", "P")),
        ("Sagittal", ("A", "P", "S", "I")),
        ("Coronal", ("R", "L", "S", "I")),
    ],
)
def test_orientation_letters(slice_node: Any, orientation: str, letters: tuple[str, ...]) -> None:
    slice_node.SetOrientation(orientation)
    assert orientation_letters(slice_node) == letters


def test_orientation_letters_of_oblique_views(slice_node: Any) -> None:
    axial = np.diag([-1.0, 1.0, 1.0])
    turn(slice_node, about_s(5) @ axial)
    assert orientation_letters(slice_node) == ("R", "L", "A", "P")
    turn(slice_node, about_s(30) @ axial)
    assert orientation_letters(slice_node) == ("RA", "LP", "AL", "PR")
    turn(slice_node, about_s(60) @ axial)
    assert orientation_letters(slice_node) == ("AR", "PL", "LA", "RP")


@pytest.mark.parametrize(
    ("width_mm", "bar"), [(300, 50), (249, 20), (250, 50), (99, 10), (26, 5), (0.3, 0.05), (11000, 2000)]
)
def test_scale_bar_is_round_and_fits(slice_node: Any, width_mm: float, bar: float) -> None:
    slice_node.SetFieldOfView(width_mm, width_mm * 2 / 3, 1)
    length, pixels = scale_bar(slice_node)
    assert length == pytest.approx(bar)
    assert pixels == pytest.approx(600 * bar / width_mm)
    assert 600 / 13 < pixels <= 120.001


def test_position_of_a_slice_is_the_same_after_slicer_turned_the_grid(
    writer: SegmentWriter, scene: Any, tmp_path: Path
) -> None:
    before = geometry_from_node(writer.volume_node)
    save_scene(scene, tmp_path / "scene.mrb")
    with create_scene() as other:
        open_scene(other.scene, tmp_path / "scene.mrb")
        after = geometry_from_node(other.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))
    turned = []
    for axis, count in enumerate(before.shape):
        old, new = ([slice_position(g, axis, index) for index in range(count)] for g in (before, after))
        assert new in (old, old[::-1])
        assert len(set(old)) == count
        turned.append(new != old)
    assert sum(turned) == 1, "Slicer turns one axis of a left-handed grid"


def test_position_of_a_slice_is_in_mm_along_the_axis_of_the_patient() -> None:
    affine = np.array([[0, 0, -3.0, 7], [0.5, 0, 0, -1], [0, 2.0, 0, -4], [0, 0, 0, 1]])  # i: A, j: S, k: L
    geometry = VolumeGeometry((4, 5, 6), affine)
    assert slice_position(geometry, geometry.array_axis("axial"), 3) == "S 2.0 mm"
    assert slice_position(geometry, geometry.array_axis("coronal"), 1) == "A -0.5 mm"
    assert slice_position(geometry, geometry.array_axis("sagittal"), 3) == "R -2.0 mm"
    assert slice_position(geometry, geometry.array_axis("axial"), 2) == "S 0.0 mm"

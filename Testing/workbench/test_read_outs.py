"""What is under the mouse, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.workbench.read_outs import cursor_text, length_text

from ..mrml.segmenting import Desk, Host
from ..threshold_backbone import BRIGHT


def test_a_voxel_and_its_segments(host: Host) -> None:
    k, j, i = np.argwhere(host.truth)[0].tolist()
    ras = host.segmenter.volume.geometry.ras_from_ijk(np.array([[i, j, k]]))[0]
    for name in ("one", "two"):
        host.paint(host.segmenter.add_segment(name), host.truth)
    text = cursor_text(host.segmenter, ras)
    assert (text.ijk, text.value, text.segment) == (f"{i} {j} {k}", f"{BRIGHT:g}", "one, two")
    assert text.ras == " ".join(f"{x:.1f}" for x in ras)
    outside = cursor_text(host.segmenter, ras + 1e4)
    assert (outside.value, outside.segment) == ("", "")


def test_a_voxel_of_a_colour_image(scene: Any) -> None:
    array = np.zeros((1, 4, 5, 3), np.uint8)
    array[0, 1, 2] = (10, 200, 30)
    desk = Desk(scene, Volume(array, VolumeGeometry((1, 4, 5), np.eye(4)), has_size=False))
    text = cursor_text(desk.segmenter, (2, 1, 0))
    assert (text.value, text.ijk, text.ras) == ("10 200 30", "2 1 0", "")  # a picture lies nowhere
    desk.close()


def test_lengths() -> None:
    assert [length_text(mm) for mm in (0.5, 5, 10, 200)] == ["0.5 mm", "5 mm", "1 cm", "20 cm"]

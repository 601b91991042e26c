"""Segments as rows, and what is said before a tool may change one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.images.segmentation_file import TISSUE
from AutoPromptSAMLib.workbench.segment_rows import (
    active_segment,
    need_editable,
    need_filled,
    nothing_left_text,
    segment_rows,
    terminology,
)

from ..mrml.segmenting import Desk, Host


def test_rows_say_what_a_list_shows(host: Host) -> None:
    one = host.segmenter.add_segment("liver", (1, 0.5, 0))
    host.paint(one, host.truth)
    host.segmenter.set_segment_locked(one, True)
    two = host.segmenter.add_segment("spleen")
    host.segmenter.set_segment_visible(two, False)
    first, second = segment_rows(host.segmenter)
    assert (first.id, first.name, first.colour, first.locked, first.visible) == (one, "liver", "#ff8000", True, True)
    assert first.ml.endswith(" ml")
    assert (second.ml, second.visible, second.locked) == ("–", False, False)


def test_on_a_picture_pixels_are_counted(scene: Any) -> None:
    spot = np.zeros((1, 40, 50), np.uint8)
    spot[0, 10:20, 10:30] = 200
    desk = Desk(scene, Volume(spot, VolumeGeometry(spot.shape, np.eye(4)), has_size=False))
    desk.paint(desk.segmenter.add_segment("lesion"), spot > 0)
    assert segment_rows(desk.segmenter)[0].ml == "200 px"
    desk.close()


def test_a_tool_needs_a_segment_that_may_be_changed(host: Host, one_sentence) -> None:
    assert active_segment(None) is None
    for nobody in (None, host.segmenter):
        with one_sentence(PromptError, "There is no segment to work on", "add one"):
            need_editable(nobody)
    id = host.segmenter.add_segment("liver")
    assert need_editable(host.segmenter).id == id
    with one_sentence(PromptError, '"liver" is empty'):
        need_filled(host.segmenter)
    host.segmenter.set_segment_locked(id, True)
    with one_sentence(PromptError, '"liver" is locked; unlock it'):
        need_filled(host.segmenter)
    host.segmenter.set_segment_locked(id, False)
    assert 'Nothing is left of "liver"' in nothing_left_text(host.segmenter)
    host.paint(id, host.truth)
    assert need_filled(host.segmenter).ml > 0
    assert nothing_left_text(host.segmenter) == ""


@pytest.mark.parametrize(("name", "term"), [("Liver", "a~b"), (" liver ", "a~b"), ("LIVER", "a~b"), ("x", TISSUE)])
def test_the_terminology_of_a_name(name: str, term: str) -> None:
    assert terminology(name, {"Spleen": "c", "Liver": "a~b"}) == term

"""Prompts as rows: what, where, from whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.geometry import Crop, VolumeGeometry, slice_plane
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point, Source
from AutoPromptSAMLib.workbench.prompt_rows import VIEWS, ml_text, prompt_row, view_along

# Array axis 0 goes from left to right, 1 to the front, 2 upwards.
SAGITTAL = VolumeGeometry((6, 20, 30), np.array([[0, 0, 2.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]))


def corner(positive: bool) -> Doodle:
    return Doodle(SAGITTAL.ras_from_ijk([[7, 3, 4], [7, 9, 4], [12, 9, 4]]), positive)


@pytest.mark.parametrize(
    ("prompt", "kind", "sign", "text"),
    [
        (Point(SAGITTAL.ras_from_ijk([[7, 5, 4]])[0]), "point", "plus", "Point +"),
        (Point(SAGITTAL.ras_from_ijk([[7, 5, 4]])[0], False), "point", "minus", "Point −"),
        (corner(True), "doodle", "plus", "Doodle +"),
        (corner(False), "doodle", "minus", "Doodle −"),
        (Box.on_plane(slice_plane(SAGITTAL, 0, 4), (2, 2, 9, 9)), "box", "none", "Box"),
        (MaskPrompt(Crop(np.ones((1, 3, 3), bool), (4, 2, 2)), SAGITTAL), "mask", "none", "Mask"),
    ],
)
def test_what_it_is_and_where(prompt: Any, kind: str, sign: str, text: str) -> None:
    row = prompt_row(prompt, SAGITTAL)
    assert (row.id, row.kind, row.sign, row.text) == (prompt.id, kind, sign, text)
    if kind != "point":  # which lies in all three views
        assert (row.view, row.slice) == ("sagittal", 4)


def test_who_gave_it() -> None:
    ras = SAGITTAL.ras_from_ijk([[7, 5, 4]])[0]
    assert (prompt_row(Point(ras), SAGITTAL).person, prompt_row(Point(ras), SAGITTAL).source) == (True, "person")
    row = prompt_row(Point(ras, source=Source("prompter", "UGPA")), SAGITTAL)
    assert (row.person, row.source) == (False, "UGPA")


def test_the_middle_slice_stands_for_many() -> None:
    thick = MaskPrompt(Crop(np.ones((3, 9, 9), bool), (2, 2, 2)), SAGITTAL)
    assert (prompt_row(thick, SAGITTAL).view, prompt_row(thick, SAGITTAL).slice) == ("sagittal", 3)


def test_each_axis_has_its_view() -> None:
    assert [view_along(SAGITTAL, axis) for axis in range(3)] == ["sagittal", "coronal", "axial"]
    assert set(VIEWS) == {"sagittal", "coronal", "axial"}


@pytest.mark.parametrize(
    ("ml", "text"), [(0, "–"), (0.04, "0.0 ml"), (9.94, "9.9 ml"), (10, "10 ml"), (1234.5, "1234 ml")]
)
def test_volumes_are_short(ml: float, text: str) -> None:
    assert ml_text(ml) == text

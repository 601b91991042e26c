"""Images and unfinished work in words, and what may be a label map."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.mrml.autosave import Work
from AutoPromptSAMLib.prompts.file import PromptFile
from AutoPromptSAMLib.workbench.opening import ago, image_text, may_be_labels, work_rows

GEOMETRY = VolumeGeometry((2, 3, 4), np.diag([0.5, 0.5, 2.125, 1]))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "just now"), (60, "1 minute ago"), (7000, "1 hour ago"), (7200, "2 hours ago"), (200_000, "2 days ago")],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_rows_of_unfinished_work(tmp_path: Path) -> None:
    image = tmp_path / "ct.nrrd"
    image.touch()
    work = Work(tmp_path / "1", str(image), None, time.time() - 130, (), None, PromptFile({}), GEOMETRY, "digest")
    rows = work_rows([work, replace(work, source="sample"), replace(work, source=str(tmp_path / "gone.nii"))])
    assert [(row.name, row.there) for row in rows] == [("ct.nrrd", True), ("Sample CT", True), ("gone.nii", False)]
    assert (rows[0].folder, rows[0].about) == (str(tmp_path / "1"), "0 segments, 2 minutes ago")


def test_the_size_of_an_image() -> None:
    assert image_text(GEOMETRY) == "4 × 3 × 2 voxels of 0.5 × 0.5 × 2.12 mm"
    assert image_text(VolumeGeometry((1, 620, 841), np.eye(4)), has_size=False) == "841 × 620 pixels"


def test_whole_numbers_on_the_same_voxels_may_be_labels() -> None:
    present = Volume(np.zeros((2, 3, 4), np.int16), GEOMETRY)
    labels = Volume(np.ones((2, 3, 4), np.uint8), GEOMETRY)
    assert may_be_labels(labels, present)
    assert may_be_labels(Volume(labels.array.astype(bool), GEOMETRY), present)
    assert not may_be_labels(labels, None)
    assert not may_be_labels(Volume(labels.array.astype(np.float32), GEOMETRY), present)
    assert not may_be_labels(Volume(np.zeros((2, 3, 4, 3), np.uint8), GEOMETRY), present)
    assert not may_be_labels(Volume(labels.array, VolumeGeometry((2, 3, 4), np.eye(4))), present)

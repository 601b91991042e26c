"""The whole tutorial on the sample CT with LiteMedSAM, through the module's own widgets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.prompts import Box, Doodle

from .double import Desktop
from .tour import FOUND, LIVER, PAIRS, SLICE, SPLEEN, Tour

pytestmark = pytest.mark.slow


@pytest.fixture
def tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tour]:
    # Weights and sample are those of the user, whatever is made of them is not.
    monkeypatch.setattr("AutoPromptSAMLib.supports.library.home", lambda: tmp_path / "home")
    with Desktop(tmp_path / "slicer") as desktop:
        yield Tour(desktop)


def test_from_a_box_to_a_scene_that_comes_back(tour: Tour, tmp_path: Path) -> None:
    tour.box_the_spleen()
    assert tour.dice(SPLEEN, SLICE) > 0.9
    tour.doodle_the_liver()
    assert tour.dice(LIVER, SLICE) > 0.7
    assert {type(prompt) for prompt in tour.segmenter.prompts()} == {Doodle}
    tour.select("Spleen")
    assert tour.dice(SPLEEN, SLICE) > 0.9  # the liver changed nothing

    tour.run_through(*PAIRS)
    assert tour.dice(SPLEEN, *range(PAIRS[0], PAIRS[1] + 1)) > 0.9
    tour.make_pairs()
    tour.find_by_pairs()
    found = tour.voxels()
    assert tour.dice(SPLEEN, *range(FOUND[0], FOUND[1] + 1)) > 0.6
    assert found[SLICE].any()

    unsure = tour.next_unsure()
    assert FOUND[0] <= unsure <= FOUND[1]
    tour.box_around(SPLEEN, unsure)
    assert tour.dice(SPLEEN, unsure) > 0.85
    tour.desktop.key("Ctrl+Z")
    tour.settle(60)
    assert np.array_equal(tour.voxels(), found)

    tour.review()
    assert tour.desktop.find("ReviewPanel/unsureList").count > 0

    segments = [(info.id, info.name, info.visible) for info in tour.segmenter.segments]
    voxels = {id: tour.voxels(id) for id, *_ in segments}
    prompts = {id: tour.segmenter.prompts(id) for id, *_ in segments}
    chosen, skipped = tour.desk.parameters.supportSet, list(tour.desk.parameters.skippedObjects)
    tour.save_close_and_open(tmp_path / "tour.mrb")
    assert [(info.id, info.name, info.visible) for info in tour.segmenter.segments] == segments
    assert all(np.array_equal(tour.voxels(id), mask) for id, mask in voxels.items())
    assert {id: tour.segmenter.prompts(id) for id in prompts} == prompts
    assert any(isinstance(prompt, Box) for given in prompts.values() for prompt in given)
    parameters = tour.desk.parameters
    assert (parameters.supportSet, list(parameters.skippedObjects)) == (chosen, skipped)
    assert (parameters.method, parameters.firstSlice, parameters.lastSlice) == ("From examples", PAIRS[0], FOUND[1])
    assert parameters.model == "lite-medsam"

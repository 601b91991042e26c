"""What a person does while a run through the volume goes on is theirs."""

from __future__ import annotations

import numpy as np

from AutoPromptSAMLib.geometry import slice_plane
from AutoPromptSAMLib.prompts import Box

from .segmenting import Host


def test_a_click_during_a_run_is_answered_at_once_and_stays(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    host.segmenter.propagate()
    host.segmenter.add_prompt(host.box(8, grow=-3))
    host.settle()
    rows, cols = np.nonzero(host.voxels()[8])
    inner = np.nonzero(host.truth[8])
    assert rows.min() >= inner[0].min() + 3
    assert cols.max() <= inner[1].max() - 3
    assert np.array_equal(host.voxels()[6], host.truth[6])


def test_what_is_painted_during_a_run_stays(host: Host) -> None:
    segment_id = host.segmenter.add_segment("rod")
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    host.segmenter.propagate()
    painted = np.zeros_like(host.truth)
    painted[[8, 10], 2:6, 2:6] = True  # a slice that the run finds, and one that it would empty
    host.paint(segment_id, painted)
    expected = host.truth | painted
    expected[8] = painted[8]
    assert np.array_equal(host.voxels(), expected)
    assert host.segmenter.kept.painted_slices(segment_id, 0) == [8, 10]


def test_a_prompt_on_another_orientation_during_a_run_leaves_no_hole(host: Host) -> None:
    host.segmenter.add_prompt(host.box(5))
    host.settle()
    host.segmenter.propagate()
    sideways = slice_plane(host.segmenter.volume.geometry, 2, 6, square_pixels=False)
    host.segmenter.show_plane(sideways)
    host.segmenter.add_prompt(Box.on_plane(sideways, (10, 1, 14, 2)))
    host.settle()
    assert np.array_equal(host.voxels(), host.truth)

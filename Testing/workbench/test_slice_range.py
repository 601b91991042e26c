"""The range of slices that runs go through."""

from __future__ import annotations

import pytest

from AutoPromptSAMLib.workbench.slice_range import moved_range, view_across_prompts

from ..mrml.segmenting import Host


@pytest.mark.parametrize(
    ("end", "index", "moved"),
    [
        ("first", 5, (5, 20)),
        ("last", 25, (10, 25)),
        ("first", 22, (22, 22)),
        ("last", 4, (4, 4)),
        ("first", -3, (0, 20)),
        ("last", 400, (10, 29)),
    ],
)
def test_an_end_pushes_the_other_one_and_stays_inside(end: str, index: int, moved: tuple[int, int]) -> None:
    assert moved_range(10, 20, 30, end, index) == moved


def test_the_view_follows_the_prompts(host: Host) -> None:
    assert view_across_prompts(host.segmenter) is None
    host.segmenter.add_segment("rod")
    assert view_across_prompts(host.segmenter) is None
    host.segmenter.add_prompt(host.box(4))
    geometry = host.segmenter.volume.geometry
    view = view_across_prompts(host.segmenter)
    assert view is not None
    assert geometry.array_axis(view) == 0

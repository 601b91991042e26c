"""How a run went, in words."""

from __future__ import annotations

from dataclasses import replace

from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.workbench.ranges import propagation_summary

from ..mrml.segmenting import Host


def test_a_run_is_told_with_its_slices(host: Host) -> None:
    assert propagation_summary(host.segmenter) is None
    host.segmenter.add_segment("rod")
    host.segmenter.add_prompt(host.box(4))
    host.settle()
    assert propagation_summary(host.segmenter) is None
    host.segmenter.propagate(3, 7, 0)
    host.settle()
    summary = propagation_summary(host.segmenter)
    assert summary is not None
    assert summary.about == "5 slices, 3 to 7."
    assert summary.weak == ()
    host.segmenter.add_segment("other")
    assert propagation_summary(host.segmenter) is None


def test_the_weakest_slices_are_named_in_order(host: Host) -> None:
    id = host.segmenter.add_segment("rod")
    run = Propagation(0, {n: 0.5 + 0.02 * n for n in range(20)}, complete=False)
    host.segmenter.runs[id] = run
    summary = propagation_summary(host.segmenter)
    assert summary is not None
    assert summary.about == "20 slices so far, 0 to 19."
    assert summary.weak == (0, 1, 2, 3, 4, 5)
    host.segmenter.runs[id] = replace(run, automatic=True)
    assert propagation_summary(host.segmenter) is None

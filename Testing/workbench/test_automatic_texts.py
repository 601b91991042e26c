"""Ranges that a scene keeps, and how a run went."""

from __future__ import annotations

from dataclasses import replace

import pytest

from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.workbench.automatic_texts import LAST, RunTexts, kept_range, range_within, run_texts
from AutoPromptSAMLib.workbench.examples_desk import ExamplesDesk

from ..finds_bright import SURE
from ..mrml.person import Person
from ..mrml.segmenting import Host


@pytest.mark.parametrize(
    ("kept", "count", "shown"),
    [
        ((0, LAST), 20, (0, 19)),
        ((4, 15), 20, (4, 15)),
        ((4, 15), 10, (4, 9)),
        ((15, 18), 10, (9, 9)),
        ((-3, 5), 9, (0, 5)),
    ],
)
def test_a_kept_range_fits_every_image(kept: tuple[int, int], count: int, shown: tuple[int, int]) -> None:
    assert range_within(*kept, count) == shown


def test_an_end_at_the_last_slice_stays_there() -> None:
    assert kept_range(2.0, 18.6, 20) == (2, LAST)
    assert kept_range(2.4, 18.4, 20) == (2, 18)


def test_weak_slices_of_a_run_from_prompts_are_named(host: Host, desk: ExamplesDesk) -> None:
    id = host.segmenter.add_segment("rod")
    assert run_texts(host.segmenter, desk, 0) == RunTexts("", "")
    run = Propagation(0, {4: 0.9, 5: 0.4, 6: 0.95}, complete=False)
    host.segmenter.runs[id] = run
    assert run_texts(host.segmenter, desk, 0) == RunTexts("3 slices so far, 4 to 6. Worth a look: 5.", "")
    host.segmenter.runs[id] = replace(run, agreement={4: 0.9, 5: 0.9}, complete=True)
    assert run_texts(host.segmenter, desk, 0).result == "2 slices, 4 to 5."


def test_the_least_sure_slice_of_a_run_from_examples_is_named(person: Person, desk: ExamplesDesk) -> None:
    id = person.segmenter.add_segment("rod", (0, 1, 0))
    person.paint(id, person.truth)
    desk.choose(desk.add(desk.from_scene(person.segmenter, [id], None), "Rods")().set.id)
    person.segmenter.remove_segment(id)
    desk.run(person.segmenter, (), 3, 7, 0)
    person.settle()
    least = min(range(3, 8), key=SURE.__getitem__)
    texts = run_texts(person.segmenter, desk, 0)
    assert texts == RunTexts("", f"Least sure: rod, slice {least}, {round(100 * SURE[least])} %")

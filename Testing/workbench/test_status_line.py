"""What is going on, in one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from AutoPromptSAMLib.mrml.learning import Learning
from AutoPromptSAMLib.mrml.reports import Status
from AutoPromptSAMLib.workbench import status_line
from AutoPromptSAMLib.workbench.status_line import StatusLine


class Told:
    """A status line at times that a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.line = 100.0, StatusLine()
        monkeypatch.setattr(status_line.time, "monotonic", lambda: self.now)

    def __call__(self, status: Status, learning: Learning | None = None) -> str:
        liver = SimpleNamespace(id="1", name="liver")
        learner = SimpleNamespace(learning=learning)
        segmenter: Any = SimpleNamespace(status=status, segments=[liver], active_segment="1", learner=learner)
        return self.line.text(segmenter)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def run(text: str, done: int, total: int) -> Status:
    return Status("propagating", text, done, total)


def test_phases(told: Told) -> None:
    assert told(Status("embedding")) == "Preparing this slice…"
    assert told(Status("segmenting")) == "Segmenting…"
    assert told(Status()) == "Ready"


def test_learning_is_said_while_nothing_else_goes_on(told: Told) -> None:
    assert told(Status(), Learning("1", name="Abdomen")) == "Learning Abdomen: preparing"
    assert told(Status(), Learning("1", "Learning: Dice 0.9", 2, 5, name="Abdomen")) == "Learning Abdomen, 40 %"
    assert told(Status("segmenting"), Learning("1", "Learning", 2, 5, name="Abdomen")) == "Segmenting…"


def test_a_run_tells_how_long_it_takes_still(told: Told) -> None:
    assert told(run("Propagate liver", 0, 0)) == "Propagating liver…"
    told(Status())
    assert told(run("Propagate liver: slice 10", 10, 40)) == "Propagating liver: slice 10 of 40"
    told.now += 2
    assert told(run("Propagate liver: slice 12", 12, 40)) == "Propagating liver: slice 12 of 40"
    told.now += 8
    assert told(run("Propagate liver: slice 20", 20, 40)) == "Propagating liver: slice 20 of 40 · 20 s left"
    told.now += 200
    assert told(run("Propagate liver: slice 21", 21, 40)).endswith("· 6 min left")
    assert told(run("Propagate liver: slice 40", 40, 40)) == "Propagating liver: slice 40 of 40"


def test_another_run_is_timed_anew(told: Told) -> None:
    told(run("Propagate liver", 0, 40))
    told(Status())
    told.now += 1000
    told(run("Propagate liver", 0, 40))
    told.now += 4
    assert told(run("Propagate liver", 4, 40)).endswith("· 36 s left")


def test_what_else_runs_is_called_by_its_name(told: Told) -> None:
    assert told(run("Find liver and spleen: slice 3", 1, 9)) == "Find liver and spleen: slice 1 of 9"
    assert told(run("Review liver: encoding", 4, 9)) == "Review liver: encoding, 4 of 9"

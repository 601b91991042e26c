"""Things that are done a moment later."""

from __future__ import annotations

from AutoPromptSAMLib.workbench.timers import Timer

from .clock import Clock


def test_a_timer_runs_once_after_its_last_start() -> None:
    clock, ran = Clock(), []
    timer = Timer(clock.later, 2, lambda: ran.append(clock.now))
    timer.start()
    clock.go_on(1.5)
    timer.start()
    assert timer.is_running
    clock.go_on(1.9)
    assert ran == []
    clock.go_on(5)
    assert ran == [3.5]
    assert not timer.is_running
    timer.start()
    timer.stop()
    assert not timer.is_running
    clock.go_on(5)
    assert ran == [3.5]


def test_a_timer_may_start_itself_again() -> None:
    clock, ran = Clock(), []

    def again() -> None:
        ran.append(clock.now)
        if len(ran) < 3:
            timer.start()

    timer = Timer(clock.later, 1, again)
    timer.start()
    clock.go_on(10)
    assert ran == [1, 2, 3]

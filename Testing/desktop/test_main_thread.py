"""Work on other threads beside an event loop that keeps Python's lock, as Slicer's does."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .double import Desktop

MODULE = Path(__file__).parents[2] / "AutoPromptSAM"
OPERATIONS, WAIT_US = 200, 3000  # of a network, each of which needs the lock; how long the loop waits for events
# A C library called this way keeps Python's lock, like Qt's loop in PythonQt.
HOLD = getattr(ctypes.PyDLL(None), "usleep", None)


@pytest.fixture
def main_thread(desktop: Desktop) -> Iterator[Any]:
    sys.path.insert(0, str(MODULE))
    try:
        from AutoPromptSAMDesktop.main_thread import MainThread

        errors: list[BaseException] = []
        made = MainThread(errors.append, lambda: False)
        made.errors = errors
        made._timer.stop()  # the test is the loop
        yield made
        made.close()
    finally:
        sys.path.remove(str(MODULE))
        for name in [name for name in sys.modules if name.startswith("AutoPromptSAMDesktop")]:
            del sys.modules[name]


@pytest.mark.skipif(HOLD is None, reason="there is no usleep on this system")
def test_another_thread_works_while_the_loop_keeps_the_lock(main_thread: Any) -> None:
    done: list[int] = []

    def network() -> str:
        for _ in range(OPERATIONS):
            time.sleep(0)  # gives the lock away and needs it back, as an operation of torch does
        return "mask"

    main_thread.work(network, lambda _mask: done.append(1))
    turns = 0
    while not done and turns < OPERATIONS:
        assert HOLD is not None
        HOLD(WAIT_US)
        main_thread.run()
        turns += 1
    assert done
    assert turns < OPERATIONS / 4  # without a share of the time it is one operation a turn


def test_what_other_threads_hand_over_runs_in_order_and_survives_errors(main_thread: Any) -> None:
    seen: list[int] = []
    main_thread.call(lambda: seen.append(1))
    main_thread.call(lambda: 1 / 0)
    main_thread.call(lambda: seen.append(2))
    main_thread.run()
    assert seen == [1, 2]
    assert [type(error) for error in main_thread.errors] == [ZeroDivisionError]


def test_a_function_that_lets_events_be_handled_is_not_interrupted(main_thread: Any) -> None:
    seen: list[str] = []

    def first() -> None:
        main_thread.call(lambda: seen.append("second"))
        main_thread.run()  # as the timer does while the application handles events
        seen.append("first")

    main_thread.call(first)
    main_thread.run()
    assert seen == ["first", "second"]

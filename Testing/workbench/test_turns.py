"""Turns of a main thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from AutoPromptSAMLib.workbench.timers import Timer
from AutoPromptSAMLib.workbench.turns import Turns


class Host(Turns):
    """Takes turns until something is so."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.others_work = False
        super().__init__(self.errors.append, lambda: self.others_work)

    def until(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not ready():
            assert time.monotonic() < end
            self.turn()


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def test_work_ends_on_the_thread_that_takes_turns(host: Host) -> None:
    go, threads = threading.Event(), list[int]()

    def load() -> int:
        go.wait(10)
        return threading.get_ident()

    host.work(load, lambda there: threads.extend([there, threading.get_ident()]))
    assert host.turn()  # somebody has something to do
    assert threads == []
    go.set()
    host.until(lambda: bool(threads))
    assert threads[0] != threads[1] == threading.get_ident()
    assert not host.turn()
    host.others_work = True
    assert host.turn()


def test_errors_of_work_go_to_whom_they_concern(host: Host) -> None:
    told: list[BaseException] = []
    host.work(lambda: 1 // 0, print, told.append)
    host.until(lambda: bool(told))
    assert host.errors == []
    host.work(lambda: 1 // 0, print)
    host.until(lambda: bool(host.errors))
    assert [type(error) for error in told + host.errors] == [ZeroDivisionError] * 2


def test_a_goodbye_is_still_said_by_workers_that_were_busy_or_idle() -> None:
    go, said, worked = threading.Event(), threading.Event(), list[None]()
    busy, idle = Host(), Host()
    for _ in range(8):  # more than there are workers
        busy.work(lambda: go.wait(10), lambda _nothing: None)
    busy.work(said.set, lambda _nothing: None)
    busy.close()
    assert not said.is_set()
    go.set()
    assert said.wait(10)
    said.clear()
    idle.work(lambda: None, worked.append)
    idle.until(lambda: bool(worked))
    idle.work(said.set, lambda _nothing: None)
    idle.close()
    assert said.wait(10)


def test_what_is_due_runs_once_in_its_order_and_can_be_called_off(host: Host) -> None:
    seen: list[str] = []
    host.later(0.06, lambda: seen.append("second"))
    host.later(0.03, lambda: seen.append("first"))
    call_off = host.later(0.01, lambda: seen.append("never"))
    call_off()
    call_off()
    host.turn()
    assert seen == []
    host.until(lambda: len(seen) == 2)
    assert seen == ["first", "second"]


def test_a_timer_that_is_started_again_waits_anew(host: Host) -> None:
    seen: list[float] = []
    timer = Timer(host.later, 0.05, lambda: seen.append(time.monotonic()))
    timer.start()
    time.sleep(0.03)
    started = time.monotonic()
    timer.start()
    host.until(lambda: bool(seen))
    assert seen[0] >= started + 0.05
    assert not timer.is_running

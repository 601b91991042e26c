"""The worker thread and its jobs."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from AutoPromptSAMLib.errors import Cancelled, PromptError
from AutoPromptSAMLib.loops.job import Control, Job, Progress, Worker

SOON = 30.0  # seconds; how long a test waits before it calls a job lost


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def held(worker: Worker) -> Iterator[threading.Event]:
    """The worker is busy until the event is set."""
    release, running = threading.Event(), threading.Event()

    def wait(control: Control) -> None:
        running.set()
        release.wait(SOON)

    worker.submit(wait)
    assert running.wait(SOON)
    yield release
    release.set()


def test_all_jobs_run_on_one_thread_in_order(worker: Worker) -> None:
    seen: list[int] = []

    def work(number: int) -> Callable[[Control], int]:
        def run(control: Control) -> int:
            seen.append(number)
            return threading.get_ident()

        return run

    threads = {job.result(SOON) for job in [worker.submit(work(n)) for n in range(20)]}
    assert seen == list(range(20))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_an_error_reaches_who_waits_and_the_next_job_runs(worker: Worker) -> None:
    def fail(control: Control) -> None:
        raise PromptError("No.")

    job = worker.submit(fail)
    for _ in range(2):
        with pytest.raises(PromptError, match=r"^No\.$"):
            job.result(SOON)
    assert job.done
    assert isinstance(job.error, PromptError)
    assert worker.submit(lambda control: 7).result(SOON) == 7


def test_even_what_is_no_exception_is_delivered(worker: Worker) -> None:
    def leave(control: Control) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        worker.submit(leave).result(SOON)
    assert worker.submit(lambda control: 7).result(SOON) == 7


def test_a_job_that_was_cancelled_while_it_waited_never_runs(worker: Worker, held: threading.Event) -> None:
    ran = []
    job = worker.submit(lambda control: ran.append(1))
    job.cancel()
    assert not job.done
    held.set()
    with pytest.raises(Cancelled):
        job.result(SOON)
    assert not ran


def test_a_running_job_stops_at_its_next_check(worker: Worker) -> None:
    steps: list[int] = []
    started = threading.Event()

    def count(control: Control) -> None:
        while True:
            started.set()
            control.check()
            steps.append(1)

    job = worker.submit(count)
    assert started.wait(SOON)
    job.cancel()
    with pytest.raises(Cancelled, match="kept"):
        job.result(SOON)
    assert isinstance(job.error, Cancelled)


def test_waiting_ends_when_the_time_is_over(worker: Worker, held: threading.Event) -> None:
    job = worker.submit(lambda control: 1)
    with pytest.raises(TimeoutError, match="0\\.01 s"):
        job.result(0.01)
    held.set()
    assert job.result(SOON) == 1


def test_progress_comes_in_order_on_the_workers_thread(worker: Worker) -> None:
    told: list[tuple[Progress, int]] = []

    def work(control: Control) -> int:
        for n in range(3):
            control.report(n, 3, f"Slice {n}")
        return threading.get_ident()

    thread = worker.submit(work, lambda progress: told.append((progress, threading.get_ident()))).result(SOON)
    assert told == [(Progress(n, 3, f"Slice {n}"), thread) for n in range(3)]


def test_a_failing_progress_callback_is_the_jobs_error(worker: Worker) -> None:
    def fail(progress: Progress) -> None:
        raise ValueError("window is gone")

    with pytest.raises(ValueError, match="window is gone"):
        worker.submit(lambda control: control.report(0, 1, ""), fail).result(SOON)


def test_on_done_gets_the_ended_job(worker: Worker) -> None:
    got: list[Job[Any]] = []
    one = worker.submit(lambda control: 1, on_done=got.append)
    two = worker.submit(lambda control: 1 // 0, on_done=got.append)
    worker.close()
    assert got == [one, two]
    assert one.error is None
    assert isinstance(two.error, ZeroDivisionError)


def test_a_failing_on_done_is_logged_and_the_next_job_runs(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    def fail(job: Job[int]) -> None:
        raise ValueError("window is gone")

    with caplog.at_level(logging.ERROR):
        assert worker.submit(lambda control: 1, on_done=fail).result(SOON) == 1
        assert worker.submit(lambda control: 2).result(SOON) == 2
    assert "window is gone" in caplog.text


def test_closing_finishes_what_was_submitted_and_ends_the_thread() -> None:
    def is_alive() -> bool:
        return any(thread.name == "to be closed" for thread in threading.enumerate())

    worker = Worker("to be closed")
    jobs = [worker.submit(lambda control, n=n: n) for n in range(5)]
    assert is_alive()
    worker.close()
    assert [job.result(0) for job in jobs] == list(range(5))
    assert not is_alive()


def test_closing_can_cancel_what_runs_and_what_waits(worker: Worker) -> None:
    started = threading.Event()

    def count(control: Control) -> None:
        while True:
            started.set()
            control.check()

    jobs = [worker.submit(count) for _ in range(3)]
    assert started.wait(SOON)
    worker.close(cancel=True)
    assert [type(job.error) for job in jobs] == [Cancelled] * 3


LEAVING = """
import threading, time
from AutoPromptSAMLib.loops.job import Worker

started = threading.Event()

def work(control):
    try:
        started.set()
        while True:
            time.sleep(0.01)
            control.check()
    finally:
        print("ended in order", flush=True)

worker = Worker()
worker.submit(work)
waiting = worker.submit(work)
started.wait()
"""


def test_a_process_that_leaves_ends_its_jobs_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVING],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["ended in order"]  # the one that waited never started


def test_after_closing_jobs_are_refused(worker: Worker) -> None:
    worker.close()
    worker.close()
    with pytest.raises(RuntimeError, match=r"^The session is closed; open a new one\.$"):
        worker.submit(lambda control: 1)


def test_a_job_can_close_its_own_worker(worker: Worker) -> None:
    worker.submit(lambda control: 1, on_done=lambda job: worker.close()).result(SOON)
    worker.close()
    with pytest.raises(RuntimeError):
        worker.submit(lambda control: 1)


def test_beside_closing_a_job_is_run_or_refused() -> None:
    for _ in range(30):
        worker = Worker()
        accepted: list[Job[int]] = []
        refused: list[RuntimeError] = []
        start = threading.Barrier(4)

        def submit(worker=worker, accepted=accepted, refused=refused, start=start) -> None:
            start.wait(SOON)
            for _ in range(50):
                try:
                    accepted.append(worker.submit(lambda control: 1))
                except RuntimeError as error:
                    refused.append(error)

        threads = [threading.Thread(target=submit) for _ in range(3)]
        for thread in threads:
            thread.start()
        start.wait(SOON)
        worker.close()
        for thread in threads:
            thread.join()
        assert len(accepted) + len(refused) == 150
        assert all(job.done for job in accepted)


class _Image:
    """Stands for a volume of some hundred megabytes."""


def test_an_ended_job_lets_go_of_what_it_worked_on(worker: Worker) -> None:
    image = _Image()
    alive = weakref.ref(image)
    job = worker.submit(lambda control, image=image: id(image))
    del image
    job.result(SOON)
    gc.collect()
    assert alive() is None


def test_the_worker_lets_go_of_an_ended_jobs_result(worker: Worker) -> None:
    job = worker.submit(lambda control: _Image())
    alive = weakref.ref(job.result(SOON))
    del job
    for _ in range(1000):  # the thread may still be on its way to the queue
        if alive() is None:
            break
        threading.Event().wait(0.01)
    assert alive() is None


def test_what_is_waited_for_goes_before_background_jobs(worker: Worker, held: threading.Event) -> None:
    seen: list[str] = []
    jobs = [
        worker.submit(lambda control: seen.append("slices around"), background=True),
        worker.submit(lambda control: seen.append("click")),
    ]
    held.set()
    for job in jobs:
        job.result(SOON)
    assert seen == ["click", "slices around"]


def test_a_background_job_makes_way_at_its_next_check(worker: Worker) -> None:
    seen: list[str] = []
    started, clicked = threading.Event(), threading.Event()

    def volume(control: Control) -> None:
        seen.append("slice 0")
        started.set()
        assert clicked.wait(SOON)
        control.check()
        seen.append("slice 1")

    job = worker.submit(volume, background=True)
    assert started.wait(SOON)
    click = worker.submit(lambda control: seen.append(f"click on {threading.get_ident() == worker._thread.ident}"))
    clicked.set()
    job.result(SOON)
    assert click.done
    assert seen == ["slice 0", "click on True", "slice 1"]


def test_an_error_in_a_job_that_is_let_through_leaves_the_background_job_alone(worker: Worker) -> None:
    started, clicked = threading.Event(), threading.Event()

    def volume(control: Control) -> str:
        started.set()
        assert clicked.wait(SOON)
        control.check()
        return "whole"

    def fail(control: Control) -> None:
        raise PromptError("No.")

    job = worker.submit(volume, background=True)
    assert started.wait(SOON)
    click = worker.submit(fail)
    clicked.set()
    assert job.result(SOON) == "whole"
    with pytest.raises(PromptError):
        click.result(SOON)

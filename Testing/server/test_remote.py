"""A session over a real network: lost, started anew, shared, slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from AutoPromptSAMLib.errors import Cancelled, ImageError, ModelError, PromptError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.intensity import WindowLevel
from AutoPromptSAMLib.loops.job import Control, Progress
from AutoPromptSAMLib.server.limits import Limits
from AutoPromptSAMLib.server.running import Running
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.remote import RemoteSession
from AutoPromptSAMLib.session.wire import RemoteError

from ..remote_server import TOKEN, Site, Town, wait_for
from ..session.conftest import slice_box
from ..threshold_backbone import ThresholdBackbone, rod
from .conftest import Line

LONG = 40  # slices of a run that is to be caught in its middle


def boxed(session: LocalSession, count: int = LONG, at: int = 5) -> np.ndarray:
    """A session on a rod with a box on one slice; the truth."""
    volume, truth = rod(range(count), count=count)
    session.set_image(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, at))
    return truth


def test_about_tells_the_model_and_what_it_runs_on(site: Site) -> None:
    session = site.client()
    assert (session.about.address, session.about.model) == (site.address, "lite-medsam")
    assert session.about.device == "the CPU (a threshold; slower than on a GPU)"
    session.close()


def test_a_connection_lost_in_a_run_ends_it_with_a_sentence_and_the_next_run_goes_on(
    site: Site, line: Line, one_sentence: Callable
) -> None:
    session = RemoteSession(site.address_at(line.port), TOKEN, ahead=0)
    truth = boxed(session)
    shown: dict[int, object] = {}

    def on_slice(index: int, mask: object) -> None:
        shown[index] = mask
        if len(shown) == 5:
            line.cut()

    with one_sentence(RemoteError, "was lost", "nothing that you did is lost"):
        session.propagate("rod", on_slice=on_slice).result(30)
    wait_for(lambda: not jobs(site))  # the server has noticed
    decoded = site.backbone.decoded
    assert decoded < LONG
    assert len(session.objects["rod"]) == 1
    with one_sentence(RemoteError, "No server answers"):
        session.segment("rod", slice_plane(session.volume.geometry, 0, 5)).result(30)
    session.add_prompt("rod", slice_box(session.volume, truth, 0, 20))
    assert session.undo() == "Add box"
    line.mend()
    result = session.propagate("rod").result(30)
    np.testing.assert_array_equal(result.mask.to_full(truth.shape), truth)
    assert result.decoded <= LONG - 5, "what was found before is remembered"
    session.close()


def jobs(site: Site) -> list[Running]:
    """Those that the server has not ended."""
    return [job for desk in site.app.state.desks._desks.values() for job in desk.jobs.values()]


def test_a_server_that_is_started_anew_gets_the_image_again_and_nobody_notices(site: Site) -> None:
    told: list[Progress] = []
    session = site.client(on_sending=told.append)
    truth = boxed(session, 12)
    first = session.propagate("rod").result(30)
    assert {progress.text for progress in told} == {"Sending the image to the server"}
    told.clear()
    session.set_mapping(WindowLevel(125, 150))
    session.set_mapping(None)
    session.propagate("rod").result(30)
    assert told == [], "it is sent once"
    site.start()
    again = session.propagate("rod").result(30)
    assert told
    np.testing.assert_array_equal(again.mask.to_full(truth.shape), first.mask.to_full(truth.shape))
    other = site.client(on_sending=told.append)
    told.clear()
    boxed(other, 12)
    assert other.propagate("rod").result(30).mask.count == truth.sum()
    assert told == [], "another client has the same image"
    session.close()
    other.close()


def test_a_server_with_other_weights_says_so(site: Site, one_sentence: Callable) -> None:
    session = site.client()
    boxed(session, 12)
    assert isinstance(site.backbone, ThresholdBackbone)
    site.backbone.fingerprint = "other"
    site.start()
    with one_sentence(ModelError, "other weights"):
        session.propagate("rod").result(30)
    session.close()


def test_two_clients_at_once_do_not_see_each_other(site: Site) -> None:
    sessions = [site.client() for _ in range(2)]
    results = []
    for session, slices in zip(sessions, (range(2, 9), range(4, 11)), strict=True):
        volume, truth = rod(slices)
        session.set_image(volume)
        session.add_prompt("rod", slice_box(volume, truth, 0, 6))
        results.append((session, truth))
    together = threading.Barrier(2, timeout=30)
    first: list[int] = []

    def meet(index: int, mask: object) -> None:
        if not first or len(first) < 2:  # both are in the middle of a run
            first.append(index)
            together.wait()

    running = [(session.propagate("rod", on_slice=meet), truth) for session, truth in results]
    for job, truth in running:
        np.testing.assert_array_equal(job.result(30).mask.to_full(truth.shape), truth)
    sessions[0].add_prompt("other", slice_box(sessions[0].volume, results[0][1], 0, 5))
    assert "other" not in sessions[1].objects
    sessions[0].close()
    assert sessions[1].propagate("rod").result(30).decoded == 0
    sessions[1].close()


def test_a_click_is_answered_in_a_run_though_the_server_waits_for_its_client(site: Site) -> None:
    session = site.client()
    boxed(session)
    begun, order = threading.Event(), []

    def on_slice(index: int, mask: object) -> None:
        begun.set()
        time.sleep(0.02)

    run = session.propagate(
        "rod", on_slice=on_slice, on_progress=lambda _: None, on_done=lambda _: order.append("run")
    )
    assert begun.wait(30)
    plane = slice_plane(session.volume.geometry, 0, 5)
    clicks = [session.segment("rod", plane, lambda _: order.append("click")) for _ in range(3)]
    for click in clicks:
        assert not click.result(30).mask.is_empty
    assert order == ["click"] * 3
    assert run.result(30).complete
    session.close()


def test_the_server_is_ahead_as_far_as_it_may_and_no_further(site: Site) -> None:
    session = site.client(ahead=6)
    boxed(session)
    job: list[Running] = []
    ahead: list[int] = []

    def on_slice(index: int, mask: object) -> None:
        if not job:
            job.extend(jobs(site))
            wait_for(lambda: job[0]._told >= 7)  # six that are not taken in yet, and one that waits to be
        ahead.append(job[0]._told - len(ahead))

    assert session.propagate("rod", on_slice=on_slice).result(60).complete
    assert len(ahead) == LONG
    assert max(ahead) == 7
    session.close()


def test_a_client_that_is_gone_has_its_job_cancelled(town: Town) -> None:
    site = town.open(ThresholdBackbone(), limits=Limits(heartbeat=0.05, silence=0.4))
    session = site.client()
    boxed(session)
    session._errands._say = lambda path: None  # type: ignore[method-assign]  # it hears, but says nothing more
    job = session.propagate("rod", on_slice=lambda *_: None)
    with pytest.raises(RemoteError, match="was lost"):
        job.result(30)
    wait_for(lambda: not jobs(site))
    session.close()


def test_a_client_that_takes_its_time_is_waited_for(town: Town) -> None:
    site = town.open(ThresholdBackbone(), limits=Limits(heartbeat=0.05))
    session = site.client()
    boxed(session, 12)
    heard: list[float] = []

    def is_heard_again() -> bool:
        moment = jobs(site)[0]._heard
        if moment not in heard:
            heard.append(moment)
        return len(heard) > 3

    # While the first slice is looked at, the server hears again and again that somebody is there.
    assert session.propagate("rod", on_slice=lambda *_: heard or wait_for(is_heard_again)).result(60).complete
    session.close()


def test_a_server_that_says_nothing_for_too_long_is_lost(town: Town, one_sentence: Callable) -> None:
    site = town.open(ThresholdBackbone())
    session = site.client(timeout_s=0.3)
    boxed(session, 12)
    session.propagate("rod").result(30)
    stuck = threading.Event()
    site.backbone.encode = lambda images: stuck.wait(30)  # type: ignore[method-assign, union-attr, return-value, assignment]
    with one_sentence(RemoteError, "was lost"):
        session.prepare(slice_plane(session.volume.geometry, 1, 5)).result(30)
    stuck.set()
    session.close()


def test_a_session_that_nobody_used_is_forgotten_and_comes_back(town: Town) -> None:
    site = town.open(ThresholdBackbone(), limits=Limits(idle=0.05))
    session = site.client()
    truth = boxed(session, 12)
    session.propagate("rod").result(30)
    state = site.app.state
    assert len(state.desks) == 1
    time.sleep(0.1)
    state.desks.forget_idle()
    state.parcels.forget_idle()
    assert len(state.desks) == 0
    assert state.parcels.get(session._errands._image_parcel(session.volume).digest) is None
    assert session.propagate("rod").result(30).mask.count == truth.sum()
    assert len(state.desks) == 1
    session.close()
    assert len(state.desks) == 0, "a client says when it leaves"


def test_closing_without_a_server_takes_no_time(site: Site, line: Line) -> None:
    session = RemoteSession(site.address_at(line.port), TOKEN)
    boxed(session)
    begun = threading.Event()
    job = session.propagate("rod", on_slice=lambda *_: begun.set())
    assert begun.wait(30)
    line.cut()
    started = time.monotonic()
    session.close(cancel=True)
    assert time.monotonic() - started < 5
    assert job.done


def test_what_is_lost_among_chunks_is_not_sent_twice(
    site: Site, line: Line, monkeypatch: pytest.MonkeyPatch, one_sentence: Callable
) -> None:
    for module in ("session.connection", "server.parcels"):
        monkeypatch.setattr(f"AutoPromptSAMLib.{module}.CHUNK", 1000)
    told: list[Progress] = []
    session = RemoteSession(site.address_at(line.port), TOKEN, on_sending=told.append)
    boxed(session, 12)

    def cut(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 4:
            line.cut()

    session._errands._on_sending = cut
    with one_sentence(RemoteError, "No server answers"):
        session.propagate("rod").result(30)
    line.mend()
    before = len(told)
    assert session.propagate("rod").result(30).complete
    assert before == 4
    assert len(told) - before == 28 - 3 + 1, "27648 bytes are 28 chunks, of which three were there"
    session.close()


def test_a_cancel_while_an_image_is_sent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("session.connection", "server.parcels"):
        monkeypatch.setattr(f"AutoPromptSAMLib.{module}.CHUNK", 1000)
    holder: list = []
    ready = threading.Event()

    def cancel(_: Progress) -> None:
        assert ready.wait(30)
        holder[0].cancel()

    session = site.client(on_sending=cancel)
    boxed(session, 12)
    holder.append(session.propagate("rod"))
    ready.set()
    with pytest.raises(Cancelled):
        holder[0].result(30)
    session.close()


def test_an_image_of_a_kind_that_cannot_be_sent(site: Site, one_sentence: Callable) -> None:
    session = site.client()
    truth = boxed(session, 12)
    wide = np.zeros((3, 4, 5), np.longdouble)
    with one_sentence(ImageError, "longdouble" if wide.dtype.name == "longdouble" else wide.dtype.name):
        session.set_image(Volume(wide, VolumeGeometry(wide.shape, np.eye(4))))
    assert session.volume.array.shape == truth.shape
    session.close()


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_images_of_every_type_arrive(site: Site, dtype: type) -> None:
    session = site.client()
    volume, truth = rod(range(12))
    array = truth.astype(dtype) if dtype is np.bool_ else volume.array.astype(dtype)
    turned = np.asfortranarray(array)
    session.set_image(
        Volume(turned, volume.geometry), None if dtype in (np.bool_, np.uint8) else WindowLevel(125, 250)
    )
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    found = session.segment("rod", slice_plane(volume.geometry, 0, 5)).result(30).mask
    np.testing.assert_array_equal(found.to_full(truth.shape)[5], truth[5])
    session.close()


def test_colour_arrives(site: Site) -> None:
    session = site.client()
    volume, truth = rod(range(12))
    session.set_image(Volume(np.repeat(volume.array[..., None], 3, axis=3), volume.geometry))
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    assert session.propagate("rod").result(30).mask.count == truth.sum()
    session.close()


def test_what_the_server_says_is_wrong_has_the_same_kind_here(site: Site, one_sentence: Callable) -> None:
    session = site.client()
    boxed(session, 12)
    with one_sentence(PromptError, "no prompt on this slice"):
        session.segment("rod", slice_plane(session.volume.geometry, 0, 9)).result(30)
    session.close()


def test_a_job_that_was_never_heard_of_is_no_error(site: Site) -> None:
    session = site.client()
    ask = session._errands._connection.ask
    path = f"/v1/sessions/{'0' * 32}/jobs/{'1' * 32}"
    assert ask("POST", f"{path}/cancel") == ask("POST", f"{path}/seen?count=3") == {"running": False}
    session.close()


def test_the_control_of_a_job_is_a_host_s_own(site: Site) -> None:
    """Sending says how far it is to the job too, once there is anything to wait for."""
    session = site.client()
    volume = Volume(np.zeros((1, 1200, 1200), np.uint16), VolumeGeometry((1, 1200, 1200), np.eye(4)))
    told: list[Progress] = []
    session._errands._send(session._errands._image_parcel(volume), Control(told.append))
    assert [progress.done for progress in told] == [0, 3]
    assert told[-1].total == 3
    session.close()

"""Starting the server, by the command and by the function behind it."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from AutoPromptSAMLib.server import serving
from AutoPromptSAMLib.server.limits import Limits
from AutoPromptSAMLib.server.models import Models
from AutoPromptSAMLib.server.serving import ServerError, listen, read_token, warning
from AutoPromptSAMLib.session.remote import RemoteSession

from ..conftest import Run
from ..remote_server import wait_for
from ..session.conftest import slice_box
from ..threshold_backbone import ThresholdBackbone, rod


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[uvicorn.Server]]:
    """Those that were started, with the network that is none."""
    started: list[uvicorn.Server] = []

    class Noted(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            started.append(self)

    backbone = ThresholdBackbone()
    monkeypatch.setattr(serving.uvicorn, "Server", Noted)
    monkeypatch.setattr(Models, "of_zoo", lambda names, device: Models({name: lambda: backbone for name in names}))
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "home"))
    yield started
    for server in started:
        server.should_exit = True


def begin(target: Callable[..., Any], said: list[str], *given: Any, **named: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=given, kwargs={"announce": said.append, **named}, daemon=True)
    thread.start()
    wait_for(lambda: len(said) == 3)
    return thread


@pytest.mark.parametrize("keep", [True, False])
def test_it_says_how_to_reach_it_and_keeps_what_it_may(
    servers: list[uvicorn.Server], tmp_path: Path, keep: bool
) -> None:
    said: list[str] = []
    limits = Limits(idle=0.4)
    thread = begin(serving.serve, said, ["lite-medsam"], "cpu", port=0, limits=limits, keep_on_disk=keep)
    address, token, model = (line.split(": ", 1)[1] for line in said)
    assert address.startswith("http://127.0.0.1:")
    assert len(token) >= 32
    assert model.startswith("lite-medsam on the CPU")
    session = RemoteSession(address, token)
    volume, truth = rod(range(12))
    session.set_image(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    assert session.propagate("rod").result(30).mask.count == truth.sum()
    state = servers[0].config.app.state  # type: ignore[union-attr]
    wait_for(lambda: len(state.desks) == 0)  # it tidies up by itself
    kept = {path.name for path in (tmp_path / "home").glob("*")}
    assert kept == ({"embeddings", "runs"} if keep else set())
    # Ended with a client that is still there, it leaves in time.
    begun = threading.Event()
    job = session.propagate("rod", on_slice=lambda *_: begun.set())
    assert begun.wait(30)
    job.result(30)
    servers[0].should_exit = True
    thread.join(15)
    assert not thread.is_alive()
    session.close()


def test_the_command(servers: list[uvicorn.Server], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("AutoPromptSAMLib.serve_command.fetch_weights", lambda card: None)
    monkeypatch.setattr(serving.uvicorn.Server, "run", lambda self, sockets: None)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    done = run(
        "serve", "--port", 0, "--token-file", token, "--max-image-mb", 500, "--model", "mobile-sam", "--memory-only"
    )
    assert done.code == 0
    assert f"Token: the one in {token}" in done.out
    assert "0123456789abcdef" not in done.out + done.err
    assert "Model: mobile-sam on" in done.out
    assert "Everybody" not in done.err
    open_to_all = run("serve", "--host", "0.0.0.0", "--port", 0)
    assert "Everybody on the network can read" in open_to_all.err
    one, two = (run("serve", "--port", 0).out.split("Token: ")[1].split()[0] for _ in range(2))
    assert one != two


def test_a_command_without_its_packages_says_which(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "AutoPromptSAMLib.server.serving")
    done = run("serve")
    assert done.code == 1
    assert "pip install 'autopromptsam[server]'" in done.err


def test_a_model_that_there_is_not(run: Run) -> None:
    done = run("serve", "--model", "sam-vit-z")
    assert done.code == 1
    assert "There is no model called 'sam-vit-z'" in done.err


def test_an_address_that_is_taken_or_none(one_sentence: Callable) -> None:
    with listen("127.0.0.1", 0) as taken:
        assert taken.proto == socket.IPPROTO_TCP
        with one_sentence(ServerError, "choose another --port"):
            listen("127.0.0.1", taken.getsockname()[1])
    with one_sentence(ServerError, "203.0.113.7"):
        listen("203.0.113.7", 0)
    with one_sentence(ServerError, "no.such.host.invalid"):
        listen("no.such.host.invalid", 0)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"0123456789 abcdef", "naïve-0123456789abc".encode(), b"\xff" * 40]
)
def test_a_token_that_is_too_weak_or_none(tmp_path: Path, content: bytes, one_sentence: Callable) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with one_sentence(ServerError, str(file)):
        read_token(file)


def test_a_token_file_that_is_not_there(tmp_path: Path, one_sentence: Callable) -> None:
    with one_sentence(ServerError, "check the path"):
        read_token(tmp_path / "none")
    assert stat.S_ISDIR(tmp_path.stat().st_mode)
    with one_sentence(ServerError, "check the path"):
        read_token(tmp_path)


def test_only_addresses_of_others_are_warned_of() -> None:
    assert [bool(warning(host)) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "10.0.0.5")] == [
        False, False, False, True, True,
    ]  # fmt: skip

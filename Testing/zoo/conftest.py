"""A real HTTP server on this machine that misbehaves on demand, and a package index on top of it."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.zoo import download

SentenceCheck = Callable[..., AbstractContextManager[Any]]


@dataclass
class Served:
    """One file of the server, and how it is served."""

    content: bytes
    ranges: bool = True
    etag: str | None = None
    length: bool = True
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    # Answer a range by one that starts this much later.
    shift: int = 0
    # One entry per request, taken from the front: answer this status; close the connection after so many bytes.
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    # Send this many bytes (-1: not even the headers) and then nothing until the gate opens.
    stall_at: int | None = None
    gate: threading.Event = field(default_factory=threading.Event)


class Server:
    """Files by path, and a log of (path, Range header) of the requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, Served] = {}
        self.log: list[tuple[str, str | None]] = []

    def serve(self, path: str, content: bytes, **how: Any) -> Served:
        self.files[path] = Served(content, **how)
        return self.files[path]

    def ranges(self, path: str) -> list[str | None]:
        """Range headers of the requests for ``path``, in order."""
        return [header for requested, header in self.log if requested == path]

    def index(self, distribution: str, files: dict[str, bytes]) -> None:
        """Serve ``files`` as the wheels and sdists of ``distribution``."""
        links = "".join(f'<a href="../../files/{name}">{name}</a><br>' for name in files)
        self.serve(f"/simple/{distribution}/", f"<html><body>{links}</body></html>".encode(), content_type="text/html")
        for name, content in files.items():
            self.serve(f"/files/{name}", content, etag=f'"{name}"')


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.log.append((self.path, asked))
            file = server.files.get(self.path)
            if file is None:
                self.send_error(404)
                return
            if file.stall_at == -1:
                file.gate.wait()
            if file.statuses and (status := file.statuses.pop(0)) != 200:
                self.send_error(status)
                return
            body, start = file.content, 0
            condition = self.headers.get("If-Range")
            if asked and file.ranges and condition in (None, file.etag, file.headers.get("Last-Modified")):
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) + file.shift  # type: ignore[index]
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                body = body[start:]
            else:
                self.send_response(200)
            headers = {"Content-Type": file.content_type, **file.headers}
            if file.etag:
                headers["ETag"] = file.etag
            if file.length:
                headers.setdefault("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self._send(file, body[: file.cuts.pop(0)] if file.cuts else body)

        def _send(self, file: Served, body: bytes) -> None:
            self.close_connection = True
            try:
                if file.stall_at is not None and file.stall_at >= 0 and not file.gate.is_set():
                    self.wfile.write(body[: file.stall_at])
                    file.gate.wait()
                    body = body[file.stall_at :]
                self.wfile.write(body)
            except OSError:
                pass  # the client went away

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    http.daemon_threads = True
    result = Server(f"http://127.0.0.1:{http.server_port}")
    http.RequestHandlerClass = _handler(result)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield result
    for file in result.files.values():
        file.gate.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without the pause that spares real servers; no proxy between us and this machine."""
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def sentence() -> SentenceCheck:
    """Like pytest.raises, and the message must be one sentence that holds all of ``words``."""

    @contextmanager
    def check(error: type[AutoPromptSAMError], *words: str) -> Iterator[Any]:
        with pytest.raises(error) as caught:
            yield caught
        message = str(caught.value)
        assert type(caught.value) is error
        assert message.endswith(".")
        assert not re.search(r"[.!?]\s+[A-Z]|\n", message), f"more than one sentence: {message}"
        for word in words:
            assert word in message

    return check


@pytest.fixture
def content() -> bytes:
    """1.3 MB without a pattern that a wrong offset could reproduce."""
    return b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(40_000)) + b"end"


@pytest.fixture
def make_card(tmp_path: Path) -> Callable[..., Path]:
    """Write a card called "example" with some keys changed, or left out where the value is an ellipsis."""

    def make(**changes: Any) -> Path:
        card: dict[str, Any] = {
            "name": "example",
            "title": "Example",
            "architecture": "sam-vit",
            "variant": {"encoder": "vit_b"},
            "input_size": 1024,
            "resize": "longest-side",
            "normalisation": {"kind": "standard", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
            "capabilities": {"points": True, "boxes": True, "masks": True, "multimask": True, "memory": False},
            "file_name": "example.pt",
            "sha256": "0" * 64,
            "size_bytes": None,
            "sources": [{"kind": "url", "url": "https://example.invalid/example.pt"}],
            "licence": {"spdx": "MIT", "url": "https://example.invalid/LICENSE"},
            "trained_on": "nothing",
            "citation": "nobody",
            "run_here": False,
            "notes": "for tests",
            **changes,
        }
        path = tmp_path / "example.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in card.items() if value is not ...}))
        return path

    return make

"""A real server on localhost for tests: one uvicorn in a thread, and any number of our applications below paths."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from AutoPromptSAMLib.backbones import Backbone
from AutoPromptSAMLib.server.app import create_app
from AutoPromptSAMLib.server.models import Models
from AutoPromptSAMLib.server.serving import listen
from AutoPromptSAMLib.session.remote import RemoteSession

TOKEN = "a token for tests, not a secret"


class Town:
    """Serves application n at /n; what is there may be exchanged, as by a server that is started anew."""

    def __init__(self) -> None:
        self.apps: dict[str, Any] = {}
        self._numbers = itertools.count()
        self._socket = listen("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(self._answer, interface="asgi3", log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        end = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < end
            time.sleep(0.005)

    async def _answer(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        number, _, path = scope["path"].lstrip("/").partition("/")
        await self.apps[number]({**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}, receive, send)

    def open(self, backbone: Backbone | None, **options: Any) -> Site:
        """A server of its own with one model; ``options`` are those of ``create_app``."""
        site = Site(self, str(next(self._numbers)), backbone, options)
        site.start()
        return site

    def close(self) -> None:
        for app in self.apps.values():
            app.state.desks.close()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)


class Site:
    """One server: its address, what it keeps (``app.state``), and clients for it."""

    def __init__(self, town: Town, number: str, backbone: Backbone | None, options: dict[str, Any]) -> None:
        self._town, self._number, self._options = town, number, options
        self.backbone = backbone
        self.address = self.address_at(town.port)

    def address_at(self, port: int) -> str:
        """The address by way of another port, which leads here."""
        return f"http://127.0.0.1:{port}/{self._number}"

    def start(self) -> None:
        """Also anew: nothing is left of what was there."""
        options = {"models": Models({"lite-medsam": lambda: self.backbone}), "token": TOKEN, **self._options}
        self.app = self._town.apps[self._number] = create_app(**options)

    def client(self, **options: Any) -> RemoteSession:
        """A session here, whose cancels are exact."""
        return RemoteSession(self.address, TOKEN, **{"ahead": 0, **options})


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> None:
    """Until ``what`` is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)

"""A server on localhost, sites on it, and a line to it that can be cut."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from ..remote_server import Site, Town
from ..threshold_backbone import ThresholdBackbone


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    town = Town()
    yield town
    town.close()


@pytest.fixture
def site(town: Town) -> Site:
    return town.open(ThresholdBackbone())


class Line:
    """A way to a port that can be cut, as by a cable that is pulled out, and mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._is_cut = True
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                if self._is_cut:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [here, there]
                threading.Thread(target=self._carry, args=(here, there), daemon=True).start()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        with here, there, contextlib.suppress(OSError, ValueError):
            while True:
                for ready in select.select([here, there], [], [])[0]:
                    piece = ready.recv(65536)
                    if not piece:
                        return
                    (there if ready is here else here).sendall(piece)


@pytest.fixture
def line(town: Town) -> Iterator[Line]:
    line = Line(town.port)
    yield line
    line.close()

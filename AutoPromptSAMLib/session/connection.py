"""A client's end of the network: requests to a server, what is sent to it once, answers that come in pieces."""

from __future__ import annotations

import hashlib
import queue
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
from numpy.typing import NDArray
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.geometry import Volume
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.session.wire import (
    CHUNK,
    PROTOCOL,
    PROTOCOL_HEADER,
    FrameReader,
    RemoteError,
    error_from_json,
    error_to_json,
)

_CONNECT_SECONDS = 5.0  # a server that is there answers at once; a choice
_LEVEL = 1  # of zlib: 139 MB of a CT in float32 become 47 in 2 s on one core
_AT_ONCE = 8  # connections of a session: a run, a click, and the words between them


class Lacking(Exception):  # noqa: N818 - an answer, not a fault
    """The server does not have what a request refers to, by SHA-256."""

    def __init__(self, digests: list[str]) -> None:
        super().__init__(", ".join(digests))
        self.digests = digests


@dataclass(frozen=True, eq=False)
class Parcel:
    """Bytes that a server keeps under their SHA-256; ``read`` gives them when they have to be sent."""

    what: str
    digest: str
    size: int
    read: Callable[[], memoryview]

    @staticmethod
    def of_volume(volume: Volume) -> Parcel:
        """The voxels of an image, in the order of its array, little endian."""
        array = volume.array.astype(volume.array.dtype.newbyteorder("<"), copy=False)
        digest = hashlib.sha256()
        for part in array:  # slice by slice: no copy of a volume that is not contiguous
            digest.update(np.ascontiguousarray(part).data)
        return Parcel("the image", digest.hexdigest(), array.nbytes, lambda: _bytes_of(array))

    @staticmethod
    def of_bytes(what: str, content: bytes) -> Parcel:
        """Bytes as they are."""
        return Parcel(what, hashlib.sha256(content).hexdigest(), len(content), lambda: memoryview(content))


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


class _Bearer(AuthBase):
    """The token in every request; set like this it also keeps ``requests`` from looking for another in .netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Connection:
    """Requests to the server at ``address`` ("https://host", "http://127.0.0.1:8765", also with a path).

    Safe to use from several threads. Every fault is a RemoteError, or the error that the server tells of. A server
    that sends nothing for ``timeout_s`` counts as lost.
    """

    def __init__(self, address: str, token: str, timeout_s: float) -> None:
        try:
            parts = urlsplit(address)
            host = parts.hostname if parts.scheme in ("http", "https") else None
        except ValueError:  # as for half a bracket
            host = None
        if not host:
            raise RemoteError(f'"{address}" is no address of a server; write it as https://host or http://host:8765.')
        if not token.isascii() or not token.isprintable():
            raise RemoteError("The token has signs that no token has; copy it again from where the server printed it.")
        self.address = address.rstrip("/")
        self._timeout = timeout_s
        self._http = requests.Session()
        self._http.auth = _Bearer(token.strip())
        self._http.headers[PROTOCOL_HEADER] = str(PROTOCOL)
        if host in ("127.0.0.1", "localhost", "::1"):
            self._http.trust_env = False  # no proxy leads to this machine
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=_AT_ONCE))

    def close(self) -> None:
        """Let go of all connections."""
        self._http.close()

    def ask(self, method: str, path: str, data: bytes | None = None, patience: float | None = None) -> Any:
        """The JSON answer of a request; ``patience`` in seconds, default ``timeout_s``.

        Raises Lacking when something has to be sent first.
        """
        response = self._send(method, path, data, False, patience)
        try:
            return response.json()
        except ValueError:
            raise self.stranger() from None

    def open(self, path: str, data: bytes) -> Answer:
        """The answer of a request that comes frame by frame; Lacking as ``ask``."""
        return Answer(self._send("POST", path, data, True, None), self._lost)

    def send(self, parcel: Parcel, control: Control, tell: Callable[[int, int], None]) -> None:
        """Bring a parcel to the server, going on where an earlier attempt ended; ``tell`` gets bytes done and all.

        Checks ``control`` between chunks, so jobs that cannot wait run there.
        """
        path = f"/v1/parcels/{parcel.digest}"
        chunks = -(-parcel.size // CHUNK)
        received = int(self.ask("POST", f"{path}?size={parcel.size}")["received"])
        data = parcel.read()
        while received < chunks:
            tell(min(received * CHUNK, parcel.size), parcel.size)
            control.check()
            chunk = zlib.compress(data[received * CHUNK : (received + 1) * CHUNK], _LEVEL)
            received = int(self.ask("PUT", f"{path}/{received}", chunk)["received"])
        tell(parcel.size, parcel.size)

    def _send(
        self, method: str, path: str, data: bytes | None, stream: bool, patience: float | None
    ) -> requests.Response:
        wait = self._timeout if patience is None else patience
        timeout = (min(wait, _CONNECT_SECONDS), wait)
        for attempt in (1, 2):
            try:
                response = self._http.request(
                    method, self.address + path, data=data, timeout=timeout, stream=stream, allow_redirects=False
                )
                break
            except (requests.exceptions.SSLError, requests.exceptions.ProxyError, requests.ConnectTimeout) as error:
                raise self._unreachable(error) from None
            except requests.ConnectionError as error:
                # A server that was started anew does not know the connection that was kept.
                if attempt == 2:
                    raise self._unreachable(error) from None
            except (requests.RequestException, UnicodeError) as error:
                raise self._unreachable(error) from None
        if response.ok and response.status_code < 300:
            return response
        try:
            said = response.json()
        except (ValueError, requests.RequestException):
            said = None
        finally:
            response.close()
        if isinstance(said, dict) and isinstance(said.get("lacking"), list):
            raise Lacking([str(each) for each in said["lacking"]])
        if isinstance(said, dict) and "error" in said:
            raise error_from_json(said["error"])
        raise self.stranger(response.status_code)

    def _unreachable(self, error: Exception) -> RemoteError:
        if isinstance(error, requests.exceptions.SSLError):
            return RemoteError(
                f"The certificate of {self.address} is not trusted by this computer; ask who runs the server."
            )
        if isinstance(error, requests.Timeout) and not isinstance(error, requests.ConnectTimeout):
            return self._lost()
        return RemoteError(
            f"No server answers at {self.address}; check the address and that it runs, and try again: nothing that "
            "you did is lost."
        )

    def stranger(self, status: int | None = None) -> RemoteError:
        """Who answers is not ours: a proxy without its server, or another program."""
        said = "" if status is None else f" (it answered {status})"
        return RemoteError(f"At {self.address} there is no AutoPromptSAM server{said}; check the address.")

    def _lost(self) -> RemoteError:
        return RemoteError(
            f"The connection to {self.address} was lost; nothing that you did is lost, so try again when the server "
            "is in reach."
        )


class Answer:
    """The frames of an answer, read by a thread of its own; ``alive`` is called for each sign that more will come."""

    def __init__(self, response: requests.Response, lost: Callable[[], RemoteError]) -> None:
        self.alive: Callable[[], None] = lambda: None
        self._response = response
        self._lost = lost
        self._frames: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._ended = False
        threading.Thread(target=self._read, name="autopromptsam-answer", daemon=True).start()

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next frame, None when none came within ``seconds``; the last has the event "end" or "error"."""
        try:
            return self._frames.get(timeout=seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Read no further; whoever closes before the last frame tells the server to cancel."""
        # The thread closes the connection: doing it here would wait for what it is reading.
        self._ended = True

    def _read(self) -> None:
        reader = FrameReader()
        last = False
        try:
            for piece in self._response.iter_content(2**16):
                if self._ended and not last:
                    break
                for frame in reader.feed(piece):
                    if frame["event"] == "alive":
                        self.alive()
                        continue
                    last = frame["event"] in ("end", "error")
                    self._frames.put(frame)
            error: AutoPromptSAMError = self._lost()
        except AutoPromptSAMError as wrong:
            error = wrong
        except Exception:  # whatever http, sockets and TLS raise when the other end goes
            error = self._lost()
        finally:
            self._response.close()
        if not last:
            self._frames.put({"event": "error", "error": error_to_json(error)})

"""Who may ask, and in which version; how errors go out. Every refusal is one sentence."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any

from fastapi.responses import JSONResponse

from AutoPromptSAMLib.session.wire import PROTOCOL, PROTOCOL_HEADER, RemoteError, error_to_json

if TYPE_CHECKING:
    from fastapi import Request

_ID = re.compile("[0-9a-f]{32}")
_DIGEST = re.compile("[0-9a-f]{64}")


class Guard:
    """Lets nobody through without the token (401) and this version of the protocol (426); an ASGI middleware."""

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._token = f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer or pass on one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets
            return
        headers = dict(scope["headers"])
        refusal = None
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._token):
            said = RemoteError("The token is not that of the server; copy it again from where the server printed it.")
            refusal = refused(said, 401)
        elif headers.get(PROTOCOL_HEADER.lower().encode(), b"") != str(PROTOCOL).encode():
            said = RemoteError(
                f"The server speaks version {PROTOCOL} of its protocol and this program another; install the same "
                "version of AutoPromptSAM on both."
            )
            refusal = refused(said, 426)
        await (refusal or self._app)(scope, receive, send)


def refused(error: BaseException, status: int = 400) -> JSONResponse:
    """An error as an answer."""
    return JSONResponse({"error": error_to_json(error)}, status)


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request; RemoteError as soon as it is larger than ``most`` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise RemoteError(
                f"A request has more than {most / 1e6:.0f} MB, which is more than the server takes; use fewer or "
                "smaller masks as prompts."
            )
        parts.append(part)
    return b"".join(parts)


def checked_id(text: str) -> str:
    """An id as clients make them; it is never part of a path."""
    return _checked(_ID, text)


def checked_digest(text: str) -> str:
    """A SHA-256."""
    return _checked(_DIGEST, text)


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise RemoteError("The request names something that is no id; install the same version on both ends.")
    return text

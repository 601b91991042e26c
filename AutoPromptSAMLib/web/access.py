"""Who may talk to the server: only those who know the token of its address."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

PARAMETER = "token"  # of the address: http://127.0.0.1:8080/?token=...
REFUSAL = "Open the address that the program printed, with its ?token=..., or start the program again."
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def cookie_name(port: int | None) -> str:
    """A name of its own for each port: browsers send cookies of one port to all others."""
    return f"autopromptsam-{port or 0}"


def is_allowed(request: Any, token: str) -> bool:
    """Whether a request brings the token in its address or its cookie, and a web socket comes from our own page."""
    given = request.query.get(PARAMETER) or request.cookies.get(cookie_name(request.url.port), "")
    if not hmac.compare_digest(given.encode(), token.encode()):
        return False
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def guard(token: str) -> Any:
    """Middleware that refuses (403) every request, web sockets included, without the token.

    The first request has the token in its address and gets a cookie for those that follow: scripts, the web socket,
    uploads and downloads.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_allowed(request, token):
            return web.Response(status=403, text=REFUSAL)
        if PARAMETER not in request.query:
            return await handler(request)
        # The server's own "/" answers with a redirect, which is raised as an exception.
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            _remember(answer, request, token)
            raise
        if not response.prepared:
            _remember(response, request, token)
        return response

    return check


def _remember(response: web.StreamResponse, request: web.Request, token: str) -> None:
    response.set_cookie(cookie_name(request.url.port), token, httponly=True, samesite="Strict")
    response.headers["Referrer-Policy"] = "no-referrer"


def install_connection(server_app: Any, key: str) -> None:
    """Tell the page, once it is let in, where its web socket is and with which ``key`` it has to introduce itself.

    This is the request (``POST /paraview/``) with which trame's page begins: unanswered, it falls back to a key that
    everybody knows.
    """

    async def answer(request: web.Request) -> web.Response:
        scheme = "wss" if request.headers.get("Origin", "").startswith("https:") else "ws"
        return web.json_response({"sessionURL": f"{scheme}://USE_HOST/ws", "secret": key})

    server_app.router.add_post("/paraview/", answer)

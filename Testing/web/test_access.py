"""Who may come in to the page and its web socket, and where it is served."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("trame_slicer")
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from AutoPromptSAMLib.web import access

TOKEN = "a-token-that-nobody-guesses"


def visit(test: Callable[[TestClient[Any, Any]], Any]) -> None:
    """Run ``test`` with a client of a guarded server that has a page and a web socket."""

    async def socket(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        await answer.send_str("hello")
        await answer.close()
        return answer

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="page")

    async def run() -> None:
        app = web.Application(middlewares=[access.guard(TOKEN)])
        app.add_routes([web.get("/index.html", page), web.get("/ws", socket)])
        async with TestClient(TestServer(app)) as client:
            await test(client)

    asyncio.run(run())


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", f"?token={TOKEN}x", "?Token=" + TOKEN])
def test_nobody_comes_in_without_the_token(query: str) -> None:
    async def test(client: TestClient[Any, Any]) -> None:
        for path in ("/index.html", "/ws", "/not-there"):
            answer = await client.get(path + query)
            assert answer.status == 403
            assert "page" not in await answer.text()

    visit(test)


def test_the_token_in_the_address_opens_the_page_and_what_follows_it() -> None:
    async def test(client: TestClient[Any, Any]) -> None:
        answer = await client.get(f"/index.html?token={TOKEN}")
        assert await answer.text() == "page"
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert await (await client.get("/index.html")).text() == "page"
        async with client.ws_connect("/ws") as socket:
            message = await socket.receive()
            assert (message.type, message.data) == (WSMsgType.TEXT, "hello")

    visit(test)


def test_the_page_of_another_site_gets_no_web_socket() -> None:
    async def test(client: TestClient[Any, Any]) -> None:
        await client.get(f"/index.html?token={TOKEN}")
        answer = await client.get("/ws", headers={"Origin": "http://evil.example"})
        assert answer.status == 403

    visit(test)


def test_the_page_is_told_where_its_web_socket_is_and_the_key_of_it() -> None:
    async def run() -> None:
        app = web.Application(middlewares=[access.guard(TOKEN)])
        access.install_connection(app, "the key")
        async with TestClient(TestServer(app)) as client:
            assert (await client.post("/paraview/")).status == 403
            origin = {"Origin": str(client.make_url("")).rstrip("/")}
            answer = await client.post(f"/paraview/?token={TOKEN}", headers=origin)
            assert await answer.json() == {"sessionURL": "ws://USE_HOST/ws", "secret": "the key"}

    asyncio.run(run())


def test_a_host_that_is_none_is_said_in_words() -> None:
    command = [sys.executable, "-m", "AutoPromptSAMLib.cli", "web", "--no-browser", "--host", "no.such.host.invalid"]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert said.returncode
    assert "The address no.such.host.invalid" in said.stderr
    assert "Unknown error" not in said.stderr

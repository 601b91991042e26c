"""The HTTP routes for files, on the server that trame hands over: for those who know the token, and once."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from wslink.backends.aiohttp import WebAppServer

from AutoPromptSAMLib.files.downloads import Downloads
from AutoPromptSAMLib.files.uploads import PIECE, Uploads
from AutoPromptSAMLib.web.transfers import install_routes

TOKEN = "right-token"
MIB = 1 << 20


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", 4 * MIB)


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def serve(uploads: Uploads, downloads: Downloads, story: Callable[[TestClient[Any, Any]], Awaitable[None]]) -> None:
    async def run() -> None:
        server = WebAppServer({})  # what trame hands to on_server_bind
        install_routes(server, uploads, downloads, TOKEN)
        async with TestClient(TestServer(server.app)) as client:
            await story(client)

    asyncio.run(run())


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(tmp_path / "downloads")


def test_files_over_http(uploads: Uploads, downloads: Downloads, tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(3 * MIB + 17)

    async def story(client: TestClient[Any, Any]) -> None:
        answer = await client.post("/upload", params={"token": TOKEN, "name": "s 1/ß&?"}, data=io.BytesIO(data))
        assert answer.status == 200
        batch = (await answer.json())["batch"]
        params = {"token": TOKEN, "name": "s 1/empty", "batch": batch}
        assert (await client.post("/upload", params=params, data=b"")).status == 200
        folder = uploads.finish(batch).path
        assert folder.name == "s 1"
        assert sorted(path.stat().st_size for path in folder.iterdir()) == [0, len(data)]
        assert (folder / "ß&_").read_bytes() == data

        path = downloads.path_for("Fall ß 1.seg.nrrd")
        path.write_bytes(data)
        id = downloads.offer(path)
        answer = await client.get(f"/download/{id}", params={"token": TOKEN})
        assert answer.status == 200
        assert await answer.read() == data
        assert answer.content_disposition is not None
        assert answer.content_disposition.type == "attachment"
        assert answer.content_disposition.filename == "Fall ß 1.seg.nrrd"
        assert (await client.get(f"/download/{id}", params={"token": TOKEN})).status == 404
        assert all_files(downloads.folder) == []

    serve(uploads, downloads, story)


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("wrong", {}),
        ("", {}),
        (None, {}),
        ("ß", {}),
        (TOKEN, {"Origin": "http://evil.example"}),
        (TOKEN, {"Origin": "null"}),
        (TOKEN, {"Sec-Fetch-Site": "cross-site"}),
        (TOKEN, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_strangers_are_refused(
    uploads: Uploads, downloads: Downloads, token: str | None, headers: dict[str, str]
) -> None:
    path = downloads.path_for("a.nii")
    path.write_bytes(b"secret")
    id = downloads.offer(path)
    params = {"name": "a.nii"} | ({} if token is None else {"token": token})

    async def story(client: TestClient[Any, Any]) -> None:
        assert (await client.post("/upload", params=params, data=b"x", headers=headers)).status == 403
        answer = await client.get(f"/download/{id}", params=params, headers=headers)
        assert answer.status == 403
        assert b"secret" not in await answer.read()

    serve(uploads, downloads, story)
    assert not uploads.folder.exists()
    assert downloads.take(id) == path


def test_refusals_over_http(uploads: Uploads, downloads: Downloads) -> None:
    async def pieces() -> Any:
        for _ in range(6):
            yield bytes(MIB)

    async def story(client: TestClient[Any, Any]) -> None:
        for data, status in ((io.BytesIO(bytes(5 * MIB)), 413), (pieces(), 400)):  # one says its size, one does not
            answer = await client.post("/upload", params={"token": TOKEN, "name": "a.nii"}, data=data)
            assert answer.status == status
            assert "a.nii is larger than" in (await answer.json())["error"]
        answer = await client.post("/upload", params={"token": TOKEN, "name": "a", "batch": "../x"}, data=b"x")
        assert answer.status == 400
        assert "not known" in (await answer.json())["error"]
        for id in ("..%2f..%2fetc%2fpasswd", "x" * 43):
            assert (await client.get(f"/download/{id}", params={"token": TOKEN})).status == 404

    serve(uploads, downloads, story)
    assert all_files(uploads.folder) == []


def test_an_upload_that_breaks_off_leaves_no_file(uploads: Uploads, downloads: Downloads) -> None:
    arrived = asyncio.Event()

    async def pieces() -> Any:
        yield bytes(2 * PIECE)
        while not all_files(uploads.folder):
            await asyncio.sleep(0.01)
        arrived.set()
        await asyncio.sleep(60)

    async def story(client: TestClient[Any, Any]) -> None:
        async with ClientSession() as session:
            url = client.make_url("/upload")
            sending = asyncio.create_task(session.post(url, params={"token": TOKEN, "name": "a.nii"}, data=pieces()))
            await asyncio.wait_for(arrived.wait(), 20)
            sending.cancel()
        until = time.monotonic() + 20
        while all_files(uploads.folder) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        assert all_files(uploads.folder) == []

    serve(uploads, downloads, story)

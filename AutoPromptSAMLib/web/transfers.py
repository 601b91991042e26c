"""The HTTP routes for files: a CT of 300 MB would block the web socket that draws the views."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from aiohttp import web

from AutoPromptSAMLib.errors import AutoPromptSAMError, StorageError
from AutoPromptSAMLib.files.downloads import Downloads
from AutoPromptSAMLib.files.folders import NotAllowedError
from AutoPromptSAMLib.files.uploads import PIECE, Uploads
from AutoPromptSAMLib.web.access import is_allowed

UPLOAD, DOWNLOAD = "/upload", "/download"


def install_routes(server_app: Any, uploads: Uploads, downloads: Downloads, token: str) -> None:
    """Add the routes to an aiohttp application, or to the server that trame's ``on_server_bind`` hands over.

    - ``POST /upload?name=...&batch=...`` with the bytes of one file as its body. ``name``: the file's, with its
      folders. Without ``batch`` one is begun. Answers ``{"batch": id}``, or ``{"error": sentence}`` and a status of
      400 (not taken), 413 (too large) or 507 (disk full).
    - ``GET /download/<id>``: a file that was offered, once.

    Both want the token (``access.is_allowed``) and refuse with 403 what another site's page sends.
    """
    routes = _Routes(uploads, downloads, token)
    app = getattr(server_app, "app", server_app)
    app.router.add_post(UPLOAD, routes.upload)
    app.router.add_get(f"{DOWNLOAD}/{{id}}", routes.download, allow_head=False)


class _Routes:
    def __init__(self, uploads: Uploads, downloads: Downloads, token: str) -> None:
        self.uploads, self.downloads, self.token = uploads, downloads, token

    async def upload(self, request: web.Request) -> web.Response:
        """Write the body to disk, piece by piece, off the loop that serves the views."""
        self._check(request)
        uploads, name = self.uploads, request.query.get("name", "")
        if (request.content_length or 0) > uploads.limit_bytes:
            return _refusal(uploads.too_large(name), 413)
        batch, offset, whole = "", 0, False
        try:
            batch = request.query.get("batch") or uploads.begin()
            async for piece in request.content.iter_chunked(PIECE):
                await asyncio.to_thread(uploads.write, batch, name, piece, offset)
                offset += len(piece)
            if not offset:
                uploads.write(batch, name, b"")  # empty files have their own sentence, when they are opened
            whole = True
        except StorageError as error:
            return _refusal(error, 507)
        except AutoPromptSAMError as error:
            return _refusal(error, 400)
        finally:
            if not whole and offset:
                uploads.forget(batch, name)
        return web.json_response({"batch": batch})

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Send an offered file and remove it."""
        self._check(request)
        path = self.downloads.take(request.match_info["id"])
        if path is None:
            return web.Response(status=404, text="This download is used up or too old; export again.")
        try:
            with path.open("rb") as stream:
                headers = {
                    "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}",
                    "Content-Length": str(path.stat().st_size),
                    "Cache-Control": "no-store",
                    "X-Content-Type-Options": "nosniff",
                }
                response = web.StreamResponse(headers=headers)
                response.content_type = "application/octet-stream"
                await response.prepare(request)
                while piece := await asyncio.to_thread(stream.read, PIECE):
                    await response.write(piece)
                await response.write_eof()
                return response
        finally:
            self.downloads.remove(path)

    def _check(self, request: web.Request) -> None:
        # Browsers say where a request comes from; a page of another site may know the address, though not the token.
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if site not in ("same-origin", "none") or not is_allowed(request, self.token):
            raise web.HTTPForbidden(text="Open the address that the program printed to send or fetch files.")


def _refusal(error: NotAllowedError | AutoPromptSAMError, status: int) -> web.Response:
    return web.json_response({"error": str(error)}, status=status)

"""The server as a web application: what can be asked, and how it is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from AutoPromptSAMLib import __version__
from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.server.access import Guard, body_of, checked_digest, checked_id, refused
from AutoPromptSAMLib.server.desks import Desks
from AutoPromptSAMLib.server.limits import Limits
from AutoPromptSAMLib.server.models import Models
from AutoPromptSAMLib.server.parcels import Parcels
from AutoPromptSAMLib.server.running import Running
from AutoPromptSAMLib.session.connection import Lacking
from AutoPromptSAMLib.session.wire import CHUNK, FRAME_TYPE, PROTOCOL, WireError, unpack
from AutoPromptSAMLib.workbench.model_rows import device_text

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache

logger = logging.getLogger(__name__)

_SLACK = 2**16  # bytes that a chunk may have more than its content, compressed


def create_app(
    models: Models,
    token: str,
    limits: Limits | None = None,
    cache: EmbeddingCache | None = None,
    runs_folder: Path | None = None,
) -> FastAPI:
    """The application for who knows ``token``. ``cache`` and ``runs_folder`` are those of all its sessions.

    ``app.state.desks`` and ``app.state.parcels`` are what it keeps.
    """
    limits = limits or Limits()
    if cache is None:
        from AutoPromptSAMLib.backbones.cache import EmbeddingCache

        cache = EmbeddingCache(None)
    desks, parcels = Desks(models, limits, cache, runs_folder), Parcels(limits)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidy(desks, parcels, limits))
        yield
        tidying.cancel()
        await run_in_threadpool(desks.close)

    app = FastAPI(lifespan=living, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desks, app.state.parcels = desks, parcels
    app.add_middleware(Guard, token=token)
    app.add_exception_handler(AutoPromptSAMError, _sentence)
    app.add_exception_handler(Lacking, _lacking)
    app.add_exception_handler(Exception, _failure)

    @app.get("/v1/about")
    def about(model: str = "") -> dict[str, Any]:
        backbone = models.get(model)
        card = backbone.card
        said = {"model": card.name, "title": card.title, "fingerprint": backbone.fingerprint, "version": __version__}
        return {"protocol": PROTOCOL, "device": device_text(backbone), **said}

    @app.post("/v1/parcels/{digest}")
    def begin(digest: str, size: int) -> dict[str, int]:
        return {"received": parcels.begin(checked_digest(digest), size)}

    @app.put("/v1/parcels/{digest}/{number}")
    async def put(digest: str, number: int, request: Request) -> dict[str, int]:
        chunk = await body_of(request, CHUNK + _SLACK)
        return {"received": await run_in_threadpool(parcels.put, checked_digest(digest), number, chunk)}

    @app.post("/v1/sessions/{session}/jobs/{job}")
    async def start(session: str, job: str, request: Request) -> Response:
        body = await body_of(request, limits.request)
        loop = asyncio.get_running_loop()
        running = await run_in_threadpool(_started, checked_id(session), checked_id(job), body, loop)
        # A proxy in between must not collect what comes little by little.
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        return StreamingResponse(running.frames(), media_type=FRAME_TYPE, headers=headers)

    def _started(session: str, job: str, body: bytes, loop: asyncio.AbstractEventLoop) -> Running:
        request = unpack(body)
        try:
            desk = desks.at(session, request)
            running = Running(loop, desk.turn, int(request["ahead"]), limits)
            desk.start(job, request, parcels, running)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            logger.warning("A request was refused.", exc_info=error)
            raise WireError(f"{type(error).__name__} in a request") from None
        return running

    @app.post("/v1/sessions/{session}/jobs/{job}/seen")
    def seen(session: str, job: str, count: int) -> dict[str, bool]:
        running = desks.running(session, job)
        if running is not None:
            running.seen(count)
        return {"running": running is not None}

    @app.post("/v1/sessions/{session}/jobs/{job}/cancel")
    def cancel(session: str, job: str) -> dict[str, bool]:
        running = desks.running(session, job)
        if running is not None:
            running.cancel()
        return {"running": running is not None}

    @app.delete("/v1/sessions/{session}")
    def forget(session: str) -> dict[str, bool]:
        desks.forget(session)
        return {"forgotten": True}

    return app


async def _tidy(desks: Desks, parcels: Parcels, limits: Limits) -> None:
    while True:
        await asyncio.sleep(min(30.0, limits.idle / 4))
        await run_in_threadpool(desks.forget_idle)
        parcels.forget_idle()


async def _sentence(_: Request, error: Exception) -> Response:
    return refused(error)


async def _lacking(_: Request, error: Exception) -> Response:
    assert isinstance(error, Lacking)
    return JSONResponse({"lacking": error.digests}, 409)


async def _failure(_: Request, error: Exception) -> Response:
    logger.error("A request failed.", exc_info=error)
    return refused(error, 500)

"""The page without a browser: an application on an event loop of its own, a bright ball to work on, its buttons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trame.app import get_server

from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.session import local
from AutoPromptSAMLib.web.app import WebApp
from AutoPromptSAMLib.web.state import INITIAL

from ..threshold_backbone import BRIGHT, ThresholdBackbone


@contextmanager
def application(name: str, home: Path, session: type[local.LocalSession] = local.LocalSession) -> Iterator[WebApp]:
    """An application whose sessions are of this class; ``name`` is its server's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPROMPTSAM_HOME", str(home))
        patch.setattr(local, "LocalSession", session)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        made = WebApp(get_server(name), home / "web")
        made.loop = loop
        made.state.ready()  # from here on its changes are acted upon, as when the server runs
        yield made
        made.close_image(None)
        loop.run_until_complete(asyncio.sleep(0))


def show(app: WebApp, ball: np.ndarray) -> None:
    """Open an image on which ``ball`` (k, j, i) is bright, on a page as it is at first, with a model."""
    app.state.update({name: value for name, value in INITIAL.items() if name != "models"})
    geometry = VolumeGeometry(ball.shape, np.diag([1.0, 1.0, 2.0, 1.0]))
    app.show_volume(Volume(np.where(ball, BRIGHT, 0).astype(np.uint8), geometry, None, "ball"))
    app.use_backbone(ThresholdBackbone())
    settle(app, lambda: app.state.tools_ready and app.state.phase == "ready")


def settle(app: WebApp, until: Callable[[], bool]) -> None:
    """Let the event loop run until something holds."""

    async def wait() -> None:
        for _ in range(400):
            await asyncio.sleep(0.02)
            if until():
                await asyncio.sleep(0.05)  # what was told to the page in the same turn
                return
        raise AssertionError("it did not happen")

    assert app.loop is not None
    app.loop.run_until_complete(wait())


def do(app: WebApp, name: str, *args: Any) -> Any:
    """What the page does when a button is clicked."""
    with app.state:
        answer = app.server.controller.trigger_fn(name)(*args)
    settle(app, lambda: True)
    return answer


def told(app: WebApp) -> str:
    """What the person was told last."""
    return str(app.state.toasts[-1]["text"])

"""Serving the page: address, token, and what is opened first."""

from __future__ import annotations

import os
import secrets
import socket
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trame.app import get_server

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.web.access import PARAMETER, guard, install_connection
from AutoPromptSAMLib.web.app import WebApp
from AutoPromptSAMLib.web.transfers import install_routes

PORT = 8080


class ServerError(AutoPromptSAMError):
    """The page cannot be served."""


def serve(
    image: Path | None = None,
    sample: bool = False,
    model: str = "lite-medsam",
    device: str = "auto",
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = True,
    token: str | None = None,
    folders: Sequence[Path] = (),
    announce: Callable[[str], None] = print,
) -> None:
    """Serve the page until interrupted; ``announce`` gets its address, which holds the random ``token``.

    ``port``: 0 takes a free one, None ``PORT``, or a free one where that is taken.
    ``folders``: those of this machine that the page may look into, beside the one of ``image``. Raises ModelError
    for a model that there is not, ImageError for an image that is not there, ServerError when the address cannot be
    used.
    """
    from AutoPromptSAMLib.images.reader import check_readable
    from AutoPromptSAMLib.zoo import get_card, home, is_installed

    card = get_card(model)
    if port is None:
        port = PORT if _is_free(host, PORT) else 0
    key = secrets.token_urlsafe(24)
    os.environ["TRAME_ARGS"] = f"--authKey={key}"  # instead of our own command line, which trame would read
    os.environ["WSLINK_READY_MSG"] = ""
    token = token or secrets.token_urlsafe(24)
    server = get_server("autopromptsam")
    if image is not None:
        check_readable(image)
        folders = (image.absolute().parent, *folders)
    app = WebApp(server, home() / "web", device, folders)

    def ready(**_: Any) -> None:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{server.port}/index.html?{PARAMETER}={token}"
        announce(address)
        if open_browser and _has_display():
            webbrowser.open(address)
        if image is not None:
            app.spawn(app.opening.open_path(image.absolute()))
        elif sample:
            app.spawn(app.opening.open_sample())
        else:
            app.opening.show_unfinished()
        if is_installed(card):
            app.spawn(app.models.use(model, device))
        else:
            app.models.on_models_open()

    def bind(web: Any) -> None:
        web.app.middlewares.append(guard(token))
        install_connection(web.app, key)
        install_routes(web, app.opening.uploads, app.exporting.downloads, token)

    server.controller.on_server_bind.add(bind)
    server.controller.on_server_ready.add(ready)
    try:
        server.start(port=port, host=host, open_browser=False, show_connection_info=False, timeout=0)
    except OSError as error:
        # Codes of name resolution are negative, and no numbers that the system has words for.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise ServerError(f"The address {host}:{port} cannot be used ({why}); choose another --port.") from None
    app.keeping.keeper.disconnect()


def _is_free(host: str, port: int) -> bool:
    """Whether nobody listens there; False for a host that is none, which the server then says."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def _has_display() -> bool:
    import sys

    if os.environ.get("CI"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

"""Starting the server: its address, its token, and what it keeps where."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.server.app import create_app
from AutoPromptSAMLib.server.limits import Limits
from AutoPromptSAMLib.server.models import Models

PORT = 8765
LOCAL = ("127.0.0.1", "localhost", "::1")
_SHORTEST_TOKEN = 16  # letters; the random ones have 32
_LEAVING_SECONDS = 5  # for answers that are under way when the server is ended; a choice


class ServerError(AutoPromptSAMError):
    """The server cannot be started as asked."""


def serve(
    models: Sequence[str],
    device: str = "auto",
    host: str = "127.0.0.1",
    port: int = PORT,
    token_file: Path | None = None,
    limits: Limits | None = None,
    keep_on_disk: bool = True,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve sessions with ``models`` until interrupted; ``announce`` gets the address, the token and the device.

    ``port`` 0 takes a free one. ``token_file`` holds the token, which then is not announced. ``keep_on_disk``: encoded
    slices and unfinished runs outlive the server, as on a person's own machine. Raises ModelError for a model that is
    not here, ServerError for an address or a token that cannot be used.
    """
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.workbench.model_rows import device_text
    from AutoPromptSAMLib.zoo import home

    token = secrets.token_urlsafe(24) if token_file is None else read_token(token_file)
    zoo = Models.of_zoo(models, device)
    listening = listen(host, port)
    with listening:
        backbone = zoo.get("")
        cache = EmbeddingCache(home() / "embeddings" if keep_on_disk else None)
        app = create_app(zoo, token, limits, cache, home() / "runs" if keep_on_disk else None)
        shown = f"[{host}]" if ":" in host else host
        announce(f"Address: http://{shown}:{listening.getsockname()[1]}")
        announce(f"Token: {token}" if token_file is None else f"Token: the one in {token_file}")
        announce(f"Model: {', '.join(models)} on {device_text(backbone)}")
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=_LEAVING_SECONDS
        )
        with suppress(KeyboardInterrupt):  # which is how it is ended
            uvicorn.Server(config).run(sockets=[listening])


def read_token(path: Path) -> str:
    """The token in a file; ServerError when there is none, or one that is too easy to guess."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = (isinstance(error, OSError) and error.strerror) or "it is no text"
        raise ServerError(f"The token file {path} cannot be read ({why}); check the path.") from None
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ServerError(
            f"The token in {path} must be one line of at least {_SHORTEST_TOKEN} letters and digits; make one with "
            "`openssl rand -hex 24`."
        )
    return token


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; ServerError when the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only sockets that say that they are TCP get their small packets out at once: a click takes 5 ms instead of 48.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # on Windows it would let two servers have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ServerError(f"The address {host}:{port} cannot be used ({why}); choose another --port.") from None
    return listening


def warning(host: str) -> str:
    """What to say about an address that others can reach; "" for this machine's own."""
    if host in LOCAL:
        return ""
    return (
        "Everybody on the network can read what goes to this address; let it listen at 127.0.0.1 behind a reverse "
        "proxy with TLS, as docs/remote.md shows."
    )

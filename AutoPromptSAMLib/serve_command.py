"""The command ``autopromptsam serve``: the model of this machine for clients on others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from AutoPromptSAMLib.console import console, fetch_weights
from AutoPromptSAMLib.errors import ModelError


def serve(
    model: Annotated[list[str] | None, typer.Option(help="Model to serve; repeatable. Default: lite-medsam.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    host: Annotated[str, typer.Option(help="Address to listen at; default: this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8765,
    token_file: Annotated[Path | None, typer.Option(help="File with the token; default: a random one, shown.")] = None,
    idle_minutes: Annotated[float, typer.Option(help="Forget sessions and images unused for so long.", min=0.1)] = 30,
    max_image_mb: Annotated[int, typer.Option(help="Largest image to take, in MB.", min=1)] = 2000,
    memory_only: Annotated[bool, typer.Option("--memory-only", help="Keep nothing of an image on disk.")] = False,
) -> None:
    """Let clients on other machines use this one's GPU: sessions over HTTP (docs/remote.md)."""
    try:
        from AutoPromptSAMLib.server.limits import MEGABYTE, Limits
        from AutoPromptSAMLib.server.serving import serve as run
        from AutoPromptSAMLib.server.serving import warning
    except ModuleNotFoundError as error:
        raise ModelError(f"'{error.name}' is not installed; run pip install 'autopromptsam[server]'.") from None
    from AutoPromptSAMLib.zoo import get_card

    names = model or ["lite-medsam"]
    for name in names:
        fetch_weights(get_card(name))
    if text := warning(host):
        console.print(text, style="yellow", soft_wrap=True)
    most = max_image_mb * MEGABYTE
    limits = Limits(parcel=most, kept=max(Limits.kept, 2 * most), idle=idle_minutes * 60)
    console.print("Starting; give the address and the token to the client. Ctrl-C ends the server.")
    run(names, device, host, port, token_file, limits, not memory_only, typer.echo)

"""Where a model runs: in this process, or on a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.workbench.language import tr as _

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.loops.job import Progress
    from AutoPromptSAMLib.session import Session


@dataclass(frozen=True, eq=False)
class Engine:
    """A model that segments: ``word`` for its device ("CPU"), ``text`` as a sentence, ``open`` a session for an image.

    ``is_far``: opening waits for the network.
    """

    word: str
    text: str
    open: Callable[[], Session]
    is_far: bool = False


def engine_here(backbone: Backbone) -> Engine:
    """A model that was loaded into this process."""
    from AutoPromptSAMLib.workbench.model_rows import device_word, runs_text

    def open_session() -> Session:
        from AutoPromptSAMLib.session.opening import local_session

        return local_session(backbone)

    return Engine(device_word(backbone.device), f"{runs_text(backbone)}.", open_session)


def engine_there(address: str, token: str, on_sending: Callable[[Progress], None]) -> Callable[[], Engine]:
    """A function, for any thread, that gives the model of a server.

    It asks the server, so that an address or a token that is wrong is told at once. Raises ModelError when one of them
    is not given; the function raises RemoteError.
    """
    if not address or not token:
        raise ModelError(_("Type the server's address and the token that it printed."))

    def run() -> Engine:
        from AutoPromptSAMLib.session.remote import RemoteSession

        def open_session() -> RemoteSession:
            return RemoteSession(address, token, on_sending=on_sending)

        session = open_session()
        about = session.about
        session.close(cancel=True)
        text = _("{model} runs on {device} of the server {address}; images are sent there.").format(
            model=about.title, device=about.device, address=address
        )
        return Engine(_("Server"), text, open_session, is_far=True)

    return run

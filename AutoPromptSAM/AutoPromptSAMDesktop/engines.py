"""Where a model runs: in this application, or on a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

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
    """A model that was loaded into this application."""
    from AutoPromptSAMLib.workbench.model_rows import device_text, device_word

    def open_session() -> Session:
        from AutoPromptSAMLib.session.opening import local_session

        return local_session(backbone)

    text = _("{model} runs on {device}.").format(model=backbone.card.title, device=device_text(backbone))
    return Engine(device_word(backbone.device), text, open_session)


def engine_there(address: str, token: str, on_sending: Callable[[Progress], None]) -> Engine:
    """The model of a server; asks it, so that an address or a token that is wrong is told at once.

    For another thread than Qt's. Raises RemoteError.
    """
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

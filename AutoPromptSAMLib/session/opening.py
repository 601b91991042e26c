"""Sessions as hosts open them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from AutoPromptSAMLib.zoo import home

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.session.local import LocalSession


def local_session(backbone: Backbone) -> LocalSession:
    """A session with a model in this process that keeps embeddings and unfinished runs below ``zoo.home()``."""
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.session.local import LocalSession

    return LocalSession(backbone, EmbeddingCache(home() / "embeddings"), home() / "runs")

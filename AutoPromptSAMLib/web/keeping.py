"""Keeping the work of the image that is open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from AutoPromptSAMLib.web.panel import Panel
from AutoPromptSAMLib.workbench.keeping import Keeper

if TYPE_CHECKING:
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp


class Keeping(Panel):
    """Tells the ``keeper`` what happens; it decides what is saved when."""

    def __init__(self, app: WebApp, folder: Path) -> None:
        super().__init__(app)
        self.keeper = Keeper(folder, app.call, app.later, app.pass_on)

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """Save what is done on the new image, or bring back what was done on it before."""
        self.keeper.connected(segmenter)

    def refresh(self, what: str) -> None:
        """Save a moment later."""
        self.keeper.changed(what)

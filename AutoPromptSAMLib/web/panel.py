"""What every part of the page has in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from trame.widgets import html

from AutoPromptSAMLib.errors import AutoPromptSAMError

if TYPE_CHECKING:
    from AutoPromptSAMLib.geometry import VolumeGeometry
    from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
    from AutoPromptSAMLib.web.app import WebApp


class Panel:
    """A part of the page: its Vue ``template`` and what its buttons do.

    Methods named ``on_<name>`` become triggers ``<name>`` of the page; an error in one of them becomes a toast.
    """

    template: ClassVar[str] = ""

    def __init__(self, app: WebApp) -> None:
        self.app = app
        self.state = app.state
        for name in dir(type(self)):
            if name.startswith("on_"):
                app.server.trigger(name.removeprefix("on_"))(app.guarded(getattr(self, name)))

    def build(self) -> None:
        """Put the template where the enclosing widget is being filled."""
        if self.template:
            html.Div(self.template, classes="aps-contents")

    def shown(self, volume_node: Any, geometry: VolumeGeometry) -> None:
        """There is a new image; the model may still be loading."""

    def connected(self, segmenter: InteractiveSegmenter) -> None:
        """There is a new image with its segmenter."""

    def refresh(self, what: str) -> None:
        """Something of the segmenter changed: "segments", "active", "prompts", "history", "status", "propagation"."""

    async def load(self, busy: str, text: str, load: Callable[[], Any], show: Callable[[Any], None]) -> None:
        """Run ``load`` on a thread and ``show`` with what it gave, and tell what goes wrong.

        The page has ``text`` in its state ``busy`` meanwhile.
        """
        with self.state:
            self.state[busy] = text
        try:
            loaded = await asyncio.to_thread(load)
            with self.state:
                show(loaded)
        except AutoPromptSAMError as error:
            self.tell(error)
        finally:
            with self.state:
                self.state[busy] = ""

    def tell(self, error: AutoPromptSAMError) -> None:
        """Say what went wrong."""
        self.app.say(str(error), "error")


def for_page(row: Any) -> dict[str, Any]:
    """A row (a dataclass) as the page has it, which calls a colour as CSS does."""
    values = asdict(row)
    if "colour" in values:
        values["color"] = values.pop("colour")
    return values

"""Which view is drawn when: without a GPU each takes 20 to 50 ms, in which nothing else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trame_slicer.views import ScheduledRenderStrategy

OTHERS_S = 0.2  # the view under the mouse is drawn at once, the others this much later: a choice


class UnderMouseFirst(ScheduledRenderStrategy):
    """Draws a view at once when ``is_first``, else a moment later, together with what changes until then."""

    def __init__(
        self,
        inner: ScheduledRenderStrategy,
        is_first: Callable[[], bool],
        loop: Callable[[], asyncio.AbstractEventLoop | None],
    ) -> None:
        super().__init__()
        self._inner, self._is_first, self._loop = inner, is_first, loop
        self._timer: asyncio.TimerHandle | None = None

    def schedule_render(self) -> None:
        """Something in the view changed."""
        loop = self._loop()
        if self._is_first() or loop is None:
            self._fire()
        elif self._timer is None:
            self._timer = loop.call_later(OTHERS_S, self._fire)

    def _fire(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._inner.schedule_render()

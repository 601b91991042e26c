"""What is done while nobody works: slices prepared before they are prompted, surfaces made anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.planes import plane_from_slice_node
from AutoPromptSAMLib.workbench.timers import Later, Timer

REST_S = 0.12  # a slice that is shown for this long is prepared; while scrolling none is
IDLE_S = 3.0  # without a hand on the mouse the slices around the shown one are prepared; a prompt would wait for them
SURFACES_S = 1.0  # after the last change: making surfaces takes up to seconds, in which nothing else goes on


class Preparing:
    """Tells the segmenter what the person looks at; ``slice_node`` gives the node of that view. Both may be None."""

    def __init__(
        self, later: Later, segmenter: Callable[[], InteractiveSegmenter | None], slice_node: Callable[[], Any]
    ) -> None:
        self._segmenter, self._slice_node = segmenter, slice_node
        self._resting, self._idle = Timer(later, REST_S, self._rested), Timer(later, IDLE_S, self._idled)

    def moved(self) -> None:
        """Another slice or view is looked at: it is prepared if the person stays there."""
        self._resting.start()

    def busy(self) -> None:
        """The person is doing something: slices around the shown one are prepared when nothing happens."""
        segmenter = self._segmenter()
        if segmenter is not None:
            segmenter.pause_preparing()
            self._idle.start()

    def _rested(self) -> None:
        segmenter, node = self._segmenter(), self._slice_node()
        if segmenter is None or node is None:
            return
        try:
            plane = plane_from_slice_node(node, segmenter.volume.geometry)
        except GeometryError:  # scrolled out of the volume: nothing to prepare
            return
        segmenter.show_plane(plane)
        self.busy()

    def _idled(self) -> None:
        segmenter = self._segmenter()  # it may be another one by now, of another image or model
        if segmenter is not None:
            segmenter.prepare_neighbours()


class Surfaces:
    """Makes the surfaces of the segmenter anew, a moment after they changed and not while something runs.

    ``wanted``: whether they are shown at all; ``made`` is called once they are there.
    """

    def __init__(
        self,
        later: Later,
        segmenter: Callable[[], InteractiveSegmenter | None],
        wanted: Callable[[], bool],
        made: Callable[[], None],
    ) -> None:
        self._segmenter, self._wanted, self._made = segmenter, wanted, made
        self._timer = Timer(later, SURFACES_S, self._update)

    def changed(self) -> None:
        """What they show is another, or they may be wanted now."""
        self._timer.start()

    def _update(self) -> None:
        segmenter = self._segmenter()
        if segmenter is None or not self._wanted():
            return
        if segmenter.status.phase in ("segmenting", "propagating"):
            self.changed()
            return
        segmenter.update_surfaces()
        self._made()

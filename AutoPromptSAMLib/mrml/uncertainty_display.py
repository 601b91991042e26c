"""How unsure the model is of the active segment, over the image and on its surface."""

from __future__ import annotations

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry.grid import FloatArray
from AutoPromptSAMLib.mrml import segment_list
from AutoPromptSAMLib.mrml.review_state import Reviewed
from AutoPromptSAMLib.mrml.uncertain_surface import UncertainSurface
from AutoPromptSAMLib.mrml.uncertainty_nodes import UncertaintyNodes, release_left_over
from AutoPromptSAMLib.mrml.volume_runs import VolumeRuns
from AutoPromptSAMLib.session.grey import GreyCrop


class UncertaintyDisplay:
    """One node of uncertainty for each segment that was looked at; that of the active one is shown."""

    def __init__(self, segmenter: VolumeRuns) -> None:
        self.segmenter = segmenter
        self.nodes: UncertaintyNodes | None = None  # from the first look on
        self._overlay = (True, 0.6)  # whether it is shown, and how opaque
        self._surface: UncertainSurface | None = None
        self._on_surface = False
        self._drawn: dict[tuple[str, int], GreyCrop] = {}  # what is in the nodes, by segment and slice
        was_saved = release_left_over(segmenter.volume_node.GetScene())
        if was_saved:  # while it hid the colours of the segments
            segment_list.display_of(segmenter.segmentation_node).SetVisibility2DFill(True)

    def close(self) -> None:
        """Show nothing of it any more."""
        if self._surface is not None:
            self._surface.hide()
        if self.nodes is not None:
            self.show(False)
            self.nodes.close()

    def show(self, shown: bool, opacity: float = 0.6) -> None:
        """Lay the uncertainty of the active segment over the image, or not; ``opacity`` from 0 to 1."""
        self._overlay = (shown, opacity)
        self.update()

    def update(self) -> None:
        """Show what belongs to the segment that is active now."""
        segmenter, active, (shown, opacity) = self.segmenter, self.segmenter.active_segment, self._overlay
        if self.nodes is not None and segmenter.segmentation_node.GetScene() and segmenter.volume_node.GetScene():
            there = shown and active is not None and self.nodes.node(active) is not None
            self.nodes.show(active if there else None, opacity)
            # The outlines stay; the segment's own colour would hide what is to be seen.
            segment_list.display_of(segmenter.segmentation_node).SetVisibility2DFill(not there)

    def show_on_surface(self, shown: bool) -> None:
        """Colour the active segment's surface by the uncertainty around it, or not, when surfaces are made next."""
        if self._surface is None:
            self._surface = UncertainSurface(self.segmenter.segmentation_node)
        self._on_surface = shown
        if not shown:
            self._surface.hide()

    def update_surface(self) -> None:
        """Colour the surface that was just made."""
        if self._surface is None:
            return
        active, nodes = self.segmenter.active_segment, self.nodes
        is_wanted = self._on_surface and self.segmenter.surface_shown
        node = nodes.node(active) if is_wanted and nodes is not None and active is not None else None
        if active is None or nodes is None or node is None:
            self._surface.hide()
        else:
            self._surface.show(active, node, nodes.color_node(transparent=False).GetID())

    def values(self, segment_id: str | None = None) -> FloatArray:
        """The uncertainty on the voxels of the image (K, J, I) in bits, float32, 0 where nobody looked.

        Of a segment, default the active one.
        """
        values = None
        if self.nodes is not None:
            values = self.nodes.values(segment_id or self.segmenter.active_segment or "")
        if values is None:
            raise PromptError('There is no uncertainty to export; choose "Where is it unsure?" first.')
        return values

    def draw(self, segment_id: str, known: Reviewed, index: int | None = None) -> None:
        """Bring a segment's node up to date on a slice, default all; one that changed since shows nothing."""
        if self.nodes is None:
            self.nodes = UncertaintyNodes(self.segmenter.volume_node)
        for n in {*known.looks, *known.steps} if index is None else (index,):
            grey = known.uncertainty(n)
            if self._drawn.get((segment_id, n)) is not grey:
                self._drawn[segment_id, n] = grey
                self.nodes.write(segment_id, self.segmenter.name_of(segment_id), known.axis, n, grey)
        self.update()

    def forget(self, segment_id: str) -> None:
        """A segment is gone, or is looked at anew."""
        if self.nodes is not None:
            self._drawn = {key: grey for key, grey in self._drawn.items() if key[0] != segment_id}
            self.nodes.remove(segment_id)
            self.update()
